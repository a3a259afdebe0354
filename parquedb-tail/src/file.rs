//! Files of tail events into the database, resumable at any item.
//!
//! The batch id of a commit is the BLAKE3 hash of everything from the file's start to the end of the
//! commit's last item. So a second run finds the furthest prefix that is stored and goes on after it,
//! whether the first one was killed, used another batch size, or saw a file that has grown since.

mod read;
mod summary;

use summary::Counts;
pub use summary::Summary;

use crate::decode::Decoded;
use crate::sink::Sink;
use read::{Input, Prefix};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What one read of the input hands over to be committed.
struct Batch {
    decoded: Decoded,
    /// Hash of the input up to the end of its last item; none for input that cannot be read again.
    id: Option<String>,
    /// Bytes of the input (as stored, perhaps compressed) that were read so far.
    read: u64,
}

/// How a file is ingested.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Items per commit.
    pub batch: usize,
    /// Ingest even what is stored already.
    pub again: bool,
}

/// Why a file was not ingested to its end. What was committed before stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file cannot be opened, read or decompressed.
    #[error("cannot read {file}")]
    Read {
        /// Its name.
        file: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file cannot be cut into items.
    #[error("{file} is not a file of tail events")]
    Split {
        /// Its name.
        file: String,
        /// Where and why.
        #[source]
        source: crate::decode::SplitError,
    },
    /// A commit failed.
    #[error("cannot store events of {file}")]
    Store {
        /// The file's name.
        file: String,
        /// Why.
        #[source]
        source: parquedb::Error,
    },
}

/// What to tell about the progress of a file.
#[derive(Debug, Clone, Copy)]
pub enum Progress {
    /// Looking for what is stored already; so many bytes of the file were read.
    Searching(u64),
    /// So many bytes of the file were read, and so many items of it are stored.
    Storing {
        /// Bytes, as stored, perhaps compressed.
        bytes: u64,
        /// Items.
        items: u64,
    },
}

/// Ingests the file at `path` (`-`: the standard input, which cannot be resumed), adding to `summary`.
///
/// # Errors
/// When the file cannot be read to its end or a commit fails. `summary` tells what was stored.
pub async fn ingest<S: Sink>(
    sink: &Arc<S>,
    path: &Path,
    options: Options,
    summary: &mut Summary,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<(), FileError> {
    let name = if path == Path::new("-") { "stdin".to_owned() } else { path.display().to_string() };
    summary.files += 1;
    let resumable = path != Path::new("-") && !options.again;
    let skip = if resumable {
        let found = search(sink, path.to_owned(), name.clone(), &mut progress).await?;
        summary.skipped += found.items;
        if found.items > 0 && found.complete {
            summary.complete.push(name);
            return Ok(());
        }
        found.items
    } else {
        0
    };
    let (send, mut batches) = tokio::sync::mpsc::channel::<Result<Batch, FileError>>(2);
    let (path, source, reader) = (path.to_owned(), name.clone(), Arc::clone(sink));
    // Ends when the file does, or when nobody takes its batches any more.
    tokio::task::spawn_blocking(move || {
        read_batches(&*reader, &path, &source, skip, resumable, options.batch, &send)
    });
    let mut items = skip;
    while let Some(batch) = batches.recv().await {
        let Batch { decoded, id, read } = batch?;
        items += decoded.items;
        let counts = Counts::of(&decoded);
        if !decoded.events.is_empty() || !decoded.dead_letters.is_empty() {
            let stored = sink.store(decoded.events, decoded.dead_letters, id).await;
            stored.map_err(|source| FileError::Store { file: name.clone(), source })?;
            summary.commits += 1;
        }
        summary.add(counts);
        progress(Progress::Storing { bytes: read, items });
    }
    Ok(())
}

/// The furthest prefix of a file that is stored.
#[derive(Default)]
struct Found {
    items: u64,
    /// Whether nothing follows it.
    complete: bool,
}

async fn search<S: Sink>(
    sink: &Arc<S>,
    path: PathBuf,
    name: String,
    progress: &mut (impl FnMut(Progress) + Send),
) -> Result<Found, FileError> {
    let (send, mut told) = tokio::sync::mpsc::unbounded_channel();
    let sink = Arc::clone(sink);
    let task = tokio::task::spawn_blocking(move || {
        let mut input = Input::open(&path, &name)?;
        let mut prefix = Prefix::default();
        let mut found = Found::default();
        let mut items = 0;
        loop {
            match input.next() {
                Ok(Some(item)) => {
                    items += 1;
                    prefix.extend(item.advance);
                    found.complete = sink.has(&prefix.id());
                    if found.complete {
                        found.items = items;
                    }
                }
                Ok(None) => return Ok(found),
                // The file can be read this far; the read that stores it reports the error.
                Err(FileError::Split { .. }) => {
                    found.complete = false;
                    return Ok(found);
                }
                Err(error) => return Err(error),
            }
            if items % 256 == 0 {
                // Nobody listens once the command was stopped.
                let _ = send.send(input.bytes_read());
            }
        }
    });
    while let Some(bytes) = told.recv().await {
        progress(Progress::Searching(bytes));
    }
    match task.await {
        Ok(found) => found,
        Err(stopped) => Err(FileError::Read { file: String::new(), source: std::io::Error::other(stopped) }),
    }
}

fn read_batches<S: Sink>(
    sink: &S,
    path: &Path,
    name: &str,
    skip: u64,
    resumable: bool,
    size: usize,
    send: &tokio::sync::mpsc::Sender<Result<Batch, FileError>>,
) {
    let run = || -> Result<(), FileError> {
        let mut input = Input::open(path, name)?;
        let mut prefix = Prefix::default();
        let mut batch = Decoded::default();
        let mut failed = Ok(());
        loop {
            let item = match input.next() {
                Ok(Some(item)) => item,
                Ok(None) => break,
                Err(error) => {
                    failed = Err(error);
                    break;
                }
            };
            // What a file ends in the middle of is a batch of its own: when the file has grown, the
            // prefix before it is still found, and the item is read again as a whole.
            let alone = item.cut_off && batch.items > 0;
            if alone || batch.items >= size as u64 {
                let id = resumable.then(|| prefix.id());
                let (decoded, read) = (std::mem::take(&mut batch), item.bytes_read);
                if send.blocking_send(Ok(Batch { decoded, id, read })).is_err() {
                    return Ok(());
                }
            }
            if resumable {
                prefix.extend(item.advance);
            }
            if item.position >= skip {
                batch.push(&item, name, sink.now());
            }
        }
        if batch.items > 0 {
            let id = resumable.then(|| prefix.id());
            let _ = send.blocking_send(Ok(Batch { decoded: batch, id, read: input.bytes_read() }));
        }
        failed
    };
    if let Err(error) = run() {
        let _ = send.blocking_send(Err(error));
    }
}
