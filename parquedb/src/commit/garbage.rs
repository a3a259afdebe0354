//! Garbage collection: what no snapshot that is kept needs, and what interrupted writers left behind.
//!
//! A snapshot is kept as long as its retention says, or a pin. The floor is the newest checkpoint before
//! all of those; a commit raises it, and only then objects before it are deleted: commits one at a time in
//! ascending order (see [`super::anchor`]), then older checkpoints and the files that were replaced up to
//! the floor. A second commit says that this is done. Ages are those by the store's clock, because the
//! clocks of the processes may differ.

use super::anchor::{GRACE, is_intact};
use super::body::{Body, Intent, Watermark};
use super::{Inner, Log, Writer, layout, read};
use crate::error::{Error, ErrorKind, Result};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::future::try_join_all;
use object_store::ObjectMeta;
use object_store::path::Path;
use serde::Serialize;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// What garbage collection takes.
#[derive(Debug, Clone)]
pub struct GarbageOptions {
    /// For how long past snapshots can be read. At least an hour: so long a query, or a process that
    /// stood still, may need what it began with.
    pub retention: Duration,
    /// Also list all files and delete those that no snapshot names and that are older than this. They are
    /// left by writers that ended before their commit. `None` does not look for them. At least a day.
    pub orphans_after: Option<Duration>,
    /// Only tell what would be deleted.
    pub dry_run: bool,
}

impl Default for GarbageOptions {
    fn default() -> Self {
        Self {
            retention: Duration::from_secs(24 * 3600),
            orphans_after: Some(Duration::from_secs(7 * 24 * 3600)),
            dry_run: false,
        }
    }
}

/// An object that was, or would be, deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Garbage {
    /// Path from the database's root.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
}

/// What garbage collection did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GarbageReport {
    /// Nothing was deleted: it was only looked for.
    pub dry_run: bool,
    /// The oldest snapshot that can be read now.
    pub floor: u64,
    /// The oldest snapshot that could be read before.
    pub floor_before: u64,
    /// Commits, in the order of their deletion.
    pub commits: Vec<Garbage>,
    /// Checkpoints.
    pub checkpoints: Vec<Garbage>,
    /// Files whose rows are in other files now, or were replaced.
    pub files: Vec<Garbage>,
    /// Files that no snapshot names, and rests of an interrupted creation.
    pub orphans: Vec<Garbage>,
    /// Files of a local disk that were begun and never got their name.
    pub staging: u64,
}

impl GarbageReport {
    /// The number of objects.
    #[must_use]
    pub fn objects(&self) -> u64 {
        self.all().count() as u64 + self.staging
    }

    /// Their size in bytes, without staging files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.all().map(|garbage| garbage.bytes).sum()
    }

    fn all(&self) -> impl Iterator<Item = &Garbage> {
        self.commits.iter().chain(&self.checkpoints).chain(&self.files).chain(&self.orphans)
    }
}

/// Files deleted at once. Commits are deleted one by one.
const AT_ONCE: usize = 16;

/// The least age at which a file that nobody names counts as left behind.
const ORPHAN_AGE: Duration = Duration::from_secs(24 * 3600);

/// How often to begin again when another process pins a snapshot or collects at the same time.
const ATTEMPTS: usize = 5;

impl Log {
    /// Deletes what is not needed any more, or tells what would be. Safe beside readers and writers in
    /// other processes, and to be interrupted at any point.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a retention that is too short, and as [`Log::commit`]. What was deleted
    /// by then was garbage.
    pub async fn collect_garbage(&self, options: GarbageOptions) -> Result<GarbageReport> {
        if !options.dry_run {
            self.0.writable()?;
        }
        if options.retention < GRACE {
            return Err(Error::invalid(
                "a retention of less than an hour would delete files that running queries read",
            ));
        }
        if options.orphans_after.is_some_and(|age| age < ORPHAN_AGE) {
            return Err(Error::invalid(
                "files of less than a day may belong to commits that are being made; `orphans_after` must be longer",
            ));
        }
        self.in_task(move |inner, writer| Box::pin(inner.collect_garbage(writer, options))).await
    }
}

