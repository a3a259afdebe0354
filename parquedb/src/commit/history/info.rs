//! What a single commit tells.

use super::contents::FileInfo;
use crate::commit::CursorWrite;
use crate::commit::body::{Body, KeySet, PinWrite, SequenceRange, kind};
use crate::commit::envelope::{self, ObjectKind, Section};
use crate::commit::layout;
use crate::declare::definition::Definition;
use crate::error::Result;
use crate::types::{Timestamp, serde_uuid, serde_uuid_option};
use bytes::Bytes;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

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

pub(super) fn hexadecimal<S: Serializer>(checksum: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{checksum:016x}"))
}

fn hex(hash: &[u8]) -> String {
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

pub(super) fn info(bytes: &Bytes, seq: u64, url: &str) -> Result<CommitInfo> {
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
