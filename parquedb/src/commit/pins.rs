//! Snapshots that garbage collection keeps, by name.

use super::body::{Body, Intent, PinWrite};
use super::snapshot::Pin;
use super::{Inner, Log, Writer};
use crate::error::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::time::Duration;

/// How often to begin again when garbage is collected at the same time.
const ATTEMPTS: usize = 5;

impl Log {
    /// Keeps a snapshot from garbage collection for a time: the newest known, or the one of commit `seq`.
    /// A pin of the same name is replaced. Gives the pin. Costs one commit.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a snapshot that does not exist or is given up, [`ErrorKind::Invalid`]
    /// for an empty name, and as [`Log::commit`].
    pub async fn pin(&self, name: &str, seq: Option<u64>, lifetime: Duration) -> Result<Pin> {
        self.0.writable()?;
        if name.is_empty() || name.len() > 255 {
            return Err(Error::invalid("a pin's name must have 1 to 255 bytes"));
        }
        let name = name.to_owned();
        self.in_task(move |inner, writer| Box::pin(inner.pin(writer, name, seq, lifetime))).await
    }

    /// Lets garbage collection have a snapshot that was pinned. Gives whether there was such a pin.
    ///
    /// # Errors
    /// As [`Log::commit`].
    pub async fn unpin(&self, name: &str) -> Result<bool> {
        self.0.writable()?;
        let name = name.to_owned();
        self.in_task(move |inner, writer| Box::pin(inner.unpin(writer, name))).await
    }
}

impl Inner {
    async fn pin(
        &self,
        writer: &mut Writer,
        name: String,
        seq: Option<u64>,
        lifetime: Duration,
    ) -> Result<Pin> {
        self.settle(writer).await?;
        self.catch_up(writer).await?;
        let mut attempt = 1;
        loop {
            self.check_right(writer)?;
            let snapshot = Arc::clone(&writer.state.snapshot);
            let seq = seq.unwrap_or(snapshot.seq);
            if seq < snapshot.floor {
                return Err(self.given_up(&format!("commit {seq}"), snapshot.floor));
            }
            if seq > snapshot.seq {
                return Err(Error::new(
                    ErrorKind::NotFound,
                    format!("there is no commit {seq} in {}; the last is {}", self.store.url(), snapshot.seq),
                ));
            }
            let lifetime = i64::try_from(lifetime.as_micros()).unwrap_or(i64::MAX);
            let now = self.options.clock.now().max(snapshot.time);
            let pin = Pin { seq, expires: now.saturating_add(lifetime) };
            let intent = Intent { base_seq: snapshot.seq, ..Intent::default() };
            let pins = vec![PinWrite { name: name.clone(), pin: Some(pin) }];
            match self.append(writer, Body { intent, pins, ..Body::default() }).await {
                Ok(_) => return Ok(pin),
                Err(error) if error.kind() == ErrorKind::Conflict && attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }

    async fn unpin(&self, writer: &mut Writer, name: String) -> Result<bool> {
        self.settle(writer).await?;
        self.catch_up(writer).await?;
        self.check_right(writer)?;
        if !writer.state.snapshot.pins.contains_key(&name) {
            return Ok(false);
        }
        let intent = Intent { base_seq: writer.state.tip.seq, ..Intent::default() };
        let pins = vec![PinWrite { name, pin: None }];
        self.append(writer, Body { intent, pins, ..Body::default() }).await?;
        Ok(true)
    }
}
