//! `query`: SQL over collections and views.

use super::Failure;
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow::util::pretty::pretty_format_batches;
use clap::{Args, ValueEnum};
use parquedb::{Connection, Database};
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

/// Ask the database in SQL.
///
/// Tables: tail_events, dead_letters, worker_logs, worker_errors, worker_requests, endpoint_metrics.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  parquedb-tail query --at ./data \"select outcome, count(*) from tail_events group by 1\"
  parquedb-tail query --at ./data \"select * from worker_errors order by timestamp desc limit 20\" --format json")]
pub(crate) struct Query {
    /// Where the database lives.
    #[arg(long, value_name = "URL")]
    at: String,
    /// The query.
    sql: String,
    /// How the rows are written; json is one object per line.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// In a table, show long values in full.
    #[arg(long)]
    wide: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Table,
    Json,
    Csv,
}

impl Query {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        super::log("warn");
        let database = Connection::builder().read_only().open(&self.at).await?;
        let frame = database.sql(&self.sql).await?;
        let schema = frame.schema().as_arrow().clone();
        let batches = frame.collect().await?;
        let mut out = Vec::new();
        match self.format {
            Format::Table => {
                let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
                let cut = if self.wide { usize::MAX } else { LONGEST_CELL };
                writeln!(out, "{}", text_table(&schema, &batches, cut)?)?;
                writeln!(out, "{rows} row{}", if rows == 1 { "" } else { "s" })?;
            }
            Format::Json => {
                let mut writer = arrow::json::LineDelimitedWriter::new(&mut out);
                writer.write_batches(&batches.iter().collect::<Vec<_>>())?;
                writer.finish()?;
            }
            Format::Csv => {
                let mut writer = arrow::csv::Writer::new(&mut out);
                for batch in &batches {
                    writer.write(batch)?;
                }
            }
        }
        super::print(&out)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Longest value of a table, in characters.
const LONGEST_CELL: usize = 60;

/// The rows as a table, each value cut to `cut` characters.
fn text_table(schema: &Schema, batches: &[RecordBatch], cut: usize) -> Result<String, ArrowError> {
    let options = FormatOptions::default().with_null("");
    let mut columns: Vec<_> = schema.fields().iter().map(|_| StringBuilder::new()).collect();
    for batch in batches {
        for (column, values) in columns.iter_mut().zip(batch.columns()) {
            let values = ArrayFormatter::try_new(values.as_ref(), &options)?;
            for row in 0..batch.num_rows() {
                let text = values.value(row).try_to_string()?.replace(['\n', '\r'], " ");
                match text.char_indices().nth(cut) {
                    Some((end, _)) => column.append_value(format!("{}…", text.get(..end).unwrap_or(&text))),
                    None => column.append_value(text),
                }
            }
        }
    }
    let names = schema.fields().iter().map(|field| Field::new(field.name(), DataType::Utf8, false));
    let schema = Arc::new(Schema::new(names.collect::<Vec<_>>()));
    let rows = batches.iter().map(RecordBatch::num_rows).sum();
    let columns = columns.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let table = RecordBatch::try_new_with_options(schema, columns, &options)?;
    Ok(pretty_format_batches(&[table])?.to_string())
}
