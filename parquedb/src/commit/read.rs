//! From the store to a state: hint, checkpoint, then the log forward.

use super::anchor::{Anchor, Moment, is_intact};
use super::body::Body;
use super::checkpoint::{self, Hint};
use super::envelope::{self, ObjectKind};
use super::repeats::Repeats;
use super::state::{Applied, State, Tip};
use super::{envelope::Header, layout};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::store::Store;
use bytes::Bytes;
use futures::future::try_join_all;
use object_store::path::Path;

/// Commits read at once when many are known to be there.
const AHEAD: u64 = 32;

/// So many commits are read one by one before as many more are asked for at once as were found. Mostly
/// there are few, and a request for one that is not there costs as much as any other.
const ONE_BY_ONE: u64 = 8;

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

/// Where to end.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stop {
    /// At the last commit.
    Never,
    /// At this commit, which exists.
    At(u64),
    /// Before the first commit that is later than this time.
    After(i64),
}

/// Applies the commits after a state: to `stop` or the last. `known` is one that should be there.
/// Adds what they leave in memory to `applied`. On an error the state is that before the bad commit.
pub(super) async fn follow(
    store: &Store,
    state: &mut State,
    applied: &mut Vec<Applied>,
    known: Option<u64>,
    stop: Stop,
) -> Result<()> {
    let mut found = 0;
    loop {
        let first = next(state);
        if matches!(stop, Stop::At(stop) if first > stop) {
            return Ok(());
        }
        let mut window = match known.filter(|known| *known >= first) {
            Some(known) => (known - first + 1).min(AHEAD),
            None if found <= ONE_BY_ONE => 1,
            None => found.min(AHEAD),
        };
        if let Stop::At(stop) = stop {
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
            if matches!(stop, Stop::After(time) if header.time > time) {
                return Ok(());
            }
            *state = state.apply(&header, hash, &body, &place)?;
            applied.push(Applied::new(&header, &body));
        }
        if known.is_none_or(|known| first > known) {
            found += window;
        }
    }
}

pub(super) fn missing(store: &Store, seq: u64, later: u64) -> Error {
    Error::corrupt(format!(
        "{} in {} is missing, although commit {later} is known to exist; restore it from a copy",
        layout::commit(seq),
        store.url()
    ))
}

pub(super) async fn load_checkpoint(store: &Store, seq: u64) -> Result<Option<(State, Repeats)>> {
    match store.get(&layout::checkpoint(seq)).await? {
        Some(bytes) => checkpoint::open(&bytes, seq, store.url()).map(Some),
        None => Ok(None),
    }
}

pub(super) async fn newest(
    store: &Store,
    folder: Path,
    offset: Option<Path>,
    limit: u64,
) -> Result<Option<u64>> {
    let objects = store.list(Some(&folder), offset.as_ref()).await?;
    let seqs = objects.iter().filter_map(|object| layout::seq_of(&object.location));
    Ok(seqs.filter(|seq| *seq <= limit).max())
}

/// Number of the oldest commit that is still there.
pub(super) async fn oldest(store: &Store) -> Result<Option<u64>> {
    let objects = store.list(Some(&layout::commits()), None).await?;
    Ok(objects.iter().filter_map(|object| layout::seq_of(&object.location)).min())
}

/// A state with what a log keeps beside it.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) state: State,
    pub(super) repeats: Repeats,
    pub(super) last_checkpoint: Option<u64>,
    /// The commits after the checkpoint.
    pub(super) applied: Vec<Applied>,
    pub(super) anchor: Anchor,
}

/// Garbage collection may pass while a log is read, but hardly so often.
const ATTEMPTS: usize = 4;

/// The newest state, or `None` without any commit.
pub(super) async fn load(store: &Store, clock: &dyn Clock) -> Result<Option<Loaded>> {
    // The hint may be old, and what it names collected: then the listing tells.
    let mut by_hint = true;
    for _ in 0..ATTEMPTS {
        match try_load(store, clock, by_hint).await {
            Ok(Attempt::Loaded(loaded)) => return Ok(Some(*loaded)),
            Ok(Attempt::Empty) => return Ok(None),
            Ok(Attempt::Collected) => {}
            Err(error) if by_hint && error.kind() == ErrorKind::Corrupt => {}
            Err(error) => return Err(error),
        }
        by_hint = false;
    }
    Err(Error::new(
        ErrorKind::Unavailable,
        format!("the log in {} was collected again and again while it was read; try again", store.url()),
    ))
}

enum Attempt {
    Loaded(Box<Loaded>),
    Empty,
    /// The log was collected meanwhile.
    Collected,
}

