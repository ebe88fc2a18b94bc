//! circusman: arguments → face → exit status; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    controller::cli::entry::main()
}
