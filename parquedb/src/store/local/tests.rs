//! What a local store does beyond the promises that every store keeps.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::store::Store;
use crate::store::conformance::{self, Options};
use futures::TryStreamExt;
use object_store::{ObjectStoreExt, WriteMultipart};
use std::fs::File;
use std::time::Duration;

#[tokio::test]
async fn staging_files_are_hidden_and_overwriting_works() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::new(folder.path(), Durability::Sync);
    let path = Path::from("HEAD");
    for content in ["one", "two"] {
        store.put(&path, content.into()).await.unwrap();
        let bytes = store.get(&path).await.unwrap().bytes().await.unwrap();
        assert_eq!(bytes.as_ref(), content.as_bytes());
    }
    fs::write(folder.path().join("HEAD#123"), "torn").unwrap();
    let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
    assert_eq!(listed.len(), 1);
    store.delete(&path).await.unwrap();
    assert!(matches!(store.get(&path).await, Err(Error::NotFound { .. })));
    assert!(matches!(store.delete(&path).await, Err(Error::NotFound { .. })));
    let nowhere = Path::from("no/such/folder/x");
    assert!(matches!(store.delete(&nowhere).await, Err(Error::NotFound { .. })));
    let refused = store.put_multipart(&path).await.map(WriteMultipart::new);
    assert!(matches!(refused.err(), Some(Error::NotImplemented { .. })));
}

#[tokio::test]
async fn copies_are_objects_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::new(folder.path(), Durability::Sync);
    let (from, to) = (Path::from("a/one"), Path::from("b/two"));
    store.put(&from, "one".into()).await.unwrap();
    store.copy(&from, &to).await.unwrap();
    let again = store.copy_if_not_exists(&from, &to).await;
    assert!(matches!(again, Err(Error::AlreadyExists { .. })));
    store.put(&from, "other".into()).await.unwrap();
    assert_eq!(store.get(&to).await.unwrap().bytes().await.unwrap().as_ref(), b"one");
    store.copy(&from, &to).await.unwrap();
    assert_eq!(store.get(&to).await.unwrap().bytes().await.unwrap().as_ref(), b"other");
}

type Name = Box<dyn Fn(&FilePath, &FilePath) -> io::Result<()> + Send + Sync>;

/// The system's disk, but for how a new object gets its name.
struct Altered {
    link: Name,
    rename_new: Name,
}

impl std::fmt::Debug for Altered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Altered").finish_non_exhaustive()
    }
}

impl Disk for Altered {
    fn create(&self, path: &FilePath) -> io::Result<File> {
        SystemDisk.create(path)
    }
    fn write(&self, file: &mut File, path: &FilePath, bytes: &[u8]) -> io::Result<()> {
        SystemDisk.write(file, path, bytes)
    }
    fn sync_file(&self, file: &File, path: &FilePath) -> io::Result<()> {
        SystemDisk.sync_file(file, path)
    }
    fn link(&self, from: &FilePath, to: &FilePath) -> io::Result<()> {
        (self.link)(from, to)
    }
    fn rename(&self, from: &FilePath, to: &FilePath) -> io::Result<()> {
        SystemDisk.rename(from, to)
    }
    fn rename_new(&self, from: &FilePath, to: &FilePath) -> io::Result<()> {
        (self.rename_new)(from, to)
    }
    fn unlink(&self, path: &FilePath) -> io::Result<()> {
        SystemDisk.unlink(path)
    }
    fn create_folder(&self, path: &FilePath) -> io::Result<()> {
        SystemDisk.create_folder(path)
    }
    fn sync_folder(&self, path: &FilePath) -> io::Result<()> {
        SystemDisk.sync_folder(path)
    }
}

#[cfg(target_os = "linux")]
mod without_links {
    use super::*;

    const EPERM: i32 = 1;
    const EACCES: i32 = 13;
    const EINVAL: i32 = 22;
    const EOPNOTSUPP: i32 = 95;