async fn try_load(store: &Store, clock: &dyn Clock, by_hint: bool) -> Result<Attempt> {
    let sent = Moment::now(clock);
    let hint = store.get(&Path::from(layout::HEAD)).await?.and_then(|bytes| Hint::decode(&bytes));
    let (mut state, mut repeats) = (State::empty(), Repeats::default());
    let mut last_checkpoint = None;
    let mut known = hint.map(|hint| hint.seq);
    let hinted = match hint.map(|hint| hint.checkpoint).filter(|_| by_hint) {
        Some(Some(seq)) => match load_checkpoint(store, seq).await? {
            Some(loaded) => {
                (state, repeats) = loaded;
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
            (state, repeats) = load_checkpoint(store, seq).await?.ok_or_else(|| listed(store, seq))?;
        }
        let offset = last_checkpoint.map(layout::commit);
        known = known.max(newest(store, layout::commits(), offset, u64::MAX).await?);
    }
    let start = state.tip;
    let mut applied = Vec::new();
    let followed = follow(store, &mut state, &mut applied, known, Stop::Never).await;
    if state.tip.commit_id.is_nil() {
        return followed.map(|()| Attempt::Empty);
    }
    // The commit that the reading began with is the first anchor.
    let start = began(start, &applied);
    if !is_intact(store, &start).await? {
        return Ok(Attempt::Collected);
    }
    followed?;
    for commit in &applied {
        repeats.record(commit.time, &commit.intent);
    }
    repeats.expire(state.snapshot.time);
    let anchor = Anchor { tip: state.tip, proved: sent };
    Ok(Attempt::Loaded(Box::new(Loaded { state, repeats, last_checkpoint, applied, anchor })))
}

fn listed(store: &Store, seq: u64) -> Error {
    let path = layout::checkpoint(seq);
    Error::new(ErrorKind::Unavailable, format!("{path} in {} was listed and is gone; try again", store.url()))
}

/// The commit that a reading began with: that of its checkpoint, or the first one.
fn began(start: Tip, applied: &[Applied]) -> Tip {
    match applied.first() {
        Some(first) if start.commit_id.is_nil() => {
            Tip { seq: first.seq, commit_id: first.commit_id, hash: start.hash, time: first.time }
        }
        _ => start,
    }
}

/// The state from the checkpoint at `checkpoint`, or from the first commit, up to `stop`.
async fn past(store: &Store, checkpoint: Option<u64>, known: Option<u64>, stop: Stop) -> Result<State> {
    let mut state = State::empty();
    if let Some(seq) = checkpoint {
        state = load_checkpoint(store, seq).await?.ok_or_else(|| listed(store, seq))?.0;
    }
    let start = state.tip;
    let mut applied = Vec::new();
    follow(store, &mut state, &mut applied, known, stop).await?;
    let start = began(start, &applied);
    if !start.commit_id.is_nil() && !is_intact(store, &start).await? {
        return Err(Error::new(
            ErrorKind::Unavailable,
            format!("the log in {} was collected while the past was read; try again", store.url()),
        ));
    }
    Ok(state)
}

/// The state that ends with an existing commit.
pub(super) async fn state_at(store: &Store, seq: u64) -> Result<State> {
    let checkpoint = newest(store, layout::checkpoints(), None, seq).await?;
    let state = past(store, checkpoint, Some(seq), Stop::At(seq)).await;
    match (state, checkpoint) {
        (Err(error), None) if error.kind() == ErrorKind::Corrupt => {
            Err(before_copy(store, seq, error).await?)
        }
        (state, _) => state,
    }
}

/// Why a snapshot cannot be read where no checkpoint is before it: a copy of a database begins at one.
async fn before_copy(store: &Store, seq: u64, error: Error) -> Result<Error> {
    let Some(oldest) = oldest(store).await?.filter(|oldest| *oldest > seq) else { return Ok(error) };
    if load_checkpoint(store, oldest).await?.is_none() {
        return Ok(error);
    }
    let url = store.url();
    let message = format!("commit {seq} is not kept in {url}, whose log begins with commit {oldest}");
    Ok(Error::new(ErrorKind::NotFound, message))
}

/// The last state of a time, if there was one and it is not before the oldest that is kept.
pub(super) async fn state_as_of(store: &Store, floor: u64, time: i64) -> Result<Option<State>> {
    let objects = store.list(Some(&layout::checkpoints()), None).await?;
    let mut seqs: Vec<u64> = objects.iter().filter_map(|object| layout::seq_of(&object.location)).collect();
    seqs.retain(|seq| *seq >= floor);
    seqs.sort_unstable();
    let (mut low, mut high) = (0, seqs.len());
    while low < high {
        let middle = low.midpoint(high);
        if checkpoint_time(store, seqs[middle]).await? <= time {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let checkpoint = low.checked_sub(1).map(|index| seqs[index]);
    if checkpoint.is_none() && floor > 0 {
        return Ok(None);
    }
    let state = past(store, checkpoint, None, Stop::After(time)).await?;
    Ok(Some(state).filter(|state| !state.tip.commit_id.is_nil()))
}

async fn checkpoint_time(store: &Store, seq: u64) -> Result<i64> {
    let path = layout::checkpoint(seq);
    let bytes = store.get_start(&path, envelope::HEADER as u64).await?.ok_or_else(|| listed(store, seq))?;
    let place = format!("{path} in {}", store.url());
    Ok(envelope::open_header(&bytes, ObjectKind::Checkpoint, seq, &place)?.time)
}
