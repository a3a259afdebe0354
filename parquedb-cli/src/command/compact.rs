//! `compact`: few large files in the place of many small ones.

use super::argument::size;
use super::{Failure, print, print_json, table};
use clap::{Args, value_parser};
use indicatif::HumanBytes;
use parquedb::commit::{CompactOptions, CompactReport, CompactedTable};
use parquedb::{Connection, Database};
use std::fmt::Write;
use std::process::ExitCode;

/// Join small files into larger ones, and merge the states of grouping views.
///
/// Reading then costs as much as if everything had been written at once. No snapshot changes, and no row.
/// Others may read and write meanwhile. The files that were replaced stay until garbage collection takes
/// them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  parquedb compact ./data
  parquedb compact s3://bucket/shop --full --json")]
pub(crate) struct Compact {
    /// Where the database lives.
    url: String,
    /// So many neighbouring files of like size become one.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = value_parser!(u32).range(2..))]
    min_files: u32,
    /// Join files up to this size; takes about twice as much memory.
    #[arg(long, value_name = "SIZE", default_value = "128MiB", value_parser = size)]
    target: u64,
    /// Join all files up to the target, of like size or not: writes all their rows again.
    #[arg(long)]
    full: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

impl Compact {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let database = Connection::builder().existing().open(&self.url).await?;
        let options = CompactOptions {
            min_files: usize::try_from(self.min_files).unwrap_or(usize::MAX),
            target_bytes: self.target,
            full: self.full,
            ..CompactOptions::default()
        };
        let report = database.compact(options).await?;
        if self.json {
            print_json(&report)?;
        } else {
            print(text(&report)?)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

pub(super) fn text(report: &CompactReport) -> Result<String, Failure> {
    if report.tables.is_empty() {
        return Ok("there is nothing to compact: no table has a data file\n".to_owned());
    }
    let row = |(name, table): (&String, &CompactedTable)| {
        vec![
            name.clone(),
            table.files_before.to_string(),
            table.files_after.to_string(),
            table.files_replaced.to_string(),
            HumanBytes(table.bytes_read).to_string(),
            HumanBytes(table.bytes_written).to_string(),
            table.rows_read.to_string(),
            table.rows_written.to_string(),
        ]
    };
    let header = ["table", "files", "files now", "replaced", "read", "written", "rows read", "rows written"];
    let rows: Vec<_> = report.tables.iter().map(row).collect();
    let mut out = format!("{}\n", table::render(&header, &rows));
    for (name, table) in &report.tables {
        for left in &table.left {
            let size = HumanBytes(left.bytes);
            let files = super::counted(left.files, "file");
            writeln!(out, "{name}: {files} ({size}) left as they were: {}", left.reason)?;
        }
        if table.conflicts > 0 {
            let results = super::counted(table.conflicts, "result");
            writeln!(out, "{name}: {results} dropped, because another process was quicker")?;
        }
    }
    Ok(out)
}
