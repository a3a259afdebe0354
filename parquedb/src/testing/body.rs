//! Bodies that arrive otherwise than they were sent.

use super::script::Fault;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream;
use object_store::{GetResult, GetResultPayload, Result};

/// The same answer, with half of the body or with one bit flipped.
pub(crate) async fn damaged(result: GetResult, fault: Fault) -> Result<GetResult> {
    let (meta, range, attributes) = (result.meta.clone(), result.range.clone(), result.attributes.clone());
    let bytes = result.bytes().await?;
    let bytes = match fault {
        Fault::Truncate => bytes.slice(..bytes.len() / 2),
        _ => flipped(&bytes),
    };
    let payload = GetResultPayload::Stream(stream::once(async { Ok(bytes) }).boxed());
    Ok(GetResult { payload, meta, range, attributes })
}

fn flipped(bytes: &Bytes) -> Bytes {
    let mut flipped = BytesMut::from(bytes.as_ref());
    let middle = flipped.len() / 2;
    if let Some(byte) = flipped.get_mut(middle) {
        *byte ^= 1 << (middle % 8);
    }
    flipped.freeze()
}
