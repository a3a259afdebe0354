//! The runtime's value types, in the one place that knows how they are made and taken apart.

/// Microseconds since 1970 (stand-in).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Timestamp(i64);
impl Timestamp {
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms * 1000)
    }
    pub const fn from_micros(us: i64) -> Self {
        Self(us)
    }
    pub fn as_micros(self) -> i64 {
        self.0
    }
}
/// JSON text (stand-in).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json(String);
impl std::fmt::Display for Json {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
/// Bytes (stand-in).
pub type Blob = Vec<u8>;

/// The time range of JavaScript's `Date`, in milliseconds either side of 1970: the widest a Worker can
/// send. Its microseconds fit in 64 bits.
const MAX_MILLIS: i64 = 8_640_000_000_000_000;

/// A moment from epoch milliseconds, or nothing where no `Date` of a Worker can lie.
pub(crate) fn from_millis(millis: i64) -> Option<Timestamp> {
    (-MAX_MILLIS..=MAX_MILLIS).contains(&millis).then(|| Timestamp::from_millis(millis))
}

/// Epoch milliseconds of a moment.
pub(crate) fn to_millis(at: Timestamp) -> i64 {
    at.as_micros().div_euclid(1000)
}

/// JSON text that a JSON parser has accepted already.
pub(crate) fn json(text: String) -> Json {
    Json(text)
}

/// The text of a JSON value.
pub(crate) fn json_text(json: &Json) -> &str {
    &json.0
}

/// The present moment.
pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Bytes as a column.
pub(crate) fn blob(bytes: &[u8]) -> Blob {
    bytes.to_vec()
}
