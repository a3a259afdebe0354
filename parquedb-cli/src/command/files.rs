//! `files`: what the tables consist of.

use super::argument::{Moment, moment};
use super::inspect::files_table;
use super::{Failure, counted, print, print_json, table};
use clap::Args;
use indicatif::HumanBytes;
use parquedb::admin::TableContents;
use parquedb::{At, Connection, Database};
use serde::Serialize;
use std::fmt::Write;
use std::process::ExitCode;

/// List the data files of each table, and the rows that still live in commits.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  parquedb files ./data
  parquedb files s3://bucket/shop --table Order --at 1200
  parquedb files ./data --at 2026-11-21T10:30:00Z --json")]
pub(crate) struct Files {
    /// Where the database lives.
    url: String,
    /// Only this table: the Rust struct's name of a collection or view.
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    /// At this commit or time instead of the newest.
    #[arg(long, value_name = "SEQ|TIME", value_parser = moment)]
    at: Option<Moment>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Contents {
    url: String,
    seq: u64,
    tables: Vec<TableContents>,
}

impl Files {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let database = Connection::builder().read_only().open(&self.url).await?;
        let at = self.at.map_or(At::Newest, At::from);
        let seq = database.seq_at(at).await?;
        let mut tables = database.contents(seq).await?;
        if let Some(name) = &self.table {
            let names: Vec<String> = tables.iter().map(|table| table.table.clone()).collect();
            tables.retain(|table| &table.table == name);
            if tables.is_empty() {
                return Err(Failure::new(format!(
                    "no rows of a table `{name}` are stored at commit {seq}; there are: {}",
                    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
                )));
            }
        }
        let contents = Contents { url: database.url().to_owned(), seq, tables };
        if self.json {
            print_json(&contents)?;
        } else {
            print(text(&contents)?)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn text(contents: &Contents) -> Result<String, Failure> {
    let mut out = String::new();
    writeln!(out, "{} at commit {}", contents.url, contents.seq)?;
    for table in &contents.tables {
        writeln!(out, "\n{} ({})", table.table, if table.is_view { "view" } else { "collection" })?;
        if !table.files.is_empty() {
            writeln!(out, "{}", files_table(&table.files))?;
        }
        if let (Some(first), Some(last)) = (table.inline.first(), table.inline.last()) {
            let rows = table.inline.iter().map(|run| run.rows - run.removed).sum();
            writeln!(
                out,
                "{} in {}, {} to {} ({})",
                counted(rows, "row"),
                counted(table.inline.len() as u64, "commit"),
                first.seq,
                last.seq,
                HumanBytes(table.inline_bytes())
            )?;
        }
    }
    let row = |table: &TableContents| {
        vec![
            table.table.clone(),
            table.rows.to_string(),
            table.files.len().to_string(),
            HumanBytes(table.file_bytes()).to_string(),
            table.inline.len().to_string(),
            HumanBytes(table.inline_bytes()).to_string(),
            table.changed.to_string(),
        ]
    };
    let mut rows: Vec<Vec<String>> = contents.tables.iter().map(row).collect();
    let sum = |of: fn(&TableContents) -> u64| contents.tables.iter().map(of).sum::<u64>();
    rows.push(vec![
        "all".to_owned(),
        sum(|table| table.rows).to_string(),
        sum(|table| table.files.len() as u64).to_string(),
        HumanBytes(sum(TableContents::file_bytes)).to_string(),
        sum(|table| table.inline.len() as u64).to_string(),
        HumanBytes(sum(TableContents::inline_bytes)).to_string(),
        table::NONE.to_owned(),
    ]);
    let header = ["table", "rows", "files", "size", "in commits", "size", "changed in"];
    writeln!(out, "\n{}", table::render(&header, &rows))?;
    Ok(out)
}
