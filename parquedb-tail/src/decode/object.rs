//! JSON objects straight into row structs, without a tree of values in between.
//!
//! serde's `flatten` would build that tree for every item; here a key without a column is kept as the
//! text it had.

use super::time::from_iso;
use crate::types::from_millis;
use parquedb::{Json, Timestamp};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Unexpected, Visitor};
use serde_json::value::RawValue;
use std::fmt;
use std::marker::PhantomData;

/// How a column is read from the value of its key.
pub(super) trait Read<'de>: Sized {
    /// What the row struct holds.
    type Output;
    /// Reads the value after a key.
    fn read<A: MapAccess<'de>>(map: &mut A) -> Result<Self::Output, A::Error>;
    /// The value of a row whose object lacks the key.
    fn absent<E: Error>(key: &'static str) -> Result<Self::Output, E> {
        Err(E::missing_field(key))
    }
}

/// A value that must be there.
pub(super) struct Is<T>(PhantomData<T>);
/// A value that may be null or absent.
pub(super) struct Maybe<T>(PhantomData<T>);
/// A value that is its type's default when null or absent.
pub(super) struct OrDefault<T>(PhantomData<T>);
/// An integer, also when written as `1.0` or `1e3`, or null, or absent.
pub(super) struct MaybeInteger(PhantomData<()>);
/// A moment in epoch milliseconds.
pub(super) struct Millis(PhantomData<()>);
/// A moment in epoch milliseconds or ISO text, or null, or absent.
pub(super) struct MaybeMoment(PhantomData<()>);
/// Any JSON value, null included.
pub(super) struct Any(PhantomData<()>);
/// Any JSON value, null included, or absent.
pub(super) struct MaybeAny(PhantomData<()>);

impl<'de, T: Deserialize<'de>> Read<'de> for Is<T> {
    type Output = T;
    fn read<A: MapAccess<'de>>(map: &mut A) -> Result<T, A::Error> {
        map.next_value()
    }
}

impl<'de, T: Deserialize<'de>> Read<'de> for Maybe<T> {
    type Output = Option<T>;
    fn read<A: MapAccess<'de>>(map: &mut A) -> Result<Option<T>, A::Error> {
        map.next_value()
    }
    fn absent<E: Error>(_: &'static str) -> Result<Option<T>, E> {
        Ok(None)
    }
}

impl<'de, T: Deserialize<'de> + Default> Read<'de> for OrDefault<T> {
    type Output = T;
    fn read<A: MapAccess<'de>>(map: &mut A) -> Result<T, A::Error> {
        Ok(map.next_value::<Option<T>>()?.unwrap_or_default())
    }
    fn absent<E: Error>(_: &'static str) -> Result<T, E> {
        Ok(T::default())
    }
}

impl<'de> Read<'de> for MaybeInteger {
    type Output = Option<i64>;
    fn read<A: MapAccess<'de>>(map: &mut A) -> Result<Option<i64>, A::Error> {
        Ok(map.next_value::<Option<Whole>>()?.map(|whole| whole.0))
    }
    fn absent<E: Error>(_: &'static str) -> Result<Option<i64>, E> {
        Ok(None)
    }
}

impl<'de> Read<'de> for Millis {
    type Output = Timestamp;
    fn read<A: MapAccess<'de>>(map: &mut A) -> Result<Timestamp, A::Error> {
        moment(map.next_value::<Whole>()?.0)
    }
}

impl<'de> Read<'de> for MaybeMoment {
    type Output = Option<Timestamp>;
    fn read<A: MapAccess<'de>>(map: &mut A) -> Result<Option<Timestamp>, A::Error> {
        map.next_value::<Option<Moment>>()?.map(|at| moment(at.0)).transpose()
    }
    fn absent<E: Error>(_: &'static str) -> Result<Option<Timestamp>, E> {
        Ok(None)
    }
}

impl<'de> Read<'de> for Any {
    type Output = Json;
    fn read<A: MapAccess<'de>>(map: &mut A) -> Result<Json, A::Error> {
        Json::parse(map.next_value::<&'de RawValue>()?.get()).map_err(A::Error::custom)
    }
}

impl<'de> Read<'de> for MaybeAny {
    type Output = Option<Json>;
    fn read<A: MapAccess<'de>>(map: &mut A) -> Result<Option<Json>, A::Error> {
        Any::read(map).map(Some)
    }
    fn absent<E: Error>(_: &'static str) -> Result<Option<Json>, E> {
        Ok(None)
    }
}

fn moment<E: Error>(millis: i64) -> Result<Timestamp, E> {
    from_millis(millis)
        .ok_or_else(|| E::custom(format!("{millis} milliseconds is no moment a date can hold")))
}

