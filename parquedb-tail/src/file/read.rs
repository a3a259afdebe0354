//! A file as a sequence of items.

use super::FileError;
use crate::decode::{RawItem, Splitter, is_gzip};
use flate2::bufread::MultiGzDecoder;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Longest item, and line, of a file. Bounds the memory that a compressed file can make us use.
const MAX_ITEM: usize = 64 << 20;
/// How much is read at once.
const PIECE: usize = 256 << 10;

/// An open file, decompressed if it is gzip.
pub(super) struct Input {
    name: String,
    reader: Box<dyn Read>,
    read: Arc<AtomicU64>,
    splitter: Splitter,
    piece: Vec<u8>,
    ended: bool,
}

/// An item, and how much of the file was read to get it.
pub(super) struct FileItem<'a> {
    item: RawItem<'a>,
    pub(super) bytes_read: u64,
}

impl<'a> std::ops::Deref for FileItem<'a> {
    type Target = RawItem<'a>;
    fn deref(&self) -> &RawItem<'a> {
        &self.item
    }
}

impl Input {
    /// Opens a file, `-` being the standard input.
    pub(super) fn open(path: &Path, name: &str) -> Result<Self, FileError> {
        let fail = |source| FileError::Read { file: name.to_owned(), source };
        let raw: Box<dyn Read> = if path == Path::new("-") {
            Box::new(std::io::stdin())
        } else {
            Box::new(File::open(path).map_err(fail)?)
        };
        let read = Arc::new(AtomicU64::new(0));
        let mut buffered = BufReader::with_capacity(PIECE, Counted { raw, read: Arc::clone(&read) });
        let reader: Box<dyn Read> = if is_gzip(buffered.fill_buf().map_err(fail)?) {
            Box::new(MultiGzDecoder::new(buffered))
        } else {
            Box::new(buffered)
        };
        let (splitter, piece) = (Splitter::new(MAX_ITEM), vec![0; PIECE]);
        Ok(Self { name: name.to_owned(), reader, read, splitter, piece, ended: false })
    }

    /// The next item; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<FileItem<'_>>, FileError> {
        while !self
            .splitter
            .advance()
            .map_err(|source| FileError::Split { file: self.name.clone(), source })?
        {
            if self.ended {
                return Ok(None);
            }
            match self.reader.read(&mut self.piece) {
                Ok(0) => {
                    self.ended = true;
                    self.splitter.end();
                }
                Ok(read) => self.splitter.feed(self.piece.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => return Err(FileError::Read { file: self.name.clone(), source }),
            }
        }
        let bytes_read = self.bytes_read();
        Ok(self.splitter.item().map(|item| FileItem { item, bytes_read }))
    }

    /// How much of the file was read, in bytes as stored.
    pub(super) fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
}

struct Counted {
    raw: Box<dyn Read>,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.raw.read(into)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// The input up to the end of an item, as a batch id.
#[derive(Default)]
pub(super) struct Prefix(blake3::Hasher);

impl Prefix {
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn id(&self) -> String {
        format!("file-prefix:{}", self.0.finalize())
    }
}
