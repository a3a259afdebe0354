//! A request body or file as it arrives: perhaps compressed, of any size.

use super::split::SplitError;
use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use std::io::Read;

/// Why a body cannot be read at all. Nothing of it is stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The body is larger than the limit, compressed or not.
    #[error("the body is larger than {limit} bytes{}", if *.decompressed { " once decompressed" } else { "" })]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
        /// Whether it is the decompressed body that is too large.
        decompressed: bool,
    },
    /// The body begins as gzip but is not.
    #[error("the gzip body cannot be decompressed")]
    Gzip(#[source] std::io::Error),
    /// The body cannot be cut into items.
    #[error(transparent)]
    Split(#[from] SplitError),
}

/// Whether bytes begin as gzip does. No JSON does, so no header is needed to tell: senders forget it,
/// and proxies decompress without removing it.
#[must_use]
pub fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
}

/// The body, decompressed if it is gzip. Reads no further than `limit` bytes of it, so a small body
/// that decompresses to a huge one costs no more than that.
///
/// # Errors
/// When the body is larger than `limit` before or after decompression, or is broken gzip.
pub fn inflate(body: Bytes, limit: usize) -> Result<Bytes, BodyError> {
    if body.len() > limit {
        return Err(BodyError::TooLarge { limit, decompressed: false });
    }
    if !is_gzip(&body) {
        return Ok(body);
    }
    let mut inflated = Vec::new();
    let beyond = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    MultiGzDecoder::new(body.as_ref()).take(beyond).read_to_end(&mut inflated).map_err(BodyError::Gzip)?;
    if inflated.len() > limit {
        return Err(BodyError::TooLarge { limit, decompressed: true });
    }
    Ok(inflated.into())
}
