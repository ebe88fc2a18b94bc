//! Arguments → configuration → daemon → exit status; nothing else.

use std::process::ExitCode;

use circusd_rs::{cli, daemon};

fn main() -> ExitCode {
    match cli::parse() {
        Ok(arguments) => daemon::run(&arguments),
        Err(code) => code,
    }
}
