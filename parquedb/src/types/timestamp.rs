use super::serde_as_text;
use crate::{Error, Result};
use chrono::{DateTime, SecondsFormat, Utc};
use std::fmt;
use std::str::FromStr;

/// A moment: microseconds since 1970-01-01T00:00:00Z. Stored as an Arrow timestamp in UTC.
///
/// Its text form, also in JSON, is RFC 3339: `2026-11-21T10:30:00.25Z`. Reading text drops digits
/// below the microsecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest moment that can be stored.
    pub const MIN: Timestamp = Timestamp(i64::MIN);
    /// The latest moment that can be stored.
    pub const MAX: Timestamp = Timestamp(i64::MAX);

    /// The moment this many microseconds after 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// The moment this many milliseconds after 1970-01-01T00:00:00Z, the unit of JavaScript's `Date`.
    ///
    /// # Errors
    /// Invalid beyond the years ±292 000, which microseconds do not reach.
    pub fn from_millis(millis: i64) -> Result<Self> {
        millis.checked_mul(1000).map(Self).ok_or_else(|| {
            Error::invalid(format!(
                "{millis} ms since 1970 is out of the range of a timestamp in microseconds"
            ))
        })
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole milliseconds since 1970-01-01T00:00:00Z, rounded down.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The moment as chrono has it; none beyond chrono's range, the years ±262 000.
    #[must_use]
    pub fn to_chrono(self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_micros(self.0)
    }
}

impl From<DateTime<Utc>> for Timestamp {
    /// Digits below the microsecond are dropped.
    fn from(moment: DateTime<Utc>) -> Self {
        Self(moment.timestamp_micros())
    }
}

impl TryFrom<Timestamp> for DateTime<Utc> {
    type Error = Error;

    fn try_from(moment: Timestamp) -> Result<Self> {
        moment
            .to_chrono()
            .ok_or_else(|| Error::invalid(format!("{} µs since 1970 is beyond chrono's range", moment.0)))
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = DateTime::parse_from_rfc3339(text).or_else(|error| {
            // RFC 3339 stops at the year 9999; what `Display` writes beyond it has a sign.
            if text.starts_with(['+', '-']) { text.parse() } else { Err(error) }
        });
        match parsed {
            Ok(moment) => Ok(Self(moment.timestamp_micros())),
            Err(error) => Err(Error::invalid(format!(
                "`{text}` is not a timestamp like `2026-11-21T10:30:00Z`: {error}"
            ))),
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_chrono() {
            Some(moment) => f.pad(&moment.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
            None => write!(f, "{} µs since 1970", self.0),
        }
    }
}

serde_as_text!(Timestamp, "an RFC 3339 timestamp such as 2026-11-21T10:30:00Z");

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips() {
        for micros in [0, 1, -1, 1_732_150_000_123_456, -62_135_596_800_000_001, 253_402_300_800_000_000] {
            let moment = Timestamp::from_micros(micros);
            assert_eq!(moment.to_string().parse::<Timestamp>().unwrap(), moment, "{moment}");
            let json = serde_json::to_string(&moment).unwrap();
            assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), moment, "{json}");
        }
    }

    #[test]
    fn reads_offsets_and_rejects_other_text() {
        let moment: Timestamp = "2026-11-21T02:00:00.0000019+02:00".parse().unwrap();
        assert_eq!(moment.to_string(), "2026-11-21T00:00:00.000001Z");
        assert!("2026-11-21".parse::<Timestamp>().is_err());
        assert!(serde_json::from_str::<Timestamp>("5").is_err());
        assert!(Timestamp::from_millis(i64::MAX).is_err());
        assert_eq!(Timestamp::from_micros(-1).as_millis(), -1);
    }
}
