//! When scheduled views are due.

use crate::declare::plan::Refresh;
use crate::error::{Error, Result};
use crate::types::Timestamp;
use chrono::{DateTime, TimeZone, Utc};
use croner::Cron;
use std::str::FromStr;

/// The first time after `last` at which a view is due; nothing for views without a schedule.
///
/// Missed times collapse: the answer may lie far in the past, and refreshing once then makes up for
/// all of them.
pub(crate) fn next_due(refresh: &Refresh, last: Timestamp) -> Result<Option<Timestamp>> {
    let Refresh::Scheduled { schedule, tz } = refresh else { return Ok(None) };
    let cron = parse(schedule)?;
    let zone = match tz {
        Some(name) => name.parse::<chrono_tz::Tz>().map_err(|_| {
            Error::invalid(format!("`{name}` is not an IANA time zone name, such as `Europe/Paris`"))
        })?,
        None => chrono_tz::UTC,
    };
    let last: DateTime<Utc> = Utc
        .timestamp_micros(last.as_micros())
        .single()
        .ok_or_else(|| Error::invalid(format!("{last} is out of the calendar's range")))?;
    let next = cron
        .find_next_occurrence(&last.with_timezone(&zone), false)
        .map_err(|error| Error::invalid(format!("cron schedule `{schedule}` never fires again: {error}")))?;
    Ok(Some(Timestamp::from_micros(next.with_timezone(&Utc).timestamp_micros())))
}

/// Checks a five-field cron expression.
pub(crate) fn parse(schedule: &str) -> Result<Cron> {
    Cron::from_str(schedule)
        .map_err(|error| Error::invalid(format!("invalid cron schedule `{schedule}`: {error}")))
}
