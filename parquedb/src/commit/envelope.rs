//! The bytes around a commit or a checkpoint: header, directory of sections, footer.
//!
//! All numbers are little-endian. See `docs/design/log.md` for the layout.

use crate::error::{Error, ErrorKind, Result};
use bytes::Bytes;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

pub(super) const FORMAT_VERSION: u16 = 1;
pub(super) const HEADER: usize = 128;
const ENTRY: usize = 32;
const FOOTER: usize = 40;
const ALIGNMENT: usize = 8;

/// A section of a kind that a reader does not know may be passed over only with this flag.
const OPTIONAL: u16 = 1;

pub(super) type Hash = [u8; 32];

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ObjectKind {
    Commit,
    Checkpoint,
}

impl ObjectKind {
    fn magic(self) -> &'static [u8; 8] {
        match self {
            ObjectKind::Commit => b"PQDB.LOG",
            ObjectKind::Checkpoint => b"PQDB.CKP",
        }
    }

    fn name(self) -> &'static str {
        match self {
            ObjectKind::Commit => "commit",
            ObjectKind::Checkpoint => "checkpoint",
        }
    }
}

/// The fixed start of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: ObjectKind,
    pub(super) seq: u64,
    /// Of the commit; in a checkpoint, of the last commit it contains.
    pub(super) commit_id: Uuid,
    pub(super) previous_id: Uuid,
    /// Of the previous commit; in a checkpoint, of the last commit it contains.
    pub(super) previous_hash: Hash,
    pub(super) writer_id: Uuid,
    pub(super) epoch: u64,
    /// Microseconds since 1970.
    pub(super) time: i64,
}

impl Header {
    fn encode(&self, sections: u16) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[0..8].copy_from_slice(self.kind.magic());
        bytes[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[10..12].copy_from_slice(&sections.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.seq.to_le_bytes());
        bytes[24..40].copy_from_slice(self.commit_id.as_bytes());
        bytes[40..56].copy_from_slice(self.previous_id.as_bytes());
        bytes[56..88].copy_from_slice(&self.previous_hash);
        bytes[88..104].copy_from_slice(self.writer_id.as_bytes());
        bytes[104..112].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[112..120].copy_from_slice(&self.time.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[..124]);
        bytes[124..128].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }
}

/// Reads fixed-size fields. The caller has checked the length.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    if let Some(slice) = bytes.get(at..at + N) {
        out.copy_from_slice(slice);
    }
    out
}

/// A section's content with its kind.
#[derive(Debug, Clone)]
pub(super) struct Section {
    pub(super) kind: u16,
    pub(super) optional: bool,
    pub(super) bytes: Bytes,
}

/// An object ready to be put.
#[derive(Debug, Clone)]
pub(super) struct Sealed {
    pub(super) header: Header,
    pub(super) bytes: Bytes,
    pub(super) hash: Hash,
}

impl Sealed {
    /// The same content for another place in the log.
    pub(super) fn moved(&self, header: Header) -> Sealed {
        let mut buffer = self.bytes.to_vec();
        let sections = u16::from_le_bytes(field(&buffer, 10));
        buffer.truncate(buffer.len().saturating_sub(FOOTER));
        close(buffer, header, sections)
    }
}

fn close(mut buffer: Vec<u8>, header: Header, sections: u16) -> Sealed {
    buffer[..HEADER].copy_from_slice(&header.encode(sections));
    let length = (buffer.len() + FOOTER) as u64;
    buffer.extend_from_slice(&length.to_le_bytes());
    let hash: Hash = blake3::hash(&buffer).into();
    buffer.extend_from_slice(&hash);
    Sealed { header, bytes: Bytes::from(buffer), hash }
}

/// Builds an object in one buffer.
#[derive(Debug)]
pub(super) struct Builder {
    buffer: Vec<u8>,
    sections: u16,
    written: u16,
}

impl Builder {
    /// An object that will get exactly `sections` sections.
    pub(super) fn new(sections: usize, capacity: usize) -> Result<Self> {
        let count = u16::try_from(sections).map_err(|_| {
            Error::invalid(format!("{sections} tables change in one commit; at most 65535 sections fit"))
        })?;
        let start = HEADER + sections * ENTRY;
        let mut buffer = Vec::with_capacity(start + capacity + FOOTER);
        buffer.resize(start, 0);
        Ok(Self { buffer, sections: count, written: 0 })
    }

    /// Appends a section and returns its length.
    pub(super) fn section(
        &mut self,
        kind: u16,
        write: impl FnOnce(&mut Vec<u8>) -> Result<()>,
    ) -> Result<u64> {
        while !self.buffer.len().is_multiple_of(ALIGNMENT) {
            self.buffer.push(0);
        }
        let offset = self.buffer.len();
        write(&mut self.buffer)?;
        let content = &self.buffer[offset..];
        let length = content.len() as u64;
        let checksum = xxh3_64(content);
        let at = HEADER + usize::from(self.written) * ENTRY;
        let entry = &mut self.buffer[at..at + ENTRY];
        entry[0..2].copy_from_slice(&kind.to_le_bytes());
        entry[8..16].copy_from_slice(&(offset as u64).to_le_bytes());
        entry[16..24].copy_from_slice(&length.to_le_bytes());
        entry[24..32].copy_from_slice(&checksum.to_le_bytes());
        self.written += 1;
        Ok(length)
    }

    pub(super) fn seal(self, header: Header) -> Sealed {
        debug_assert_eq!(self.sections, self.written);
        close(self.buffer, header, self.sections)
    }
}

