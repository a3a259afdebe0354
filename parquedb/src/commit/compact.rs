//! Compaction: many small files of a table become few, without a change of rows.
//!
//! The rewriting holds no lock and takes as long as it takes; only then the files are replaced, by one
//! commit. Where another process replaced one of them first, the result is dropped.

mod choose;
mod rewrite;

pub use rewrite::VerifiedFile;

use super::anchor::Moment;
use super::body::{AddedFile, Body, Compaction, Intent};
use super::removal::RemovedRows;
use super::snapshot::{DataFile, Snapshot};
use super::{Inner, Log, Writer, files, flush};
use crate::error::{Error, ErrorKind, Result};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use choose::Window;
use object_store::path::Path;
use rewrite::Joined;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, PoisonError};

/// What compaction makes of a table's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompactOptions {
    /// So many neighbouring files of like size become one. At least 2.
    pub min_files: usize,
    /// Files are joined up to this size, in bytes, before they are joined: the result is rather smaller.
    /// The rewriting takes about twice as much memory.
    pub target_bytes: u64,
    /// A view's states that take at most so many bytes together are merged whatever their sizes are. It costs
    /// little, and who reads a view of one file of merged states need not merge anything.
    pub few_states_bytes: u64,
    /// Join all files up to the target, of like size or not. It costs writing all rows again.
    pub full: bool,
}

impl Default for CompactOptions {
    fn default() -> Self {
        Self { min_files: 4, target_bytes: 128 << 20, few_states_bytes: 4 << 20, full: false }
    }
}

/// What compaction did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CompactReport {
    /// The tables with files, by name.
    pub tables: BTreeMap<String, CompactedTable>,
}

/// What compaction did to a table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CompactedTable {
    /// Files before.
    pub files_before: u64,
    /// Files afterwards.
    pub files_after: u64,
    /// Files that were replaced.
    pub files_replaced: u64,
    /// Size of the files that were read, in bytes.
    pub bytes_read: u64,
    /// Size of the files that were written, in bytes.
    pub bytes_written: u64,
    /// Rows, or states, in the files that were replaced, without those that are removed.
    pub rows_read: u64,
    /// Rows in the files in their place; fewer only where states were merged.
    pub rows_written: u64,
    /// Results that were dropped, because another process replaced the same files first.
    pub conflicts: u64,
    /// The files that were not replaced, and why.
    pub left: Vec<LeftFiles>,
}

/// Files that compaction left as they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftFiles {
    /// How many.
    pub files: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// Why.
    pub reason: String,
}

impl CompactReport {
    /// The number of files that were replaced.
    #[must_use]
    pub fn files_replaced(&self) -> u64 {
        self.tables.values().map(|table| table.files_replaced).sum()
    }

    fn table(&mut self, name: &str) -> &mut CompactedTable {
        self.tables.entry(name.to_owned()).or_default()
    }
}

/// Merges the states that tables of grouping views hold. The log itself knows nothing of views.
#[async_trait]
pub trait MergeStates: Send + Sync + fmt::Debug {
    /// The tables of a snapshot whose files hold states that can be merged.
    ///
    /// # Errors
    /// When the snapshot's definitions cannot be understood.
    async fn tables(&self, snapshot: &Snapshot) -> Result<BTreeSet<String>>;

    /// The states in some files of such a table, one of each group, in the table's stored schema.
    ///
    /// # Errors
    /// When they cannot be merged: then the files stay.
    async fn merge(
        &self,
        snapshot: &Snapshot,
        table: &str,
        files: Vec<VerifiedFile>,
    ) -> Result<Vec<RecordBatch>>;
}

/// How often to look for more files to join. Each time there are half as many, at most.
const ROUNDS: usize = 32;

/// How often a result is offered again, when other commits stood in its way but its files are still there.
const ATTEMPTS: usize = 5;

/// A file in the place of a window's.
#[derive(Debug)]
struct Output {
    window: Window,
    /// None where no row is left.
    file: Option<DataFile>,
}

/// What cannot become one file.
#[derive(Debug)]
enum Problem {
    /// From this file on the columns have other types.
    Differs(usize),
    /// The states cannot be merged.
    Unmergeable(Error),
    /// Something else.
    Other(Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Problem::Other(error)
    }
}

