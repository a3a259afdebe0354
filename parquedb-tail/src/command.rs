//! The subcommands.

mod ingest;
mod query;
mod serve;
mod table;
mod views;

use clap::Parser;
use std::fmt;
use std::process::ExitCode;

/// Cloudflare tail events into ParqueDB: ingest files, serve the endpoint Tail Workers post to, look at
/// the views.
///
/// URL is where the database lives: a folder (./data, file:///srv/tail), an S3 or R2 bucket
/// (s3://bucket/prefix; credentials from the environment), or memory:///.
#[derive(Debug, Parser)]
#[command(name = "parquedb-tail", version, arg_required_else_help = true)]
pub(crate) enum Command {
    Ingest(ingest::Ingest),
    Serve(serve::Serve),
    Views(views::Views),
    Query(query::Query),
}

impl Command {
    /// Runs the subcommand.
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        match self {
            Self::Ingest(command) => command.run().await,
            Self::Serve(command) => command.run().await,
            Self::Views(command) => command.run().await,
            Self::Query(command) => command.run().await,
        }
    }
}

/// Writes to the standard output. A reader that has seen enough, such as `head`, is no failure.
fn print(text: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    match std::io::stdout().write_all(text) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Why a command failed: one line, then a line for each cause.
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Failure {
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

/// A URL without what may be secret in it: user, password, query.
pub(crate) fn shown(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').map_or((rest, None), |(host, path)| (host, Some(path)));
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            path.map_or_else(|| format!("{scheme}://{host}"), |path| format!("{scheme}://{host}/{path}"))
        }
        None => url.to_owned(),
    }
}

/// Logs to the standard error, at the level of `PARQUEDB_LOG` or else `default`.
pub(crate) fn log(default: &str) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_env("PARQUEDB_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    // Fails only where a subscriber is installed already.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}
