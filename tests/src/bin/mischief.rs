//! The badly behaved child.
#![expect(clippy::disallowed_methods, reason = "a test program that starts processes and sleeps")]

use std::time::Duration;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("ignore-term") => {
            // SAFETY: setting a disposition to ignore runs no code of ours.
            #[expect(unsafe_code, reason = "signal(2) has no safe form")]
            unsafe {
                libc::signal(libc::SIGTERM, libc::SIG_IGN);
            }
            std::thread::sleep(Duration::from_secs(1000));
        }
        Some("with-child") => {
            let child = std::process::Command::new("sleep").arg("1000").spawn();
            if let Ok(mut child) = child {
                let _ = child.wait();
            }
        }
        other => eprintln!("unknown mischief {other:?}"),
    }
}
