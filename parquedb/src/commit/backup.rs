//! Copies a database at a snapshot to another place.
//!
//! The copy gets the nearest checkpoint at or before the snapshot, the commits from there up to it, and
//! all data files that they name, each verified by its checksum on the way. `FORMAT`, without which
//! nothing is a database, is written last. A copy into a place that holds an earlier one goes on where
//! that ended: data files first, then commits in their order, so that it is a database at any moment.

mod target;

use super::checkpoint::{self, Hint};
use super::envelope::Hash;
use super::snapshot::DataFile;
use super::work::{Memory, Step, Watch};
use super::{create, history, layout, read};
use crate::error::{Error, ErrorKind, Result};
use crate::store::Store;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use serde::Serialize;
use std::collections::BTreeMap;
use target::{Marker, Target};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

/// Commits read at once.
const AHEAD: usize = 16;

/// Commits up to this size together are kept in memory between reading and writing them.
const KEPT: usize = 64 << 20;

/// How to copy a database.
#[derive(Debug, Clone)]
pub struct CopyOptions {
    /// The snapshot to copy; by default the newest.
    pub at: Option<u64>,
    /// Data files that are copied at once.
    pub concurrency: usize,
    /// Memory for the data files that are copied at once, in bytes. One file at a time may take more.
    pub memory: u64,
    /// Whom to tell how far it is.
    pub watch: Watch,
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self { at: None, concurrency: 4, memory: 256 << 20, watch: Watch::default() }
    }
}

/// What was copied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CopyReport {
    /// The snapshot that the copy holds.
    pub seq: u64,
    /// Commits that were copied.
    pub commits: u64,
    /// Data files that were copied.
    pub files: u64,
    /// Data files that were there before.
    pub files_present: u64,
    /// Size of everything that was copied, in bytes.
    pub bytes: u64,
}

impl CopyReport {
    fn add(&mut self, later: CopyReport) {
        self.seq = later.seq;
        self.commits += later.commits;
        self.files += later.files;
        self.files_present = later.files_present;
        self.bytes += later.bytes;
    }
}

/// What a copy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Backup,
    Restore,
}

/// Copies a database at a snapshot to another place, which is empty, or holds an earlier copy of it: then
/// only what is new is copied. The result is an ordinary database. One that was interrupted is none, and
/// is completed by the next try.
///
/// Others may write to the source meanwhile. Garbage collection may take away what is being copied unless
/// a pin keeps it.
///
/// # Errors
/// [`ErrorKind::NotFound`] when there is no such database or snapshot, [`ErrorKind::Invalid`] when the
/// target holds something else, [`ErrorKind::Conflict`] when it holds commits that the source does not
/// have, [`ErrorKind::Corrupt`] when an object of the source is damaged or missing, and the stores' own
/// errors.
pub async fn backup(source: &Store, target: &Store, options: &CopyOptions) -> Result<CopyReport> {
    let mut report = CopyReport::default();
    loop {
        let (copied, is_complete) = copy(source, target, options, Purpose::Backup).await?;
        report.add(copied);
        if is_complete {
            return Ok(report);
        }
    }
}

/// Copies a backup at a snapshot to an empty place. One that was interrupted is completed by the next
/// try.
///
/// # Errors
/// As [`backup`]; [`ErrorKind::Invalid`] also when the target is not empty.
pub async fn restore(backup: &Store, target: &Store, options: &CopyOptions) -> Result<CopyReport> {
    let mut report = CopyReport::default();
    let mut purpose = Purpose::Restore;
    loop {
        let (copied, is_complete) = copy(backup, target, options, purpose).await?;
        report.add(copied);
        if is_complete {
            return Ok(report);
        }
        // What an interrupted try had begun is complete; the backup has got more since.
        purpose = Purpose::Backup;
    }
}

/// What to copy of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Plan {
    /// The first commit.
    first: u64,
    /// The last commit.
    seq: u64,
    checkpoint: Option<u64>,
}

