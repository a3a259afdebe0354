//! `inspect`: one commit in full.

use super::{Failure, print, print_json, table};
use clap::Args;
use indicatif::HumanBytes;
use parquedb::Store;
use parquedb::admin::{CommitInfo, FileInfo, History, MemberChange, TableChange};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::ExitCode;

/// Show one commit in full.
///
/// Its header, every section with its size and checksum, the rows and columns it has for each table, the
/// files it names, what views absorbed, the ids of its batches, and what it does to the declared members.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  parquedb inspect ./data 42
  parquedb inspect s3://bucket/shop 42 --json")]
pub(crate) struct Inspect {
    /// Where the database lives.
    url: String,
    /// The commit's number.
    seq: u64,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Inspected {
    #[serde(flatten)]
    commit: CommitInfo,
    /// Nothing where the database before the commit cannot be read.
    member_changes: Option<BTreeMap<String, MemberChange>>,
}

impl Inspect {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let history = History::open(&Store::open(&self.url)?).await?;
        let commit = history.commit(self.seq).await?;
        let member_changes = history.member_changes(self.seq).await?;
        let inspected = Inspected { commit, member_changes };
        if self.json {
            print_json(&inspected)?;
        } else {
            print(text(&inspected)?)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn text(inspected: &Inspected) -> Result<String, Failure> {
    let commit = &inspected.commit;
    let mut out = String::new();
    let mut pairs = vec![
        ("commit", commit.seq.to_string()),
        ("id", commit.id.to_string()),
        ("time", commit.time.to_string()),
        ("writer", commit.writer.to_string()),
        ("epoch", commit.epoch.to_string()),
        ("computed from", commit.base.to_string()),
        ("size", format!("{} ({} bytes)", HumanBytes(commit.size), commit.size)),
        ("BLAKE3", commit.hash.clone()),
    ];
    if let (Some(id), Some(hash)) = (&commit.previous_id, &commit.previous_hash) {
        pairs.push(("follows", format!("{id} {hash}")));
    }
    writeln!(out, "{}\n\nsections", table::pairs(&pairs))?;
    let sections: Vec<Vec<String>> = commit
        .sections
        .iter()
        .map(|section| {
            let optional = if section.optional { "optional" } else { "" };
            let checksum = format!("{:016x}", section.checksum);
            vec![
                section.kind.to_string(),
                section.name.to_owned(),
                section.size.to_string(),
                checksum,
                optional.to_owned(),
            ]
        })
        .collect();
    writeln!(out, "{}", table::render(&["kind", "name", "bytes", "xxh3-64", ""], &sections))?;
    for change in &commit.tables {
        of_table(&mut out, change)?;
    }
    if !commit.cursors.is_empty() {
        let mut rows = Vec::new();
        for cursor in &commit.cursors {
            let definition: String = cursor.definition.chars().take(12).collect();
            for (source, absorbed) in &cursor.sources {
                let absorbed = match absorbed {
                    parquedb::commit::Absorbed::ThisCommit => "all".to_owned(),
                    parquedb::commit::Absorbed::Through(seq) => format!("up to commit {seq}"),
                };
                rows.push(vec![cursor.view.clone(), source.clone(), absorbed, definition.clone()]);
            }
        }
        writeln!(out, "\nviews\n{}", table::render(&["view", "source", "absorbed", "definition"], &rows))?;
    }
    if let Some(members) = &commit.members {
        let row = |member: &parquedb::admin::Member| {
            let kind = if member.is_view { "view" } else { "collection" };
            vec![member.name.clone(), kind.to_owned(), changed(inspected, &member.name)]
        };
        let mut rows: Vec<_> = members.iter().map(row).collect();
        for (name, change) in inspected.member_changes.iter().flatten() {
            if *change == MemberChange::Removed {
                rows.push(vec![name.clone(), String::new(), "removed".to_owned()]);
            }
        }
        writeln!(out, "\nmembers\n{}", table::render(&["name", "kind", "change"], &rows))?;
    }
    of_collection(&mut out, commit)?;
    if !commit.batch_ids.is_empty() {
        writeln!(out, "\nbatch ids\n{}", commit.batch_ids.join("\n"))?;
    }
    if !commit.sequences.is_empty() {
        let row = |range: &parquedb::admin::SequenceInfo| {
            vec![range.producer.clone(), range.first.to_string(), range.last.to_string()]
        };
        let rows: Vec<_> = commit.sequences.iter().map(row).collect();
        writeln!(out, "\nproducers\n{}", table::render(&["producer", "first", "last"], &rows))?;
    }
    if !commit.keys.is_empty() {
        let rows: Vec<_> =
            commit.keys.iter().map(|(table, keys)| vec![table.clone(), keys.to_string()]).collect();
        writeln!(out, "\nkeys\n{}", table::render(&["table", "keys"], &rows))?;
    }
    Ok(out)
}

/// What a commit did to a member.
fn changed(inspected: &Inspected, name: &str) -> String {
    let Some(changes) = &inspected.member_changes else { return "unknown".to_owned() };
    match changes.get(name) {
        Some(MemberChange::Added) => "added",
        Some(MemberChange::Changed) => "changed",
        _ => "",
    }
    .to_owned()
}

/// Pins, garbage collection and the right to write.
fn of_collection(out: &mut String, commit: &CommitInfo) -> std::fmt::Result {
    match commit.claim {
        Some(true) => writeln!(out, "\nits writer takes the database for itself")?,
        Some(false) => writeln!(out, "\nits writer gives the database back")?,
        None => {}
    }
    for pin in &commit.pins {
        match (pin.seq, pin.expires) {
            (Some(seq), Some(expires)) => {
                writeln!(out, "\npin {} keeps commit {seq} until {expires}", pin.name)?;
            }
            _ => writeln!(out, "\npin {} ends", pin.name)?,
        }
    }
    if let Some(floor) = commit.floor {
        writeln!(out, "\ncommit {floor} is the oldest that can be read from now on")?;
    }
    Ok(())
}

fn of_table(out: &mut String, change: &TableChange) -> std::fmt::Result {
    writeln!(out, "\n{}", change.table)?;
    if change.cleared {
        writeln!(out, "all earlier rows go")?;
    }
    if change.removed_rows > 0 {
        writeln!(out, "{} of earlier commits removed", super::counted(change.removed_rows, "row"))?;
    }
    if let Some(before) = change.expired_before {
        let rows = super::counted(change.expired_rows, "row");
        writeln!(out, "{rows} of earlier commits expired, all older than {before}")?;
    }
    if change.inline_rows > 0 {
        let size = HumanBytes(change.inline_bytes);
        writeln!(out, "{} in the commit ({size})", super::counted(change.inline_rows, "row"))?;
        let columns: Vec<_> = change
            .columns
            .iter()
            .map(|column| {
                let nullable = if column.nullable { "optional" } else { "required" };
                vec![column.name.clone(), nullable.to_owned(), shortened(&column.data_type)]
            })
            .collect();
        writeln!(out, "{}", table::render(&["column", "value", "type"], &columns))?;
    }
    let parts = [
        ("new files", &change.added),
        ("files for rows of earlier commits", &change.flushed),
        ("files that take the place of others", &change.compacted),
    ];
    for (title, files) in parts.into_iter().filter(|(_, files)| !files.is_empty()) {
        writeln!(out, "{title}\n{}", files_table(files))?;
    }
    if !change.removed.is_empty() {
        writeln!(out, "files whose place they take\n{}", change.removed.join("\n"))?;
    }
    Ok(())
}

/// Longest type of a column, in characters; --json has all of it.
const LONGEST_TYPE: usize = 60;

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST_TYPE) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or(text)),
        None => text.to_owned(),
    }
}

/// Files with what the log says of them.
pub(super) fn files_table(files: &[FileInfo]) -> String {
    let some_are_removed = files.iter().any(|file| file.removed > 0);
    let row = |file: &FileInfo| {
        let commits = match (file.first_seq, file.last_seq) {
            (first, last) if first == last => first.to_string(),
            (first, last) if file.merged => format!("{first}–{last} merged"),
            (first, last) => format!("{first}–{last}"),
        };
        let mut row = vec![file.path.clone(), HumanBytes(file.size).to_string(), file.rows.to_string()];
        if some_are_removed {
            row.push(file.removed.to_string());
        }
        row.extend([commits, format!("{:016x}", file.checksum)]);
        row
    };
    let rows: Vec<_> = files.iter().map(row).collect();
    let header: &[&str] = if some_are_removed {
        &["file", "size", "rows", "removed", "commits", "xxh3-64"]
    } else {
        &["file", "size", "rows", "commits", "xxh3-64"]
    };
    table::render(header, &rows)
}
