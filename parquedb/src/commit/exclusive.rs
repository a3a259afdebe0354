//! One writer takes the database for itself, and those before it are shut out.
//!
//! Every commit has an epoch. Taking the database, and giving it back, is a commit with the next one.
//! Because every writer has to read each commit before its own, one that stood still meets the claim in the
//! slot it tries, and cannot write past it.

use super::body::{Body, Claim};
use super::{Inner, Writer};
use crate::error::{Error, ErrorKind, Result};

impl Inner {
    /// Whether this process may write.
    pub(super) fn check_right(&self, writer: &Writer) -> Result<()> {
        let snapshot = &writer.state.snapshot;
        let url = self.store.url();
        let message = match (writer.claimed, snapshot.exclusive) {
            (None, None) => return Ok(()),
            (Some(epoch), Some(holder)) if epoch == snapshot.epoch && holder == self.options.writer_id => {
                return Ok(());
            }
            (None, Some(holder)) => format!(
                "writer {holder} has taken {url} for itself, in epoch {}: let it close the database, or open with `exclusive()` to shut it out",
                snapshot.epoch
            ),
            (Some(epoch), _) => format!(
                "another writer took {url} in epoch {}, so that this one, of epoch {epoch}, is shut out: nothing was written; open the database again",
                snapshot.epoch
            ),
        };
        Err(Error::new(ErrorKind::Closed, message))
    }

    /// The same, after a look whether the database was given back meanwhile.
    pub(super) async fn ensure_right(&self, writer: &mut Writer) -> Result<()> {
        if writer.claimed.is_none() && self.check_right(writer).is_err() {
            self.catch_up(writer).await?;
        }
        self.check_right(writer)
    }

    /// Takes the database for this writer, or gives it back.
    pub(super) async fn claim(&self, writer: &mut Writer, exclusive: bool) -> Result<()> {
        self.settle(writer).await?;
        if !exclusive {
            self.ensure_right(writer).await?;
        }
        let body = Body { claim: Some(Claim { exclusive }), ..Body::default() };
        self.append(writer, body).await?;
        writer.claimed = exclusive.then_some(writer.state.snapshot.epoch);
        Ok(())
    }
}
