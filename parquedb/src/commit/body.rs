//! What a commit contains, and its sections. Nothing here depends on the slot the commit gets, so a
//! commit that lost its slot moves to the next one without being encoded again.

use super::envelope::{Builder, Header, Sealed, Section};
use super::ipc;
use super::removal::{RemovedRows, TableExpiry, TableRemoval};
use super::snapshot::{DataFile, Pin};
use crate::declare::definition::Definition;
use crate::error::{Error, ErrorKind, Result};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow::record_batch::RecordBatch;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Kinds of sections. 13 to 15 are kept for what was published to other formats.
pub(super) mod kind {
    pub(in super::super) const INTENT: u16 = 1;
    pub(in super::super) const INLINE: u16 = 2;
    pub(in super::super) const ADD: u16 = 3;
    pub(in super::super) const REPLACE_INLINE: u16 = 4;
    pub(in super::super) const CURSORS: u16 = 5;
    pub(in super::super) const META: u16 = 6;
    pub(in super::super) const CLEAR: u16 = 7;
    pub(in super::super) const COMPACT: u16 = 8;
    pub(in super::super) const PINS: u16 = 9;
    pub(in super::super) const WATERMARK: u16 = 10;
    pub(in super::super) const CLAIM: u16 = 11;
    pub(in super::super) const REMOVE: u16 = 12;
    pub(in super::super) const EXPIRE: u16 = 16;
    pub(in super::super) const MANIFEST: u16 = 32;
}

/// Below this size compressing rows costs more than it saves.
const COMPRESS_FROM: usize = 4096;

/// What the commit was computed from.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Intent {
    pub(super) base_seq: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) batch_ids: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) sequences: Vec<SequenceRange>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) keys: Vec<KeySet>,
}

/// A part of a producer's sequence, both ends included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SequenceRange {
    pub(super) producer: String,
    pub(super) first: u64,
    pub(super) last: u64,
}

/// Keys of a table that a commit has read or written, by their hashes: another commit with one of them
/// does not go with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeySet {
    /// The table.
    pub table: String,
    /// A hash of each key; the same in every process.
    pub hashes: Vec<u64>,
    /// All rows were read, to find those for which a condition holds: any change of the table is one of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}

/// Files of a table that other files with the same content take the place of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Compaction {
    pub(super) table: String,
    /// Paths.
    pub(super) removed: Vec<String>,
    pub(super) added: Vec<DataFile>,
    /// The rows are states that were merged: there may be fewer, or none.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) merged: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives references")]
fn is_false(value: &bool) -> bool {
    !value
}

/// A snapshot to be kept, or no longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PinWrite {
    pub(super) name: String,
    pub(super) pin: Option<Pin>,
}

/// How far garbage collection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Watermark {
    /// No snapshot before this commit can be read any more.
    pub(super) floor: u64,
    /// The files that commits up to this one removed are gone from the store.
    pub(super) collected: u64,
}

/// From this commit on only its writer may write; or everybody again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claim {
    pub(super) exclusive: bool,
}

/// Rows inside the commit. They all count once: a column of weights is kept for later.
#[derive(Debug, Clone)]
pub(super) struct InlineRows {
    pub(super) table: String,
    pub(super) batches: Vec<RecordBatch>,
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

/// Rows in a file that was written for this commit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct AddedFile {
    pub(super) table: String,
    pub(super) path: String,
    pub(super) size: u64,
    pub(super) rows: u64,
    pub(super) checksum: u64,
}

impl AddedFile {
    /// The file in a table, when it was added by commit `seq`.
    pub(super) fn data_file(&self, seq: u64) -> DataFile {
        let AddedFile { path, size, rows, checksum, .. } = self.clone();
        DataFile {
            path,
            size,
            rows,
            checksum,
            first_seq: seq,
            last_seq: seq,
            merged: false,
            removed: RemovedRows::default(),
        }
    }
}

/// Inline runs of earlier commits that are now in files: no change of rows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ReplaceInline {
    pub(super) table: String,
    pub(super) file: DataFile,
}

/// How far a view has absorbed its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Absorbed {
    /// All source rows, those of this commit too.
    ThisCommit,
    /// The source rows up to a commit.
    Through(u64),
}

/// What a view has absorbed. The sources' identities are those after this commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CursorWrite {
    /// The view's name.
    pub view: String,
    /// Hash of the definition that its rows follow.
    pub definition: String,
    /// How far it has absorbed each member that it is computed from.
    pub sources: BTreeMap<String, Absorbed>,
    /// What the view gets in this commit follows from the commit's other rows alone, so that other commits
    /// of which the same is true may come before it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alone: bool,
}

