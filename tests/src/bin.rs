//! Finding a binary of the workspace from a test of another package.

use std::path::{Path, PathBuf};

/// The path of the workspace binary `name`, built in the same profile as the running test.
///
/// Cargo names a binary's path only to tests of its own package, and builds the binaries of a
/// package only together with that package: `cargo test --workspace` does.
///
/// # Errors
/// A message that says what to build, when there is no such binary.
pub fn cargo_bin(name: &str) -> Result<PathBuf, String> {
    let test = std::env::current_exe().map_err(|error| format!("the running test has no path: {error}"))?;
    // A test executable is target/<profile>/deps/<name>-<hash>.
    let profile = test.parent().and_then(Path::parent).unwrap_or(Path::new("."));
    let path = profile.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    if path.is_file() {
        Ok(path)
    } else {
        Err(format!("{} does not exist: run `cargo build --workspace` first", path.display()))
    }
}
