//! Faults that a test has the server commit.

use std::time::Duration;

/// The operations of the S3 protocol that the server tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// `PUT /bucket/key`.
    PutObject,
    /// `PUT /bucket/key` with a copy source.
    CopyObject,
    /// `GET /bucket/key`.
    GetObject,
    /// `HEAD /bucket/key`.
    HeadObject,
    /// `DELETE /bucket/key`.
    DeleteObject,
    /// `POST /bucket?delete`.
    DeleteObjects,
    /// `GET /bucket?list-type=2`.
    ListObjects,
    /// `POST /bucket/key?uploads`.
    CreateMultipartUpload,
    /// `PUT /bucket/key?partNumber=…&uploadId=…`.
    UploadPart,
    /// `POST /bucket/key?uploadId=…`.
    CompleteMultipartUpload,
    /// `DELETE /bucket/key?uploadId=…`.
    AbortMultipartUpload,
    /// Anything else, buckets above all.
    Other,
}

/// What happens to a request instead of being served as usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Not applied; answered with this HTTP status (409, 429, 500, 503).
    Refuse(u16),
    /// Not applied; the connection closes without an answer.
    Drop,
    /// Applied, then answered with this HTTP status.
    ApplyThenRefuse(u16),
    /// Applied, then the connection closes without an answer.
    ApplyThenDrop,
    /// Applied at once, answered after this time.
    ApplyThenDelay(Duration),
    /// The connection closes without an answer; the request is applied after this time.
    ApplyLater(Duration),
    /// Applied and answered after this time.
    Delay(Duration),
    /// Served, but the connection breaks half-way through the answer's body.
    CutBody,
    /// Served, but the answer's body has only its first half, as if that were all.
    ShortBody,
    /// Served, but one bit in the middle of the answer's body is flipped.
    FlipBit,
}

/// Which requests a fault meets, and what it does to them.
#[derive(Debug, Clone)]
pub struct Fault {
    pub(super) operation: Operation,
    pub(super) key: String,
    pub(super) skip: usize,
    pub(super) times: usize,
    pub(super) effect: Effect,
}

impl Fault {
    /// The next request of this operation meets this effect.
    #[must_use]
    pub fn on(operation: Operation, effect: Effect) -> Self {
        Self { operation, key: String::new(), skip: 0, times: 1, effect }
    }

    /// Only requests whose key contains this text count.
    #[must_use]
    pub fn key_contains(mut self, text: impl Into<String>) -> Self {
        self.key = text.into();
        self
    }

    /// So many requests pass before the first fault.
    #[must_use]
    pub fn after(mut self, requests: usize) -> Self {
        self.skip = requests;
        self
    }

    /// So many requests meet the fault.
    #[must_use]
    pub fn times(mut self, requests: usize) -> Self {
        self.times = requests;
        self
    }
}

/// Takes the effect for a request out of the script; the first fault that matches wins.
pub(super) fn take(script: &mut Vec<Fault>, operation: Operation, key: &str) -> Option<Effect> {
    let index =
        script.iter().position(|fault| fault.operation == operation && key.contains(fault.key.as_str()))?;
    let fault = &mut script[index];
    if fault.skip > 0 {
        fault.skip -= 1;
        return None;
    }
    let effect = fault.effect;
    fault.times = fault.times.saturating_sub(1);
    if fault.times == 0 {
        script.remove(index);
    }
    Some(effect)
}
