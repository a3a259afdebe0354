//! References to rows of other collections.

use crate::declare::record::Keyed;
use crate::types::{Ulid, Uuid};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// A reference to a row of `T`, stored as that row's key.
///
/// `T` is a collection with a key of one field. Nothing makes sure that the row is there: a reference may
/// come before its row, and outlive it. A view looks through a reference with a path, `customer.tier`.
///
/// ```
/// use parquedb::{Collection, Ref};
///
/// #[derive(Collection)]
/// #[collection(key = id)]
/// pub struct Customer { pub id: String, pub tier: String }
///
/// #[derive(Collection)]
/// pub struct Order { pub customer: Ref<Customer>, pub gift_for: Option<Ref<Customer>> }
///
/// let order = Order { customer: Ref::new("c1"), gift_for: None };
/// assert_eq!(order.customer.key(), "c1");
/// ```
pub struct Ref<T: Keyed> {
    key: T::Key,
}

impl<T: Keyed> Ref<T> {
    /// A reference to the row with this key.
    pub fn new(key: impl Into<T::Key>) -> Self {
        Self { key: key.into() }
    }

    /// The key of the row.
    pub fn key(&self) -> &T::Key {
        &self.key
    }

    /// The key of the row.
    pub fn into_key(self) -> T::Key {
        self.key
    }
}

impl<T: Keyed<Key: fmt::Debug>> fmt::Debug for Ref<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ref").field(&self.key).finish()
    }
}

impl<T: Keyed<Key: fmt::Display>> fmt::Display for Ref<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)
    }
}

impl<T: Keyed<Key: Clone>> Clone for Ref<T> {
    fn clone(&self) -> Self {
        Self { key: self.key.clone() }
    }
}

impl<T: Keyed<Key: Copy>> Copy for Ref<T> {}

impl<T: Keyed<Key: PartialEq>> PartialEq for Ref<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl<T: Keyed<Key: Eq>> Eq for Ref<T> {}

impl<T: Keyed<Key: PartialOrd>> PartialOrd for Ref<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.key.partial_cmp(&other.key)
    }
}

impl<T: Keyed<Key: Ord>> Ord for Ref<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}

impl<T: Keyed<Key: Hash>> Hash for Ref<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl<T: Keyed<Key: Serialize>> Serialize for Ref<T> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        self.key.serialize(serializer)
    }
}

impl<'de, T: Keyed<Key: Deserialize<'de>>> Deserialize<'de> for Ref<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::Key::deserialize(deserializer).map(|key| Self { key })
    }
}

macro_rules! from_keys {
    ($($key:ty),*) => { $(
        impl<T: Keyed<Key = $key>> From<$key> for Ref<T> {
            fn from(key: $key) -> Self {
                Self { key }
            }
        }
    )* };
}
from_keys!(String, i8, i16, i32, i64, u8, u16, u32, u64, Uuid, Ulid);

impl<T: Keyed<Key = String>> From<&str> for Ref<T> {
    fn from(key: &str) -> Self {
        Self { key: key.to_owned() }
    }
}
