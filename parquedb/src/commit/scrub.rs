//! Verifies a database from the first byte to the last, and reports all that is wrong.

mod data;
mod log;

use super::snapshot::{Snapshot, removed_schema, table_of_removed};
use super::state::State;
use super::work::{Memory, Progress, Step, Watch};
use super::{create, layout, read};
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, ErrorKind, Result};
use crate::store::Store;
use arrow::datatypes::SchemaRef;
use futures::StreamExt;
use object_store::path::Path;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How to verify a database.
#[derive(Debug, Clone)]
pub struct ScrubOptions {
    /// Data files that are read at once.
    pub concurrency: usize,
    /// Memory for the data files that are read at once, in bytes. A file that takes more than a quarter
    /// of it is streamed, twice.
    pub memory: u64,
    /// Unreferenced objects younger than this are not reported: a commit under way may be about to
    /// name them.
    pub recent: Duration,
    /// What tells the age of objects.
    pub clock: Arc<dyn Clock>,
    /// Whom to tell how far it is.
    pub watch: Watch,
    /// Tells the columns that a table's runs must have.
    pub columns: Columns,
}

impl Default for ScrubOptions {
    fn default() -> Self {
        Self {
            concurrency: 4,
            memory: 256 << 20,
            recent: Duration::from_secs(3600),
            clock: Arc::new(SystemClock),
            watch: Watch::default(),
            columns: Columns::default(),
        }
    }
}

type ColumnsOf = dyn Fn(&Snapshot, &str) -> Option<SchemaRef> + Send + Sync;

/// Tells the columns that the runs of a table must have at a snapshot, where that is known. The log
/// itself knows those of collections only, which is the default.
#[derive(Clone)]
pub struct Columns(Arc<ColumnsOf>);

impl Columns {
    /// As a function of the snapshot and the table's name.
    pub fn new(of: impl Fn(&Snapshot, &str) -> Option<SchemaRef> + Send + Sync + 'static) -> Self {
        Self(Arc::new(of))
    }
}

impl Default for Columns {
    fn default() -> Self {
        use crate::declare::definition::Definition;
        Self::new(|snapshot, table| {
            let of = |table: &str| match snapshot.definitions.get(table) {
                Some(Definition::Collection(collection)) => Some(Arc::clone(&collection.schema)),
                _ => None,
            };
            match table_of_removed(table) {
                Some(table) => of(table).map(|schema| removed_schema(&schema)),
                None => of(table),
            }
        })
    }
}

impl fmt::Debug for Columns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Columns(..)")
    }
}

/// What is wrong with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FindingKind {
    /// It is not there, and should be.
    Missing,
    /// Its bytes are not those that were written.
    Damaged,
    /// Its bytes are sound, and contradict those of another object.
    Inconsistent,
    /// The store did not give it.
    Unreadable,
    /// Nothing that can be read names it. It takes space and does no harm.
    Unreferenced,
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            FindingKind::Missing => "missing",
            FindingKind::Damaged => "damaged",
            FindingKind::Inconsistent => "inconsistent",
            FindingKind::Unreadable => "unreadable",
            FindingKind::Unreferenced => "unreferenced",
        })
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// What is wrong.
    pub kind: FindingKind,
    /// The object, from the database's root.
    pub object: String,
    /// What exactly, in words.
    pub message: String,
}

/// What a scrub found, and what it verified.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ScrubReport {
    /// Where the database is, without secrets.
    pub url: String,
    /// The oldest commit from which on all snapshots can be read.
    pub first_seq: Option<u64>,
    /// The newest commit that was verified.
    pub last_seq: Option<u64>,
    /// Commits that were verified.
    pub commits: u64,
    /// Checkpoints that were verified.
    pub checkpoints: u64,
    /// Data files that were verified.
    pub files: u64,
    /// Rows in them.
    pub rows: u64,
    /// Size of everything that was verified, in bytes.
    pub bytes: u64,
    /// Unreferenced objects that are too young to be reported.
    pub recent: u64,
    /// All that is wrong, ordered by kind and object.
    pub findings: Vec<Finding>,
}

/// An object as a listing gave it.
#[derive(Debug, Clone, Copy)]
struct Listed {
    size: u64,
    /// Microseconds since 1970.
    modified: i64,
}

/// Everything a scrub knows so far.
#[derive(Debug)]
struct Scrub<'a> {
    store: &'a Store,
    options: &'a ScrubOptions,
    listed: BTreeMap<String, Listed>,
    /// Objects that something names.
    named: BTreeSet<String>,
    report: ScrubReport,
    /// What all commits give, if they can be read.
    state: Option<State>,
}

impl Scrub<'_> {
    fn find(&mut self, kind: FindingKind, object: impl ToString, message: impl Into<String>) {
        let finding = Finding { kind, object: object.to_string(), message: message.into() };
        self.report.findings.push(finding);
    }

    /// An error of reading or understanding an object, as a finding.
    fn find_error(&mut self, object: impl ToString, error: &Error) {
        self.find(kind_of(error), object, error.to_string());
    }
}

fn kind_of(error: &Error) -> FindingKind {
    match error.kind() {
        ErrorKind::Corrupt => FindingKind::Damaged,
        ErrorKind::NotFound => FindingKind::Missing,
        _ => FindingKind::Unreadable,
    }
}

