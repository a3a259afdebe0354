//! The value types of columns that Rust's standard library has none for.

mod date;
mod decimal;
mod id;
mod json;
mod reference;
mod timestamp;

pub use bytes::Bytes;
pub use date::Date;
pub use decimal::Decimal;
pub use id::{serde_bytes, serde_bytes_option, serde_ulid, serde_ulid_option, serde_uuid, serde_uuid_option};
pub use json::Json;
pub use reference::Ref;
pub use timestamp::Timestamp;
pub use ulid::Ulid;
pub use uuid::Uuid;

/// Serde by way of `Display` and `FromStr`.
macro_rules! serde_as_text {
    ($type:ident $(<$(const $name:ident: $kind:ty),*>)?, $expected:literal) => {
        impl $(<$(const $name: $kind),*>)? serde::Serialize for $type $(<$($name),*>)? {
            fn serialize<Z: serde::Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de, $($(const $name: $kind),*)?> serde::Deserialize<'de> for $type $(<$($name),*>)? {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl<'de> serde::de::Visitor<'de> for Text {
                    type Value = String;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($expected)
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<String, E> {
                        Ok(text.to_owned())
                    }
                    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<String, E> {
                        Ok(text)
                    }
                }
                deserializer.deserialize_str(Text)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
use serde_as_text;
