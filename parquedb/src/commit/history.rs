//! The log's history: each commit as it was written, for whoever wants to know what happened.
//!
//! Reads single commits and needs no readable state, so that it also tells about a database that
//! does not open.

use super::body::{Body, KeySet, PinWrite, SequenceRange, kind};
use super::checkpoint::Hint;
use super::envelope::{self, ObjectKind, Section};
use super::snapshot::{DataFile, Expired, Snapshot};
use super::{CursorWrite, create, flush, layout, read};
use crate::declare::definition::Definition;
use crate::error::{Error, ErrorKind, Result};
use crate::store::Store;
use crate::types::{Timestamp, serde_uuid, serde_uuid_option};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use object_store::path::Path;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

/// Commits read at once.
const AHEAD: usize = 16;

/// One commit.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CommitInfo {
    /// Its number.
    pub seq: u64,
    /// Its id.
    #[serde(with = "serde_uuid")]
    pub id: Uuid,
    /// When it was made, by its writer's clock; never before the commit it follows.
    pub time: Timestamp,
    /// The process that wrote it.
    #[serde(with = "serde_uuid")]
    pub writer: Uuid,
    /// The writer's epoch.
    pub epoch: u64,
    /// Size of the object, in bytes.
    pub size: u64,
    /// BLAKE3 of the object, in hexadecimal.
    pub hash: String,
    /// Id of the commit it follows; none for the first.
    #[serde(with = "serde_uuid_option")]
    pub previous_id: Option<Uuid>,
    /// BLAKE3 of the commit it follows, in hexadecimal; none for the first.
    pub previous_hash: Option<String>,
    /// The commit it was computed from.
    pub base: u64,
    /// Ids of the batches in it, by which a repetition is recognised.
    pub batch_ids: Vec<String>,
    /// Numbers of the batches in it in their producers' sequences.
    pub sequences: Vec<SequenceInfo>,
    /// How many keys it read or wrote, by table.
    pub keys: BTreeMap<String, u64>,
    /// What it changes in each table, by name.
    pub tables: Vec<TableChange>,
    /// What views have absorbed.
    pub cursors: Vec<CursorWrite>,
    /// All declared members, when they change.
    pub members: Option<Vec<Member>>,
    /// Snapshots that garbage collection is to keep from now on, or no longer.
    pub pins: Vec<PinInfo>,
    /// The oldest snapshot that can still be read from now on, if garbage was collected.
    pub floor: Option<u64>,
    /// Whether the writer takes the database for itself (`true`) or gives it back.
    pub claim: Option<bool>,
    /// Its sections as they lie in the object.
    pub sections: Vec<SectionInfo>,
}

impl CommitInfo {
    /// Rows that the commit adds to all tables, those of views included.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(TableChange::rows).sum()
    }
}

/// What a commit changes in one table.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TableChange {
    /// The Rust struct's name of the collection or view.
    pub table: String,
    /// Whether all earlier rows went.
    pub cleared: bool,
    /// Rows of earlier commits that it removes.
    pub removed_rows: u64,
    /// Rows of earlier commits that have expired.
    pub expired_rows: u64,
    /// All of those are older than this.
    pub expired_before: Option<Timestamp>,
    /// Rows inside the commit.
    pub inline_rows: u64,
    /// Their encoded size, in bytes.
    pub inline_bytes: u64,
    /// Columns of the rows inside the commit.
    pub columns: Vec<ColumnInfo>,
    /// Files with new rows.
    pub added: Vec<FileInfo>,
    /// Files that now hold rows of earlier commits: no change of rows.
    pub flushed: Vec<FileInfo>,
    /// Files that take the place of others: no change of rows.
    pub compacted: Vec<FileInfo>,
    /// Paths of the files whose place others take.
    pub removed: Vec<String>,
}

impl TableChange {
    /// Rows that the commit adds to the table.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.inline_rows + self.added.iter().map(|file| file.rows).sum::<u64>()
    }
}

/// A part of a producer's sequence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SequenceInfo {
    /// The producer's name.
    pub producer: String,
    /// The first number.
    pub first: u64,
    /// The last number.
    pub last: u64,
}

/// A snapshot that garbage collection is to keep, or no longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PinInfo {
    /// The pin's name.
    pub name: String,
    /// The snapshot's number; none when the pin is taken away.
    pub seq: Option<u64>,
    /// Until when it is kept; none when the pin is taken away.
    pub expires: Option<Timestamp>,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ColumnInfo {
    /// Its name.
    pub name: String,
    /// Its Arrow type.
    #[serde(rename = "type")]
    pub data_type: String,
    /// Whether it can be null.
    pub nullable: bool,
}