/// An object whose checksums are right.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) header: Header,
    pub(super) sections: Vec<Section>,
    pub(super) hash: Hash,
}

/// Checks and takes apart an object. `place` names it in errors.
pub(super) fn open(bytes: &Bytes, kind: ObjectKind, seq: u64, place: &str) -> Result<Opened> {
    let corrupt = |what: &str| {
        Error::corrupt(format!("{} {place} is damaged: {what}; restore it from a copy", kind.name()))
    };
    let header = open_header(bytes, kind, seq, place)?;
    if bytes.len() < HEADER + FOOTER {
        return Err(corrupt("it is cut short"));
    }
    let end = bytes.len() - FOOTER;
    if u64::from_le_bytes(field(bytes, end)) != bytes.len() as u64 {
        return Err(corrupt("its length is not the one written"));
    }
    let hash: Hash = blake3::hash(&bytes[..end + 8]).into();
    if hash != field::<32>(bytes, end + 8) {
        return Err(corrupt("its BLAKE3 hash does not match"));
    }
    let count = usize::from(u16::from_le_bytes(field(bytes, 10)));
    if HEADER + count * ENTRY > end {
        return Err(corrupt("its directory is longer than the object"));
    }
    let mut sections = Vec::with_capacity(count);
    for index in 0..count {
        let at = HEADER + index * ENTRY;
        let offset = u64::from_le_bytes(field(bytes, at + 8));
        let length = u64::from_le_bytes(field(bytes, at + 16));
        let range = usize::try_from(offset)
            .ok()
            .zip(offset.checked_add(length).and_then(|stop| usize::try_from(stop).ok()))
            .filter(|(start, stop)| start <= stop && *stop <= end);
        let Some((start, stop)) = range else {
            return Err(corrupt(&format!("section {index} lies outside of the object")));
        };
        let content = bytes.slice(start..stop);
        if xxh3_64(&content) != u64::from_le_bytes(field(bytes, at + 24)) {
            return Err(corrupt(&format!("the checksum of section {index} does not match")));
        }
        let flags = u16::from_le_bytes(field(bytes, at + 2));
        sections.push(Section {
            kind: u16::from_le_bytes(field(bytes, at)),
            optional: flags & OPTIONAL != 0,
            bytes: content,
        });
    }
    Ok(Opened { header, sections, hash })
}

/// Checks and reads the header of an object from its first bytes.
pub(super) fn open_header(bytes: &[u8], kind: ObjectKind, seq: u64, place: &str) -> Result<Header> {
    let corrupt = |what: &str| {
        Error::corrupt(format!("{} {place} is damaged: {what}; restore it from a copy", kind.name()))
    };
    if bytes.len() < HEADER {
        return Err(corrupt(&format!("it is cut short, at {} bytes", bytes.len())));
    }
    if bytes[..8] != kind.magic()[..] {
        return Err(corrupt("it does not start as one"));
    }
    if crc32c::crc32c(&bytes[..124]) != u32::from_le_bytes(field(bytes, 124)) {
        return Err(corrupt("the checksum of its header does not match"));
    }
    let version = u16::from_le_bytes(field(bytes, 8));
    if version != FORMAT_VERSION {
        return Err(Error::new(
            ErrorKind::Invalid,
            format!(
                "{} {place} has format {version}, newer than {FORMAT_VERSION}: use a newer version of the library",
                kind.name()
            ),
        ));
    }
    let header = Header {
        kind,
        seq: u64::from_le_bytes(field(bytes, 16)),
        commit_id: Uuid::from_bytes(field(bytes, 24)),
        previous_id: Uuid::from_bytes(field(bytes, 40)),
        previous_hash: field(bytes, 56),
        writer_id: Uuid::from_bytes(field(bytes, 88)),
        epoch: u64::from_le_bytes(field(bytes, 104)),
        time: i64::from_le_bytes(field(bytes, 112)),
    };
    if header.seq != seq {
        return Err(corrupt(&format!("it says it is number {}", header.seq)));
    }
    Ok(header)
}

/// Makes magic, version, length and all checksums right: for tests of what lies behind them.
pub(super) fn repair(bytes: &mut [u8], kind: ObjectKind) {
    if bytes.len() < HEADER + FOOTER {
        return;
    }
    bytes[..8].copy_from_slice(kind.magic());
    bytes[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    let checksum = crc32c::crc32c(&bytes[..124]);
    bytes[124..128].copy_from_slice(&checksum.to_le_bytes());
    let count = usize::from(u16::from_le_bytes(field(bytes, 10)));
    for at in (0..count).map(|index| HEADER + index * ENTRY) {
        let Some(entry) = bytes.get(at..at + ENTRY) else { break };
        let (offset, length) = (u64::from_le_bytes(field(entry, 8)), u64::from_le_bytes(field(entry, 16)));
        let content = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..));
        let content = content.and_then(|content| content.get(..usize::try_from(length).ok()?));
        let Some(checksum) = content.map(xxh3_64) else { continue };
        bytes[at + 24..at + 32].copy_from_slice(&checksum.to_le_bytes());
    }
    let end = bytes.len() - FOOTER;
    let length = bytes.len() as u64;
    bytes[end..end + 8].copy_from_slice(&length.to_le_bytes());
    let hash = blake3::hash(&bytes[..end + 8]);
    bytes[end + 8..].copy_from_slice(hash.as_bytes());
}
