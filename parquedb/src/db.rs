//! temporary
use crate::declare::declared::Declared;
use crate::declare::definition::Definition;
/// t
#[derive(Debug, Clone)]
pub struct Connection;
/// t
pub trait Member: Declared {
    /// t
    type Handle;
    /// t
    fn attach(connection: &Connection) -> Self::Handle;
}
impl<T: Declared> Member for T {
    type Handle = std::marker::PhantomData<T>;
    fn attach(_: &Connection) -> Self::Handle {
        std::marker::PhantomData
    }
}
/// t
#[derive(Debug)]
pub struct Builder<D>(std::marker::PhantomData<D>);
impl<D: Database> Builder<D> {
    /// t
    pub async fn open(self, _: impl AsRef<str>) -> crate::Result<D> {
        Ok(D::attach(Connection))
    }
}
/// t
pub trait Database: Sized {
    /// t
    fn definitions() -> Vec<Definition>;
    /// t
    fn attach(connection: Connection) -> Self;
    /// t
    fn connection(&self) -> &Connection;
    /// t
    fn builder() -> Builder<Self> {
        Builder(std::marker::PhantomData)
    }
}
