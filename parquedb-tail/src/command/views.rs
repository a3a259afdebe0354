//! `views`: how the views are.

use super::{Failure, shown, table};
use clap::Args;
use indicatif::HumanBytes;
use parquedb::db::{Freshness, ViewStatus};
use parquedb::declare::plan::Refresh;

use parquedb::{Connection, Database, Timestamp};
use std::io::Write;
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
        let database = Connection::builder().read_only().open(&self.at).await?;
        let mut views = database.status().await?;
        views.sort_by(|one, other| one.name.cmp(&other.name));
        if self.json {
            super::print(format!("{}\n", serde_json::to_string_pretty(&views)?))?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut out = Vec::new();
        writeln!(out, "{} at commit {}", shown(database.url()), database.seq())?;
        let header = [
            "view",
            "state",
            "refresh",
            "rows",
            "files",
            "size",
            "commit",
            "behind",
            "refreshed",
            "next due",
        ];
        let rows: Vec<Vec<String>> = views.iter().map(row).collect();
        writeln!(out, "{}", table::render(&header, &rows))?;
        for view in &views {
            if let Freshness::Invalid { reason } = &view.freshness {
                writeln!(out, "{} is invalid: {reason}", view.name)?;
            }
            if let Some(error) = &view.error {
                writeln!(out, "{}: {error}", view.name)?;
            }
        }
        super::print(&out)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn row(view: &ViewStatus) -> Vec<String> {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| table::NONE.to_owned());
    let state = match view.freshness {
        Freshness::Fresh => "fresh",
        Freshness::Stale => "stale",
        Freshness::Invalid { .. } => "invalid",
    };
    let refresh = match &view.refresh {
        Refresh::Streaming => "streaming".to_owned(),
        Refresh::Scheduled { schedule, tz: None } => schedule.clone(),
        Refresh::Scheduled { schedule, tz: Some(tz) } => format!("{schedule} {tz}"),
        Refresh::Manual => "manual".to_owned(),
    };
    let behind = match view.lag.commits {
        0 => table::NONE.to_owned(),
        1 => format!("1 commit, {} rows", view.lag.rows),
        commits => format!("{commits} commits, {} rows", view.lag.rows),
    };
    vec![
        view.name.clone(),
        state.to_owned(),
        refresh,
        or_none(view.rows.map(|rows| rows.to_string())),
        view.files.to_string(),
        HumanBytes(view.bytes).to_string(),
        or_none(view.seq.map(|seq| seq.to_string())),
        behind,
        or_none(view.refreshed.map(|at| to_second(at).to_string())),
        or_none(view.next_due.map(|at| to_second(at).to_string())),
    ]
}

/// The moment without its fraction of a second.
fn to_second(at: Timestamp) -> Timestamp {
    Timestamp::from_micros(at.as_micros() - at.as_micros().rem_euclid(1_000_000))
}
