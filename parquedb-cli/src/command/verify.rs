//! `verify` and `explain`: whether views hold what their definitions give, and how they are kept.

use super::{Failure, counted, print, print_json};
use clap::Args;
use parquedb::arrow::json::ArrayWriter;
use parquedb::arrow::record_batch::RecordBatch;
use parquedb::{Connection, Database, Verification};
use serde_json::{Value, json};
use std::fmt::Write;
use std::process::ExitCode;

/// Compute views again from their sources, and compare them with what they hold.
///
/// A view is compared with what its definition gives over its sources as they were when it last absorbed them.
/// Nothing is written. Exits with 1 when a view holds anything else.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  parquedb verify ./data
  parquedb verify ./data ShopTotals --sample 100")]
pub(crate) struct Verify {
    /// Where the database lives.
    url: String,
    /// The views to verify, by the names of their structs; all by default.
    #[arg(value_name = "VIEW")]
    views: Vec<String>,
    /// Compare about so many groups of each view, chosen by chance, instead of all.
    #[arg(long, value_name = "GROUPS")]
    sample: Option<usize>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let database = Connection::builder().read_only().open(&self.url).await?;
        let views = match self.views.is_empty() {
            true => database.status().await?.into_iter().map(|view| view.name).collect(),
            false => self.views,
        };
        let (mut found, mut text) = (Vec::new(), String::new());
        let (mut wrong, mut failed) = (0_u64, 0_u64);
        for view in &views {
            match database.verify(view, self.sample).await {
                Ok(verification) => {
                    wrong += u64::from(!verification.is_exact());
                    writeln!(text, "{verification}")?;
                    found.push(as_json(&verification)?);
                }
                // One view that cannot be verified must not hide the others.
                Err(error) => {
                    failed += 1;
                    writeln!(text, "{view}: {error}")?;
                    found.push(json!({ "view": view, "error": error.to_string() }));
                }
            }
        }
        if self.json {
            print_json(&found)?;
        } else {
            let count = counted(views.len() as u64, "view");
            match (wrong, failed) {
                (0, 0) => writeln!(text, "{count} verified")?,
                _ => writeln!(text, "{count} looked at: {wrong} wrong, {failed} could not be verified")?,
            }
            print(text)?;
        }
        Ok(if wrong + failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn as_json(found: &Verification) -> Result<Value, Failure> {
    Ok(json!({
        "view": found.view,
        "seq": found.seq,
        "rows": found.rows,
        "sampled_groups": found.sampled,
        "exact": found.is_exact(),
        "missing": rows(&found.missing)?,
        "unexpected": rows(&found.unexpected)?,
    }))
}

fn rows(batches: &[RecordBatch]) -> Result<Value, Failure> {
    let mut writer = ArrayWriter::new(Vec::new());
    writer.write_batches(&batches.iter().collect::<Vec<_>>())?;
    writer.finish()?;
    let text = writer.into_inner();
    Ok(if text.is_empty() { json!([]) } else { serde_json::from_slice(&text)? })
}

/// Say how a view is kept: what it stores, what each kind of change costs and why, and by which plans.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  parquedb explain ./data ShopTotals")]
pub(crate) struct Explain {
    /// Where the database lives.
    url: String,
    /// The view, by the name of its struct.
    view: String,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let explanation =
            Connection::builder().read_only().open(&self.url).await?.explain(&self.view).await?;
        if self.json {
            print_json(&explanation)?;
        } else {
            print(explanation.to_string())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
