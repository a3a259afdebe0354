//! `backup` and `restore`: copies of a database.

use super::argument::{Moment, moment};
use super::bar::watched;
use super::{Failure, print, print_json, table};
use clap::{Args, value_parser};
use indicatif::HumanBytes;
use parquedb::admin::{CopyOptions, CopyReport, Watch, restore};
use parquedb::{At, Connection, Database, ErrorKind, Store};
use serde::Serialize;
use std::process::ExitCode;

/// Copy the database at a snapshot to another place.
///
/// TARGET gets the nearest checkpoint at or before the snapshot, the commits from there on, and all data
/// files that they name, each verified by its checksum on the way. The result is an ordinary database with
/// the same rows and views. Run again with the same TARGET it copies only what is new; interrupted, it goes
/// on where it was, and what is not complete is never taken for a database.
///
/// Others may write meanwhile. A pin keeps the snapshot from garbage collection, which costs two commits
/// and the right to write; --no-pin does without.
///
/// A later backup into the same TARGET needs the commits since the last one: let garbage collection keep
/// them for longer than the time between two backups.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  parquedb backup ./data /mnt/backup/shop
  parquedb backup s3://bucket/shop s3://other-bucket/shop --at 2026-11-21T10:30:00Z")]
pub(crate) struct Backup {
    /// Where the database lives.
    url: String,
    /// Where the copy goes: an empty place, or an earlier copy of the same database.
    target: String,
    /// Only read the database: a garbage collection meanwhile may make the backup fail.
    #[arg(long)]
    no_pin: bool,
    #[command(flatten)]
    copy: Copy,
}

/// Copy a backup at a snapshot to an empty place.
///
/// The result is an ordinary database with the same rows and views. Interrupted, it goes on where it was
/// when it is run again, and what is not complete is never taken for a database.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  parquedb restore /mnt/backup/shop ./data
  parquedb restore s3://other-bucket/shop s3://bucket/shop --at 1200")]
pub(crate) struct Restore {
    /// Where the backup is.
    backup: String,
    /// Where the database goes: an empty place.
    target: String,
    #[command(flatten)]
    copy: Copy,
}

#[derive(Debug, Args)]
struct Copy {
    /// At this commit or time instead of the newest.
    #[arg(long, value_name = "SEQ|TIME", value_parser = moment)]
    at: Option<Moment>,
    /// Data files that are copied at once.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = value_parser!(u16).range(1..))]
    concurrency: u16,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Copied<'a> {
    from: &'a str,
    to: &'a str,
    #[serde(flatten)]
    report: CopyReport,
}

impl Backup {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let target = Store::open(&self.target)?;
        let builder = Connection::builder();
        let builder = if self.no_pin { builder.read_only() } else { builder.existing() };
        let database = builder.open(&self.url).await.map_err(|error| {
            let is_closed = error.kind() == ErrorKind::Closed;
            let failure = Failure::from(error);
            if is_closed {
                Failure::new(format!("{failure}; or use --no-pin, which only reads"))
            } else {
                failure
            }
        })?;
        different(database.url(), target.url())?;
        let at = match self.copy.at {
            Some(at) => Some(database.seq_at(At::from(at)).await?),
            None => None,
        };
        let (bar, watch) = watched("commits", "data files");
        let report = database.backup(&target, &self.copy.options(at, watch)).await;
        bar.finish_and_clear();
        self.copy.show(database.url(), target.url(), report?)
    }
}

impl Restore {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let (backup, target) = (Store::open(&self.backup)?, Store::open(&self.target)?);
        different(backup.url(), target.url())?;
        let at = match self.copy.at {
            Some(at) => Some(at.seq(&self.backup).await?),
            None => None,
        };
        let (bar, watch) = watched("commits", "data files");
        let report = restore(&backup, &target, &self.copy.options(at, watch)).await;
        bar.finish_and_clear();
        self.copy.show(backup.url(), target.url(), report?)
    }
}

fn different(from: &str, to: &str) -> Result<(), Failure> {
    let is_same = from.trim_end_matches('/') == to.trim_end_matches('/');
    if is_same { Err(Failure::new(format!("{from} is both the source and the target"))) } else { Ok(()) }
}

impl Copy {
    fn options(&self, at: Option<u64>, watch: Watch) -> CopyOptions {
        CopyOptions { at, concurrency: usize::from(self.concurrency), watch, ..CopyOptions::default() }
    }

    fn show(&self, from: &str, to: &str, report: CopyReport) -> Result<ExitCode, Failure> {
        if self.json {
            print_json(&Copied { from, to, report })?;
            return Ok(ExitCode::SUCCESS);
        }
        let pairs = [
            ("from", from.to_owned()),
            ("to", to.to_owned()),
            ("at commit", report.seq.to_string()),
            ("commits copied", report.commits.to_string()),
            ("data files copied", report.files.to_string()),
            ("data files there before", report.files_present.to_string()),
            ("bytes copied", format!("{} ({})", report.bytes, HumanBytes(report.bytes))),
        ];
        print(format!("{}\n", table::pairs(&pairs)))?;
        Ok(ExitCode::SUCCESS)
    }
}
