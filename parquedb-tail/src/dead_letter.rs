//! What could not be read as an event: kept with its bytes and the reason, so nothing sent is lost.

use parquedb::{Bytes, Collection, Timestamp};

/// One item that could not be stored as an event.
#[derive(Collection, Debug, Clone, PartialEq)]
pub struct DeadLetters {
    /// When it arrived.
    pub received: Timestamp,
    /// Where it came from: a file's name, `stdin`, or `http` with the sender's batch id.
    pub source: String,
    /// Its index among the items of that file or request, from 0.
    pub position: u64,
    /// Why it is not an event.
    pub reason: String,
    /// The item as it arrived (decompressed).
    pub raw: Bytes,
}