/// An integer of 64 bits, also when written as `1.0` or `1e3`.
struct Whole(i64);

struct WholeVisitor;

impl Visitor<'_> for WholeVisitor {
    type Value = Whole;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer")
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Whole, E> {
        Ok(Whole(value))
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Whole, E> {
        i64::try_from(value)
            .map(Whole)
            .map_err(|_| E::invalid_value(Unexpected::Unsigned(value), &"an integer of 64 bits"))
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Whole, E> {
        // Up to 2^53 every integer has its own double.
        if value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0 {
            #[expect(clippy::cast_possible_truncation, reason = "a whole number within the range of i64")]
            return Ok(Whole(value as i64));
        }
        Err(E::invalid_value(Unexpected::Float(value), &self))
    }
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WholeVisitor)
    }
}

/// Epoch milliseconds, from a number or ISO text.
struct Moment(i64);

struct MomentVisitor;

impl Visitor<'_> for MomentVisitor {
    type Value = Moment;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("epoch milliseconds or an ISO 8601 time")
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Moment, E> {
        Ok(Moment(value))
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Moment, E> {
        WholeVisitor.visit_u64(value).map(|whole| Moment(whole.0))
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Moment, E> {
        WholeVisitor.visit_f64(value).map(|whole| Moment(whole.0))
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Moment, E> {
        from_iso(text).map(Moment).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MomentVisitor)
    }
}

/// Keys without a column, being written as a JSON object.
#[derive(Default)]
pub(super) struct Rest(String);

impl Rest {
    /// Keeps a key with the text of its value.
    pub(super) fn keep(&mut self, key: &str, value: &RawValue) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.0.push_str(&serde_json::Value::from(key).to_string());
        self.0.push(':');
        self.0.push_str(value.get());
    }

    /// The object, if any key was kept.
    pub(super) fn finish<E: Error>(mut self) -> Result<Option<Json>, E> {
        if self.0.is_empty() {
            return Ok(None);
        }
        self.0.push('}');
        Json::parse(self.0).map(Some).map_err(E::custom)
    }
}

/// A key, borrowed when it has no escapes.
pub(super) struct Key<'de>(pub(super) std::borrow::Cow<'de, str>);

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Key<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_borrowed_str<E: Error>(self, key: &'de str) -> Result<Key<'de>, E> {
        Ok(Key(key.into()))
    }
    fn visit_str<E: Error>(self, key: &str) -> Result<Key<'de>, E> {
        Ok(Key(key.to_owned().into()))
    }
}

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

/// Implements `Deserialize` for a row struct: each field with how it is read and the keys it may have.
/// All other keys go to the field `rest`. Of a repeated key the last counts, as in JavaScript. An error
/// begins with the path of keys that leads to it.
macro_rules! read_object {
    ($type:ident as $what:literal { $($field:ident: $read:ty = $key:literal $(| $other:literal)*,)* }) => {
        impl<'de> serde::de::Deserialize<'de> for $type {
            fn deserialize<D: serde::de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct ObjectVisitor;
                impl<'de> serde::de::Visitor<'de> for ObjectVisitor {
                    type Value = $type;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($what)
                    }
                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<$type, A::Error> {
                        $(let mut $field = None;)*
                        let mut rest = $crate::decode::object::Rest::default();
                        while let Some($crate::decode::object::Key(key)) = map.next_key()? {
                            match key.as_ref() {
                                $($key $(| $other)* => {
                                    let value = <$read as $crate::decode::object::Read<'de>>::read(&mut map);
                                    $field = Some(value.map_err(|error| {
                                        $crate::decode::object::within(&key, error)
                                    })?);
                                })*
                                _ => rest.keep(&key, map.next_value::<&'de serde_json::value::RawValue>()?),
                            }
                        }
                        Ok($type {
                            $($field: match $field {
                                Some(value) => value,
                                None => <$read as $crate::decode::object::Read<'de>>::absent($key)?,
                            },)*
                            rest: rest.finish()?,
                        })
                    }
                }
                deserializer.deserialize_map(ObjectVisitor)
            }
        }
    };
}
pub(super) use read_object;

/// The error with the key it happened under before it.
pub(super) fn within<E: Error>(key: &str, error: E) -> E {
    let message = error.to_string();
    // A path is joined with dots; before any other message comes a colon.
    let separator = if message.starts_with(KEY_MARK) { "." } else { ": " };
    E::custom(format!("{KEY_MARK}{key}{separator}{}", message.trim_start_matches(KEY_MARK)))
}

/// Begins a message that begins with a path already; [`super::reason`] takes it off.
pub(super) const KEY_MARK: char = '\u{1}';
