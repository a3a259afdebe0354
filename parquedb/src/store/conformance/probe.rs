//! Requests in the check's own folder, and objects that tell whether they are whole.

use super::Options;
use crate::store::Store;
use crate::store::failure::{PutFailure, classify, is_missing_object};
use crate::time;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Error, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutPayload, Result,
};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often a request without a clear answer is sent, and how long before the second time. Stores
/// that throttle one name allow one write a second.
const ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Requests sent at once.
const AT_ONCE: usize = 32;

/// What a store says to a create.
#[derive(Debug)]
pub(super) enum Answer {
    Created,
    Exists,
    /// Something else, also after it was asked several times.
    Other(Error),
}

/// A folder of a store for one check.
#[derive(Debug)]
pub(super) struct Probe {
    place: Store,
    store: Arc<dyn ObjectStore>,
    root: Path,
    pub(super) options: Options,
    repeated: AtomicU64,
}

impl Probe {
    pub(super) fn new(store: &Store, options: &Options) -> Self {
        Self {
            place: store.clone(),
            store: store.object_store(),
            // Creating a database passes over this folder.
            root: Path::from_iter(["_probe".to_owned(), uuid::Uuid::new_v4().to_string()]),
            options: options.clone(),
            repeated: AtomicU64::new(0),
        }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn url(&self) -> &str {
        self.place.url()
    }

    pub(super) fn repeated(&self) -> u64 {
        self.repeated.load(Ordering::Relaxed)
    }

    /// A place in the check's folder.
    pub(super) fn path(&self, relative: &str) -> Path {
        Path::from_iter(self.root.parts().chain(Path::from(relative).parts()))
    }

    async fn timed<T>(&self, request: impl Future<Output = Result<T>>) -> Result<T> {
        let limit = self.options.request_timeout;
        time::timeout(limit, request).await.unwrap_or_else(|_| {
            Err(Error::Generic { store: "conformance", source: format!("no answer within {limit:?}").into() })
        })
    }

    /// Creates an object. The flag tells whether it was sent more than once, so that an earlier request
    /// may have been the one that created it.
    pub(super) async fn try_create(&self, path: &Path, bytes: &Bytes) -> (Answer, bool) {
        let (mut pause, mut attempt) = (FIRST_PAUSE, 1);
        loop {
            let payload = PutPayload::from_bytes(bytes.clone());
            let put = self.timed(self.store.put_opts(path, payload, PutMode::Create.into())).await;
            let answer = match put {
                Ok(_) => Answer::Created,
                Err(error) => match classify(&error) {
                    PutFailure::Occupied => Answer::Exists,
                    PutFailure::Unknown if attempt < ATTEMPTS => {
                        self.repeated.fetch_add(1, Ordering::Relaxed);
                        time::sleep(pause).await;
                        pause *= 2;
                        attempt += 1;
                        continue;
                    }
                    PutFailure::Refused | PutFailure::Unknown => Answer::Other(error),
                },
            };
            return (answer, attempt > 1);
        }
    }

    /// Creates an object of which the name is new.
    pub(super) async fn create(&self, path: &Path, bytes: &Bytes) -> Result<Result<(), String>> {
        match self.try_create(path, bytes).await {
            (Answer::Created, _) | (Answer::Exists, true) => Ok(Ok(())),
            (Answer::Exists, false) => Ok(Err(format!("{path} is said to exist, and does not"))),
            (Answer::Other(error), _) => Err(error),
        }
    }

    /// Writes an object over whatever is there.
    pub(super) async fn put(&self, path: &Path, bytes: &Bytes) -> Result<()> {
        let mut pause = FIRST_PAUSE;
        for _ in 1..ATTEMPTS {
            let payload = PutPayload::from_bytes(bytes.clone());
            match self.timed(self.store.put(path, payload)).await {
                Ok(_) => return Ok(()),
                Err(error) if classify(&error) != PutFailure::Unknown => return Err(error),
                Err(_) => {}
            }
            self.repeated.fetch_add(1, Ordering::Relaxed);
            time::sleep(pause).await;
            pause *= 2;
        }
        self.timed(self.store.put(path, PutPayload::from_bytes(bytes.clone()))).await.map(|_| ())
    }

    /// The object, or the range of it, or `None` where there is none.
    pub(super) async fn read(&self, path: &Path, range: Option<GetRange>) -> Result<Option<Bytes>> {
        let options = GetOptions { range, ..GetOptions::default() };
        let read = async { self.store.get_opts(path, options).await?.bytes().await };
        match self.timed(read).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if is_missing_object(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn read_ranges(
        &self,
        path: &Path,
        ranges: &[std::ops::Range<u64>],
    ) -> Result<Vec<Bytes>> {
        self.timed(self.store.get_ranges(path, ranges)).await
    }

    pub(super) async fn head(&self, path: &Path) -> Result<Option<ObjectMeta>> {
        match self.timed(self.store.head(path)).await {
            Ok(meta) => Ok(Some(meta)),
            Err(error) if is_missing_object(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn list(&self, folder: &Path, offset: Option<&Path>) -> Result<Vec<ObjectMeta>> {
        let stream = match offset {
            Some(offset) => self.store.list_with_offset(Some(folder), offset),
            None => self.store.list(Some(folder)),
        };
        // A long listing is many requests.
        let limit = self.options.request_timeout;
        let mut stream = Box::pin(with_timeout(stream, limit));
        let mut objects = Vec::new();
        while let Some(object) = stream.try_next().await? {
            objects.push(object);
        }
        Ok(objects)
    }

    pub(super) async fn list_with_delimiter(&self, folder: &Path) -> Result<Vec<ObjectMeta>> {
        self.timed(self.store.list_with_delimiter(Some(folder))).await.map(|list| list.objects)
    }

    pub(super) async fn delete(&self, path: &Path) -> Result<()> {
        self.timed(self.store.delete(path)).await
    }

    /// Creates many objects, several at once, and says which names were said to exist already.
    pub(super) async fn create_all(&self, objects: &[(Path, Bytes)]) -> Result<Vec<String>> {
        let creates = futures::stream::iter(objects).map(|(path, bytes)| self.create(path, bytes));
        let answers: Vec<_> = creates.buffer_unordered(AT_ONCE).try_collect().await?;
        Ok(answers.into_iter().filter_map(std::result::Result::err).collect())
    }

    /// Removes everything in the check's folder.
    pub(super) async fn clean_up(&self) -> Result<()> {
        self.place.remove_folder(&self.root).await
    }
}

/// The stream, with an error when its next item takes too long.
fn with_timeout<T, S>(stream: S, limit: Duration) -> impl futures::Stream<Item = Result<T>>
where
    S: futures::Stream<Item = Result<T>> + Unpin,
{
    futures::stream::unfold(Some(stream), move |stream| async move {
        let mut stream = stream?;
        match time::timeout(limit, stream.next()).await {
            Ok(item) => Some((item?, Some(stream))),
            Err(_) => {
                let source = format!("no answer to a listing within {limit:?}").into();
                Some((Err(Error::Generic { store: "conformance", source }), None))
            }
        }
    })
}

const HEADER: usize = 16;

/// The object number `tag`: its number, its length, and bytes that follow from them.
pub(super) fn object(tag: u64, length: usize) -> Bytes {
    let length = length.max(HEADER);
    let mut bytes = Vec::with_capacity(length);
    bytes.extend_from_slice(&tag.to_le_bytes());
    bytes.extend_from_slice(&(length as u64).to_le_bytes());
    let mut filler = blake3::Hasher::new().update(&bytes).finalize_xof();
    bytes.resize(length, 0);
    if let Some(rest) = bytes.get_mut(HEADER..) {
        filler.fill(rest);
    }
    Bytes::from(bytes)
}

/// The number of the object that these bytes are the beginning of, and its length.
pub(super) fn beginning(bytes: &[u8]) -> Result<(u64, usize), String> {
    let number = |at: usize| {
        let bytes = bytes.get(at..at + 8)?.try_into().ok()?;
        Some(u64::from_le_bytes(bytes))
    };
    let Some((tag, length)) = number(0).zip(number(8)) else {
        return Err(format!("it has only {} bytes", bytes.len()));
    };
    // What is no header must not make us fill gigabytes.
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length < bytes.len() || length > (1 << 30) {
        return Err(format!("its {} bytes are none that were written", bytes.len()));
    }
    let expected = object(tag, length);
    if expected.starts_with(bytes) {
        return Ok((tag, length));
    }
    let at = bytes.iter().zip(&expected).take_while(|(found, expected)| found == expected).count();
    Err(format!("from byte {at} of {} on it is not what was written", bytes.len()))
}

/// The number of the object that these bytes are.
pub(super) fn whole(bytes: &[u8]) -> Result<u64, String> {
    let (tag, length) = beginning(bytes)?;
    if bytes.len() == length {
        Ok(tag)
    } else {
        Err(format!("only {} of its {length} bytes are there", bytes.len()))
    }
}
