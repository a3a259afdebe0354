//! How the runtime's value types are made from what arrives, and taken apart again.

use parquedb::{Bytes, Timestamp};

/// The time range of JavaScript's `Date`, in milliseconds either side of 1970: the widest a Worker can
/// send. Its microseconds fit in 64 bits.
const MAX_MILLIS: i64 = 8_640_000_000_000_000;

/// A moment from epoch milliseconds, or nothing where no `Date` of a Worker can lie.
pub(crate) fn from_millis(millis: i64) -> Option<Timestamp> {
    if !(-MAX_MILLIS..=MAX_MILLIS).contains(&millis) {
        return None;
    }
    Timestamp::from_millis(millis).ok()
}

/// Bytes as a column.
pub(crate) fn blob(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}