/// One copy. Tells also whether the target is what was asked for.
async fn copy(
    source: &Store,
    target: &Store,
    options: &CopyOptions,
    purpose: Purpose,
) -> Result<(CopyReport, bool)> {
    let none = || Error::new(ErrorKind::NotFound, format!("there is no database in {}", source.url()));
    let format = source.get(&Path::from(layout::FORMAT)).await?.ok_or_else(none)?;
    create::read_format(&format, source.url())?;
    let newest = history::newest(source).await?.ok_or_else(none)?;
    let wanted = options.at.unwrap_or(newest);
    if wanted > newest {
        return Err(Error::new(
            ErrorKind::NotFound,
            format!("there is no commit {wanted} in {}; the last is {newest}", source.url()),
        ));
    }
    let mut found = target::look(target, &format, purpose).await?;
    let plan = found.plan(source, wanted, options.at.is_some()).await?;
    if !found.is_database && !found.has_log() {
        let marker = Marker::new(&format, plan)?;
        target.put(&Path::from(layout::UNFINISHED), marker.encode()?).await?;
    }
    let log = read_log(source, plan, found.last.as_ref()).await?;
    let mut report = CopyReport { seq: plan.seq, ..CopyReport::default() };
    copy_files(source, target, options, plan, &log.files, &found, &mut report).await?;
    copy_commits(source, target, options, plan, &log, &found, &mut report).await?;
    if let Some((seq, bytes)) = log.checkpoint {
        put_once(target, &layout::checkpoint(seq), bytes, &found, &mut report).await?;
    }
    let head = Path::from(layout::HEAD);
    let hint = Hint { seq: plan.seq, checkpoint: plan.checkpoint }.encode();
    if !found.is_database || target.get(&head).await?.as_ref() != Some(&hint) {
        target.put(&head, hint).await?;
    }
    if !found.is_database {
        put_once(target, &Path::from(layout::FORMAT), format, &found, &mut report).await?;
        found.has_marker = true;
    }
    if found.has_marker {
        target.delete(&Path::from(layout::UNFINISHED)).await?;
    }
    Ok((report, plan.seq >= wanted))
}

/// The part of the source's log that is copied, verified.
#[derive(Debug)]
struct LogPart {
    files: BTreeMap<String, DataFile>,
    checkpoint: Option<(u64, Bytes)>,
    /// Commits that are kept in memory.
    commits: BTreeMap<u64, Bytes>,
}

/// Reads the commits and the checkpoint of a plan. `last` is what the first commit must follow, where the
/// target has it.
async fn read_log(source: &Store, plan: Plan, last: Option<&(Uuid, Hash)>) -> Result<LogPart> {
    let mut part = LogPart { files: BTreeMap::new(), checkpoint: None, commits: BTreeMap::new() };
    let mut of_checkpoint = None;
    if let Some(seq) = plan.checkpoint {
        let path = layout::checkpoint(seq);
        let bytes = needed(source, &path, plan).await?;
        let (state, _) = checkpoint::open(&bytes, seq, source.url())?;
        // Earlier files are in the target already when the checkpoint is older than what it has.
        if seq >= plan.first {
            let files = state.snapshot.tables.values().flat_map(|table| table.files.iter());
            part.files.extend(files.map(|file| (file.path.clone(), file.as_ref().clone())));
        }
        of_checkpoint = Some((seq, (state.tip.commit_id, state.tip.hash)));
        part.checkpoint = Some((seq, bytes));
    }
    let mut previous = match last {
        Some(last) => Some(*last),
        None if plan.first == 0 => Some((Uuid::nil(), [0; 32])),
        None => None,
    };
    let mut kept = 0;
    let mut reading = futures::stream::iter(plan.first..=plan.seq)
        .map(|seq| async move { Ok::<_, Error>((seq, needed(source, &layout::commit(seq), plan).await?)) })
        .buffered(AHEAD);
    while let Some((seq, bytes)) = reading.try_next().await? {
        let (header, hash, body, place) = read::open_commit(&bytes, seq, source.url())?;
        let own = (header.commit_id, hash);
        let follows = previous.is_none_or(|last| last == (header.previous_id, header.previous_hash));
        if !follows || of_checkpoint.is_some_and(|(at, of)| at == seq && of != own) {
            return Err(Error::corrupt(format!(
                "commit {place} does not go with what is stored before it: one of the two was replaced; `parquedb scrub` tells more"
            )));
        }
        previous = Some(own);
        part.files.extend(body.data_files(seq).map(|(_, file)| (file.path.clone(), file)));
        kept += bytes.len();
        if kept <= KEPT {
            part.commits.insert(seq, bytes);
        }
    }
    Ok(part)
}

/// An object that the copy needs.
async fn needed(source: &Store, path: &Path, plan: Plan) -> Result<Bytes> {
    match source.get(path).await? {
        Some(bytes) => Ok(bytes),
        None => Err(gone(source, path, plan.first).await?),
    }
}

