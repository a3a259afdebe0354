//! `gc`: deletes what no snapshot that is kept needs.

use super::argument::duration;
use super::{Failure, print, print_json, table};
use clap::Args;
use indicatif::HumanBytes;
use parquedb::commit::{Garbage, GarbageOptions, GarbageReport};
use parquedb::{Connection, Database};
use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

/// Delete what no snapshot that is kept needs any more.
///
/// Past snapshots can be read for as long as --retention says, or a pin. What is older goes: commits and
/// checkpoints before the oldest snapshot that is kept, files whose rows are in other files now or were
/// replaced, and files that interrupted writers left behind. Others may read and write meanwhile, and an
/// interrupted collection does no harm.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  parquedb gc ./data --dry-run
  parquedb gc s3://bucket/shop --retention 7d --json")]
pub(crate) struct Gc {
    /// Where the database lives.
    url: String,
    /// Only tell what would be deleted.
    #[arg(long)]
    dry_run: bool,
    /// For how long past snapshots can be read; at least an hour.
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = duration)]
    retention: Duration,
    /// The age from which a file that no snapshot names counts as left behind; at least a day.
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = duration)]
    orphans_after: Duration,
    /// Do not look for files that no snapshot names.
    #[arg(long, conflicts_with = "orphans_after")]
    keep_orphans: bool,
    /// As JSON, with the path and size of each object.
    #[arg(long)]
    json: bool,
}

impl Gc {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let builder = Connection::builder();
        let builder = if self.dry_run { builder.read_only() } else { builder.existing() };
        let database = builder.open(&self.url).await?;
        let options = GarbageOptions {
            retention: self.retention,
            orphans_after: (!self.keep_orphans).then_some(self.orphans_after),
            dry_run: self.dry_run,
        };
        let report = database.collect_garbage(options).await?;
        if self.json {
            print_json(&report)?;
        } else {
            print(text(&report)?)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

pub(super) fn text(report: &GarbageReport) -> Result<String, Failure> {
    let mut out = String::new();
    if report.dry_run {
        for garbage in report.commits.iter().chain(&report.checkpoints).chain(&report.files) {
            writeln!(out, "{}", garbage.path)?;
        }
        for garbage in &report.orphans {
            writeln!(out, "{} (no snapshot names it)", garbage.path)?;
        }
        if report.objects() > 0 {
            writeln!(out)?;
        }
    }
    let row = |name: &str, garbage: &[Garbage]| {
        let bytes = garbage.iter().map(|garbage| garbage.bytes).sum();
        vec![name.to_owned(), garbage.len().to_string(), HumanBytes(bytes).to_string()]
    };
    let mut rows = vec![
        row("commits", &report.commits),
        row("checkpoints", &report.checkpoints),
        row("replaced files", &report.files),
        row("files left behind", &report.orphans),
    ];
    if report.staging > 0 {
        rows.push(vec!["unfinished files".to_owned(), report.staging.to_string(), table::NONE.to_owned()]);
    }
    rows.push(vec!["all".to_owned(), report.objects().to_string(), HumanBytes(report.bytes()).to_string()]);
    let done = if report.dry_run { "would be deleted" } else { "deleted" };
    writeln!(out, "{}", table::render(&[done, "objects", "size"], &rows))?;
    let now = if report.dry_run { "would be" } else { "is" };
    writeln!(
        out,
        "\nThe oldest snapshot that can be read {now} {}; it was {}.",
        report.floor, report.floor_before
    )?;
    Ok(out)
}