/// The content of a commit.
#[derive(Debug, Clone, Default)]
pub(super) struct Body {
    pub(super) intent: Intent,
    /// Tables whose earlier rows all go.
    pub(super) cleared: Vec<String>,
    /// Rows of earlier commits that go.
    pub(super) removals: Arc<Vec<TableRemoval>>,
    /// Rows of earlier commits that have expired.
    pub(super) expiries: Arc<Vec<TableExpiry>>,
    pub(super) inline: Vec<InlineRows>,
    pub(super) added: Vec<AddedFile>,
    pub(super) replaced: Vec<ReplaceInline>,
    pub(super) cursors: Vec<CursorWrite>,
    pub(super) definitions: Option<Arc<BTreeMap<String, Definition>>>,
    pub(super) compacted: Vec<Compaction>,
    pub(super) pins: Vec<PinWrite>,
    pub(super) watermark: Option<Watermark>,
    pub(super) claim: Option<Claim>,
}

pub(super) fn write_json<T: Serialize>(buffer: &mut Vec<u8>, value: &T) -> Result<()> {
    serde_json::to_writer(buffer, value)
        .map_err(|error| Error::with_source(ErrorKind::Invalid, "cannot encode a commit", error))
}

impl Body {
    /// Whether it names files that were written for it.
    pub(super) fn has_files(&self) -> bool {
        !(self.added.is_empty() && self.replaced.is_empty() && self.compacted.is_empty())
    }

    /// All rows that go, by their positions.
    pub(super) fn leaving(&self) -> impl Iterator<Item = &TableRemoval> {
        self.removals.iter().chain(self.expiries.iter().map(|expiry| &expiry.rows))
    }

    /// All files that were written for it, with their tables.
    pub(super) fn data_files(&self, seq: u64) -> impl Iterator<Item = (&str, DataFile)> {
        let added = self.added.iter().map(move |added| (added.table.as_str(), added.data_file(seq)));
        let replaced = self.replaced.iter().map(|replaced| (replaced.table.as_str(), replaced.file.clone()));
        let compacted = self.compacted.iter().flat_map(|compaction| {
            compaction.added.iter().map(|file| (compaction.table.as_str(), file.clone()))
        });
        added.chain(replaced).chain(compacted)
    }

    /// Encodes the commit. Sets the sizes of the inline sections.
    pub(super) fn seal(&mut self, header: Header) -> Result<Sealed> {
        let sections = 1
            + self.inline.len()
            + usize::from(!self.cleared.is_empty())
            + usize::from(!self.removals.is_empty())
            + usize::from(!self.expiries.is_empty())
            + usize::from(!self.added.is_empty())
            + usize::from(!self.replaced.is_empty())
            + usize::from(!self.cursors.is_empty())
            + usize::from(self.definitions.is_some())
            + usize::from(!self.compacted.is_empty())
            + usize::from(!self.pins.is_empty())
            + usize::from(self.watermark.is_some())
            + usize::from(self.claim.is_some());
        let mut builder = Builder::new(sections, 1024 + 4096 * self.inline.len())?;
        builder.section(kind::INTENT, |buffer| write_json(buffer, &self.intent))?;
        if let Some(definitions) = &self.definitions {
            builder.section(kind::META, |buffer| write_json(buffer, definitions.as_ref()))?;
        }
        if !self.cleared.is_empty() {
            builder.section(kind::CLEAR, |buffer| write_json(buffer, &self.cleared))?;
        }
        if !self.removals.is_empty() {
            builder.section(kind::REMOVE, |buffer| write_json(buffer, self.removals.as_ref()))?;
        }
        if !self.expiries.is_empty() {
            builder.section(kind::EXPIRE, |buffer| write_json(buffer, self.expiries.as_ref()))?;
        }
        if !self.added.is_empty() {
            builder.section(kind::ADD, |buffer| write_json(buffer, &self.added))?;
        }
        if !self.replaced.is_empty() {
            builder.section(kind::REPLACE_INLINE, |buffer| write_json(buffer, &self.replaced))?;
        }
        if !self.cursors.is_empty() {
            builder.section(kind::CURSORS, |buffer| write_json(buffer, &self.cursors))?;
        }
        if !self.compacted.is_empty() {
            builder.section(kind::COMPACT, |buffer| write_json(buffer, &self.compacted))?;
        }
        if !self.pins.is_empty() {
            builder.section(kind::PINS, |buffer| write_json(buffer, &self.pins))?;
        }
        if let Some(watermark) = &self.watermark {
            builder.section(kind::WATERMARK, |buffer| write_json(buffer, watermark))?;
        }
        if let Some(claim) = &self.claim {
            builder.section(kind::CLAIM, |buffer| write_json(buffer, claim))?;
        }
        for inline in &mut self.inline {
            inline.bytes = builder.section(kind::INLINE, |buffer| write_rows(buffer, inline))?;
        }
        Ok(builder.seal(header))
    }

