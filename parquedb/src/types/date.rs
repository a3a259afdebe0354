use super::serde_as_text;
use crate::{Error, Result};
use chrono::{Datelike, NaiveDate};
use std::fmt;
use std::str::FromStr;

/// Days from 0001-01-01, chrono's day 1, to 1970-01-01.
const EPOCH: i32 = 719_163;

/// A calendar day: days since 1970-01-01. Its text form, also in JSON, is `2026-11-21`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Date(i32);

impl Date {
    /// The day this many days after 1970-01-01.
    #[must_use]
    pub const fn from_days(days: i32) -> Self {
        Self(days)
    }

    /// The day of this year, month (1–12) and day of the month (1–31).
    ///
    /// # Errors
    /// Invalid if the calendar has no such day.
    pub fn from_ymd(year: i32, month: u32, day: u32) -> Result<Self> {
        NaiveDate::from_ymd_opt(year, month, day)
            .map(Self::from)
            .ok_or_else(|| Error::invalid(format!("the calendar has no day {year}-{month}-{day}")))
    }

    /// Days since 1970-01-01.
    #[must_use]
    pub const fn as_days(self) -> i32 {
        self.0
    }

    /// The day as chrono has it; none beyond chrono's range, the years ±262 000.
    #[must_use]
    pub fn to_chrono(self) -> Option<NaiveDate> {
        self.0.checked_add(EPOCH).and_then(NaiveDate::from_num_days_from_ce_opt)
    }
}

impl From<NaiveDate> for Date {
    fn from(day: NaiveDate) -> Self {
        Self(day.num_days_from_ce() - EPOCH)
    }
}

impl FromStr for Date {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        NaiveDate::parse_from_str(text, "%Y-%m-%d")
            .map(Self::from)
            .map_err(|error| Error::invalid(format!("`{text}` is not a date like `2026-11-21`: {error}")))
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_chrono() {
            Some(day) => f.pad(&day.to_string()),
            None => write!(f, "{} days since 1970", self.0),
        }
    }
}

serde_as_text!(Date, "a date such as 2026-11-21");

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips() {
        for (days, text) in [(0, "1970-01-01"), (-1, "1969-12-31"), (20_778, "2026-11-21")] {
            assert_eq!(Date::from_days(days).to_string(), text);
            assert_eq!(text.parse::<Date>().unwrap(), Date::from_days(days));
        }
        assert_eq!(Date::from_ymd(2026, 11, 21).unwrap().as_days(), 20_778);
        assert!("2026-02-30".parse::<Date>().is_err());
        assert!(Date::from_days(i32::MAX).to_chrono().is_none());
    }
}
