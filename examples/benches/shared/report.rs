//! Where benchmarks put their files, and how they print what they find.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

/// Whether to measure: `cargo bench` says so. Otherwise everything runs once at a small size.
pub(crate) fn is_measured() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// A new folder on the disk that the build is on.
pub(crate) fn folder(name: &str) -> PathBuf {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = format!("{name}-{}-{number}", std::process::id());
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(folder)
}

/// A folder that goes away with the value.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{} stays behind: {error}", self.0.display());
        }
    }
}

/// Prints a row of a table in Markdown.
pub(crate) fn row(cells: &[String]) {
    println!("| {} |", cells.join(" | "));
}

/// Prints the head of a table in Markdown.
pub(crate) fn head(cells: &[&str]) {
    println!("\n| {} |\n|{}", cells.join(" | "), "---|".repeat(cells.len()));
}

/// Prints whether a target was met.
pub(crate) fn verdict(what: &str, value: f64, target: &str, is_met: bool) {
    println!("\n{what}: {value:.2} (target: {target}): {}", if is_met { "met" } else { "MISSED" });
}
