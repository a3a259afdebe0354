//! From the store to a state: hint, checkpoint, then the log forward.

use super::body::Body;
use super::checkpoint::{self, Hint};
use super::create::Loaded;
use super::envelope::{self, ObjectKind};
use super::state::{BatchIds, State};
use super::{envelope::Header, layout};
use crate::error::{Error, ErrorKind, Result};
use crate::store::Store;
use bytes::Bytes;
use futures::future::try_join_all;
use object_store::path::Path;

/// Commits read at once when many are known to be there.
const AHEAD: u64 = 32;

/// A commit as it is in the store, checked.
pub(super) fn open_commit(
    bytes: &Bytes,
    seq: u64,
    url: &str,
) -> Result<(Header, envelope::Hash, Body, String)> {
    let place = format!("{} in {url}", layout::commit(seq));
    let opened = envelope::open(bytes, ObjectKind::Commit, seq, &place)?;
    let body = Body::open(&opened.sections, &place)?;
    Ok((opened.header, opened.hash, body, place))
}

fn next(state: &State) -> u64 {
    if state.tip.commit_id.is_nil() { 0 } else { state.tip.seq + 1 }
}

/// Applies the commits after a state: to `stop` or the last. `known` is one that should be there.
/// Adds the batch ids with their times to `ids`. On an error the state is that before the bad commit.
pub(super) async fn follow(
    store: &Store,
    state: &mut State,
    ids: &mut Vec<(i64, Vec<String>)>,
    known: Option<u64>,
    stop: Option<u64>,
) -> Result<()> {
    let mut window = 1;
    loop {
        let first = next(state);
        if stop.is_some_and(|stop| first > stop) {
            return Ok(());
        }
        if let Some(known) = known.filter(|known| *known >= first) {
            window = (known - first + 1).min(AHEAD);
        }
        if let Some(stop) = stop {
            window = window.min(stop - first + 1);
        }
        let seqs = first..first + window;
        let objects =
            try_join_all(seqs.clone().map(|seq| async move { store.get(&layout::commit(seq)).await }));
        let objects = objects.await?;
        let found_later = objects.iter().rposition(Option::is_some);
        for (index, (seq, object)) in seqs.zip(objects).enumerate() {
            let object = match object {
                Some(object) => object,
                // It may have appeared between the two requests.
                None if found_later.is_some_and(|later| later > index) => {
                    store.get(&layout::commit(seq)).await?.ok_or_else(|| missing(store, seq, seq + 1))?
                }
                None => {
                    return match known.filter(|known| *known >= seq) {
                        Some(known) => Err(missing(store, seq, known)),
                        None => Ok(()),
                    };
                }
            };
            let (header, hash, body, place) = open_commit(&object, seq, store.url())?;
            *state = state.apply(&header, hash, &body, &place)?;
            if !body.intent.batch_ids.is_empty() {
                ids.push((header.time, body.intent.batch_ids));
            }
        }
        window = (window * 2).min(AHEAD);
    }
}

fn missing(store: &Store, seq: u64, later: u64) -> Error {
    Error::corrupt(format!(
        "{} in {} is missing, although commit {later} is known to exist; restore it from a copy",
        layout::commit(seq),
        store.url()
    ))
}

async fn load_checkpoint(store: &Store, seq: u64) -> Result<Option<(State, BatchIds)>> {
    match store.get(&layout::checkpoint(seq)).await? {
        Some(bytes) => checkpoint::open(&bytes, seq, store.url()).map(Some),
        None => Ok(None),
    }
}

async fn newest(store: &Store, folder: Path, offset: Option<Path>, limit: u64) -> Result<Option<u64>> {
    let objects = store.list(Some(&folder), offset.as_ref()).await?;
    let seqs = objects.iter().filter_map(|object| layout::seq_of(&object.location));
    Ok(seqs.filter(|seq| *seq <= limit).max())
}

/// The newest state, or `None` without any commit.
pub(super) async fn load(store: &Store) -> Result<Option<Loaded>> {
    let hint = store.get(&Path::from(layout::HEAD)).await?.and_then(|bytes| Hint::decode(&bytes));
    let (mut state, mut batch_ids) = (State::empty(), BatchIds::default());
    let mut last_checkpoint = None;
    let mut known = hint.map(|hint| hint.seq);
    let hinted = match hint.map(|hint| hint.checkpoint) {
        Some(Some(seq)) => match load_checkpoint(store, seq).await? {
            Some(loaded) => {
                (state, batch_ids) = loaded;
                last_checkpoint = Some(seq);
                true
            }
            None => false,
        },
        Some(None) => true,
        None => false,
    };
    if !hinted {
        last_checkpoint = newest(store, layout::checkpoints(), None, u64::MAX).await?;
        if let Some(seq) = last_checkpoint {
            (state, batch_ids) = load_checkpoint(store, seq).await?.ok_or_else(|| listed(store, seq))?;
        }
        let offset = last_checkpoint.map(layout::commit);
        known = known.max(newest(store, layout::commits(), offset, u64::MAX).await?);
    }
    let mut ids = Vec::new();
    follow(store, &mut state, &mut ids, known, None).await?;
    if state.tip.commit_id.is_nil() {
        return Ok(None);
    }
    for (time, ids) in ids {
        for id in ids {
            batch_ids.insert(&id, time);
        }
    }
    batch_ids.expire(state.snapshot.time);
    Ok(Some((state, batch_ids, last_checkpoint)))
}

fn listed(store: &Store, seq: u64) -> Error {
    let path = layout::checkpoint(seq);
    Error::new(ErrorKind::Unavailable, format!("{path} in {} was listed and is gone; try again", store.url()))
}

/// The state that ends with an existing commit.
pub(super) async fn state_at(store: &Store, seq: u64) -> Result<State> {
    let mut state = State::empty();
    if let Some(found) = newest(store, layout::checkpoints(), None, seq).await? {
        state = load_checkpoint(store, found).await?.ok_or_else(|| listed(store, found))?.0;
    }
    follow(store, &mut state, &mut Vec::new(), Some(seq), Some(seq)).await?;
    Ok(state)
}
