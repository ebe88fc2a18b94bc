//! A look at a program that could not be started: is it there, may it be executed, is there what its
//! first line names?
//!
//! Only for the story that is told afterwards; whoever starts it asks the kernel.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::arbiter::input::Program;
use crate::host::spawn::plan::candidates;

/// The longest first line that the kernel looks at.
const LINE: u64 = 256;

/// What is to be seen of it now.
pub(crate) fn look(program: &str, env: &[(String, String)], directory: &str) -> Program {
    let places = candidates(program, env).unwrap_or_default();
    let places = places.iter().map(|place| {
        // Relative to where it would have been started.
        Path::new(directory).join(OsStr::from_bytes(place.as_bytes()))
    });
    let found: Vec<PathBuf> = places.filter(|place| place.is_file()).collect();
    let executable =
        |place: &&PathBuf| fs::metadata(place).is_ok_and(|data| data.permissions().mode() & 0o111 != 0);
    match (found.iter().find(executable), found.is_empty()) {
        (None, true) => Program::Missing,
        (None, false) => Program::NotExecutable,
        (Some(place), _) => match interpreter(place) {
            Some(interpreter) if !Path::new(&interpreter).exists() => Program::NoInterpreter(interpreter),
            Some(_) | None => Program::Sound,
        },
    }
}

fn interpreter(place: &Path) -> Option<String> {
    let mut line = Vec::new();
    File::open(place).ok()?.take(LINE).read_to_end(&mut line).ok()?;
    let rest = line.strip_prefix(b"#!")?;
    let rest = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let text = String::from_utf8_lossy(rest);
    // A carriage return at its end is a classic: it belongs to the name then.
    let name = text.trim_matches([' ', '\t']).split([' ', '\t']).next().unwrap_or_default();
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn play(name: &str, text: &str, mode: u32) -> Program {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("it");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let env = vec![("PATH".to_owned(), format!("/no/such:{}", dir.path().display()))];
        look(name, &env, dir.path().to_str().unwrap())
    }

    #[test]
    fn what_is_wrong_with_a_program_can_be_seen() {
        assert_eq!(play("it", "#!/bin/sh\n", 0o755), Program::Sound);
        assert_eq!(play("./it", "#! /bin/sh -e\n", 0o755), Program::Sound);
        assert_eq!(play("other", "", 0o755), Program::Missing);
        assert_eq!(play("it", "#!/bin/sh\n", 0o644), Program::NotExecutable);
        assert_eq!(play("it", "#!/no/such\n", 0o755), Program::NoInterpreter("/no/such".to_owned()));
        assert_eq!(play("it", "#!/bin/sh\r\n", 0o755), Program::NoInterpreter("/bin/sh\r".to_owned()));
        assert_eq!(play("it", "\x7fELF", 0o755), Program::Sound);
    }
}
