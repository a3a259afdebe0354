//! Puts a commit into its slot, and finds out whose the slot is.

use super::envelope::{self, Header, ObjectKind, Sealed};
use super::{LogOptions, layout};
use crate::error::{Error, ErrorKind, Result};
use crate::store::Store;
use crate::store::failure::{PutFailure, classify, explain};
use crate::time;
use bytes::Bytes;
use std::time::Duration;

/// Who has the slot.
#[derive(Debug)]
pub(super) enum Placed {
    /// Our commit, as the argument of [`place`] is now.
    Ours,
    /// The other commit's bytes.
    Theirs(Bytes),
}

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Sends a commit to its slot until the slot is occupied. An error of another kind than
/// [`ErrorKind::OutcomeUnknown`] or [`ErrorKind::Corrupt`] means that it was not and will not be
/// written.
///
/// What is sent again gets a later time: a request of which nobody knows may land after the slot was
/// collected, and must not be taken for the commit that was there.
pub(super) async fn place(store: &Store, options: &LogOptions, sealed: &mut Sealed) -> Result<Placed> {
    let seq = sealed.header.seq;
    let path = layout::commit(seq);
    let started = time::now();
    let mut pause = FIRST_PAUSE;
    let mut may_have_landed = false;
    loop {
        let put = time::timeout(options.request_timeout, store.create(&path, sealed.bytes.clone())).await;
        let last = match put {
            Ok(Ok(())) => return Ok(Placed::Ours),
            Ok(Err(error)) => {
                let failure = classify(&error);
                match failure {
                    PutFailure::Unknown => may_have_landed = true,
                    // Either "there is one" (which may be ours, put by a request that was repeated
                    // below us) or a 409, which decides nothing. Also a refusal may follow on a
                    // request of ours that landed. Only a look tells.
                    PutFailure::Occupied | PutFailure::Refused => {
                        let look = time::timeout(options.request_timeout, store.get(&path)).await;
                        match look {
                            Ok(Ok(Some(bytes))) => return owner(store, sealed, bytes),
                            Ok(Ok(None)) if failure == PutFailure::Refused && !may_have_landed => {
                                return Err(explain(error, "write", &path, store.url()));
                            }
                            Ok(Ok(None)) => {}
                            Ok(Err(_)) | Err(_) => may_have_landed = true,
                        }
                    }
                }
                error.to_string()
            }
            Err(_) => {
                may_have_landed = true;
                format!("no answer within {:?}", options.request_timeout)
            }
        };
        if time::now() - started >= options.outcome_deadline {
            return Err(Error::new(
                ErrorKind::OutcomeUnknown,
                format!(
                    "commit {} for {path} in {} was sent, and the store did not say whether it was stored: {last}; send it again with the same batch ids, or open the database again and look",
                    sealed.header.commit_id,
                    store.url()
                ),
            ));
        }
        tracing::debug!(seq, error = %last, "the commit's outcome is not known yet; sending it again");
        time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        renew(sealed, options);
    }
}

/// Makes an object of the same commit that was never sent.
pub(super) fn renew(sealed: &mut Sealed, options: &LogOptions) {
    let time = options.clock.now().max(sealed.header.time.saturating_add(1));
    *sealed = sealed.moved(Header { time, ..sealed.header });
}

/// Whose commit is in the slot. When it is ours, in whichever header it was sent, that is what we have now.
fn owner(store: &Store, sealed: &mut Sealed, bytes: Bytes) -> Result<Placed> {
    let seq = sealed.header.seq;
    let place = format!("{} in {}", layout::commit(seq), store.url());
    let header = envelope::open_header(&bytes, ObjectKind::Commit, seq, &place)?;
    if header.commit_id != sealed.header.commit_id {
        return Ok(Placed::Theirs(bytes));
    }
    let sent = sealed.moved(header);
    if bytes != sent.bytes {
        return Err(Error::corrupt(format!("commit {place} is not stored as it was sent")));
    }
    *sealed = sent;
    Ok(Placed::Ours)
}