impl Inner {
    async fn collect_garbage(&self, writer: &mut Writer, options: GarbageOptions) -> Result<GarbageReport> {
        if !options.dry_run {
            self.settle(writer).await?;
        }
        // First the time, then the log: a file that is old by then was committed before the log was read,
        // or never will be.
        let now = self.store_time(options.dry_run).await?;
        self.catch_up(writer).await?;
        let floor_before = writer.state.snapshot.floor;
        let floor = self.raise_floor(writer, &options, now).await?;
        let mut report =
            GarbageReport { dry_run: options.dry_run, floor, floor_before, ..GarbageReport::default() };
        self.collect_log(&mut report).await?;
        self.collect_files(writer, &mut report).await?;
        if let Some(age) = options.orphans_after {
            self.collect_orphans(writer, &mut report, now, age).await?;
            if !options.dry_run {
                report.staging = self.store.sweep_staging(ORPHAN_AGE).await?;
            }
        }
        if !options.dry_run && writer.last_checkpoint.is_none_or(|seq| seq < floor) && floor > 0 {
            // The hint may name a checkpoint that is gone.
            writer.last_checkpoint = Some(floor);
            self.hint(writer).await;
        }
        tracing::info!(
            url = self.store.url(),
            floor,
            objects = report.objects(),
            bytes = report.bytes(),
            dry_run = options.dry_run,
            "collected garbage"
        );
        Ok(report)
    }

    /// The time by the store's clock.
    async fn store_time(&self, dry_run: bool) -> Result<DateTime<Utc>> {
        if dry_run {
            // Nothing may be written: this machine's clock has to do.
            let now = DateTime::from_timestamp_micros(self.options.clock.now());
            return now.ok_or_else(|| Error::invalid("the machine's clock shows a time out of range"));
        }
        let path = Path::from_iter([layout::PROBE.to_owned(), Uuid::new_v4().to_string()]);
        self.store.put(&path, Bytes::from_static(b"time")).await?;
        let modified = self.store.modified(&path).await;
        self.store.delete(&path).await?;
        modified
    }

    /// Decides on the oldest snapshot to keep, and commits that. Gives its number.
    async fn raise_floor(
        &self,
        writer: &mut Writer,
        options: &GarbageOptions,
        now: DateTime<Utc>,
    ) -> Result<u64> {
        for attempt in 1.. {
            let snapshot = Arc::clone(&writer.state.snapshot);
            let pinned = snapshot.pins.values().filter(|pin| pin.expires > now.timestamp_micros());
            let limit = pinned.map(|pin| pin.seq).min().unwrap_or(snapshot.seq);
            let checkpoints = self.store.list(Some(&layout::checkpoints()), None).await?;
            let old_enough = checkpoints.iter().filter(|object| age(object, now) >= options.retention);
            let seqs = old_enough.filter_map(|object| layout::seq_of(&object.location));
            let floor = seqs.filter(|seq| *seq <= limit).max().unwrap_or(0).max(snapshot.floor);
            if floor == snapshot.floor || options.dry_run {
                return Ok(floor);
            }
            if let Err(error) = self.check_checkpoint(floor).await {
                // Another process may have collected it while this one stood still.
                self.catch_up(writer).await?;
                if writer.state.snapshot.floor > floor && attempt < ATTEMPTS {
                    continue;
                }
                return Err(error);
            }
            self.check_right(writer)?;
            match self.mark(writer, Watermark { floor, collected: 0 }).await {
                Ok(()) => return Ok(floor),
                Err(error) if error.kind() == ErrorKind::Conflict && attempt < ATTEMPTS => {}
                Err(error) => return Err(error),
            }
        }
        Ok(writer.state.snapshot.floor)
    }

    /// Makes sure that the log can be read from a checkpoint on, before what lies below it goes.
    async fn check_checkpoint(&self, seq: u64) -> Result<()> {
        let url = self.store.url();
        let Some((state, _)) = read::load_checkpoint(&self.store, seq).await? else {
            return Err(Error::new(
                ErrorKind::Unavailable,
                format!("{} in {url} was listed and is gone; try again", layout::checkpoint(seq)),
            ));
        };
        if is_intact(&self.store, &state.tip).await? {
            return Ok(());
        }
        Err(Error::corrupt(format!(
            "{} in {url} is not of the commit of its number; nothing was deleted; restore it from a copy",
            layout::checkpoint(seq)
        )))
    }

