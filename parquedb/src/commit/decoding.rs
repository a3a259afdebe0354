//! The decoders of the log's objects, and how to damage an object with its checksums right: for tests of
//! this workspace. Not part of the public interface.

use super::checkpoint::{self, Hint};
use super::envelope::{self, Builder, ObjectKind, Opened};
use super::{create, read};
use crate::error::Result;
use bytes::Bytes;

/// The decoders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoder {
    /// Of a commit.
    Commit,
    /// Of a checkpoint.
    Checkpoint,
    /// Of the hint `HEAD`.
    Hint,
    /// Of `FORMAT`.
    Format,
}

/// Where the objects that are decoded are said to be.
const PLACE: &str = "memory:///";

impl Decoder {
    /// Decodes the object of a number. Gives what it contains, as text; `None` for what is no hint.
    ///
    /// # Errors
    /// Of kind [`crate::ErrorKind::Corrupt`], or [`crate::ErrorKind::Invalid`] for objects of newer versions.
    pub fn decode(self, bytes: &Bytes, seq: u64) -> Result<Option<String>> {
        match self {
            Self::Commit => {
                let (header, _, body, _) = read::open_commit(bytes, seq, PLACE)?;
                Ok(Some(format!("{header:?} {body:?}")))
            }
            Self::Checkpoint => {
                let (state, repeats) = checkpoint::open(bytes, seq, PLACE)?;
                Ok(Some(format!("{state:?} {repeats:?}")))
            }
            Self::Hint => Ok(Hint::decode(bytes).map(|hint| format!("{hint:?}"))),
            Self::Format => create::read_format(bytes, PLACE).map(|()| Some(String::new())),
        }
    }

    /// Makes all checksums of an object right, as far as it has the places for them.
    pub fn repair(self, bytes: &mut Vec<u8>) {
        match self {
            Self::Commit => envelope::repair(bytes, ObjectKind::Commit),
            Self::Checkpoint => envelope::repair(bytes, ObjectKind::Checkpoint),
            Self::Hint => {
                let end = bytes.len().saturating_sub(4);
                let checksum = crc32c::crc32c(&bytes[..end]);
                if let Some(place) = bytes.get_mut(end..end + 4) {
                    place.copy_from_slice(&checksum.to_le_bytes());
                }
            }
            Self::Format => {
                let json = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default().to_vec();
                *bytes = [&json[..], format!("\n{:08x}\n", crc32c::crc32c(&json)).as_bytes()].concat();
            }
        }
    }

    /// What is in the sections of a commit or checkpoint, not compressed.
    ///
    /// # Errors
    /// As [`Decoder::decode`].
    pub fn contents(self, bytes: &Bytes, seq: u64) -> Result<Vec<Vec<u8>>> {
        let sections = self.open(bytes, seq)?.sections;
        let contents = sections.iter().map(|section| match self {
            Self::Checkpoint => checkpoint::inflate(&section.bytes, PLACE),
            _ => Ok(section.bytes.to_vec()),
        });
        contents.collect()
    }

    /// The same commit or checkpoint with other content in its sections, and right checksums.
    ///
    /// # Errors
    /// As [`Decoder::decode`], for the object that is to be changed.
    pub fn with_contents(self, bytes: &Bytes, seq: u64, contents: &[Vec<u8>]) -> Result<Bytes> {
        let opened = self.open(bytes, seq)?;
        let mut builder = Builder::new(opened.sections.len(), 0)?;
        for (section, content) in opened.sections.iter().zip(contents) {
            let content =
                if self == Self::Checkpoint { checkpoint::deflate(content)? } else { content.clone() };
            builder.section(section.kind, |buffer| {
                buffer.extend_from_slice(&content);
                Ok(())
            })?;
        }
        Ok(builder.seal(opened.header).bytes)
    }

    fn open(self, bytes: &Bytes, seq: u64) -> Result<Opened> {
        let kind = if self == Self::Checkpoint { ObjectKind::Checkpoint } else { ObjectKind::Commit };
        envelope::open(bytes, kind, seq, PLACE)
    }
}