impl Log {
    /// Joins small files. Snapshots, rows and their commits stay as they are; the replaced files go with
    /// garbage collection once no snapshot that is kept needs them. Other writers go on meanwhile.
    ///
    /// States of grouping views are merged where `merge` is given: one file then has one row of each group.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] for a file that is not what was written, after everything else was done;
    /// [`ErrorKind::Invalid`] for options that cannot be; and as [`Log::commit`]. That another process was
    /// quicker is no error.
    pub async fn compact(
        &self,
        options: CompactOptions,
        merge: Option<Arc<dyn MergeStates>>,
    ) -> Result<CompactReport> {
        self.0.writable()?;
        if options.min_files < 2 {
            return Err(Error::invalid("one file alone cannot be joined: `min_files` must be at least 2"));
        }
        let ready = self.in_task(|inner, writer| {
            Box::pin(async move {
                inner.settle(writer).await?;
                inner.catch_up(writer).await?;
                inner.check_right(writer)
            })
        });
        ready.await?;
        let mut report = CompactReport::default();
        for (name, table) in &self.snapshot().tables {
            if !table.files.is_empty() {
                report.table(name).files_before = table.files.len() as u64;
            }
        }
        let mut apart = self.0.apart.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut damage = None;
        for _ in 0..ROUNDS {
            let snapshot = self.snapshot();
            let merging = match &merge {
                Some(merge) => merge.tables(&snapshot).await?,
                None => BTreeSet::new(),
            };
            let windows = choose::windows(&snapshot, &options, &merging, &apart);
            if windows.is_empty() {
                break;
            }
            let mut outputs = Vec::new();
            let (mut begun, mut bytes) = (self.moment(), 0);
            for window in windows {
                let size = window.bytes();
                report.table(&window.table).bytes_read += size;
                match self.0.rewrite(&snapshot, &window, merge.as_deref()).await {
                    Ok(file) => {
                        bytes += size;
                        outputs.push(Output { window, file });
                    }
                    Err(Problem::Other(error)) if error.kind() != ErrorKind::Corrupt => return Err(error),
                    Err(problem) => {
                        // While this process stood still, another may have replaced a file, and collection
                        // deleted it.
                        if matches!(&problem, Problem::Other(_))
                            && !is_there(&*self.catch_up().await?, &window)
                        {
                            report.table(&window.table).conflicts += 1;
                        } else {
                            self.set_apart(&window, problem, &mut apart, &mut damage);
                        }
                    }
                }
                // One commit of several small results, but not so many that a conflict costs much.
                if bytes >= options.target_bytes {
                    self.replace(std::mem::take(&mut outputs), begun, &mut report).await?;
                    (begun, bytes) = (self.moment(), 0);
                }
            }
            self.replace(outputs, begun, &mut report).await?;
        }
        describe_left(&mut report, &self.snapshot(), &options, &apart);
        tracing::info!(url = self.0.store.url(), files = report.files_replaced(), "compacted");
        match damage {
            Some(error) => Err(error),
            None => Ok(report),
        }
    }

    /// Whether there are files that [`Log::compact`] would join, as far as known here.
    ///
    /// # Errors
    /// When the snapshot's definitions cannot be understood.
    pub async fn is_compaction_due(&self, options: &CompactOptions, merge: &dyn MergeStates) -> Result<bool> {
        let snapshot = self.snapshot();
        let merging = merge.tables(&snapshot).await?;
        let apart = self.0.apart.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(!choose::windows(&snapshot, options, &merging, &apart).is_empty())
    }

    fn moment(&self) -> Moment {
        Moment::now(self.0.options.clock.as_ref())
    }

    /// Remembers what cannot become one file: damage for this call, in case it is repaired; the rest for as
    /// long as the log is open.
    fn set_apart(
        &self,
        window: &Window,
        problem: Problem,
        apart: &mut HashMap<String, String>,
        damage: &mut Option<Error>,
    ) {
        let (files, reason, is_lasting) = match problem {
            Problem::Differs(at) => {
                (&window.files[at..=at], "a column has another type than in the file before".to_owned(), true)
            }
            Problem::Unmergeable(error) => {
                (&window.files[..], format!("the states cannot be merged: {error}"), true)
            }
            Problem::Other(error) => {
                let reason = error.to_string();
                damage.get_or_insert(error);
                (&window.files[..], reason, false)
            }
        };
        tracing::warn!(url = self.0.store.url(), table = window.table, reason, "files cannot be joined");
        let paths = files.iter().map(|file| (file.path.clone(), reason.clone()));
        apart.extend(paths.clone());
        if is_lasting {
            self.0.apart.lock().unwrap_or_else(PoisonError::into_inner).extend(paths);
        }
    }

    /// Commits results. Those that came too late are deleted.
    async fn replace(&self, outputs: Vec<Output>, begun: Moment, report: &mut CompactReport) -> Result<()> {
        if outputs.is_empty() {
            return Ok(());
        }
        let replacing = self.in_task(move |inner, writer| Box::pin(inner.replace(writer, outputs, begun)));
        let (done, late) = replacing.await?;
        for Output { window, file } in done {
            let table = report.table(&window.table);
            table.files_replaced += window.files.len() as u64;
            table.rows_read += window.rows();
            table.rows_written += file.as_ref().map_or(0, |file| file.rows);
            table.bytes_written += file.as_ref().map_or(0, |file| file.size);
        }
        for Output { window, file } in late {
            let table = report.table(&window.table);
            table.conflicts += 1;
            let Some(file) = file else { continue };
            table.bytes_written += file.size;
            // No commit names it, and none will. If this fails garbage collection finds it.
            let path = Path::from(file.path.as_str());
            if let Err(error) = self.0.store.delete_if_present(&path).await {
                tracing::debug!(%error, "a file that was not needed could not be deleted");
            }
        }
        Ok(())
    }
}

