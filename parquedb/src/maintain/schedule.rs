//! When scheduled views are due.

use crate::declare::plan::Refresh;
use crate::error::{Error, Result};
use crate::types::Timestamp;
use chrono::{DateTime, TimeZone, Utc};
use chrono_tz::Tz;
use croner::Cron;
use std::str::FromStr;

/// The first time after `last` at which a view is due; nothing for views without a schedule.
///
/// Missed times collapse: the answer may lie far in the past, and refreshing once then makes up for
/// all of them.
pub(crate) fn next_due(refresh: &Refresh, last: Timestamp) -> Result<Option<Timestamp>> {
    let Some((cron, zone)) = parse(refresh)? else { return Ok(None) };
    let last: DateTime<Utc> = Utc
        .timestamp_micros(last.as_micros())
        .single()
        .ok_or_else(|| Error::invalid(format!("{last} is out of the calendar's range")))?;
    let next = cron.find_next_occurrence(&last.with_timezone(&zone), false).map_err(|error| {
        Error::invalid(format!("the cron schedule never fires again after {last}: {error}"))
    })?;
    Ok(Some(Timestamp::from_micros(next.with_timezone(&Utc).timestamp_micros())))
}

/// Checks a schedule and its time zone.
pub(crate) fn check(refresh: &Refresh) -> Result<()> {
    parse(refresh).map(|_| ())
}

fn parse(refresh: &Refresh) -> Result<Option<(Cron, Tz)>> {
    let Refresh::Scheduled { schedule, tz } = refresh else { return Ok(None) };
    let cron = Cron::from_str(schedule)
        .map_err(|error| Error::invalid(format!("invalid cron schedule `{schedule}`: {error}")))?;
    let zone = match tz {
        Some(name) => name.parse().map_err(|_| {
            Error::invalid(format!("`{name}` is not an IANA time zone name, such as `Europe/Paris`"))
        })?,
        None => Tz::UTC,
    };
    Ok(Some((cron, zone)))
}
