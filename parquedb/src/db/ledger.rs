//! What each collection and view costs in requests and bytes.

use super::Connection;
use crate::declare::definition::Definition;
use crate::store::Requests;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// What requests and bytes are spent on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case", tag = "part", content = "name")]
#[non_exhaustive]
pub enum LedgerPart {
    /// The files of a collection.
    Collection(String),
    /// The files of a view.
    View(String),
    /// The commits.
    Log,
    /// The checkpoints.
    Checkpoints,
    /// The hint where the log ends.
    Head,
    /// What belongs to none of these: creating and looking for a database.
    Other,
}

impl fmt::Display for LedgerPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LedgerPart::Collection(name) | LedgerPart::View(name) => name,
            LedgerPart::Log => "log",
            LedgerPart::Checkpoints => "checkpoints",
            LedgerPart::Head => "HEAD",
            LedgerPart::Other => "other",
        })
    }
}

/// What one part of the database cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LedgerEntry {
    /// What it was spent on.
    #[serde(flatten)]
    pub part: LedgerPart,
    /// Requests for its objects, and bytes in them.
    #[serde(flatten)]
    pub requests: Requests,
    /// Bytes that its rows took inside commits. They are part of the bytes written to the log.
    pub bytes_in_commits: u64,
}

/// What each collection and view cost this process since it opened the database, and what the log cost
/// that they share. Counts only: what they cost in money depends on the store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Ledger {
    /// Collections, then views, then what they share.
    pub entries: Vec<LedgerEntry>,
}

impl Ledger {
    /// The sum of all entries.
    #[must_use]
    pub fn total(&self) -> Requests {
        let mut total = Requests::default();
        self.entries.iter().for_each(|entry| total += entry.requests);
        total
    }

    /// The entry of a collection or view, by the name of its Rust struct.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&LedgerEntry> {
        self.entries
            .iter()
            .find(|entry| matches!(&entry.part, LedgerPart::Collection(part) | LedgerPart::View(part) if part == name))
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |name: String, requests: &Requests, inside: u64| {
            let numbers = [
                requests.put,
                requests.get,
                requests.head,
                requests.list,
                requests.delete,
                requests.bytes_written,
                requests.bytes_read,
                inside,
            ];
            [vec![name], numbers.iter().map(u64::to_string).collect()].concat()
        };
        let heads = [
            "member",
            "puts",
            "gets",
            "heads",
            "lists",
            "deletes",
            "bytes written",
            "bytes read",
            "in commits",
        ];
        let mut rows = vec![heads.iter().map(|head| (*head).to_owned()).collect()];
        for entry in &self.entries {
            rows.push(row(entry.part.to_string(), &entry.requests, entry.bytes_in_commits));
        }
        let inside = self.entries.iter().map(|entry| entry.bytes_in_commits).sum();
        rows.push(row("total".to_owned(), &self.total(), inside));
        write_table(f, &rows)
    }
}

/// Writes rows of cells in columns: the first one begins at the left, the others end at the right.
pub(super) fn write_table(f: &mut fmt::Formatter<'_>, rows: &[Vec<String>]) -> fmt::Result {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            match column {
                0 => write!(f, "{cell:<width$}")?,
                _ => write!(f, "  {cell:>width$}")?,
            }
        }
        writeln!(f)?;
    }
    Ok(())
}

impl Connection {
    /// What each collection and view cost in requests to the store and in bytes, since this process
    /// opened the database. Nothing is read for it.
    ///
    /// The bytes of a commit's rows belong to the members they are of; what else the log cost belongs to
    /// all of them.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        let snapshot = self.0.log.snapshot();
        let part_of = |name: &str| match snapshot.definitions.get(name) {
            Some(Definition::View(_)) => LedgerPart::View(name.to_owned()),
            _ => LedgerPart::Collection(name.to_owned()),
        };
        let mut parts: BTreeMap<LedgerPart, (Requests, u64)> = BTreeMap::new();
        for (path, requests) in self.0.log.store().requests_by_part() {
            let part = match path.split_once('/') {
                Some(("data", name)) => LedgerPart::Collection(name.to_owned()),
                Some((_, name)) => LedgerPart::View(name.to_owned()),
                None if path == "log" => LedgerPart::Log,
                None if path == "ckpt" => LedgerPart::Checkpoints,
                None if path == "HEAD" => LedgerPart::Head,
                None => LedgerPart::Other,
            };
            parts.entry(part).or_default().0 += requests;
        }
        for (table, written) in self.0.log.counts().written {
            parts.entry(part_of(&table)).or_default().1 += written.bytes_in_commits;
        }
        let entries = parts
            .into_iter()
            .map(|(part, (requests, bytes_in_commits))| LedgerEntry { part, requests, bytes_in_commits })
            .collect();
        Ledger { entries }
    }
}
