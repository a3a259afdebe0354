//! `query`: SQL over collections and views.

use super::Failure;
use arrow::array::RecordBatch;
use clap::{Args, ValueEnum};
use parquedb_tail::TailDb;
use std::io::Write;
use std::process::ExitCode;

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
        let database = TailDb::builder().read_only().open(&self.at).await?;
        let batches = database.sql(&self.sql).await?.collect().await?;
        let mut out = Vec::new();
        match self.format {
            Format::Table => {
                let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
                writeln!(out, "{}", arrow::util::pretty::pretty_format_batches(&batches)?)?;
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
        match std::io::stdout().write_all(&out) {
            // `head` has seen enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
            written => Ok(written.map(|()| ExitCode::SUCCESS)?),
        }
    }
}