    /// Reads the sections of a commit whose checksums are right.
    pub(super) fn open(sections: &[Section], place: &str) -> Result<Body> {
        let mut body = Body::default();
        for section in sections {
            match section.kind {
                kind::INTENT => body.intent = read_json(section, place)?,
                kind::META => body.definitions = Some(Arc::new(read_json(section, place)?)),
                kind::CLEAR => body.cleared = read_json(section, place)?,
                kind::REMOVE => body.removals = Arc::new(read_json(section, place)?),
                kind::EXPIRE => body.expiries = Arc::new(read_json(section, place)?),
                kind::ADD => body.added = read_json(section, place)?,
                kind::REPLACE_INLINE => body.replaced = read_json(section, place)?,
                kind::CURSORS => body.cursors = read_json(section, place)?,
                kind::COMPACT => body.compacted = read_json(section, place)?,
                kind::PINS => body.pins = read_json(section, place)?,
                kind::WATERMARK => body.watermark = Some(read_json(section, place)?),
                kind::CLAIM => body.claim = Some(read_json(section, place)?),
                kind::INLINE => body.inline.push(read_rows(section, place)?),
                _ if section.optional => {}
                other => {
                    return Err(Error::invalid(format!(
                        "commit {place} has a section of kind {other}, written by a newer version of the library; use that version"
                    )));
                }
            }
        }
        Ok(body)
    }
}

pub(super) fn read_json<T: DeserializeOwned>(section: &Section, place: &str) -> Result<T> {
    serde_json::from_slice(&section.bytes).map_err(|error| {
        let message = format!("section of kind {} of {place} cannot be read: {error}", section.kind);
        Error::with_source(ErrorKind::Corrupt, message, error)
    })
}

/// The bytes that rows take in memory, without what slices share.
pub(crate) fn memory_size(batches: &[RecordBatch]) -> usize {
    let columns = batches.iter().flat_map(RecordBatch::columns);
    columns
        .map(|column| {
            column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
        })
        .sum()
}

fn write_rows(buffer: &mut Vec<u8>, inline: &InlineRows) -> Result<()> {
    let failed = |error: arrow::error::ArrowError| {
        Error::with_source(
            ErrorKind::Invalid,
            format!("cannot encode the rows of {}: {error}", inline.table),
            error,
        )
    };
    let Some(first) = inline.batches.first() else {
        return Err(Error::invalid(format!("no rows of {} to encode", inline.table)));
    };
    let name = inline.table.as_bytes();
    let length = u16::try_from(name.len())
        .map_err(|_| Error::invalid(format!("the name {} is too long", inline.table)))?;
    buffer.extend_from_slice(&length.to_le_bytes());
    buffer.extend_from_slice(name);
    while !buffer.len().is_multiple_of(8) {
        buffer.push(0);
    }
    let mut options = IpcWriteOptions::default();
    if memory_size(&inline.batches) >= COMPRESS_FROM {
        options = options.try_with_compression(Some(CompressionType::LZ4_FRAME)).map_err(failed)?;
    }
    let mut writer = StreamWriter::try_new_with_options(buffer, &first.schema(), options).map_err(failed)?;
    for batch in &inline.batches {
        writer.write(batch).map_err(failed)?;
    }
    writer.finish().map_err(failed)
}

fn read_rows(section: &Section, place: &str) -> Result<InlineRows> {
    let corrupt = |what: String| Error::corrupt(format!("the rows in commit {place} cannot be read: {what}"));
    let bytes = &section.bytes;
    let length = match bytes.get(..2) {
        Some(length) => usize::from(u16::from_le_bytes([length[0], length[1]])),
        None => return Err(corrupt("the section is empty".to_owned())),
    };
    let name = bytes.get(2..2 + length).ok_or_else(|| corrupt("the table's name is cut".to_owned()))?;
    let table = String::from_utf8(name.to_vec()).map_err(|error| corrupt(error.to_string()))?;
    let start = (2 + length).next_multiple_of(8);
    let stream = bytes.get(start..).ok_or_else(|| corrupt("there are none".to_owned()))?;
    let batches = ipc::read(stream).map_err(corrupt)?;
    let rows = batches.iter().fold(0, |rows: u64, batch| rows.saturating_add(batch.num_rows() as u64));
    Ok(InlineRows { table, batches, rows, bytes: bytes.len() as u64 })
}
