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
mod table;

use clap::Parser;
use serde::Serialize;
use std::fmt;
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

/// Writes to the standard output. A reader that has seen enough, such as `head`, is no failure.
fn print(text: &str) -> std::io::Result<()> {
    use std::io::Write;
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Writes one JSON document.
fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    Ok(print(&format!("{}\n", serde_json::to_string_pretty(value)?))?)
}

/// A number with its unit, in the plural unless it is one.
fn counted(number: u64, unit: &str) -> String {
    if number == 1 { format!("1 {unit}") } else { format!("{number} {unit}s") }
}

/// Why a command failed: one line, then a line for each cause.
pub(crate) struct Failure(String);

impl Failure {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let line = error.to_string();
            // A cause often repeats what its effect says already.
            if !text.contains(&line) {
                text.push_str("\n  caused by: ");
                text.push_str(&line);
            }
            cause = error.source();
        }
        Self(text)
    }
}

/// Logs to the standard error, at the level of `PARQUEDB_LOG` or else `default`.
pub(crate) fn log(default: &str) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_env("PARQUEDB_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    // Fails only where a subscriber is installed already.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}
