//! The subcommands.

mod ingest;
mod query;
mod serve;
mod views;

use clap::Parser;
use parquedb_cli::terminal::{Failure, log, print, table};
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
