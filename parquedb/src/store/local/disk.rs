//! What a local store asks of the file system, so that a test can note it and lose what was not synced.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

/// The operations that change a folder or depend on what was changed before. Paths are absolute.
pub(super) trait Disk: Debug + Send + Sync {
    /// Creates an empty file, where there is nothing.
    fn create(&self, path: &Path) -> io::Result<File>;
    /// Appends to a file that [`Disk::create`] gave.
    fn write(&self, file: &mut File, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Makes a file's bytes durable; not its name.
    fn sync_file(&self, file: &File, path: &Path) -> io::Result<()>;
    /// Gives a file one more name, where there is nothing.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file another name, over whatever has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file another name, where there is nothing.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Takes a name from a file.
    fn unlink(&self, path: &Path) -> io::Result<()>;
    /// Creates a folder in one that exists.
    fn create_folder(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable, and that others are gone.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
}

/// The operating system's.
#[derive(Debug)]
pub(super) struct SystemDisk;

impl Disk for SystemDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).open(path)
    }

    fn write(&self, file: &mut File, _: &Path, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn sync_file(&self, file: &File, _: &Path) -> io::Result<()> {
        file.sync_all()
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    #[cfg(target_os = "linux")]
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
    }

    #[cfg(not(target_os = "linux"))]
    fn rename_new(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(io::Error::from(ErrorKind::Unsupported))
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

/// Whether a link failed because the file system has none. Linux says so by `EPERM`, which also has
/// other causes; a rename then fails by it too.
pub(super) fn has_no_links(error: &io::Error) -> bool {
    #[cfg(target_os = "linux")]
    {
        use rustix::io::Errno;
        if matches!(Errno::from_io_error(error), Some(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS)) {
            return true;
        }
    }
    error.kind() == ErrorKind::Unsupported
}

/// Whether [`Disk::rename_new`] failed because the file system cannot do it.
pub(super) fn cannot_rename_new(error: &io::Error) -> bool {
    #[cfg(target_os = "linux")]
    {
        use rustix::io::Errno;
        if matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS)) {
            return true;
        }
    }
    error.kind() == ErrorKind::Unsupported
}
