//! `pin`, `unpin`, `pins`: snapshots that garbage collection keeps.

use super::argument::{Moment, duration, moment};
use super::{Failure, print, print_json, table};
use clap::Args;
use parquedb::commit::snapshot::Pin as Kept;
use parquedb::{At, Connection, Database, Timestamp};
use serde::Serialize;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

/// Keep a snapshot from garbage collection for a time.
///
/// A pin of the same name is replaced. Costs one commit.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  parquedb pin ./data quarter --for 90d
  parquedb pin s3://bucket/shop before-import --at 1200")]
pub(crate) struct Pin {
    /// Where the database lives.
    url: String,
    /// The pin's name.
    name: String,
    /// This commit or time instead of the newest.
    #[arg(long, value_name = "SEQ|TIME", value_parser = moment)]
    at: Option<Moment>,
    /// For how long.
    #[arg(long = "for", value_name = "DURATION", default_value = "30d", value_parser = duration)]
    lifetime: Duration,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Let garbage collection have a snapshot that was pinned.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  parquedb unpin ./data quarter")]
pub(crate) struct Unpin {
    /// Where the database lives.
    url: String,
    /// The pin's name.
    name: String,
}

/// List the pinned snapshots.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  parquedb pins ./data
  parquedb pins s3://bucket/shop --json")]
pub(crate) struct Pins {
    /// Where the database lives.
    url: String,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Shown {
    name: String,
    seq: u64,
    expires: Timestamp,
}

impl Shown {
    fn new(name: &str, pin: Kept) -> Self {
        Self { name: name.to_owned(), seq: pin.seq, expires: Timestamp::from_micros(pin.expires) }
    }

    fn row(&self) -> Vec<String> {
        vec![self.name.clone(), self.seq.to_string(), self.expires.to_string()]
    }
}

fn shown(pins: &[Shown]) -> Result<(), Failure> {
    let rows: Vec<_> = pins.iter().map(Shown::row).collect();
    Ok(print(format!("{}\n", table::render(&["pin", "commit", "until"], &rows)))?)
}

impl Pin {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let database = Connection::builder().existing().open(&self.url).await?;
        let seq = match self.at {
            Some(at) => Some(database.seq_at(At::from(at)).await?),
            None => None,
        };
        let pin = Shown::new(&self.name, database.pin(&self.name, seq, self.lifetime).await?);
        if self.json {
            print_json(&pin)?;
        } else {
            shown(&[pin])?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Unpin {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let database = Connection::builder().existing().open(&self.url).await?;
        if database.unpin(&self.name).await? {
            return Ok(ExitCode::SUCCESS);
        }
        let names: Vec<String> = database.pins().into_keys().collect();
        let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        Err(Failure::new(format!("{} has no pin `{}`; there are: {there}", database.url(), self.name)))
    }
}

impl Pins {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let database = Connection::builder().read_only().open(&self.url).await?;
        let pins: BTreeMap<String, Kept> = database.pins();
        let pins: Vec<Shown> = pins.iter().map(|(name, pin)| Shown::new(name, *pin)).collect();
        if self.json {
            print_json(&pins)?;
        } else {
            shown(&pins)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
