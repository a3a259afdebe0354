//! `maintain`: all that is due.

use super::argument::duration;
use super::{Failure, compact, counted, gc, print, print_json};
use clap::Args;
use parquedb::{Connection, Database, Maintained};
use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

/// Do everything that is due: refresh views, take expired rows out, move rows to files, join small files, collect garbage.
///
/// Views are refreshed by their schedules. For databases whose programs do not maintain them: run it now and
/// then, in as many places as you like. What one has done the others find done.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  parquedb maintain ./data
  parquedb maintain s3://bucket/shop --retention 7d --json")]
pub(crate) struct Maintain {
    /// Where the database lives.
    url: String,
    /// For how long past snapshots can be read; at least an hour.
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = duration)]
    retention: Duration,
    /// Do not collect garbage.
    #[arg(long, conflicts_with = "retention")]
    no_gc: bool,
    /// Do not join small files.
    #[arg(long)]
    no_compact: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

impl Maintain {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let builder = Connection::builder().existing().maintenance(|options| {
            options.retention = self.retention;
            if self.no_gc {
                options.collect_every = None;
            }
            if self.no_compact {
                options.compact = None;
            }
        });
        let done = builder.open(&self.url).await?.maintain().await?;
        if self.json {
            print_json(&done)?;
        } else {
            print(text(&done)?)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn text(done: &Maintained) -> Result<String, Failure> {
    let mut out = String::new();
    let refreshed = if done.refreshed.is_empty() { "no view".to_owned() } else { done.refreshed.join(", ") };
    writeln!(out, "refreshed {refreshed}")?;
    for (member, expired) in done.expired.iter().flat_map(|report| &report.tables) {
        let (rows, files) = (counted(expired.rows, "row"), counted(expired.files, "file"));
        writeln!(out, "{rows} of {member} from before {} expired, with {files}", expired.before)?;
    }
    writeln!(out, "{} rows from commits to files", if done.flushed { "moved" } else { "did not move" })?;
    match &done.compacted {
        Some(report) => writeln!(out, "\n{}", compact::text(report)?.trim_end())?,
        None => writeln!(out, "no small files were worth joining")?,
    }
    if let Some(report) = &done.collected {
        writeln!(out, "\n{}", gc::text(report)?.trim_end())?;
    }
    writeln!(out, "\nthe database is at commit {}", done.seq)?;
    Ok(out)
}
