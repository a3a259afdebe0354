//! What the example programs share: tables of rows for a terminal.

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow::util::pretty::pretty_format_batches;
use std::sync::Arc;

/// Rows as a table with borders. Cells are one line each, at most `width` characters wide; null is `–`.
///
/// # Errors
/// When the batches differ in their columns.
pub fn table(batches: &[RecordBatch], width: usize) -> Result<String, ArrowError> {
    let texts = batches.iter().map(|batch| texts(batch, width)).collect::<Result<Vec<_>, _>>()?;
    Ok(pretty_format_batches(&texts)?.to_string())
}

fn texts(batch: &RecordBatch, width: usize) -> Result<RecordBatch, ArrowError> {
    let options = FormatOptions::default()
        .with_null("–")
        .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S"))
        .with_display_error(true);
    let mut fields = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let column = rounded(column)?;
        let formatter = ArrayFormatter::try_new(&column, &options)?;
        let cells = (0..column.len()).map(|row| one_line(&formatter.value(row).to_string(), width));
        columns.push(Arc::new(StringArray::from_iter_values(cells)));
        fields.push(Field::new(field.name(), DataType::Utf8, false));
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// Fractions with three digits, which is what a reader of a table wants.
fn rounded(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match column.data_type() {
        DataType::Float32 | DataType::Float64 => arrow::compute::cast(column, &DataType::Decimal128(38, 3)),
        _ => Ok(Arc::clone(column)),
    }
}

fn one_line(text: &str, width: usize) -> String {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut line: String = clean.clone().take(width).collect();
    if clean.count() > width {
        line.pop();
        line.push('…');
    }
    line
}