    /// What a link gives, and what a rename to a new name gives, if it fails.
    fn lacking(root: &FilePath, link: i32, rename: Option<i32>) -> LocalStore {
        let link: Name = Box::new(move |_, _| Err(io::Error::from_raw_os_error(link)));
        let rename_new: Name = match rename {
            Some(error) => Box::new(move |_, _| Err(io::Error::from_raw_os_error(error))),
            None => Box::new(|from, to| SystemDisk.rename_new(from, to)),
        };
        LocalStore::with_disk(root.to_owned(), Durability::Sync, Arc::new(Altered { link, rename_new }))
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_file_system_without_links_keeps_every_promise() {
        for link in [EOPNOTSUPP, EPERM] {
            let folder = tempfile::tempdir().unwrap();
            let store = lacking(&folder.path().join("db"), link, None);
            let store = Store::new(Arc::new(store), "");
            let options = Options { pairs: 50, rounds: 50, objects: 50, repeats: 10, ..Options::default() };
            let report = conformance::check(&store, &options).await.unwrap();
            println!("without hard links, error {link}: {report}");
        }
    }

    #[tokio::test]
    async fn what_can_neither_link_nor_rename_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = Path::from("log/1.c");
        let create = |link, rename| {
            let store = lacking(folder.path(), link, Some(rename));
            let path = path.clone();
            async move { store.put_opts(&path, "one".into(), PutMode::Create.into()).await.unwrap_err() }
        };
        for link in [EOPNOTSUPP, EPERM] {
            let error = create(link, EINVAL).await;
            assert!(matches!(error, Error::NotSupported { .. }), "{error:?}");
            assert!(error.to_string().contains("hard links"), "{error}");
        }
        // The same number has another cause where the folder may not be written to.
        let error = create(EPERM, EPERM).await;
        assert!(matches!(error, Error::PermissionDenied { .. }), "{error:?}");
        let error = create(EACCES, EINVAL).await;
        assert!(matches!(error, Error::PermissionDenied { .. }), "{error:?}");
        let left = fs::read_dir(folder.path().join("log")).unwrap().count();
        assert_eq!(left, 0, "staging files stayed behind");
    }
}

#[tokio::test]
async fn staging_files_are_swept_when_they_are_old() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("db");
    let local = LocalStore::new(&root, Durability::Sync);
    assert_eq!(local.sweep(Duration::ZERO).await.unwrap(), 0, "a folder that is not there");
    assert!(!root.exists());
    let store = Store::open(root.to_str().unwrap()).unwrap();
    let path = Path::from("data/A/one.parquet");
    store.put(&path, "one".into()).await.unwrap();
    let day = Duration::from_secs(24 * 3600);
    let fresh = File::create(root.join("fresh")).unwrap().metadata().unwrap().modified().unwrap();
    let write = |name: &str, age: Duration| {
        let file = File::create(root.join(name)).unwrap();
        file.set_modified(fresh - age).unwrap();
    };
    write("HEAD#1", 3 * day);
    write("data/A/two.parquet#18446744073709551615", 2 * day);
    write("data/A/three.parquet#2", Duration::from_secs(10));
    write("data/A/four#x", 9 * day);
    write("data/A/five.parquet", 9 * day);
    write("data/A/six#", 9 * day);
    #[cfg(unix)]
    std::os::unix::fs::symlink(folder.path(), root.join("data/elsewhere")).unwrap();
    fs::write(folder.path().join("not ours#1"), "").unwrap();
    assert_eq!(store.sweep_staging(day).await.unwrap(), 2);
    assert_eq!(store.sweep_staging(day).await.unwrap(), 0);
    assert_eq!(store.sweep_staging(Duration::ZERO).await.unwrap(), 1);
    let mut left: Vec<_> = fs::read_dir(root.join("data/A"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["five.parquet", "four#x", "one.parquet", "six#"]);
    assert!(folder.path().join("not ours#1").exists());
    assert_eq!(Store::open("memory:///").unwrap().sweep_staging(Duration::ZERO).await.unwrap(), 0);
}

#[tokio::test]
async fn a_write_whose_staging_file_was_swept_fails_without_having_written() {
    use crate::store::failure::{PutFailure, classify};
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_owned();
    let other = LocalStore::new(&root, Durability::Sync);
    let link: Name = Box::new(move |from, to| {
        assert_eq!(other.0.sweep(Duration::ZERO).unwrap(), 1);
        SystemDisk.link(from, to)
    });
    let rename_new: Name = Box::new(|_, _| panic!("not without need"));
    let disk = Arc::new(Altered { link, rename_new });
    let store = LocalStore::with_disk(root.clone(), Durability::Sync, disk);
    let path = Path::from("log/1.c");
    let error = store.put_opts(&path, "one".into(), PutMode::Create.into()).await.unwrap_err();
    assert_eq!(classify(&error), PutFailure::Refused, "{error:?}");
    assert_eq!(fs::read_dir(root.join("log")).unwrap().count(), 0);
}