/// A data file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FileInfo {
    /// Path from the database's root.
    pub path: String,
    /// Size, in bytes.
    pub size: u64,
    /// Number of rows, with those that are removed.
    pub rows: u64,
    /// How many of them are removed.
    pub removed: u64,
    /// xxh3-64 of its bytes, in hexadecimal.
    #[serde(serialize_with = "hexadecimal")]
    pub checksum: u64,
    /// The first commit whose rows it holds.
    pub first_seq: u64,
    /// The last one.
    pub last_seq: u64,
    /// It holds states that were merged over its commits.
    pub merged: bool,
}

impl From<&DataFile> for FileInfo {
    fn from(file: &DataFile) -> Self {
        Self {
            path: file.path.clone(),
            size: file.size,
            rows: file.rows,
            removed: file.removed.len(),
            checksum: file.checksum,
            first_seq: file.first_seq,
            last_seq: file.last_seq,
            merged: file.merged,
        }
    }
}

/// A declared member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Member {
    /// The Rust struct's name.
    pub name: String,
    /// The name in SQL.
    pub table: String,
    /// Whether it is a view.
    pub is_view: bool,
}

impl From<&Definition> for Member {
    fn from(definition: &Definition) -> Self {
        Self {
            name: definition.name().to_owned(),
            table: definition.table().to_owned(),
            is_view: matches!(definition, Definition::View(_)),
        }
    }
}

/// A section of a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SectionInfo {
    /// The number of its kind.
    pub kind: u16,
    /// The name of its kind, or `unknown`.
    pub name: &'static str,
    /// Size, in bytes.
    pub size: u64,
    /// xxh3-64 of its bytes, in hexadecimal.
    #[serde(serialize_with = "hexadecimal")]
    pub checksum: u64,
    /// Whether a reader that does not know the kind may pass over it.
    pub optional: bool,
}

impl From<&Section> for SectionInfo {
    fn from(section: &Section) -> Self {
        Self {
            kind: section.kind,
            name: kind_name(section.kind),
            size: section.bytes.len() as u64,
            checksum: xxh3_64(&section.bytes),
            optional: section.optional,
        }
    }
}

/// What became of a member in a commit that changes the declared members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberChange {
    /// It is new.
    Added,
    /// It is declared in another way.
    Changed,
    /// It is gone.
    Removed,
}

/// What a table holds at a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TableContents {
    /// The Rust struct's name of the collection or view.
    pub table: String,
    /// Whether it is a view.
    pub is_view: bool,
    /// Rows, or states of a view that groups, in all runs, without those that are removed.
    pub rows: u64,
    /// The last commit that changed the rows.
    pub changed: u64,
    /// What retention has taken out of it, if it has.
    pub expired: Option<ExpiredInfo>,
    /// Its files, oldest first.
    pub files: Vec<FileInfo>,
    /// Its runs that still live inside commits, oldest first.
    pub inline: Vec<InlineInfo>,
}

/// What retention has taken out of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExpiredInfo {
    /// All of it was older than this.
    pub before: Timestamp,
    /// The last commit that took rows out.
    pub seq: u64,
    /// Rows, or states of a view that groups.
    pub rows: u64,
}

impl From<&Expired> for ExpiredInfo {
    fn from(expired: &Expired) -> Self {
        let Expired { before, seq, rows, .. } = *expired;
        Self { before: Timestamp::from_micros(before), seq, rows }
    }
}

impl TableContents {
    /// Size of all files, in bytes.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// Encoded size of all runs inside commits, in bytes.
    #[must_use]
    pub fn inline_bytes(&self) -> u64 {
        self.inline.iter().map(|run| run.bytes).sum()
    }
}

/// A run that lives inside its commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct InlineInfo {
    /// The commit.
    pub seq: u64,
    /// Number of rows, with those that are removed.
    pub rows: u64,
    /// How many of them are removed.
    pub removed: u64,
    /// Encoded size, in bytes.
    pub bytes: u64,
}

fn hexadecimal<S: Serializer>(checksum: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{checksum:016x}"))
}

pub(super) fn hex(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn kind_name(number: u16) -> &'static str {
    match number {
        kind::INTENT => "Intent",
        kind::INLINE => "Inline",
        kind::ADD => "Add",
        kind::REPLACE_INLINE => "ReplaceInline",
        kind::CURSORS => "Cursors",
        kind::META => "Meta",
        kind::CLEAR => "Clear",
        kind::COMPACT => "Compact",
        kind::PINS => "Pins",
        kind::WATERMARK => "Watermark",
        kind::CLAIM => "Claim",
        kind::REMOVE => "Remove",
        kind::EXPIRE => "Expire",
        kind::MANIFEST => "Manifest",
        _ => "unknown",
    }
}

