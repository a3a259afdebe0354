//! Hashes of values that are the same for ever: XXH3 of their little-endian bytes.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};
use xxhash_rust::xxh3::xxh3_64;

/// The hash of each value; some number where it is null.
pub(super) fn hashes(values: &ArrayRef) -> Result<Vec<u64>> {
    Ok(match values.data_type() {
        DataType::Boolean => {
            values.as_boolean().values().iter().map(|value| xxh3_64(&[u8::from(value)])).collect()
        }
        DataType::Utf8 => {
            let texts = values.as_string::<i32>();
            (0..texts.len()).map(|row| xxh3_64(texts.value(row).as_bytes())).collect()
        }
        DataType::Binary => {
            let bytes = values.as_binary::<i32>();
            (0..bytes.len()).map(|row| xxh3_64(bytes.value(row))).collect()
        }
        DataType::FixedSizeBinary(_) => {
            let bytes = values.as_fixed_size_binary();
            (0..bytes.len()).map(|row| xxh3_64(bytes.value(row))).collect()
        }
        kind => {
            let Some(width) = kind.primitive_width() else {
                return exec_err!("the distinct values of {kind} cannot be estimated");
            };
            let data = values.to_data();
            let bytes = &data.buffers()[0].as_slice()[data.offset() * width..];
            bytes.chunks_exact(width).take(values.len()).map(xxh3_64).collect()
        }
    })
}