/// Why an object is not there that commits from `first` on need.
async fn gone(source: &Store, path: &Path, first: u64) -> Result<Error> {
    let url = source.url();
    if read::oldest(source).await? <= Some(first) {
        return Ok(Error::corrupt(format!("{path} in {url} is missing; `parquedb scrub` tells more")));
    }
    Ok(Error::new(
        ErrorKind::Unavailable,
        format!("garbage collection took {path} in {url} while it was copied; try again"),
    ))
}

async fn copy_files(
    source: &Store,
    target: &Store,
    options: &CopyOptions,
    plan: Plan,
    files: &BTreeMap<String, DataFile>,
    found: &Target,
    report: &mut CopyReport,
) -> Result<()> {
    let is_present = |file: &DataFile| found.objects.get(&file.path) == Some(&file.size);
    let (present, wanted): (Vec<_>, Vec<_>) = files.values().cloned().partition(is_present);
    report.files_present = present.len() as u64;
    let bytes = wanted.iter().map(|file| file.size).sum();
    let mut count = options.watch.count(Step::Files, wanted.len() as u64, bytes);
    let memory = Memory::new(options.memory);
    let copy = |file: DataFile| {
        let memory = &memory;
        async move {
            let _taken = memory.take(file.size).await;
            copy_file(source, target, &file, plan).await?;
            Ok::<_, Error>(file.size)
        }
    };
    let mut copying = futures::stream::iter(wanted).map(copy).buffer_unordered(options.concurrency.max(1));
    while let Some(size) = copying.try_next().await? {
        report.files += 1;
        report.bytes += size;
        count.add(size);
    }
    Ok(())
}

/// Copies a data file whose bytes are what was written.
async fn copy_file(source: &Store, target: &Store, file: &DataFile, plan: Plan) -> Result<()> {
    let path = Path::parse(&file.path).map_err(|error| {
        Error::with_source(ErrorKind::Corrupt, format!("the log names the file `{}`", file.path), error)
    })?;
    let bytes = needed(source, &path, plan).await?;
    if bytes.len() as u64 != file.size || xxh3_64(&bytes) != file.checksum {
        return Err(Error::corrupt(format!(
            "{path} in {} is damaged: it has {} bytes of xxh3-64 {:016x}, {} of {:016x} were written; restore it from a copy",
            source.url(),
            bytes.len(),
            xxh3_64(&bytes),
            file.size,
            file.checksum
        )));
    }
    target.put(&path, bytes).await
}

async fn copy_commits(
    source: &Store,
    target: &Store,
    options: &CopyOptions,
    plan: Plan,
    log: &LogPart,
    found: &Target,
    report: &mut CopyReport,
) -> Result<()> {
    let total = (plan.seq + 1).saturating_sub(plan.first);
    let mut count = options.watch.count(Step::Commits, total, 0);
    // In a database each commit must be there before the next one.
    let at_once = if found.is_database { 1 } else { AHEAD };
    let copy = |seq| async move {
        let path = layout::commit(seq);
        let bytes = match log.commits.get(&seq) {
            Some(bytes) => bytes.clone(),
            None => needed(source, &path, plan).await?,
        };
        let mut written = CopyReport::default();
        let size = bytes.len() as u64;
        put_once(target, &path, bytes, found, &mut written).await?;
        Ok::<_, Error>((written.bytes, size))
    };
    let mut copying = futures::stream::iter(plan.first..=plan.seq).map(copy).buffered(at_once);
    while let Some((written, size)) = copying.try_next().await? {
        report.commits += u64::from(written > 0);
        report.bytes += written;
        count.add(size);
    }
    Ok(())
}

/// Creates an object of the log, or makes sure that it is there with the same bytes.
async fn put_once(
    target: &Store,
    path: &Path,
    bytes: Bytes,
    found: &Target,
    report: &mut CopyReport,
) -> Result<()> {
    use crate::store::failure::{PutFailure, classify, explain};
    let size = bytes.len() as u64;
    if !found.objects.contains_key(path.as_ref()) {
        match target.create(path, bytes.clone()).await {
            Ok(()) => {
                report.bytes += size;
                return Ok(());
            }
            Err(error) if classify(&error) == PutFailure::Occupied => {}
            Err(error) => return Err(explain(error, "write", path, target.url())),
        }
    }
    match target.get(path).await? {
        Some(present) if present == bytes => Ok(()),
        Some(_) => Err(Error::new(
            ErrorKind::Conflict,
            format!(
                "{path} in {} is another one than in the source: the two have diverged; choose an empty place",
                target.url()
            ),
        )),
        None => Err(Error::new(
            ErrorKind::Unavailable,
            format!("{path} in {} was not stored; try again", target.url()),
        )),
    }
}
