//! Reads the Arrow stream of a commit, whatever bytes it has.
//!
//! Arrow's reader takes the lengths in a stream as they are, and asks for that much memory. So they are
//! checked before: no message may be longer than what is left, and no compressed buffer larger than
//! [`LARGEST`]. A buffer of LZ4 may be longer than it says until its end is read: up to 255 times what is
//! stored, which is as far as LZ4 compresses.

use arrow::ipc::reader::StreamReader;
use arrow::ipc::{BodyCompression, Message, MessageHeader, RecordBatch as Content, root_as_message};
use arrow::record_batch::RecordBatch;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The most bytes that the compressed buffers of one stream may have when they are taken apart. Writers put
/// larger rows into files.
pub(super) const LARGEST: usize = 256 << 20;

/// Stands before the length of a message.
const CONTINUATION: u32 = u32::MAX;

/// The batches of a stream. The error tells what is wrong.
pub(super) fn read(stream: &[u8]) -> Result<Vec<RecordBatch>, String> {
    check(stream)?;
    let read = || StreamReader::try_new(stream, None)?.collect::<Result<Vec<_>, _>>();
    // Arrow's reader validates the data of arrays, but panics at types that it does not know, such as an
    // integer of 7 bits, at dictionaries that are missing, and at buffers outside of the message. Bytes
    // like that have the right checksums, so that somebody made them on purpose: one damaged object must
    // not end the whole process. Nothing of the reader outlives the panic.
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(batches) => batches.map_err(|error| error.to_string()),
        Err(_) => Err("it is no Arrow stream that a writer makes".to_owned()),
    }
}

/// Makes sure that reading the stream takes no more memory than it should.
fn check(mut stream: &[u8]) -> Result<(), String> {
    let mut inflated = 0_usize;
    while let Some(mut length) = number(&mut stream) {
        if length == CONTINUATION {
            length = number(&mut stream).ok_or("a message has no length")?;
        }
        if length == 0 {
            return Ok(());
        }
        let metadata = take(&mut stream, i64::from(length)).ok_or("a message is cut short")?;
        let message = root_as_message(metadata).map_err(|error| error.to_string())?;
        let body = take(&mut stream, message.bodyLength()).ok_or("the body of a message is cut short")?;
        inflated = inflated.saturating_add(inflated_size(&message, body)?);
        if inflated > LARGEST {
            return Err(format!("its rows would take more than {LARGEST} bytes"));
        }
    }
    Ok(())
}

fn number(stream: &mut &[u8]) -> Option<u32> {
    let (bytes, rest) = stream.split_first_chunk()?;
    *stream = rest;
    Some(u32::from_le_bytes(*bytes))
}

fn take<'a>(stream: &mut &'a [u8], length: i64) -> Option<&'a [u8]> {
    let (taken, rest) = stream.split_at_checked(usize::try_from(length).ok()?)?;
    *stream = rest;
    Some(taken)
}

/// The bytes that the compressed buffers of a message say they have.
fn inflated_size(message: &Message<'_>, body: &[u8]) -> Result<usize, String> {
    let content: Option<Content<'_>> = match message.header_type() {
        MessageHeader::RecordBatch => message.header_as_record_batch(),
        MessageHeader::DictionaryBatch => message.header_as_dictionary_batch().and_then(|batch| batch.data()),
        _ => None,
    };
    let Some(content) = content else { return Ok(0) };
    let compression: Option<BodyCompression<'_>> = content.compression();
    let Some(buffers) = content.buffers().filter(|_| compression.is_some()) else { return Ok(0) };
    let mut total = 0_usize;
    for buffer in buffers {
        let start = usize::try_from(buffer.offset()).ok();
        let range = start.zip(usize::try_from(buffer.length()).ok());
        let bytes = range.and_then(|(start, length)| body.get(start..)?.get(..length));
        let bytes = bytes.ok_or("a buffer lies outside of its message")?;
        // Empty buffers have no length, and that of an incompressible one is -1.
        let Some(length) = bytes.first_chunk() else { continue };
        total = total.saturating_add(usize::try_from(i64::from_le_bytes(*length)).unwrap_or(0));
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int64Array;
    use arrow::ipc::CompressionType;
    use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
    use std::sync::Arc;

    const ROWS: usize = 100_000;

    fn compressed(codec: CompressionType) -> Vec<u8> {
        let column = Arc::new(Int64Array::from(vec![7; ROWS])) as _;
        let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
        let options = IpcWriteOptions::default().try_with_compression(Some(codec)).unwrap();
        let mut stream = Vec::new();
        let mut writer = StreamWriter::try_new_with_options(&mut stream, &batch.schema(), options).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        stream
    }

    /// The stream with other bytes in the place of the only ones like these.
    fn replaced(stream: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
        let at: Vec<_> = (0..stream.len()).filter(|at| stream[*at..].starts_with(old)).collect();
        assert_eq!(at.len(), 1);
        [&stream[..at[0]], new, &stream[at[0] + new.len()..]].concat()
    }

    #[test]
    fn lengths_that_lie_take_no_memory() {
        for codec in [CompressionType::LZ4_FRAME, CompressionType::ZSTD] {
            lengths_lie(&compressed(codec));
        }
    }

    fn lengths_lie(stream: &[u8]) {
        assert_eq!(read(stream).unwrap()[0].num_rows(), ROWS);
        let size = (ROWS * 8).to_le_bytes();
        for (length, expected) in [(1_i64 << 40, "would take more"), (i64::MAX, "would take more"), (16, "")]
        {
            let error = read(&replaced(stream, &size, &length.to_le_bytes())).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let metadata = u32::from_le_bytes(stream[4..8].try_into().unwrap());
        for length in [i32::MAX as u32, u32::MAX - 1, metadata + (1 << 20)] {
            let bytes = [&stream[..4], &length.to_le_bytes(), &stream[8..]].concat();
            assert!(read(&bytes).unwrap_err().contains("cut short"));
        }
    }
}
