//! The subcommands.

mod argument;
mod backup;
mod bar;
mod check_store;
mod compact;
mod files;
mod gc;
mod inspect;
mod log;
mod maintain;
mod pin;
mod scrub;
mod verify;

use clap::Parser;
use parquedb_cli::terminal::{Failure, print, table};
use serde::Serialize;
use std::process::ExitCode;

/// Look after a ParqueDB database: its history, whether it is sound, copies of it, garbage.
///
/// URL is where the database lives: a folder (./data, file:///srv/shop) or an S3 or R2 bucket
/// (s3://bucket/prefix, https://ACCOUNT.r2.cloudflarestorage.com/bucket/prefix; credentials from the AWS_*
/// environment variables). Any database will do: none of its program's declarations are needed.
///
/// Every command has --json for programs. Errors go to the standard error, with exit code 1.
#[derive(Debug, Parser)]
#[command(name = "parquedb", version, arg_required_else_help = true)]
pub(crate) enum Command {
    Log(log::Log),
    Inspect(inspect::Inspect),
    Files(files::Files),
    Scrub(scrub::Scrub),
    Verify(verify::Verify),
    Explain(verify::Explain),
    Backup(backup::Backup),
    Restore(backup::Restore),
    Compact(compact::Compact),
    Gc(gc::Gc),
    Maintain(maintain::Maintain),
    Pin(pin::Pin),
    Unpin(pin::Unpin),
    Pins(pin::Pins),
    CheckStore(check_store::CheckStore),
}

impl Command {
    /// Runs the subcommand.
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        match self {
            Self::Log(command) => command.run().await,
            Self::Inspect(command) => command.run().await,
            Self::Files(command) => command.run().await,
            Self::Scrub(command) => command.run().await,
            Self::Verify(command) => command.run().await,
            Self::Explain(command) => command.run().await,
            Self::Backup(command) => command.run().await,
            Self::Restore(command) => command.run().await,
            Self::Compact(command) => command.run().await,
            Self::Gc(command) => command.run().await,
            Self::Maintain(command) => command.run().await,
            Self::Pin(command) => command.run().await,
            Self::Unpin(command) => command.run().await,
            Self::Pins(command) => command.run().await,
            Self::CheckStore(command) => command.run().await,
        }
    }
}

/// Writes one JSON document.
fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    Ok(print(format!("{}\n", serde_json::to_string_pretty(value)?))?)
}

/// A number with its unit, in the plural unless it is one.
fn counted(number: u64, unit: &str) -> String {
    if number == 1 { format!("1 {unit}") } else { format!("{number} {unit}s") }
}
