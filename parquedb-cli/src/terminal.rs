//! A command and the person at the terminal: results, failures and the log.

mod failure;
pub mod table;

pub use failure::Failure;

use std::io::{ErrorKind, Result, Write};

/// Writes to the standard output. A reader that has seen enough, such as `head`, is no failure.
///
/// # Errors
/// When the output cannot be written.
pub fn print(text: impl AsRef<[u8]>) -> Result<()> {
    match std::io::stdout().write_all(text.as_ref()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Logs to the standard error, at the level of `PARQUEDB_LOG` or else `default`.
pub fn log(default: &str) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_env("PARQUEDB_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    // Fails only where a subscriber is installed already.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}
