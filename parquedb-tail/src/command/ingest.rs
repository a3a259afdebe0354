//! `ingest`: files into the database.

use super::{Failure, shown, table};
use clap::{Args, value_parser};
use indicatif::{ProgressBar, ProgressStyle};
use parquedb::Requests;
use parquedb_tail::TailDb;
use parquedb_tail::file::{self, Options, Progress, Summary};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

/// Store the tail events of files.
///
/// A file holds JSON objects or arrays, one after the other or one per line, gzip or not: what a Tail
/// Worker posts, what `wrangler tail --format json` prints, what Logpush writes. An item that cannot be
/// read becomes a row of DeadLetters with its bytes and the reason.
///
/// Killing the command and running it again loses nothing and stores nothing twice, also with another
/// --batch or when the file has grown. The database remembers what it stored of a file for 7 days.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  parquedb-tail ingest events.ndjson --to ./data
  parquedb-tail ingest 20261120/*.log.gz --to s3://tail/prod --strict
  wrangler tail shop --format json | parquedb-tail ingest - --to ./data --batch 1")]
pub(crate) struct Ingest {
    /// Files to read; `-` is the standard input, which cannot be resumed.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Where the database lives.
    #[arg(long, value_name = "URL")]
    to: String,
    /// Items per commit.
    #[arg(long, default_value = "10000", value_name = "N", value_parser = value_parser!(u32).range(1..))]
    batch: u32,
    /// Exit with 1 if any item became a dead letter.
    #[arg(long)]
    strict: bool,
    /// Ingest also what is stored already.
    #[arg(long)]
    again: bool,
}

impl Ingest {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        super::log("warn");
        let started = Instant::now();
        // Told before a database is made for files that are not there.
        for path in self.files.iter().filter(|path| path.as_path() != Path::new("-")) {
            if let Err(error) = std::fs::File::open(path) {
                return Err(Failure::new(format!("cannot read {}: {error}", path.display())));
            }
        }
        let database = Arc::new(TailDb::open(&self.to).await?);
        let options = Options { batch: usize::try_from(self.batch).unwrap_or(usize::MAX), again: self.again };
        let mut summary = Summary::default();
        let mut failed = Ok(());
        for path in &self.files {
            let bar = progress_bar(path);
            failed =
                file::ingest(&database, path, options, &mut summary, |progress| show(&bar, progress)).await;
            bar.finish_and_clear();
            if failed.is_err() {
                break;
            }
        }
        // Nobody else may look at the schedules of a database that is only ingested into.
        let refreshed = database.run_due(database.now()).await;
        let flushed = database.flush().await;
        let report = report(&summary, &shown(&self.to), started.elapsed().as_secs_f64(), database.requests());
        super::print(format!("{report}\n"))?;
        failed?;
        refreshed?;
        flushed?;
        Ok(ExitCode::from(u8::from(self.strict && summary.dead_letters > 0)))
    }
}

/// A bar on the standard error, if that is a terminal.
fn progress_bar(path: &Path) -> ProgressBar {
    let length =
        if path == Path::new("-") { None } else { std::fs::metadata(path).ok().map(|file| file.len()) };
    let (bar, template) = match length {
        Some(length) => {
            (ProgressBar::new(length), "{prefix} {bar:24} {bytes}/{total_bytes} {msg}, {eta} left")
        }
        None => (ProgressBar::no_length(), "{prefix} {spinner} {bytes} {msg}"),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    let name = path.file_name().map_or_else(|| "stdin".into(), |name| name.to_string_lossy().into_owned());
    bar.with_prefix(name)
}

fn show(bar: &ProgressBar, progress: Progress) {
    match progress {
        Progress::Searching(bytes) => {
            bar.set_position(bytes);
            bar.set_message("looking for what is stored already");
        }
        Progress::Storing { bytes, items } => {
            if bytes < bar.position() {
                bar.reset();
            }
            bar.set_position(bytes);
            let seconds = bar.elapsed().as_secs_f64().max(0.001);
            #[expect(clippy::cast_precision_loss, reason = "shown without decimals")]
            let rate = items as f64 / seconds;
            bar.set_message(format!("{items} items, {rate:.0} items/s"));
        }
    }
}

fn report(summary: &Summary, url: &str, seconds: f64, requests: Requests) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown without decimals")]
    let rate = summary.items as f64 / seconds.max(0.001);
    let requests: Vec<String> = [
        ("put", requests.put),
        ("get", requests.get),
        ("head", requests.head),
        ("list", requests.list),
        ("delete", requests.delete),
        ("bytes written", requests.bytes_written),
        ("bytes read", requests.bytes_read),
    ]
    .into_iter()
    .filter(|&(_, count)| count > 0)
    .map(|(name, count)| format!("{name} {count}"))
    .collect();
    let mut pairs = vec![
        ("database", url.to_owned()),
        ("files", summary.files.to_string()),
        ("items", summary.items.to_string()),
        ("events", summary.events.to_string()),
        ("dead letters", summary.dead_letters.to_string()),
    ];
    pairs.extend(
        summary.top_reasons(5).into_iter().map(|(reason, count)| ("", format!("{count} × {reason}"))),
    );
    if summary.skipped > 0 {
        pairs.push(("stored already", format!("{} items", summary.skipped)));
    }
    pairs.extend(
        summary.complete.iter().map(|file| ("", format!("{file} is fully ingested (--again to repeat)"))),
    );
    pairs.extend([
        ("commits", summary.commits.to_string()),
        ("seconds", format!("{seconds:.2}")),
        ("items/s", format!("{rate:.0}")),
        ("requests", requests.join(", ")),
    ]);
    table::pairs(&pairs)
}
