//! `check-store`: whether a store can hold a database.

use super::{Failure, print, print_json};
use clap::{Args, value_parser};
use parquedb::Store;
use parquedb::store::conformance::{Options, examine};
use std::process::ExitCode;

/// Try whether a store keeps the promises that a database depends on.
///
/// Of many writers who create one object at once one must win, what was written must be seen whole and at
/// once, listings must be complete. Works in a folder of its own, `_probe/UUID`, which it removes, and may
/// run beside a database in use. The default makes about 8,000 requests on small objects: some seconds on
/// a local disk, some minutes and cents on a bucket far away. Exits with 1 unless every promise was kept.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  parquedb check-store s3://bucket/new-place
  parquedb check-store /mnt/share --rounds 2000 --json")]
pub(crate) struct CheckStore {
    /// The place to try.
    url: String,
    /// Races for one object each, of many writers and, as often again, of two. More find a store that
    /// seldom fails.
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

impl CheckStore {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let mut options = Options::default();
        if let Some(rounds) = self.rounds {
            options.rounds = usize::try_from(rounds).unwrap_or(usize::MAX);
            options.pairs = options.rounds;
        }
        let report = examine(&Store::open(&self.url)?, &options).await;
        if self.json {
            print_json(&report)?;
        } else {
            print(report.to_string())?;
        }
        Ok(ExitCode::from(u8::from(!report.is_kept())))
    }
}
