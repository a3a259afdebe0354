//! The `parquedb` command.

mod command;

use clap::Parser;
use parquedb_cli::terminal::{self, Failure};
use std::process::ExitCode;

fn main() -> ExitCode {
    let command = command::Command::parse();
    terminal::log("warn");
    match tokio::runtime::Runtime::new()
        .map_err(Failure::from)
        .and_then(|runtime| runtime.block_on(command.run()))
    {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("parquedb: {failure}");
            ExitCode::FAILURE
        }
    }
}
