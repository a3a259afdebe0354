//! The shapes of the value types.

use super::{NotNull, Nullability, Nullable, Shape, Unknown};
use crate::declare::expr::Expr;
use crate::declare::node::Node;
use crate::types::{Bytes, Date, Decimal, Json, Timestamp, Ulid, Uuid};
use std::collections::{BTreeMap, HashMap};

/// Types without parts: what they sum to, then which they are.
macro_rules! scalars {
    ($($sum:ty: $($type:ty),*;)*) => { $($(
        impl Shape for $type {
            type Bare = $type;
            type Inner = Unknown;
            type Item = Unknown;
            type Null = NotNull;
            type Open = NotNull;
            type Target = Unknown;
            type Optional = Option<$type>;
            type Sum = $sum;
            type Mean = f64;
            type Handle<N: Nullability> = Expr<N::Wrap<$type>>;
            fn handle<N: Nullability>(at: Node) -> Self::Handle<N> {
                Expr::new(at)
            }
        }
    )*)* };
}

scalars! {
    i64: i8, i16, i32, i64;
    u64: u8, u16, u32, u64;
    f64: f32, f64;
    Unknown: bool, String, Bytes, Timestamp, Date, Uuid, Ulid, Json;
}

impl<const P: u8, const S: i8> Shape for Decimal<P, S> {
    type Bare = Self;
    type Inner = Unknown;
    type Item = Unknown;
    type Null = NotNull;
    type Open = NotNull;
    type Target = Unknown;
    type Optional = Option<Self>;
    type Sum = Decimal<38, S>;
    type Mean = f64;
    type Handle<N: Nullability> = Expr<N::Wrap<Self>>;
    fn handle<N: Nullability>(at: Node) -> Self::Handle<N> {
        Expr::new(at)
    }
}

#[diagnostic::do_not_recommend]
impl Shape for Unknown {
    type Bare = Unknown;
    type Inner = Unknown;
    type Item = Unknown;
    type Null = NotNull;
    type Open = NotNull;
    type Target = Unknown;
    type Optional = Unknown;
    type Sum = Unknown;
    type Mean = Unknown;
    type Handle<N: Nullability> = Expr<Unknown>;
    fn handle<N: Nullability>(at: Node) -> Self::Handle<N> {
        Expr::new(at)
    }
}

#[diagnostic::do_not_recommend]
impl<T: Shape> Shape for Option<T> {
    type Bare = T::Bare;
    type Inner = T::Inner;
    type Item = T::Item;
    type Null = Nullable;
    type Open = Nullable;
    type Target = T::Target;
    type Optional = Option<T>;
    type Sum = T::Sum;
    type Mean = <T::Mean as Shape>::Optional;
    type Handle<N: Nullability> = T::Handle<Nullable>;
    fn handle<N: Nullability>(at: Node) -> Self::Handle<N> {
        T::handle::<Nullable>(at)
    }
}

/// Types with elements: the type's parameters, then the type, then its element.
macro_rules! containers {
    ($($type:ty, $item:ident;)*) => { $(
        #[diagnostic::do_not_recommend]
        impl<$item: Shape> Shape for $type {
            type Bare = Self;
            type Inner = Unknown;
            type Item = $item;
            type Null = NotNull;
            type Open = NotNull;
            type Target = Unknown;
            type Optional = Option<Self>;
            type Sum = Unknown;
            type Mean = Unknown;
            type Handle<N: Nullability> = Expr<N::Wrap<Self>>;
            fn handle<N: Nullability>(at: Node) -> Self::Handle<N> {
                Expr::new(at)
            }
        }
    )* };
}

containers! {
    Vec<T>, T;
    BTreeMap<String, V>, V;
    HashMap<String, V>, V;
}
