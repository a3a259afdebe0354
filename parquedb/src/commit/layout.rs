//! Where things are, from the database's root.

use object_store::path::Path;

pub(super) const FORMAT: &str = "FORMAT";
pub(super) const HEAD: &str = "HEAD";
/// Folder of the objects that the check of the store's abilities leaves when it is interrupted.
pub(super) const PROBE: &str = "_probe";

/// Stands in a copy of a database that is not complete.
pub(super) const UNFINISHED: &str = "_unfinished_copy";

pub(super) fn commit(seq: u64) -> Path {
    Path::from_iter(["log".to_owned(), format!("{seq:020}.c")])
}

pub(super) fn commits() -> Path {
    Path::from("log")
}

pub(super) fn checkpoint(seq: u64) -> Path {
    Path::from_iter(["ckpt".to_owned(), format!("{seq:020}.k")])
}

pub(super) fn checkpoints() -> Path {
    Path::from("ckpt")
}

/// Everything that holds files of rows.
pub(super) fn data_folders() -> [Path; 3] {
    [Path::from("data"), Path::from("_views"), Path::from(PROBE)]
}

/// A new file for rows of a table, under a name nobody else chooses.
pub(super) fn new_data_file(table: &str, is_view: bool) -> Path {
    let name = format!("{}.parquet", ulid::Ulid::generate());
    if is_view {
        Path::from_iter(["_views", table, "data", &name])
    } else {
        Path::from_iter(["data", table, &name])
    }
}

/// The sequence number in the path of a commit or checkpoint.
pub(super) fn seq_of(path: &Path) -> Option<u64> {
    let (digits, extension) = path.filename()?.split_once('.')?;
    if digits.len() != 20 || !matches!(extension, "c" | "k") {
        return None;
    }
    digits.parse().ok()
}
