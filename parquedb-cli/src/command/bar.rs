//! How far a long command is, on the standard error if that is a terminal.

use indicatif::{ProgressBar, ProgressStyle};
use parquedb::admin::{Progress, Step, Watch};

const COUNTED: &str = "{prefix} {bar:24} {pos}/{len} {msg}";
const SIZED: &str = "{prefix} {bar:24} {bytes}/{total_bytes} {msg}, {eta} left";
const UNKNOWN: &str = "{prefix} {spinner}";

/// A bar, and what moves it.
pub(super) fn watched(commits: &'static str, files: &'static str) -> (ProgressBar, Watch) {
    let bar = ProgressBar::no_length();
    let moved = bar.clone();
    let watch = Watch::new(move |progress| show(&moved, progress, commits, files));
    (bar, watch)
}

fn show(bar: &ProgressBar, progress: Progress, commits: &'static str, files: &'static str) {
    let Progress { step, done, total, bytes, total_bytes, .. } = progress;
    let (name, template) = match step {
        Step::Commits => (commits, COUNTED),
        Step::Files => (files, SIZED),
        _ => ("listing", UNKNOWN),
    };
    if bar.prefix() != name {
        bar.reset();
        bar.set_prefix(name);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
    }
    match step {
        Step::Files => {
            bar.set_length(total_bytes);
            bar.set_position(bytes);
            bar.set_message(format!("{done} of {total} files"));
        }
        _ => {
            bar.set_length(total);
            bar.set_position(done);
        }
    }
}
