//! How a measure is distributed over everything since the database was opened.

use crate::error::{Error, ErrorKind, Result};
use serde::Serialize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How a measure is distributed: half, nine tenths and so on of the values are not above these. Within
/// one percent, but for the sum, which is exact.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Quantiles {
    /// The number of values.
    pub count: u64,
    /// Their sum.
    pub sum: u64,
    /// The median.
    pub p50: u64,
    /// Nine tenths are not above this.
    pub p90: u64,
    /// Ninety-nine of a hundred are not above this.
    pub p99: u64,
    /// The greatest.
    pub max: u64,
}

/// Counts values by their size.
#[derive(Debug)]
pub(crate) struct Histogram(Mutex<(hdrhistogram::Histogram<u64>, u64)>);

/// Two digits of each value are kept: one percent, in 30 KiB.
const DIGITS: u8 = 2;

impl Histogram {
    /// Greater values than `most` count as `most`.
    pub(crate) fn up_to(most: u64) -> Result<Self> {
        let counts = hdrhistogram::Histogram::new_with_max(most, DIGITS).map_err(|error| {
            let message = format!("cannot count values up to {most}: {error}");
            Error::with_source(ErrorKind::Invalid, message, error)
        })?;
        Ok(Self(Mutex::new((counts, 0))))
    }

    /// For durations of up to an hour, in microseconds.
    pub(crate) fn of_durations() -> Result<Self> {
        Self::up_to(3_600_000_000)
    }

    pub(crate) fn record(&self, value: u64) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.0.saturating_record(value);
        counts.1 = counts.1.saturating_add(value);
    }

    pub(crate) fn record_micros(&self, duration: Duration) {
        self.record(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    pub(crate) fn quantiles(&self) -> Quantiles {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (counts, sum) = &*counts;
        Quantiles {
            count: counts.len(),
            sum: *sum,
            p50: counts.value_at_quantile(0.5),
            p90: counts.value_at_quantile(0.9),
            p99: counts.value_at_quantile(0.99),
            max: counts.max(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn quantiles_are_right_within_a_hundredth() {
        let histogram = Histogram::of_durations().unwrap();
        assert_eq!(histogram.quantiles(), Quantiles::default());
        (1..=10_000).for_each(|value| histogram.record(value));
        let quantiles = histogram.quantiles();
        assert_eq!((quantiles.count, quantiles.sum), (10_000, 50_005_000));
        let all =
            [(quantiles.p50, 5000), (quantiles.p90, 9000), (quantiles.p99, 9900), (quantiles.max, 10_000)];
        for (found, exact) in all {
            assert!(found.abs_diff(exact) * 100 <= exact, "{found} for {exact}");
        }
        histogram.record_micros(Duration::from_secs(100 * 3600));
        assert!(histogram.quantiles().max >= 3_600_000_000);
    }
}
