//! Serde for the re-exported types whose crates are built without their `serde` feature. A program
//! that turns those features on needs none of these.

/// For a [`Uuid`](super::Uuid) field: `#[serde(with = "parquedb::types::serde_uuid")]`.
pub mod serde_uuid {
    use serde::{Deserialize, Deserializer, Serializer};
    use uuid::Uuid;

    /// As hyphenated text.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(id: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    /// From any text form of a UUID.
    ///
    /// # Errors
    /// If the text is not a UUID.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uuid, D::Error> {
        let text = String::deserialize(deserializer)?;
        Uuid::try_parse(&text)
            .map_err(|error| serde::de::Error::custom(format!("`{text}` is not a UUID: {error}")))
    }
}

/// For an `Option<Uuid>` field: `#[serde(default, with = "parquedb::types::serde_uuid_option")]`.
pub mod serde_uuid_option {
    use serde::{Deserialize, Deserializer, Serializer};
    use uuid::Uuid;

    #[derive(Deserialize)]
    struct Present(#[serde(with = "super::serde_uuid")] Uuid);

    /// As hyphenated text or null.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(id: &Option<Uuid>, serializer: S) -> Result<S::Ok, S::Error> {
        match id {
            Some(id) => serializer.serialize_some(&id.hyphenated().to_string()),
            None => serializer.serialize_none(),
        }
    }

    /// From any text form of a UUID, or null.
    ///
    /// # Errors
    /// If the text is not a UUID.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Uuid>, D::Error> {
        Ok(Option::<Present>::deserialize(deserializer)?.map(|present| present.0))
    }
}

/// For a [`Ulid`](super::Ulid) field: `#[serde(with = "parquedb::types::serde_ulid")]`.
pub mod serde_ulid {
    use serde::{Deserialize, Deserializer, Serializer};
    use ulid::Ulid;

    /// As its 26 characters.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(id: &Ulid, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    /// From the text form of a ULID.
    ///
    /// # Errors
    /// If the text is not a ULID.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Ulid, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ulid::from_string(&text)
            .map_err(|error| serde::de::Error::custom(format!("`{text}` is not a ULID: {error}")))
    }
}

/// For an `Option<Ulid>` field: `#[serde(default, with = "parquedb::types::serde_ulid_option")]`.
pub mod serde_ulid_option {
    use serde::{Deserialize, Deserializer, Serializer};
    use ulid::Ulid;

    #[derive(Deserialize)]
    struct Present(#[serde(with = "super::serde_ulid")] Ulid);

    /// As its 26 characters or null.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(id: &Option<Ulid>, serializer: S) -> Result<S::Ok, S::Error> {
        match id {
            Some(id) => serializer.serialize_some(&id.to_string()),
            None => serializer.serialize_none(),
        }
    }

    /// From the text form of a ULID, or null.
    ///
    /// # Errors
    /// If the text is not a ULID.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Ulid>, D::Error> {
        Ok(Option::<Present>::deserialize(deserializer)?.map(|present| present.0))
    }
}

/// For a [`Bytes`](super::Bytes) field: `#[serde(with = "parquedb::types::serde_bytes")]`.
pub mod serde_bytes {
    use bytes::Bytes;
    use serde::{Deserializer, Serializer, de};
    use std::fmt;

    /// As bytes; a list of numbers in JSON.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    /// From bytes or a list of numbers from 0 to 255.
    ///
    /// # Errors
    /// If it is neither.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes::copy_from_slice(bytes))
            }
            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
                Ok(bytes.into())
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Bytes, A::Error> {
                let mut bytes = Vec::with_capacity(list.size_hint().unwrap_or(0).min(1 << 16));
                while let Some(byte) = list.next_element::<u8>()? {
                    bytes.push(byte);
                }
                Ok(bytes.into())
            }
        }
        deserializer.deserialize_byte_buf(Visitor)
    }
}

/// For an `Option<Bytes>` field: `#[serde(default, with = "parquedb::types::serde_bytes_option")]`.
pub mod serde_bytes_option {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Present(#[serde(with = "super::serde_bytes")] Bytes);

    /// As bytes or null.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(bytes: &Option<Bytes>, serializer: S) -> Result<S::Ok, S::Error> {
        bytes.clone().map(Present).serialize(serializer)
    }

    /// From bytes, a list of numbers from 0 to 255, or null.
    ///
    /// # Errors
    /// If it is none of these.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Bytes>, D::Error> {
        Ok(Option::<Present>::deserialize(deserializer)?.map(|present| present.0))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;
    use serde::{Deserialize, Serialize};
    use ulid::Ulid;
    use uuid::Uuid;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Ids {
        #[serde(with = "super::serde_uuid")]
        uuid: Uuid,
        #[serde(default, with = "super::serde_uuid_option")]
        maybe_uuid: Option<Uuid>,
        #[serde(with = "super::serde_ulid")]
        ulid: Ulid,
        #[serde(default, with = "super::serde_ulid_option")]
        maybe_ulid: Option<Ulid>,
        #[serde(with = "super::serde_bytes")]
        bytes: Bytes,
        #[serde(default, with = "super::serde_bytes_option")]
        maybe_bytes: Option<Bytes>,
    }

    #[test]
    fn text_form_round_trips() {
        let (uuid, ulid, bytes) = (Uuid::from_u128(7 << 90), Ulid(9 << 80), Bytes::from_static(b"\0\xff"));
        for present in [true, false] {
            let ids = Ids {
                uuid,
                maybe_uuid: present.then_some(uuid),
                ulid,
                maybe_ulid: present.then_some(ulid),
                bytes: bytes.clone(),
                maybe_bytes: present.then(|| bytes.clone()),
            };
            let json = serde_json::to_string(&ids).unwrap();
            assert_eq!(serde_json::from_str::<Ids>(&json).unwrap(), ids, "{json}");
        }
        let short = r#"{"uuid":"00000000-0000-0000-0000-000000000001","ulid":"00000000000000000000000001","bytes":[1]}"#;
        assert_eq!(serde_json::from_str::<Ids>(short).unwrap().maybe_bytes, None);
        assert!(serde_json::from_str::<Ids>(&short.replace("-", "x")).is_err());
    }
}
