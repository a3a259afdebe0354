//! `scrub`: whether everything is sound.

use super::argument::duration;
use super::bar::watched;
use super::{Failure, counted, print, print_json, table};
use clap::{Args, value_parser};
use indicatif::HumanBytes;
use parquedb::Store;
use parquedb::admin::{ScrubOptions, ScrubReport, scrub};
use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

/// Verify the whole database, and report everything that is wrong.
///
/// Reads every commit and checkpoint and every data file of every snapshot that can be read: all
/// checksums, that each commit follows the one before, that together they give what the checkpoints hold,
/// that each file is a Parquet file of the right rows and columns. Lists what is missing, damaged,
/// inconsistent, unreadable or unreferenced, and goes on after each. Writes nothing; others may write
/// meanwhile. Exits with 1 if anything was found.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  parquedb scrub ./data
  parquedb scrub s3://bucket/shop --concurrency 16 --json | jq -r '.findings[].object'")]
pub(crate) struct Scrub {
    /// Where the database lives.
    url: String,
    /// Data files that are read at once.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = value_parser!(u16).range(1..))]
    concurrency: u16,
    /// Do not report unreferenced objects younger than this: a commit under way may be about to name them.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    recent: Duration,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

impl Scrub {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let (bar, watch) = watched("commits", "data files");
        let options = ScrubOptions {
            concurrency: usize::from(self.concurrency),
            recent: self.recent,
            watch,
            ..ScrubOptions::default()
        };
        let report = scrub(&Store::open(&self.url)?, &options).await;
        bar.finish_and_clear();
        let report = report?;
        if self.json {
            print_json(&report)?;
        } else {
            print(text(&report)?)?;
        }
        Ok(ExitCode::from(u8::from(!report.findings.is_empty())))
    }
}

fn text(report: &ScrubReport) -> Result<String, Failure> {
    let mut out = String::new();
    for finding in &report.findings {
        writeln!(out, "{:<12}  {}  {}", finding.kind, finding.object, finding.message)?;
    }
    if !report.findings.is_empty() {
        writeln!(out)?;
    }
    let snapshots = match (report.first_seq, report.last_seq) {
        (Some(first), Some(last)) => format!("{first} to {last}"),
        _ => "none after the damage".to_owned(),
    };
    let mut pairs = vec![
        ("database", report.url.clone()),
        ("readable snapshots", snapshots),
        ("sound commits", report.commits.to_string()),
        ("sound checkpoints", report.checkpoints.to_string()),
        ("sound data files", report.files.to_string()),
        ("rows in them", report.rows.to_string()),
        ("bytes verified", format!("{} ({})", report.bytes, HumanBytes(report.bytes))),
    ];
    if report.recent > 0 {
        pairs.push(("too young to judge", counted(report.recent, "unreferenced object")));
    }
    let found = match report.findings.len() as u64 {
        0 => "nothing is wrong".to_owned(),
        count => counted(count, "finding"),
    };
    pairs.push(("result", found));
    writeln!(out, "{}", table::pairs(&pairs))?;
    Ok(out)
}
