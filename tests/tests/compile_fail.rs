//! Every mistake in a declaration or a query is one readable error at its place: the files in `ui` do
//! not compile and say what is in the `.stderr` beside them; those in `ui/pass` compile.
//!
//! `rustc` is run on them directly, against the library that this test is linked with, because a build
//! of their own would compile every dependency again. `PARQUEDB_BLESS=1` rewrites the `.stderr` files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use std::env;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where cargo put this test and the libraries it is linked with.
fn dependencies() -> PathBuf {
    env::current_exe().unwrap().parent().unwrap().to_path_buf()
}

/// The newest build of the library.
fn library(dependencies: &Path) -> PathBuf {
    fs::read_dir(dependencies)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.starts_with("libparquedb-") && name.ends_with(".rlib")
        })
        .max_by_key(|path| fs::metadata(path).unwrap().modified().unwrap())
        .expect("the library is built before its tests")
}

/// The errors of a program, in a form that does not depend on the library's own lines.
fn compile(file: &Path, library: &Path, dependencies: &Path, out: &Path) -> String {
    let output = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--edition", "2024", "--crate-type", "bin", "--emit=metadata", "--error-format=json"])
        .arg("--out-dir")
        .arg(out)
        .arg("-L")
        .arg(format!("dependency={}", dependencies.display()))
        .arg("--extern")
        .arg(format!("parquedb={}", library.display()))
        .arg(file)
        .output()
        .unwrap();
    let mut text = String::new();
    for line in String::from_utf8(output.stderr).unwrap().lines() {
        let Ok(message) = serde_json::from_str::<Value>(line) else {
            panic!("rustc said: {line}");
        };
        if message["level"] == "error" && !message["message"].as_str().unwrap().starts_with("aborting due to")
        {
            render(&message, file, &mut text);
        }
    }
    assert!(!text.contains("can't find crate"), "{}: the library cannot be loaded", file.display());
    assert_eq!(output.status.success(), text.is_empty(), "{}: rustc failed without an error", file.display());
    text
}

fn render(message: &Value, file: &Path, text: &mut String) {
    let code = message["code"]["code"].as_str().map(|code| format!("[{code}]")).unwrap_or_default();
    writeln!(text, "error{code}: {}", message["message"].as_str().unwrap()).unwrap();
    for span in message["spans"].as_array().unwrap() {
        let here = span["file_name"].as_str().is_some_and(|name| Path::new(name) == file);
        if here && span["is_primary"] == true {
            let label = span["label"].as_str().map(|label| format!(": {label}")).unwrap_or_default();
            writeln!(text, "  at {}{label}", place(span)).unwrap();
        }
    }
    for child in message["children"].as_array().unwrap() {
        let note = child["message"].as_str().unwrap();
        // What rustc adds about the library's insides changes with every new type.
        if !["the trait", "the following", "required", "expected signature", "for that trait", "`"]
            .iter()
            .any(|start| note.starts_with(start))
        {
            writeln!(
                text,
                "  {}: {}",
                child["level"].as_str().unwrap(),
                note.lines().next().unwrap_or_default()
            )
            .unwrap();
        }
    }
    text.push('\n');
}

/// The line and the marked text, or the line alone where the whole macro call is marked.
fn place(span: &Value) -> String {
    let line = span["line_start"].as_u64().unwrap();
    if span["line_end"].as_u64() != Some(line) {
        return format!("{line}, the whole block");
    }
    let source = &span["text"][0];
    let marked: String = source["text"]
        .as_str()
        .unwrap()
        .chars()
        .skip(source["highlight_start"].as_u64().unwrap() as usize - 1)
        .take(
            (source["highlight_end"].as_u64().unwrap() - source["highlight_start"].as_u64().unwrap())
                as usize,
        )
        .collect();
    format!("{line}, `{marked}`")
}

fn programs(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    files.sort();
    files
}

#[test]
fn mistakes_are_readable_errors() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("ui");
    let out = tempfile::tempdir().unwrap();
    let dependencies = dependencies();
    let library = library(&dependencies);
    let bless = env::var_os("PARQUEDB_BLESS").is_some();
    let mut failures = String::new();
    for file in programs(&folder) {
        let found = compile(&file, &library, &dependencies, out.path());
        let stored = file.with_extension("stderr");
        if found.is_empty() {
            writeln!(failures, "{} compiles", file.display()).unwrap();
        } else if bless {
            fs::write(&stored, &found).unwrap();
        } else {
            let expected = fs::read_to_string(&stored).unwrap_or_default();
            if found != expected {
                writeln!(failures, "{}\nexpected:\n{expected}\nfound:\n{found}", file.display()).unwrap();
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn declarations_and_queries_compile() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("ui/pass");
    let out = tempfile::tempdir().unwrap();
    let dependencies = dependencies();
    let library = library(&dependencies);
    for file in programs(&folder) {
        let errors = compile(&file, &library, &dependencies, out.path());
        assert!(errors.is_empty(), "{}\n{errors}", file.display());
    }
}
