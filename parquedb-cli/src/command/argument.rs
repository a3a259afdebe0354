//! Values of arguments.

use super::Failure;
use parquedb::{At, Connection, Database, Timestamp};
use std::time::Duration;

/// A commit's number, or a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    Seq(u64),
    Time(Timestamp),
}

impl From<Moment> for At {
    fn from(moment: Moment) -> Self {
        match moment {
            Moment::Seq(seq) => At::Seq(seq),
            Moment::Time(time) => At::Time(time),
        }
    }
}

impl Moment {
    /// The commit's number in a database.
    pub(super) async fn seq(self, url: &str) -> Result<u64, Failure> {
        match self {
            Moment::Seq(seq) => Ok(seq),
            Moment::Time(time) => {
                let database = Connection::builder().read_only().open(url).await?;
                Ok(database.seq_at(time).await?)
            }
        }
    }
}

/// Reads `1700` or `2026-11-21T10:30:00Z`.
pub(super) fn moment(text: &str) -> Result<Moment, String> {
    if let Ok(seq) = text.parse() {
        return Ok(Moment::Seq(seq));
    }
    match text.parse() {
        Ok(time) => Ok(Moment::Time(time)),
        Err(_) => Err("neither the number of a commit nor a time like 2026-11-21T10:30:00Z".to_owned()),
    }
}

/// Reads `90s`, `30m`, `24h` or `7d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "not a number with one of the units s, m, h, d, such as 24h".to_owned();
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let seconds = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return Err(wrong()),
    };
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(|| "too long".to_owned())
}

/// Reads `4096B`, `64KiB`, `128MiB` or `1GiB`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let wrong = || "not a number with one of the units B, KiB, MiB, GiB, such as 128MiB".to_owned();
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let bytes: u64 = match &text[digits.len()..] {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    number.checked_mul(bytes).ok_or_else(|| "too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        for (text, seconds) in [("0s", 0), ("90s", 90), ("30m", 1800), ("24h", 86_400), ("7d", 604_800)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "5", "h", "-1h", "1.5h", "1w", "1 h", "99999999999999999d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_have_a_unit() {
        for (text, bytes) in [("7B", 7), ("64KiB", 65_536), ("128MiB", 128 << 20), ("2GiB", 2 << 30)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "5", "1MB", "1.5GiB", "99999999999999GiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_moment_is_a_number_or_a_time() {
        assert_eq!(moment("17"), Ok(Moment::Seq(17)));
        assert_eq!(moment("1970-01-01T00:00:01Z"), Ok(Moment::Time(Timestamp::from_micros(1_000_000))));
        for text in ["", "-1", "yesterday", "2026-11-21"] {
            assert!(moment(text).is_err(), "{text}");
        }
    }
}
