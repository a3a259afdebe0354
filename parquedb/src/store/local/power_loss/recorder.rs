//! A disk that notes every operation in its order, in a folder of its own.

use super::super::disk::{Disk, SystemDisk};
use crate::testing::Random;
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

/// One operation. Files have numbers, which their names share; names are relative to the recorder's
/// folder.
#[derive(Clone)]
pub(super) enum Operation {
    Create {
        name: String,
        file: usize,
    },
    Write {
        file: usize,
        bytes: Vec<u8>,
    },
    SyncFile {
        file: usize,
    },
    Link {
        name: String,
        file: usize,
    },
    Rename {
        from: String,
        name: String,
        file: usize,
    },
    Unlink {
        name: String,
    },
    CreateFolder {
        name: String,
    },
    SyncFolder {
        name: String,
    },
    /// A commit was asked for.
    Began(u64),
    /// It was acknowledged.
    Acknowledged(u64),
}

impl std::fmt::Debug for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Create { name, file } => write!(f, "create {name} as file {file}"),
            Self::Write { file, bytes } => write!(f, "write {} bytes to file {file}", bytes.len()),
            Self::SyncFile { file } => write!(f, "sync file {file}"),
            Self::Link { name, file } => write!(f, "link {name} to file {file}"),
            Self::Rename { from, name, file } => write!(f, "rename {from} to {name}, file {file}"),
            Self::Unlink { name } => write!(f, "unlink {name}"),
            Self::CreateFolder { name } => write!(f, "create folder {name}"),
            Self::SyncFolder { name } => write!(f, "sync folder {name}"),
            Self::Began(commit) => write!(f, "commit {commit} began"),
            Self::Acknowledged(commit) => write!(f, "commit {commit} acknowledged"),
        }
    }
}

/// What a store might do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mistake {
    None,
    /// Gives a file its name before its bytes are durable.
    LinksBeforeSync,
    /// Does not sync one folder.
    Forgets(&'static str),
}

#[derive(Debug, Default)]
struct Log {
    operations: Vec<Operation>,
    files: HashMap<PathBuf, usize>,
    next: usize,
    /// Syncs that are not noted yet.
    late: Vec<usize>,
}

/// Shared by all processes that use the folder.
#[derive(Debug, Clone)]
pub(super) struct Record {
    base: PathBuf,
    mistake: Mistake,
    has_links: bool,
    log: Arc<Mutex<Log>>,
}

impl Record {
    pub(super) fn new(base: &Path, mistake: Mistake, has_links: bool) -> Self {
        Self { base: base.to_owned(), mistake, has_links, log: Arc::default() }
    }

    pub(super) fn note(&self, operation: Operation) {
        self.log.lock().unwrap().operations.push(operation);
    }

    pub(super) fn operations(&self) -> Vec<Operation> {
        self.log.lock().unwrap().operations.clone()
    }

    fn name(&self, path: &Path) -> String {
        // What lies above is not part of the simulation and was always there.
        path.strip_prefix(&self.base)
            .map_or_else(|_| "..".to_owned(), |path| path.to_str().unwrap().to_owned())
    }
}

/// A disk as one process uses it.
#[derive(Debug)]
pub(super) struct Recorder {
    record: Record,
    gate: Mutex<Option<Gate>>,
}

#[derive(Debug)]
struct Gate {
    folder: String,
    reached: Sender<()>,
    open: Receiver<()>,
}

impl Recorder {
    pub(super) fn new(record: &Record) -> Arc<Self> {
        Arc::new(Self { record: record.clone(), gate: Mutex::default() })
    }

    /// Has the next sync of a folder wait. Gives what tells that it does, and what lets it go on.
    pub(super) fn stall(&self, folder: &str) -> (Receiver<()>, Sender<()>) {
        let ((reached, is_reached), (go, open)) = (channel(), channel());
        *self.gate.lock().unwrap() = Some(Gate { folder: folder.to_owned(), reached, open });
        (is_reached, go)
    }

    /// No sync has to wait any more.
    pub(super) fn go_on(&self) {
        *self.gate.lock().unwrap() = None;
    }

    fn noted<T>(&self, action: impl FnOnce(&mut Log) -> io::Result<T>) -> io::Result<T> {
        action(&mut self.record.log.lock().unwrap())
    }