/// Verifies `FORMAT`, `HEAD`, every checkpoint and every commit (all checksums, the chain from each
/// commit to the next, and that the commits together give what each checkpoint holds), and every data
/// file of every snapshot that can be read (size, checksum, that it is a Parquet file of the right rows
/// and columns). Finds missing, damaged and unreferenced objects, and goes on after each.
///
/// Writes nothing, and may run while others write.
///
/// # Errors
/// [`ErrorKind::NotFound`] where there is no database at all, and the store's own errors when it cannot
/// be listed. What is wrong with the database is no error but in the report.
pub async fn scrub(store: &Store, options: &ScrubOptions) -> Result<ScrubReport> {
    options.watch.tell(Progress { step: Step::Listing, done: 0, total: 0, bytes: 0, total_bytes: 0 });
    let objects = store.list(None, None).await?;
    let listed = |object: &object_store::ObjectMeta| Listed {
        size: object.size,
        modified: object.last_modified.timestamp_micros(),
    };
    let listed: BTreeMap<String, Listed> =
        objects.iter().map(|object| (object.location.to_string(), listed(object))).collect();
    drop(objects);
    let report = ScrubReport { url: store.url().to_owned(), ..ScrubReport::default() };
    let mut scrub = Scrub { store, options, listed, named: BTreeSet::new(), report, state: None };
    scrub.check_format().await?;
    let files = log::check(&mut scrub).await?;
    scrub.check_files(files).await;
    scrub.forgive_collected().await;
    scrub.find_unreferenced();
    scrub.report.findings.sort();
    scrub.report.findings.dedup();
    Ok(scrub.report)
}

impl Scrub<'_> {
    async fn check_format(&mut self) -> Result<()> {
        let path = Path::from(layout::FORMAT);
        self.named.insert(path.to_string());
        match self.store.get(&path).await {
            Ok(Some(bytes)) => {
                self.report.bytes += bytes.len() as u64;
                if let Err(error) = create::read_format(&bytes, self.store.url()) {
                    self.find_error(&path, &error);
                }
            }
            Ok(None) => {
                let mut folders = self.listed.keys().filter_map(|path| path.split_once('/'));
                if !folders.any(|(folder, _)| folder == "log" || folder == "ckpt") {
                    let message = format!("there is no database in {}", self.store.url());
                    return Err(Error::new(ErrorKind::NotFound, message));
                }
                self.find(
                    FindingKind::Missing,
                    &path,
                    "there is a log and no file that says what it is; restore that file from a copy",
                );
            }
            Err(error) => self.find_error(&path, &error),
        }
        Ok(())
    }

    async fn check_files(&mut self, files: BTreeMap<String, data::Named>) {
        let bytes = files.values().map(|named| named.file.size).sum();
        let mut count = self.options.watch.count(Step::Files, files.len() as u64, bytes);
        self.named.extend(files.keys().cloned());
        let memory = Memory::new(self.options.memory);
        let (store, options, listed) = (self.store, self.options, &self.listed);
        let check = |named: data::Named| {
            let memory = &memory;
            let size = listed.get(&named.file.path).map(|listed| listed.size);
            async move {
                let checked = data::check(store, options, memory, &named, size).await;
                (named.file, checked)
            }
        };
        let mut findings = Vec::new();
        let mut checking = futures::stream::iter(files.into_values())
            .map(check)
            .buffer_unordered(options.concurrency.max(1));
        while let Some((file, checked)) = checking.next().await {
            count.add(file.size);
            match checked {
                Ok(()) => {
                    self.report.files += 1;
                    self.report.rows += file.rows;
                    self.report.bytes += file.size;
                }
                Err(found) => {
                    findings.extend(found.into_iter().map(|(kind, message)| Finding {
                        kind,
                        object: file.path.clone(),
                        message,
                    }));
                }
            }
        }
        drop(checking);
        self.report.findings.append(&mut findings);
    }

    /// What garbage collection took meanwhile is not missing.
    async fn forgive_collected(&mut self) {
        let is_missing = |finding: &Finding| finding.kind == FindingKind::Missing;
        let Some(mut state) = self.state.clone().filter(|_| self.report.findings.iter().any(is_missing))
        else {
            return;
        };
        // What is collected is not among the removed files any more.
        let before = Arc::clone(&state.removed);
        // A log that cannot be read further has not given up more, as far as can be told.
        let _ = read::follow(self.store, &mut state, &mut Vec::new(), None, read::Stop::Never).await;
        let floor = state.snapshot.floor;
        let removed = before.iter().chain(state.removed.iter()).filter(|file| file.seq <= floor);
        let removed: BTreeSet<&str> = removed.map(|file| file.path.as_str()).collect();
        self.report.findings.retain(|finding| {
            let is_old = || {
                let path = Path::parse(&finding.object).ok();
                path.as_ref().and_then(layout::seq_of).is_some_and(|seq| seq < floor)
            };
            !is_missing(finding) || !(removed.contains(finding.object.as_str()) || is_old())
        });
        self.report.first_seq = self.report.first_seq.map(|first| first.max(floor));
    }

    /// What was listed and nothing names.
    fn find_unreferenced(&mut self) {
        // What a commit names that cannot be read is not known.
        let doubtful = self
            .report
            .findings
            .iter()
            .find(|finding| finding.object.starts_with("log/"))
            .map(|finding| finding.object.clone());
        let now = self.options.clock.now();
        let recent = i64::try_from(self.options.recent.as_micros()).unwrap_or(i64::MAX);
        let unnamed: Vec<(String, Listed)> = self
            .listed
            .iter()
            .filter(|(path, _)| !self.named.contains(*path))
            .map(|(path, listed)| (path.clone(), *listed))
            .collect();
        for (path, listed) in unnamed {
            if now.saturating_sub(listed.modified) < recent {
                self.report.recent += 1;
                continue;
            }
            let message = match &doubtful {
                Some(commit) => format!(
                    "{} bytes that no readable commit names; keep it, {commit} may have named it",
                    listed.size
                ),
                None => format!("{} bytes that nothing names", listed.size),
            };
            self.find(FindingKind::Unreferenced, path, message);
        }
    }
}
