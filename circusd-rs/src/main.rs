//! Arguments → configuration → daemon → exit status; nothing else.

use std::process::ExitCode;

use circusd_rs::cli::Role;
use circusd_rs::{cli, daemon, plugin, profiles};

fn main() -> ExitCode {
    match cli::parse() {
        Ok(Role::Daemon(arguments)) => daemon::run(&arguments),
        Ok(Role::Plugin(arguments)) => plugin::run(&arguments),
        Ok(Role::Profiles(arguments)) => profiles::show(&arguments),
        Ok(Role::Init(arguments)) => profiles::init(&arguments),
        Err(code) => code,
    }
}
