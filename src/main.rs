//! The `edge-outbox` command: parse, run, print the error and its hint, exit.

use std::{
    io::{Write as _, stderr},
    process::ExitCode,
};

use clap::Parser as _;
use edge_outbox::cli::Cli;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // There is nobody to tell that standard error is gone.
            drop(stderr().write_all(failure.text().as_bytes()));
            failure.exit_code()
        }
    }
}