/// The tables of a snapshot, by name.
#[must_use]
pub fn contents(snapshot: &Snapshot) -> Vec<TableContents> {
    let table = |(name, table): (&String, &std::sync::Arc<super::snapshot::Table>)| TableContents {
        table: name.clone(),
        is_view: flush::is_view(snapshot, name),
        rows: table.rows,
        changed: table.changed,
        expired: table.expired.as_ref().map(ExpiredInfo::from),
        files: table.files.iter().map(|file| FileInfo::from(file.as_ref())).collect(),
        inline: table
            .inline
            .iter()
            .map(|run| InlineInfo {
                seq: run.seq,
                rows: run.rows,
                removed: run.removed.len(),
                bytes: run.bytes,
            })
            .collect(),
    };
    snapshot.tables.iter().map(table).collect()
}

/// The commits of a database.
#[derive(Debug, Clone)]
pub struct History {
    store: Store,
    newest: u64,
}

impl History {
    /// The history of the database in a store.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] without a database, [`ErrorKind::Corrupt`] when its `FORMAT` is
    /// damaged, and the store's own errors.
    pub async fn open(store: &Store) -> Result<History> {
        let none = || Error::new(ErrorKind::NotFound, format!("there is no database in {}", store.url()));
        let format = store.get(&Path::from(layout::FORMAT)).await?.ok_or_else(none)?;
        create::read_format(&format, store.url())?;
        let newest = newest(store).await?.ok_or_else(none)?;
        Ok(History { store: store.clone(), newest })
    }

    /// Number of the newest commit.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// Number of the oldest commit that is still there.
    ///
    /// # Errors
    /// The store's own errors.
    pub async fn oldest(&self) -> Result<u64> {
        Ok(read::oldest(&self.store).await?.unwrap_or(self.newest))
    }

    /// One commit.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such commit or it is no longer kept,
    /// [`ErrorKind::Corrupt`] when it is missing or damaged, and the store's own errors.
    pub async fn commit(&self, seq: u64) -> Result<CommitInfo> {
        match self.store.get(&layout::commit(seq)).await? {
            Some(bytes) => info(&bytes, seq, self.store.url()),
            None => Err(self.absent(seq).await?),
        }
    }

    /// The commits of a range, newest first. Ends where commits are no longer kept.
    ///
    /// Each item may be an error, as of [`History::commit`]; those after it still come.
    pub fn commits(&self, range: RangeInclusive<u64>) -> impl Stream<Item = Result<CommitInfo>> + '_ {
        let last = (*range.end()).min(self.newest);
        futures::stream::iter((*range.start()..=last).rev())
            .map(|seq| self.commit(seq))
            .buffered(AHEAD)
            .take_while(|commit| {
                let is_end = matches!(commit, Err(error) if error.kind() == ErrorKind::NotFound);
                std::future::ready(!is_end)
            })
    }

    /// What a commit did to the declared members, by name: nothing unless it declares them anew. `None`
    /// when the database before it cannot be read any more.
    ///
    /// # Errors
    /// As [`History::commit`].
    pub async fn member_changes(&self, seq: u64) -> Result<Option<BTreeMap<String, MemberChange>>> {
        let bytes = self.store.get(&layout::commit(seq)).await?;
        let Some(bytes) = bytes else { return Err(self.absent(seq).await?) };
        let (_, _, body, _) = read::open_commit(&bytes, seq, self.store.url())?;
        let Some(after) = body.definitions else { return Ok(Some(BTreeMap::new())) };
        let before = match seq {
            0 => BTreeMap::new(),
            _ => match read::state_at(&self.store, seq - 1).await {
                Ok(state) => state.snapshot.definitions.as_ref().clone(),
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            },
        };
        let mut changes = BTreeMap::new();
        for (name, definition) in after.iter() {
            match before.get(name) {
                None => changes.insert(name.clone(), MemberChange::Added),
                Some(same) if same == definition => None,
                Some(_) => changes.insert(name.clone(), MemberChange::Changed),
            };
        }
        for name in before.keys().filter(|name| !after.contains_key(*name)) {
            changes.insert(name.clone(), MemberChange::Removed);
        }
        Ok(Some(changes))
    }

    /// Why commit `seq` is not there.
    async fn absent(&self, seq: u64) -> Result<Error> {
        let (url, newest) = (self.store.url(), self.newest);
        if seq > newest {
            let message = format!("there is no commit {seq} in {url}; the last is {newest}");
            return Ok(Error::new(ErrorKind::NotFound, message));
        }
        let oldest = self.oldest().await?;
        if seq < oldest {
            let message = format!("commit {seq} is no longer kept in {url}; the oldest is {oldest}");
            return Ok(Error::new(ErrorKind::NotFound, message));
        }
        Ok(read::missing(&self.store, seq, newest))
    }
}

/// The hint at the newest commits, if there is one that can be read.
pub(super) async fn hint(store: &Store) -> Result<Option<Hint>> {
    Ok(store.get(&Path::from(layout::HEAD)).await?.and_then(|bytes| Hint::decode(&bytes)))
}