    fn rename_by(
        &self,
        from: &Path,
        to: &Path,
        rename: fn(&Path, &Path) -> io::Result<()>,
    ) -> io::Result<()> {
        self.noted(|log| {
            rename(from, to)?;
            let file = log.files.remove(from).unwrap();
            log.files.insert(to.to_owned(), file);
            let (from, name) = (self.record.name(from), self.record.name(to));
            log.operations.push(Operation::Rename { from, name, file });
            log.catch_up(file);
            Ok(())
        })
    }
}

impl Log {
    fn catch_up(&mut self, file: usize) {
        if self.late.contains(&file) {
            self.late.retain(|late| *late != file);
            self.operations.push(Operation::SyncFile { file });
        }
    }
}

/// Syncs are noted and not made: nobody pulls the plug of this machine.
impl Disk for Recorder {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.noted(|log| {
            let created = SystemDisk.create(path)?;
            let file = log.next;
            log.next += 1;
            log.files.insert(path.to_owned(), file);
            log.operations.push(Operation::Create { name: self.record.name(path), file });
            Ok(created)
        })
    }

    fn write(&self, file: &mut File, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.noted(|log| {
            SystemDisk.write(file, path, bytes)?;
            log.operations.push(Operation::Write { file: log.files[path], bytes: bytes.to_vec() });
            Ok(())
        })
    }

    fn sync_file(&self, _: &File, path: &Path) -> io::Result<()> {
        self.noted(|log| {
            let file = log.files[path];
            match self.record.mistake {
                Mistake::LinksBeforeSync => log.late.push(file),
                _ => log.operations.push(Operation::SyncFile { file }),
            }
            Ok(())
        })
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        if !self.record.has_links {
            return Err(io::Error::from(io::ErrorKind::Unsupported));
        }
        self.noted(|log| {
            SystemDisk.link(from, to)?;
            let file = log.files[from];
            log.files.insert(to.to_owned(), file);
            log.operations.push(Operation::Link { name: self.record.name(to), file });
            log.catch_up(file);
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.rename_by(from, to, |from, to| SystemDisk.rename(from, to))
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.rename_by(from, to, |from, to| SystemDisk.rename_new(from, to))
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.noted(|log| {
            SystemDisk.unlink(path)?;
            log.files.remove(path);
            log.operations.push(Operation::Unlink { name: self.record.name(path) });
            Ok(())
        })
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.noted(|log| {
            SystemDisk.create_folder(path)?;
            log.operations.push(Operation::CreateFolder { name: self.record.name(path) });
            Ok(())
        })
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let name = self.record.name(path);
        let gate = {
            let mut gate = self.gate.lock().unwrap();
            if gate.as_ref().is_some_and(|gate| gate.folder == name) { gate.take() } else { None }
        };
        if let Some(gate) = gate {
            gate.reached.send(()).unwrap();
            gate.open.recv().unwrap();
        }
        if !matches!(self.record.mistake, Mistake::Forgets(folder) if folder == name) {
            self.record.note(Operation::SyncFolder { name });
        }
        Ok(())
    }
}

/// Has puts of files of one commit happen at once, as they do with more than one thread: their
/// operations are mixed, each put's in its order. Folders are created before them.
pub(super) fn interleave(operations: Vec<Operation>, random: &mut Random) -> Vec<Operation> {
    let mut mixed = Vec::with_capacity(operations.len());
    let mut puts: Vec<VecDeque<Operation>> = Vec::new();
    let mut rest = operations.into_iter().peekable();
    while let Some(operation) = rest.next() {
        match &operation {
            Operation::Create { name, .. } if name.contains("/data/") => {
                let folder = name.rsplit_once('/').unwrap().0.to_owned();
                let mut put = VecDeque::from([operation]);
                for next in rest.by_ref() {
                    let is_last = matches!(&next, Operation::SyncFolder { name } if *name == folder);
                    put.push_back(next);
                    if is_last {
                        break;
                    }
                }
                puts.push(put);
            }
            Operation::CreateFolder { .. } | Operation::SyncFolder { .. } if !puts.is_empty() => {
                mixed.push(operation);
            }
            _ => {
                mix(&mut puts, &mut mixed, random);
                mixed.push(operation);
            }
        }
    }
    mix(&mut puts, &mut mixed, random);
    mixed
}

fn mix(puts: &mut Vec<VecDeque<Operation>>, mixed: &mut Vec<Operation>, random: &mut Random) {
    while !puts.is_empty() {
        let index = usize::try_from(random.below(puts.len() as u64)).unwrap();
        mixed.extend(puts[index].pop_front());
        if puts[index].is_empty() {
            puts.swap_remove(index);
        }
    }
}
