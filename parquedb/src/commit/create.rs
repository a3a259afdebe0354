//! Opens a database, or creates it.

use super::body::Body;
use super::envelope::{Header, ObjectKind};
use super::place::place;
use super::read::Loaded;
use super::{LogOptions, layout, read};
use crate::error::{Error, ErrorKind, Result};
use crate::store::Store;
use crate::store::failure::{PutFailure, classify, explain};
use bytes::Bytes;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The content of `FORMAT`: one line of JSON, then a line with its CRC32C.
#[derive(Debug, Serialize, Deserialize)]
struct Format {
    format: String,
    version: u32,
    #[serde(default)]
    database: String,
    #[serde(default)]
    created: i64,
}

const NAME: &str = "ParqueDB";
const VERSION: u32 = 1;

pub(super) async fn open(store: &Store, options: &LogOptions) -> Result<Loaded> {
    let format = Path::from(layout::FORMAT);
    let may_create = options.create_if_missing && !options.read_only;
    let missing = || {
        let hint = if options.read_only { "; open it for writing once to create it" } else { "" };
        Error::new(ErrorKind::NotFound, format!("there is no database in {}{hint}", store.url()))
    };
    let bytes = match store.get(&format).await? {
        Some(bytes) => bytes,
        None => match check_empty(store).await? {
            Some(bytes) => bytes,
            None if may_create => create_format(store, options).await?,
            None => return Err(missing()),
        },
    };
    read_format(&bytes, store.url())?;
    if let Some(loaded) = read::load(store, options.clock.as_ref()).await? {
        return Ok(loaded);
    }
    if !may_create {
        return Err(missing());
    }
    // Also completes a creation that was interrupted.
    let header = Header {
        kind: ObjectKind::Commit,
        seq: 0,
        commit_id: Uuid::now_v7(),
        previous_id: Uuid::nil(),
        previous_hash: [0; 32],
        writer_id: options.writer_id,
        epoch: 0,
        time: options.clock.now(),
    };
    let mut body = Body { definitions: Some(std::sync::Arc::default()), ..Body::default() };
    let mut sealed = body.seal(header)?;
    // Whoever created it, it is there now.
    place(store, options, &mut sealed).await?;
    read::load(store, options.clock.as_ref()).await?.ok_or_else(|| {
        Error::corrupt(format!("the first commit of {} is gone just after it was written", store.url()))
    })
}

/// Makes sure that a place without a `FORMAT` holds nothing else. Returns the `FORMAT` if another
/// process has created it meanwhile.
async fn check_empty(store: &Store) -> Result<Option<Bytes>> {
    let names = store.top_level().await?;
    let is_ours = |name: &str| name == layout::FORMAT;
    if names.iter().any(|name| is_ours(name)) {
        return store.get(&Path::from(layout::FORMAT)).await;
    }
    if names.iter().any(|name| name == layout::UNFINISHED) {
        return Err(Error::invalid(format!(
            "{} holds a copy of a database that is not complete; run the backup or restore again to complete it",
            store.url()
        )));
    }
    if names.iter().any(|name| name == "log" || name == "ckpt") {
        return Err(Error::corrupt(format!(
            "{} has a log but no file `{}`; restore that file from a copy",
            store.url(),
            layout::FORMAT
        )));
    }
    match names.iter().find(|name| !name.starts_with('.') && *name != layout::PROBE) {
        Some(name) => Err(Error::invalid(format!(
            "{} is not a database, and not empty: it has `{name}`; choose another place or empty it",
            store.url()
        ))),
        None => Ok(None),
    }
}

async fn create_format(store: &Store, options: &LogOptions) -> Result<Bytes> {
    probe(store).await?;
    let format = Format {
        format: NAME.to_owned(),
        version: VERSION,
        database: Uuid::new_v4().to_string(),
        created: options.clock.now(),
    };
    let json = serde_json::to_string(&format)
        .map_err(|error| Error::with_source(ErrorKind::Invalid, "cannot encode the format", error))?;
    let bytes = Bytes::from(format!("{json}\n{:08x}\n", crc32c::crc32c(json.as_bytes())));
    let path = Path::from(layout::FORMAT);
    match store.create(&path, bytes).await {
        Ok(()) => {}
        Err(error) if classify(&error) == PutFailure::Occupied => {}
        Err(error) => return Err(explain(error, "create", &path, store.url())),
    }
    store.get(&path).await?.ok_or_else(|| {
        Error::new(
            ErrorKind::Unavailable,
            format!("{path} in {} cannot be read just after it was written; try again", store.url()),
        )
    })
}

/// Makes sure that the store refuses to create an object twice: some ignore the condition, and two
/// writers would overwrite each other's commits.
async fn probe(store: &Store) -> Result<()> {
    let path = Path::from_iter([layout::PROBE.to_owned(), Uuid::new_v4().to_string()]);
    let content = Bytes::from_static(b"probe");
    store
        .create(&path, content.clone())
        .await
        .map_err(|error| explain(error, "create the database by writing", &path, store.url()))?;
    let second = store.create(&path, content).await;
    let deleted = store.delete(&path).await;
    match second {
        Err(error) if classify(&error) == PutFailure::Occupied => {}
        Err(error) => return Err(explain(error, "create the database by writing", &path, store.url())),
        Ok(()) => {
            return Err(Error::invalid(format!(
                "{} ignores the condition to create an object only where there is none (`If-None-Match`), which the log needs; use a store that honours it",
                store.url()
            )));
        }
    }
    deleted
}

pub(super) fn read_format(bytes: &[u8], url: &str) -> Result<()> {
    let path = layout::FORMAT;
    let corrupt = |what: &str| Error::corrupt(format!("{path} in {url} is damaged: {what}"));
    let text = std::str::from_utf8(bytes).map_err(|_| corrupt("it is not text"))?;
    let (json, checksum) = text.split_once('\n').ok_or_else(|| corrupt("it is cut short"))?;
    if checksum != format!("{:08x}\n", crc32c::crc32c(json.as_bytes())) {
        return Err(corrupt("its checksum does not match"));
    }
    let format: Format = serde_json::from_str(json).map_err(|_| corrupt("it cannot be read"))?;
    if format.format != NAME {
        return Err(corrupt("it names another format"));
    }
    if format.version > VERSION {
        return Err(Error::invalid(format!(
            "the database in {url} has format {}, newer than {VERSION}: use a newer version of the library",
            format.version
        )));
    }
    Ok(())
}