/// Number of the newest commit; `None` without any.
pub(super) async fn newest(store: &Store) -> Result<Option<u64>> {
    let Some(hint) = hint(store).await? else {
        return read::newest(store, layout::commits(), None, u64::MAX).await;
    };
    let hinted = layout::commit(hint.seq);
    if let Some(later) = read::newest(store, layout::commits(), Some(hinted.clone()), u64::MAX).await? {
        return Ok(Some(later));
    }
    match store.get(&hinted).await? {
        Some(_) => Ok(Some(hint.seq)),
        // A hint at commits that are gone must not hide those before.
        None => read::newest(store, layout::commits(), None, u64::MAX).await,
    }
}

fn info(bytes: &Bytes, seq: u64, url: &str) -> Result<CommitInfo> {
    let place = format!("{} in {url}", layout::commit(seq));
    let opened = envelope::open(bytes, ObjectKind::Commit, seq, &place)?;
    let body = Body::open(&opened.sections, &place)?;
    let header = opened.header;
    let is_first = header.previous_id.is_nil();
    let tables = tables(&body, seq);
    Ok(CommitInfo {
        seq,
        id: header.commit_id,
        time: Timestamp::from_micros(header.time),
        writer: header.writer_id,
        epoch: header.epoch,
        size: bytes.len() as u64,
        hash: hex(&opened.hash),
        previous_id: (!is_first).then_some(header.previous_id),
        previous_hash: (!is_first).then(|| hex(&header.previous_hash)),
        base: body.intent.base_seq,
        tables,
        members: body.definitions.as_ref().map(|members| members.values().map(Member::from).collect()),
        sequences: body.intent.sequences.into_iter().map(sequence).collect(),
        keys: keys(&body.intent.keys),
        pins: body.pins.into_iter().map(pin).collect(),
        floor: body.watermark.map(|watermark| watermark.floor),
        claim: body.claim.map(|claim| claim.exclusive),
        batch_ids: body.intent.batch_ids,
        cursors: body.cursors,
        sections: opened.sections.iter().map(SectionInfo::from).collect(),
    })
}

fn sequence(range: SequenceRange) -> SequenceInfo {
    let SequenceRange { producer, first, last } = range;
    SequenceInfo { producer, first, last }
}

fn keys(sets: &[KeySet]) -> BTreeMap<String, u64> {
    let mut keys: BTreeMap<String, u64> = BTreeMap::new();
    for set in sets {
        *keys.entry(set.table.clone()).or_default() += set.hashes.len() as u64;
    }
    keys
}

fn pin(write: PinWrite) -> PinInfo {
    let PinWrite { name, pin } = write;
    PinInfo { name, seq: pin.map(|pin| pin.seq), expires: pin.map(|pin| Timestamp::from_micros(pin.expires)) }
}

fn tables(body: &Body, seq: u64) -> Vec<TableChange> {
    let mut tables: BTreeMap<&str, TableChange> = BTreeMap::new();
    fn at<'a, 'b>(tables: &'a mut BTreeMap<&'b str, TableChange>, name: &'b str) -> &'a mut TableChange {
        tables.entry(name).or_insert_with(|| TableChange { table: name.to_owned(), ..TableChange::default() })
    }
    for name in &body.cleared {
        at(&mut tables, name).cleared = true;
    }
    for removal in body.removals.iter() {
        at(&mut tables, &removal.table).removed_rows += removal.rows();
    }
    for expiry in body.expiries.iter() {
        let table = at(&mut tables, &expiry.rows.table);
        table.expired_rows += expiry.rows.rows();
        table.expired_before = Some(Timestamp::from_micros(expiry.before));
    }
    for added in &body.added {
        at(&mut tables, &added.table).added.push(FileInfo::from(&added.data_file(seq)));
    }
    for inline in &body.inline {
        let table = at(&mut tables, &inline.table);
        table.inline_rows += inline.rows;
        table.inline_bytes += inline.bytes;
        let schema = inline.batches.first().map(arrow::record_batch::RecordBatch::schema);
        let fields = schema.iter().flat_map(|schema| schema.fields().iter());
        table.columns = fields
            .map(|field| ColumnInfo {
                name: field.name().clone(),
                data_type: field.data_type().to_string(),
                nullable: field.is_nullable(),
            })
            .collect();
    }
    for replaced in &body.replaced {
        at(&mut tables, &replaced.table).flushed.push(FileInfo::from(&replaced.file));
    }
    for compaction in &body.compacted {
        let table = at(&mut tables, &compaction.table);
        table.compacted.extend(compaction.added.iter().map(FileInfo::from));
        table.removed.extend(compaction.removed.iter().cloned());
    }
    tables.into_values().collect()
}
