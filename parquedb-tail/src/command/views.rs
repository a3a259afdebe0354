//! `views`: how the views are.

use super::{Failure, shown, table};
use clap::Args;
use parquedb_tail::TailDb;
use std::process::ExitCode;

/// Show the state of every view: fresh, stale or invalid, how far behind, how large.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  parquedb-tail views --at ./data
  parquedb-tail views --at s3://tail/prod --json")]
pub(crate) struct Views {
    /// Where the database lives.
    #[arg(long, value_name = "URL")]
    at: String,
    /// As JSON, one object per view.
    #[arg(long)]
    json: bool,
}

impl Views {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        super::log("warn");
        let database = TailDb::builder().read_only().open(&self.at).await?;
        let status = serde_json::to_value(database.status().await?)?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&status)?);
        } else {
            println!("{}", shown(&self.at));
            println!("{}", table::render(status.as_array().map_or(&[], Vec::as_slice)));
        }
        Ok(ExitCode::SUCCESS)
    }
}
