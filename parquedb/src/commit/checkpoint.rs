//! The state at one commit in one object, and the hint at the last of them.

use super::body::{kind, read_json, write_json};
use super::envelope::{self, Builder, Header, ObjectKind, Sealed, Section};
use super::layout;
use super::repeats::{Produced, Repeats};
use super::snapshot::{Cursor, DataFile, Expired, Pin, Snapshot, Table};
use super::state::{RemovedFile, State, Tip};
use crate::declare::definition::Definition;
use crate::error::{Error, ErrorKind, Result};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;
use uuid::Uuid;

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    definitions: Arc<BTreeMap<String, Definition>>,
    tables: BTreeMap<String, StoredTable>,
    cursors: BTreeMap<String, Cursor>,
    /// Oldest first, with the times of their commits.
    batch_ids: Vec<(i64, String)>,
    #[serde(default)]
    producers: BTreeMap<String, Produced>,
    #[serde(default)]
    floor: u64,
    #[serde(default)]
    pins: Arc<BTreeMap<String, Pin>>,
    #[serde(default)]
    exclusive: Option<u128>,
    #[serde(default)]
    removed: Arc<Vec<RemovedFile>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredTable {
    identity: u64,
    changed: u64,
    rows: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expired: Option<Expired>,
    files: Vec<DataFile>,
}

/// Encodes a state without inline runs. Whoever has some must flush them first.
pub(super) fn seal(state: &State, repeats: &Repeats, writer_id: Uuid) -> Result<Sealed> {
    let snapshot = &state.snapshot;
    let (batch_ids, producers) = repeats.stored();
    let stored = |table: &Table| StoredTable {
        identity: table.identity,
        changed: table.changed,
        rows: table.rows,
        expired: table.expired.clone(),
        files: table.files.iter().map(|file| file.as_ref().clone()).collect(),
    };
    let manifest = Manifest {
        definitions: Arc::clone(&snapshot.definitions),
        tables: snapshot.tables.iter().map(|(name, table)| (name.clone(), stored(table))).collect(),
        cursors: snapshot
            .cursors
            .iter()
            .map(|(name, cursor)| (name.clone(), cursor.as_ref().clone()))
            .collect(),
        batch_ids,
        producers,
        floor: snapshot.floor,
        pins: Arc::clone(&snapshot.pins),
        exclusive: snapshot.exclusive.map(|writer| writer.as_u128()),
        removed: Arc::clone(&state.removed),
    };
    let mut json = Vec::new();
    write_json(&mut json, &manifest)?;
    let compressed = deflate(&json)?;
    let mut builder = Builder::new(1, compressed.len())?;
    builder.section(kind::MANIFEST, |buffer| {
        buffer.extend_from_slice(&compressed);
        Ok(())
    })?;
    Ok(builder.seal(Header {
        kind: ObjectKind::Checkpoint,
        seq: state.tip.seq,
        commit_id: state.tip.commit_id,
        previous_id: state.tip.commit_id,
        previous_hash: state.tip.hash,
        writer_id,
        epoch: snapshot.epoch,
        time: snapshot.time,
    }))
}

/// Checks and reads a checkpoint.
pub(super) fn open(bytes: &Bytes, seq: u64, url: &str) -> Result<(State, Repeats)> {
    let place = format!("{} in {url}", layout::checkpoint(seq));
    let opened = envelope::open(bytes, ObjectKind::Checkpoint, seq, &place)?;
    let section = opened.sections.iter().find(|section| section.kind == kind::MANIFEST);
    let section =
        section.ok_or_else(|| Error::corrupt(format!("checkpoint {place} has no manifest section")))?;
    let json = inflate(&section.bytes, &place)?;
    let section = Section { kind: section.kind, optional: false, bytes: Bytes::from(json) };
    let manifest: Manifest = read_json(&section, &place)?;
    for file in manifest.tables.values().flat_map(|table| &table.files) {
        if file.removed.max().is_some_and(|last| u64::from(last) >= file.rows) {
            return Err(Error::corrupt(format!(
                "checkpoint {place} removes rows of {} that it does not have",
                file.path
            )));
        }
    }
    let restored = |table: StoredTable| {
        Arc::new(Table {
            identity: table.identity,
            changed: table.changed,
            rows: table.rows,
            expired: table.expired,
            files: Arc::new(table.files.into_iter().map(Arc::new).collect()),
            inline: Vec::new(),
        })
    };
    let snapshot = Snapshot {
        seq,
        time: opened.header.time,
        definitions: manifest.definitions,
        tables: manifest.tables.into_iter().map(|(name, table)| (name, restored(table))).collect(),
        cursors: manifest.cursors.into_iter().map(|(name, cursor)| (name, Arc::new(cursor))).collect(),
        floor: manifest.floor,
        pins: manifest.pins,
        epoch: opened.header.epoch,
        exclusive: manifest.exclusive.map(Uuid::from_u128),
    };
    let Header { commit_id, previous_hash: hash, time, .. } = opened.header;
    let tip = Tip { seq, commit_id, hash, time };
    let repeats = Repeats::restored(manifest.batch_ids, manifest.producers);
    Ok((State { snapshot: Arc::new(snapshot), tip, removed: manifest.removed }, repeats))
}

/// How much larger than its compressed bytes a manifest may be: its names and checksums do not compress well.
const LARGEST_RATIO: u64 = 1000;
const ALWAYS_ALLOWED: u64 = 1 << 20;

pub(super) fn deflate(json: &[u8]) -> Result<Vec<u8>> {
    zstd::stream::encode_all(json, 3)
        .map_err(|error| Error::with_source(ErrorKind::Invalid, "cannot compress a checkpoint", error))
}

pub(super) fn inflate(bytes: &[u8], place: &str) -> Result<Vec<u8>> {
    let failed = |error| {
        Error::with_source(ErrorKind::Corrupt, format!("checkpoint {place} cannot be decompressed"), error)
    };
    let limit = (bytes.len() as u64).saturating_mul(LARGEST_RATIO).max(ALWAYS_ALLOWED);
    let mut json = Vec::new();
    let decoder = zstd::stream::Decoder::new(bytes).map_err(failed)?;
    decoder.take(limit + 1).read_to_end(&mut json).map_err(failed)?;
    if json.len() as u64 > limit {
        return Err(Error::corrupt(format!("checkpoint {place} has a manifest of more than {limit} bytes")));
    }
    Ok(json)
}

const HEAD_MAGIC: &[u8; 8] = b"PQDBHEAD";
const NO_CHECKPOINT: u64 = u64::MAX;

/// Where to start reading: a hint, never trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hint {
    pub(super) seq: u64,
    pub(super) checkpoint: Option<u64>,
}

impl Hint {
    pub(super) fn encode(self) -> Bytes {
        let mut bytes = Vec::with_capacity(28);
        bytes.extend_from_slice(HEAD_MAGIC);
        bytes.extend_from_slice(&self.seq.to_le_bytes());
        bytes.extend_from_slice(&self.checkpoint.unwrap_or(NO_CHECKPOINT).to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        Bytes::from(bytes)
    }

    /// `None` where the bytes are no hint.
    pub(super) fn decode(bytes: &[u8]) -> Option<Hint> {
        let (content, checksum) = bytes.split_at_checked(24)?;
        let number = |at: usize| content.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
        if &content[..8] != HEAD_MAGIC || crc32c::crc32c(content).to_le_bytes() != *checksum {
            return None;
        }
        let checkpoint = Some(number(16)?).filter(|checkpoint| *checkpoint != NO_CHECKPOINT);
        Some(Hint { seq: number(8)?, checkpoint })
    }
}