impl Inner {
    /// Writes a window's rows to a file of their own.
    async fn rewrite(
        &self,
        snapshot: &Snapshot,
        window: &Window,
        merge: Option<&dyn MergeStates>,
    ) -> Result<Option<DataFile>, Problem> {
        let inputs = rewrite::read(&self.store, window).await?;
        let (name, is_view) = (window.table.clone(), flush::is_view(snapshot, &window.table));
        let first_seq = window.files.first().map_or(0, |file| file.first_seq);
        let last_seq = window.files.last().map_or(0, |file| file.last_seq);
        let merge = merge.filter(|_| window.merges);
        let written = match merge {
            Some(merge) => {
                let mut merged = merge.merge(snapshot, &name, inputs).await.map_err(Problem::Unmergeable)?;
                merged.retain(|batch| batch.num_rows() > 0);
                if merged.is_empty() {
                    return Ok(None);
                }
                let written = files::write(&self.store, name, is_view, vec![(last_seq, merged)], false).await;
                written.map_err(|error| match error.kind() {
                    ErrorKind::Invalid => Problem::Unmergeable(error),
                    _ => Problem::Other(error),
                })?
            }
            None => {
                let joined = rewrite::join(inputs).await.map_err(|error| {
                    let message = format!("cannot read the files of {name}: {error}");
                    Error::with_source(ErrorKind::Corrupt, message, error)
                })?;
                let bytes = match joined {
                    Joined::Bytes(bytes) => bytes,
                    Joined::Differs(at) => return Err(Problem::Differs(at + 1)),
                };
                files::put(&self.store, name, is_view, bytes, window.rows()).await?
            }
        };
        let AddedFile { path, size, rows, checksum, .. } = written;
        Ok(Some(DataFile {
            path,
            size,
            rows,
            checksum,
            first_seq,
            last_seq,
            merged: merge.is_some(),
            removed: RemovedRows::default(),
        }))
    }

    /// Commits the results whose files are all still there. Gives those, and the others.
    async fn replace(
        &self,
        writer: &mut Writer,
        mut outputs: Vec<Output>,
        begun: Moment,
    ) -> Result<(Vec<Output>, Vec<Output>)> {
        self.settle(writer).await?;
        self.ensure_right(writer).await?;
        let mut late = Vec::new();
        for _ in 0..ATTEMPTS {
            let snapshot = Arc::clone(&writer.state.snapshot);
            let (still, gone): (Vec<_>, Vec<_>) =
                outputs.into_iter().partition(|output| is_there(&snapshot, &output.window));
            late.extend(gone);
            outputs = still;
            if outputs.is_empty() {
                break;
            }
            let compacted = outputs.iter().map(|Output { window, file }| Compaction {
                table: window.table.clone(),
                removed: window.files.iter().map(|file| file.path.clone()).collect(),
                added: file.iter().cloned().collect(),
                merged: window.merges,
            });
            let intent = Intent { base_seq: snapshot.seq, ..Intent::default() };
            let body = Body { intent, compacted: compacted.collect(), ..Body::default() };
            match self.append_since(writer, body, begun).await {
                Ok(_) => return Ok((outputs, late)),
                // Perhaps only some of the files are gone, or none of them.
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
        late.extend(outputs);
        Ok((Vec::new(), late))
    }
}

fn is_there(snapshot: &Snapshot, window: &Window) -> bool {
    let Some(table) = snapshot.tables.get(&window.table) else { return false };
    // With the rows that it had when it was rewritten.
    let present: HashMap<&str, u64> =
        table.files.iter().map(|file| (file.path.as_str(), file.live_rows())).collect();
    window.files.iter().all(|file| present.get(file.path.as_str()) == Some(&file.live_rows()))
}

fn describe_left(
    report: &mut CompactReport,
    snapshot: &Snapshot,
    options: &CompactOptions,
    apart: &HashMap<String, String>,
) {
    for (name, table) in &snapshot.tables {
        if table.files.is_empty() {
            continue;
        }
        let reported = report.table(name);
        reported.files_after = table.files.len() as u64;
        for file in table.files.iter() {
            let reason = match apart.get(&file.path) {
                Some(reason) => reason.clone(),
                None if file.size > options.target_bytes / 2 => "large enough".to_owned(),
                None => "too few neighbours of like size".to_owned(),
            };
            match reported.left.iter_mut().find(|left| left.reason == reason) {
                Some(left) => {
                    left.files += 1;
                    left.bytes += file.size;
                }
                None => reported.left.push(LeftFiles { files: 1, bytes: file.size, reason }),
            }
        }
    }
}