    async fn mark(&self, writer: &mut Writer, watermark: Watermark) -> Result<()> {
        let intent = Intent { base_seq: writer.state.tip.seq, ..Intent::default() };
        let body = Body { intent, watermark: Some(watermark), ..Body::default() };
        self.append(writer, body).await.map(|_| ())
    }

    /// Commits before the floor, one after the other from the lowest one, then checkpoints.
    async fn collect_log(&self, report: &mut GarbageReport) -> Result<()> {
        for (object, garbage) in self.before(layout::commits(), report.floor).await? {
            if !report.dry_run {
                self.store.delete_if_present(&object).await?;
            }
            report.commits.push(garbage);
        }
        for (object, garbage) in self.before(layout::checkpoints(), report.floor).await? {
            if !report.dry_run {
                self.store.delete_if_present(&object).await?;
            }
            report.checkpoints.push(garbage);
        }
        Ok(())
    }

    /// The numbered objects of a folder before a number, ascending.
    async fn before(&self, folder: Path, floor: u64) -> Result<Vec<(Path, Garbage)>> {
        if floor == 0 {
            return Ok(Vec::new());
        }
        let objects = self.store.list(Some(&folder), None).await?;
        let numbered =
            objects.into_iter().filter_map(|object| Some((layout::seq_of(&object.location)?, object)));
        let mut before: Vec<_> = numbered.filter(|(seq, _)| *seq < floor).collect();
        before.sort_unstable_by_key(|(seq, _)| *seq);
        Ok(before.into_iter().map(|(_, object)| (object.location.clone(), garbage(&object))).collect())
    }

    /// Files that were replaced up to the floor.
    async fn collect_files(&self, writer: &mut Writer, report: &mut GarbageReport) -> Result<()> {
        let floor = report.floor;
        let removed = writer.state.removed.iter().filter(|file| file.seq <= floor);
        report.files = removed.map(|file| Garbage { path: file.path.clone(), bytes: file.size }).collect();
        if report.files.is_empty() || report.dry_run {
            return Ok(());
        }
        self.delete_all(&report.files).await?;
        self.check_right(writer)?;
        match self.mark(writer, Watermark { floor, collected: floor }).await {
            // Another process collects too. Deleting them once more does no harm.
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
            result => result,
        }
    }

    async fn delete_all(&self, files: &[Garbage]) -> Result<()> {
        for some in files.chunks(AT_ONCE) {
            try_join_all(some.iter().map(|file| self.delete_file(file))).await?;
        }
        Ok(())
    }

    async fn delete_file(&self, file: &Garbage) -> Result<()> {
        let path = Path::parse(&file.path).map_err(|error| {
            Error::with_source(ErrorKind::Corrupt, format!("`{}` is not a path", file.path), error)
        })?;
        self.store.delete_if_present(&path).await
    }

    /// Files that no snapshot names.
    async fn collect_orphans(
        &self,
        writer: &Writer,
        report: &mut GarbageReport,
        now: DateTime<Utc>,
        least: Duration,
    ) -> Result<()> {
        let snapshot = &writer.state.snapshot;
        let live = snapshot.tables.values().flat_map(|table| table.files.iter()).map(|file| &file.path);
        let removed = writer.state.removed.iter().map(|file| &file.path);
        let known: HashSet<&str> = live.chain(removed).map(String::as_str).collect();
        for folder in layout::data_folders() {
            for object in self.store.list(Some(&folder), None).await? {
                if age(&object, now) >= least && !known.contains(object.location.as_ref()) {
                    report.orphans.push(garbage(&object));
                }
            }
        }
        if !report.dry_run {
            self.delete_all(&report.orphans).await?;
        }
        Ok(())
    }
}

fn garbage(object: &ObjectMeta) -> Garbage {
    Garbage { path: object.location.to_string(), bytes: object.size }
}

fn age(object: &ObjectMeta, now: DateTime<Utc>) -> Duration {
    (now - object.last_modified).to_std().unwrap_or(Duration::ZERO)
}
