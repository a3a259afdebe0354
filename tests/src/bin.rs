//! Finding a binary of the workspace from a test of another package.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::SystemTime;

/// The binaries found so far.
static FOUND: LazyLock<Mutex<HashMap<String, PathBuf>>> = LazyLock::new(Mutex::default);

/// The path of the workspace's binary `name`, built in the same profile as the running test.
///
/// Cargo tells a binary's path only to tests of its own package, and builds it only together with that
/// package. `cargo test --workspace` does; where the tests of this package run alone, a binary that is
/// missing or older than its sources is built here.
///
/// # Errors
/// A message that says what to build, when it cannot be found or built.
pub fn cargo_bin(name: &str) -> Result<PathBuf, String> {
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = found.get(name) {
        return Ok(path.clone());
    }
    let test = std::env::current_exe().map_err(|error| format!("the running test has no path: {error}"))?;
    // A test executable is <target>/<profile>/deps/<name>-<hash>.
    let folder = test.parent().and_then(Path::parent).unwrap_or(Path::new("."));
    let path = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    if !is_current(&path, &folder.join(format!("{name}.d"))) {
        build(name, folder)?;
    }
    if !path.is_file() {
        return Err(format!("{} does not exist: run `cargo build --workspace` first", path.display()));
    }
    found.insert(name.to_owned(), path.clone());
    Ok(path)
}

/// Whether a binary is at least as new as all its sources, which Cargo lists in a file beside it.
fn is_current(binary: &Path, sources: &Path) -> bool {
    let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    let Some(built) = modified(binary) else { return false };
    let Ok(rule) = std::fs::read_to_string(sources) else { return true };
    let listed = rule.split_once(": ").map_or("", |(_, listed)| listed);
    // A space within a name is escaped.
    let listed = listed.replace("\\ ", "\0");
    listed.split_whitespace().all(|source| {
        let changed = modified(Path::new(&source.replace('\0', " ")));
        changed.unwrap_or(SystemTime::UNIX_EPOCH) <= built
    })
}

fn build(name: &str, folder: &Path) -> Result<(), String> {
    let fail = |why: &str| format!("cannot build `{name}`: {why}. Run `cargo build --workspace` first");
    let profile = match folder.file_name().and_then(|profile| profile.to_str()) {
        Some("debug") => "dev",
        Some(profile) => profile,
        None => return Err(fail("the running test lies in no folder of a profile")),
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--workspace", "--bin", name, "--profile", profile]);
    build.current_dir(env!("CARGO_MANIFEST_DIR"));
    // What Cargo tells the test about its package would make build scripts of dependencies run again.
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
        {
            build.env_remove(name);
        }
    }
    if let Some(target) = folder.parent() {
        build.arg("--target-dir").arg(target);
    }
    let output = build.output().map_err(|error| fail(&error.to_string()))?;
    if output.status.success() { Ok(()) } else { Err(fail(&String::from_utf8_lossy(&output.stderr))) }
}
