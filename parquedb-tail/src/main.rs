//! The `parquedb-tail` command.

mod command;

use clap::Parser;
use parquedb_cli::terminal::Failure;
use std::process::ExitCode;

fn main() -> ExitCode {
    let command = command::Command::parse();
    match tokio::runtime::Runtime::new().map_err(Failure::from).and_then(|runtime| {
        let done = runtime.block_on(command.run());
        // A blocked read of the standard input must not keep the process alive.
        runtime.shutdown_background();
        done
    }) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("parquedb-tail: {failure}");
            ExitCode::FAILURE
        }
    }
}
