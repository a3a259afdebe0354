//! temporary
use super::expr::Expr;
use super::node::*;
use super::operand::*;
use super::shape::*;
use std::collections::BTreeMap;
macro_rules! scalars { ($($t:ty => $sum:ty, $mean:ty;)*) => { $(
    impl Shape for $t {
        type Sum = $sum; type Mean = $mean;
        type Bare = $t; type Inner = Unknown; type Item = Unknown;
        type Null = NotNull; type Optional = Option<$t>;
        type Handle<N: Nullability> = Expr<N::Wrap<$t>>;
        fn handle<N: Nullability>(at: Node) -> Self::Handle<N> { Expr::new(at) }
    } )* } }
/// t
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub i64);
scalars!(String => Unknown, Unknown; bool => Unknown, Unknown; i32 => i64, f64; i64 => i64, f64; u16 => u64, f64; u64 => u64, f64; f64 => f64, f64;
 i8 => i64, f64; i16 => i64, f64; u8 => u64, f64; u32 => u64, f64; f32 => f64, f64; Timestamp => Unknown, Unknown; Unknown => Unknown, Unknown;);
constants! { [] Timestamp => Timestamp, value => Literal::Timestamp(value.0); }
mark! { Time: Timestamp; Ordered: Timestamp; }

impl<T: Shape> Shape for Option<T> {
    type Sum = T::Sum;
    type Mean = <T::Mean as Shape>::Optional;
    type Bare = T::Bare;
    type Inner = T::Inner;
    type Item = T::Item;
    type Null = Nullable;
    type Optional = Option<T>;
    type Handle<N: Nullability> = T::Handle<Nullable>;
    fn handle<N: Nullability>(at: Node) -> Self::Handle<N> {
        T::handle::<Nullable>(at)
    }
}
impl<T: Shape> Shape for Vec<T> {
    type Sum = Unknown;
    type Mean = Unknown;
    type Bare = Self;
    type Inner = Unknown;
    type Item = T;
    type Null = NotNull;
    type Optional = Option<Self>;
    type Handle<N: Nullability> = Expr<N::Wrap<Vec<T>>>;
    fn handle<N: Nullability>(at: Node) -> Self::Handle<N> {
        Expr::new(at)
    }
}
impl<V: Shape> Shape for BTreeMap<String, V> {
    type Sum = Unknown;
    type Mean = Unknown;
    type Bare = Self;
    type Inner = Unknown;
    type Item = V;
    type Null = NotNull;
    type Optional = Option<Self>;
    type Handle<N: Nullability> = Expr<N::Wrap<Self>>;
    fn handle<N: Nullability>(at: Node) -> Self::Handle<N> {
        Expr::new(at)
    }
}
