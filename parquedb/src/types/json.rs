use crate::{Error, Result};
use serde::de::IgnoredAny;
use std::fmt;
use std::str::FromStr;

/// A JSON value, stored as its text. Two values are equal when their texts are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Json(String);

impl Json {
    /// Takes text that is one JSON value, unchanged.
    ///
    /// # Errors
    /// Invalid if it is not, with the position.
    pub fn parse(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        match serde_json::from_str::<IgnoredAny>(&text) {
            Ok(IgnoredAny) => Ok(Self(text)),
            Err(error) => Err(Error::with_source(
                crate::ErrorKind::Invalid,
                format!("a Json value is not JSON text: {error}"),
                error,
            )),
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, owned.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }

    /// The value.
    ///
    /// # Errors
    /// Invalid for a number beyond the range of a float.
    pub fn to_value(&self) -> Result<serde_json::Value> {
        serde_json::from_str(&self.0).map_err(|error| {
            Error::with_source(
                crate::ErrorKind::Invalid,
                format!("cannot hold this JSON as a value: {error}"),
                error,
            )
        })
    }
}

impl From<serde_json::Value> for Json {
    fn from(value: serde_json::Value) -> Self {
        Self(value.to_string())
    }
}

impl FromStr for Json {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// As the value itself, not as text.
impl serde::Serialize for Json {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_value().map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for Json {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_json::Value::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn keeps_text_and_rejects_what_is_not_json() {
        assert_eq!(Json::parse("{\"b\": 1, \"a\": [null]}").unwrap().as_str(), "{\"b\": 1, \"a\": [null]}");
        for wrong in ["", "{", "nul", "1 2", "{'a':1}"] {
            assert!(Json::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn is_a_value_in_serde() {
        let json: Json = serde_json::from_str("{\"a\": [1, 2.5, \"x\"]}").unwrap();
        assert_eq!(serde_json::to_string(&json).unwrap(), "{\"a\":[1,2.5,\"x\"]}");
    }
}
