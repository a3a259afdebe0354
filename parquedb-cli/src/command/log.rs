//! `log`: the commits.

use super::{Failure, counted, print, table};
use clap::Args;
use futures::StreamExt;
use indicatif::HumanBytes;
use parquedb::admin::{CommitInfo, History, TableChange};
use parquedb::{Store, Timestamp};
use std::process::ExitCode;

/// List the commits, newest first.
///
/// Tells of each commit when and by which process it was written, its size, and what it changes: rows per
/// table (in the commit itself, or in files), rows removed and expired, rows that moved from commits to files, replaced tables,
/// declared members, the views that absorbed something, and the ids of batches. With --json one object per
/// line.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  parquedb log ./data
  parquedb log ./data --from 1200 --to 1300 --limit 0
  parquedb log s3://bucket/shop --json | jq 'select(.tables[].cleared)'")]
pub(crate) struct Log {
    /// Where the database lives.
    url: String,
    /// The first commit to list.
    #[arg(long, value_name = "SEQ")]
    from: Option<u64>,
    /// The last commit to list.
    #[arg(long, value_name = "SEQ")]
    to: Option<u64>,
    /// List at most so many; 0 is all of them.
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// As JSON, one object per commit and line.
    #[arg(long)]
    json: bool,
}

/// Commits whose lines are aligned with each other.
const PAGE: usize = 500;

impl Log {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let history = History::open(&Store::open(&self.url)?).await?;
        // What does not exist is an error where it was asked for.
        for asked in [self.from, self.to].into_iter().flatten().filter(|seq| *seq > history.newest()) {
            history.commit(asked).await?;
        }
        let (first, last) = (self.from.unwrap_or(0), self.to.unwrap_or(history.newest()));
        if first > last {
            return Err(Failure::new(format!("--from {first} is after --to {last}")));
        }
        let limit = if self.limit == 0 { usize::MAX } else { self.limit };
        let mut commits = std::pin::pin!(history.commits(first..=last).take(limit));
        let (mut page, mut listed, mut oldest) = (Vec::new(), 0, last.saturating_add(1));
        while let Some(commit) = commits.next().await {
            let commit = match commit {
                Ok(commit) => commit,
                Err(error) => {
                    self.show(&mut page)?;
                    return Err(error.into());
                }
            };
            oldest = commit.seq;
            listed += 1;
            page.push(commit);
            if page.len() == PAGE || self.json {
                self.show(&mut page)?;
            }
        }
        self.show(&mut page)?;
        if listed == 0 {
            // Not even the last one is kept.
            history.commit(last).await?;
        }
        if self.from.is_some() && listed < limit && oldest > first {
            // Tells why it is not there.
            history.commit(first).await?;
        }
        if !self.json && listed == limit && oldest > first {
            eprintln!("{} before; --limit 0 lists all", counted(oldest - first, "more commit"));
        }
        Ok(ExitCode::SUCCESS)
    }

    fn show(&self, page: &mut Vec<CommitInfo>) -> Result<(), Failure> {
        let commits = std::mem::take(page);
        if commits.is_empty() {
            return Ok(());
        }
        if self.json {
            for commit in commits {
                print(format!("{}\n", serde_json::to_string(&commit)?))?;
            }
            return Ok(());
        }
        let rows: Vec<Vec<String>> = commits.iter().map(row).collect();
        let header = ["seq", "time", "writer", "epoch", "size", "what"];
        print(format!("{}\n", table::render(&header, &rows)))?;
        Ok(())
    }
}

fn row(commit: &CommitInfo) -> Vec<String> {
    vec![
        commit.seq.to_string(),
        to_millisecond(commit.time).to_string(),
        commit.writer.to_string().chars().take(8).collect(),
        commit.epoch.to_string(),
        HumanBytes(commit.size).to_string(),
        what(commit),
    ]
}

fn to_millisecond(at: Timestamp) -> Timestamp {
    Timestamp::from_micros(at.as_micros() - at.as_micros().rem_euclid(1000))
}

/// What a commit does, in one line.
pub(super) fn what(commit: &CommitInfo) -> String {
    let mut parts: Vec<String> = commit.tables.iter().flat_map(of_table).collect();
    if let Some(members) = &commit.members {
        parts.push(format!("declares {}", counted(members.len() as u64, "member")));
    }
    match commit.claim {
        Some(true) => parts.push("takes the database for its writer".to_owned()),
        Some(false) => parts.push("gives the database back".to_owned()),
        None => {}
    }
    for pin in &commit.pins {
        parts.push(match pin.seq {
            Some(seq) => format!("pins {seq} as {}", pin.name),
            None => format!("unpins {}", pin.name),
        });
    }
    if let Some(floor) = commit.floor {
        parts.push(format!("gives up what is before {floor}"));
    }
    if !commit.cursors.is_empty() {
        parts.push(format!("{} caught up", counted(commit.cursors.len() as u64, "view")));
    }
    let batches = commit.batch_ids.len() as u64
        + commit.sequences.iter().map(|range| range.last - range.first + 1).sum::<u64>();
    if batches > 0 {
        parts.push(counted(batches, "batch id"));
    }
    if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") }
}

fn of_table(change: &TableChange) -> Vec<String> {
    let name = &change.table;
    let mut parts = Vec::new();
    let files = match change.added.len() as u64 {
        0 => String::new(),
        count => format!(" in {}", counted(count, "file")),
    };
    match (change.cleared, change.rows()) {
        (true, rows) => parts.push(format!("{name} ={rows}{files}")),
        (false, 0) => {}
        (false, rows) => parts.push(format!("{name} +{rows}{files}")),
    }
    if change.removed_rows > 0 {
        parts.push(format!("{name} −{}", change.removed_rows));
    }
    if change.expired_rows > 0 {
        parts.push(format!("{name} −{} expired", change.expired_rows));
    }
    if !change.flushed.is_empty() {
        let rows: u64 = change.flushed.iter().map(|file| file.rows).sum();
        let files = counted(change.flushed.len() as u64, "file");
        parts.push(format!("{name} {rows} rows moved to {files}"));
    }
    if !change.removed.is_empty() {
        let (from, to) = (change.removed.len() as u64, change.compacted.len() as u64);
        parts.push(format!("{name} {} compacted to {to}", counted(from, "file")));
    }
    parts
}
