//! What Tail Workers and Logpush send, into rows.
//!
//! ```text
//! bytes ── body: gzip, size ──→ split: items ──→ surrogate ──→ item: row or dead letter
//! ```
//!
//! A body is a JSON array, an object, NDJSON of either, or several of them one after the other. It is
//! cut into items before any is parsed, so that an item which cannot be read becomes a dead letter and
//! its neighbours are stored all the same: a sender could not repair it anyway.

mod body;
mod item;
mod object;
mod split;
mod surrogate;
pub(crate) mod time;

pub use body::{BodyError, inflate, is_gzip};
pub use split::{RawItem, SplitError, Splitter};

use crate::dead_letter::DeadLetters;
use crate::event::TailEvents;
use crate::types::blob;
use item::Content;
use parquedb::Timestamp;

/// The deepest nesting an item may have. Logs of real Workers reach 200; what follows a row through
/// other tools parses its JSON with a stack.
pub const MAX_DEPTH: u32 = 1000;

/// What a body held.
#[derive(Debug, Default)]
pub struct Decoded {
    /// The invocations, in order.
    pub events: Vec<TailEvents>,
    /// What could not be read, in order.
    pub dead_letters: Vec<DeadLetters>,
    /// How many items there were; the body Logpush sends to try an endpoint out counts, but stores
    /// nothing.
    pub items: u64,
}

impl Decoded {
    /// Reads one item into a row, or a dead letter from `source` at `received`.
    pub fn push(&mut self, item: &RawItem<'_>, source: &str, received: Timestamp) {
        self.items += 1;
        match read_item(item) {
            Ok(Content::Event(row)) => self.events.push(*row),
            Ok(Content::Test) => {}
            Err(reason) => self.dead_letters.push(DeadLetters {
                received,
                source: source.to_owned(),
                position: item.position,
                reason,
                raw: blob(item.bytes),
            }),
        }
    }
}

/// Reads a whole body, decompressed by [`inflate`].
///
/// # Errors
/// When the body cannot be cut into items: it is neither an object nor an array, or it is cut off.
pub fn decode(body: &[u8], source: &str, received: Timestamp) -> Result<Decoded, BodyError> {
    let mut splitter = Splitter::new(usize::MAX);
    splitter.feed(body);
    splitter.end();
    let mut decoded = Decoded::default();
    while let Some(item) = splitter.next_item()? {
        decoded.push(&item, source, received);
    }
    Ok(decoded)
}

/// The row of one item, or why it is none.
fn read_item(item: &RawItem<'_>) -> Result<Content, String> {
    if let Some(fault) = item.fault {
        return Err(fault.to_owned());
    }
    if item.depth > MAX_DEPTH {
        return Err(format!("nested {} levels deep, more than {MAX_DEPTH}", item.depth));
    }
    let text = std::str::from_utf8(item.bytes)
        .map_err(|error| format!("invalid UTF-8 at byte {} of the item", error.valid_up_to()))?;
    item::read(&surrogate::repair(text)).map_err(|error| reason(&error))
}

/// An error of the parser as the reason of a dead letter. Its line and column count from the item's
/// start.
fn reason(error: &serde_json::Error) -> String {
    error.to_string().trim_start_matches(object::KEY_MARK).to_owned()
}
