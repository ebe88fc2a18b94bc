//! What is so on this machine, for a look before a start. It changes nothing: no port is bound that a
//! service may want, no file is made.
//!
//! Everything but the name lookups and Java is read from files; all of it runs on a thread that may
//! wait, and ends in time for the one who asked. It refuses to know what is good and what is not.

mod ports;

use std::net::{ToSocketAddrs, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use circus_protocol::service::preflight::{Account, Facts, Look, PathFact, Reached};
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, getgroups, gethostname};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::arbiter::input::Program as State;
use crate::arbiter::question::ProbeCall;
use crate::host::probe::exec::Program;
use crate::host::spawn::plan::{LIMITS, identity};
use crate::host::spawn::program;

/// How long names, files and processes may take; a name server may be away.
const PATIENCE: Duration = Duration::from_secs(8);

/// How long a Java machine may take to say its version, on a machine that is busy.
const JAVA: Duration = Duration::from_secs(10);

/// How many entries of a directory are looked at for one that belongs to somebody else.
const ENTRIES: usize = 1000;

/// Looks; `java` runs what tells its version, if that is wanted.
pub(super) async fn look(look: Look, java: Program) -> Facts {
    let version = version(&look, java);
    let asked = look.clone();
    let (here, java) = tokio::join!(timeout(PATIENCE, spawn_blocking(move || here(&asked))), version);
    let mut facts = match here {
        Ok(Ok(facts)) => facts,
        Ok(Err(error)) => {
            tracing::error!(%error, "bug: a look before a start failed");
            Facts::default()
        }
        Err(_late) => Facts {
            hostname_error: Some(format!("no answer within {} s", PATIENCE.as_secs())),
            ..Facts::default()
        },
    };
    facts.java = java;
    facts
}

async fn version(look: &Look, java: Program) -> Option<Result<String, String>> {
    if look.java.is_empty() {
        return None;
    }
    let process = &look.process;
    let home = process.env.iter().find(|(name, home)| name == "JAVA_HOME" && !home.is_empty());
    let program = home.map_or_else(|| "java".to_owned(), |(_, home)| format!("{home}/bin/java"));
    // Said here, in the words that a stock node has.
    if program::look(&program, &process.env, "/") == State::Missing {
        return Some(Err(format!("{program}: no such file or directory")));
    }
    // The service's own directory may be what is missing.
    let call = ProbeCall {
        watcher: look.service.clone(),
        questions: Vec::new(),
        limit: JAVA,
        env: process.env.clone(),
        working_dir: "/".to_owned(),
        uid: process.uid.clone(),
        gid: process.gid.clone(),
    };
    let ran = timeout(JAVA, java.run(vec![program.clone(), "-version".to_owned()], &call)).await;
    Some(match ran {
        Ok(Ok(end)) => end.said().map_err(|why| format!("{program}: {why}")),
        Ok(Err(error)) => Err(error),
        Err(_late) => Err(format!("{program}: no answer within {} s", JAVA.as_secs())),
    })
}

fn here(look: &Look) -> Facts {
    let process = &look.process;
    let hostname = gethostname().unwrap_or_default().to_string_lossy().into_owned();
    let pid = process.pids.first().copied();
    Facts {
        user: Some(account(process.uid.as_deref(), process.gid.as_deref())),
        privileged: geteuid().is_root(),
        hostname_error: addresses(&hostname).err(),
        hostname,
        address_error: look.address.as_deref().and_then(|address| is_ours(address).err()),
        program_error: unsound(look),
        limits: look.limits.iter().filter_map(|limit| reached(&limit.resource, pid)).collect(),
        holders: ports::holders(look),
        java: None,
        paths: look.needed.iter().chain(&look.written).map(|path| fact(path)).collect(),
    }
}

fn account(uid: Option<&str>, gid: Option<&str>) -> Result<Account, String> {
    let (uid, gid, groups) = identity(uid, gid).map_err(|error| error.to_string())?;
    let number = uid.unwrap_or_else(|| geteuid().as_raw());
    let gid = gid.unwrap_or_else(|| getegid().as_raw());
    let own = || getgroups().unwrap_or_default().into_iter().map(Gid::as_raw).collect();
    let groups = [gid].into_iter().chain(groups.unwrap_or_else(own)).collect();
    Ok(Account { name: user_name(number), uid: number, groups })
}

fn user_name(uid: u32) -> String {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    user.map_or_else(|| uid.to_string(), |user| user.name)
}

fn group_name(gid: u32) -> String {
    let group = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
    group.map_or_else(|| gid.to_string(), |group| group.name)
}

fn addresses(name: &str) -> Result<Vec<std::net::SocketAddr>, String> {
    let found = (name, 0).to_socket_addrs().map_err(|error| plain(&error))?;
    let found: Vec<_> = found.collect();
    if found.is_empty() { Err("it has no address".to_owned()) } else { Ok(found) }
}

/// Whatever can be bound is on an interface of this machine. A port that the kernel chooses for
/// datagrams is in nobody's way.
fn is_ours(address: &str) -> Result<(), String> {
    let mut last = Err("it has no address".to_owned());
    for address in addresses(address)? {
        last = UdpSocket::bind(address).map(|_| ()).map_err(|error| plain(&error));
        if last.is_ok() {
            break;
        }
    }
    last
}

/// The system's words without its number.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" (os error").map_or(text.as_str(), |(words, _)| words).to_lowercase()
}

fn unsound(look: &Look) -> Option<String> {
    let process = &look.process;
    if process.program.is_empty() {
        return None;
    }
    match program::look(&process.program, &process.env, &process.working_dir) {
        State::Missing => Some("it is not there".to_owned()),
        State::NotExecutable => Some("it is not executable".to_owned()),
        State::NoInterpreter(interpreter) => Some(format!("its interpreter {interpreter} is not there")),
        State::Sound => None,
    }
}

// ---- limits ----

/// Of the process that runs, or what one would inherit.
fn reached(resource: &str, pid: Option<i32>) -> Option<Reached> {
    let name = resource.to_owned();
    let text = pid.and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/limits")).ok());
    if let Some((soft, hard)) = text.and_then(|text| told(&text, resource)) {
        return Some(Reached { resource: name, soft, hard, running: true });
    }
    let (_, number) = LIMITS.iter().find(|(known, _)| *known == resource)?;
    let (soft, hard) = getrlimit(by_number(*number)?).ok()?;
    let finite = |limit: u64| (limit != libc::RLIM_INFINITY).then_some(limit);
    Some(Reached { resource: name, soft: finite(soft), hard: finite(hard), running: false })
}

/// Those that a service may ask for.
fn by_number(number: i32) -> Option<Resource> {
    use Resource::{
        RLIMIT_AS, RLIMIT_CORE, RLIMIT_DATA, RLIMIT_FSIZE, RLIMIT_MEMLOCK, RLIMIT_NOFILE, RLIMIT_NPROC,
        RLIMIT_STACK,
    };
    let known = [
        RLIMIT_AS,
        RLIMIT_CORE,
        RLIMIT_DATA,
        RLIMIT_FSIZE,
        RLIMIT_MEMLOCK,
        RLIMIT_NOFILE,
        RLIMIT_NPROC,
        RLIMIT_STACK,
    ];
    known.into_iter().find(|resource| *resource as i32 == number)
}

type Limits = (Option<u64>, Option<u64>);

/// From `/proc/PID/limits`.
fn told(text: &str, resource: &str) -> Option<Limits> {
    let title = match resource {
        "as" => "Max address space",
        "core" => "Max core file size",
        "data" => "Max data size",
        "fsize" => "Max file size",
        "memlock" => "Max locked memory",
        "nofile" => "Max open files",
        "nproc" => "Max processes",
        "stack" => "Max stack size",
        _ => return None,
    };
    let rest = text.lines().find_map(|line| line.strip_prefix(title))?;
    let mut words = rest.split_ascii_whitespace();
    let mut limit = || match words.next()? {
        "unlimited" => Some(None),
        number => number.parse().ok().map(Some),
    };
    Some((limit()?, limit()?))
}

// ---- directories ----

/// The path, or the nearest above it that is there. What a link leads to counts, as it does for the
/// service.
fn fact(path: &str) -> PathFact {
    let mut fact = PathFact { path: path.to_owned(), ..PathFact::default() };
    let mut found = PathBuf::from(path);
    let data = loop {
        match std::fs::metadata(&found) {
            Ok(data) => break data,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && found.pop() => {}
            Err(error) => {
                fact.error = Some(plain(&error));
                return fact;
            }
        }
    };
    fact.is_dir = data.is_dir();
    (fact.uid, fact.gid, fact.mode) = (data.uid(), data.gid(), data.mode() & 0o7777);
    fact.owner = format!("{}:{}", user_name(fact.uid), group_name(fact.gid));
    if found == Path::new(path) && fact.is_dir {
        fact.foreign = foreign(&found, fact.uid);
    }
    fact.found = found.to_string_lossy().into_owned();
    fact
}

/// Something in a directory that belongs to somebody else than the directory: usually left by a start
/// as root.
fn foreign(directory: &Path, uid: u32) -> Option<(String, String)> {
    let entries = std::fs::read_dir(directory).ok()?;
    let owned = entries.take(ENTRIES).flatten().filter_map(|entry| {
        let data = entry.metadata().ok()?;
        Some((entry, data.uid()))
    });
    let (entry, whose) = owned.into_iter().find(|(entry, whose)| *whose != uid && !is_aside(entry))?;
    Some((entry.path().to_string_lossy().into_owned(), user_name(whose)))
}

/// What resets leave aside is the daemon's.
fn is_aside(entry: &std::fs::DirEntry) -> bool {
    entry.file_name() == circus_protocol::service::PLACE_ASIDE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_a_process_are_read() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max locked memory         65536                unlimited            bytes     \n\
                    Max open files            1024                 524288               files     \n";
        assert_eq!(told(text, "nofile"), Some((Some(1024), Some(524_288))));
        assert_eq!(told(text, "memlock"), Some((Some(65_536), None)));
        assert_eq!(told(text, "nproc"), None);
        let own = i32::try_from(std::process::id()).unwrap();
        let (ours, inherited) = (reached("nofile", Some(own)).unwrap(), reached("nofile", None).unwrap());
        assert!(ours.running && !inherited.running);
        assert_eq!((ours.soft, ours.hard), (inherited.soft, inherited.hard));
    }

    #[test]
    fn addresses_of_this_machine_are_known() {
        assert_eq!(is_ours("127.0.0.1"), Ok(()));
        assert_eq!(is_ours("127.9.8.7"), Ok(()));
        assert!(is_ours("192.0.2.1").is_err(), "an address for documentation");
        assert!(addresses("no-such-name.invalid").is_err());
    }

    #[test]
    fn a_path_or_what_there_is_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| format!("{}/{name}", dir.path().display());
        std::fs::write(path("file"), "x").unwrap();
        let missing = fact(&path("a/b"));
        assert_eq!(
            (missing.found, missing.is_dir, missing.error),
            (path("").trim_end_matches('/').to_owned(), true, None)
        );
        let file = fact(&path("file"));
        assert_eq!((file.found, file.is_dir), (path("file"), false));
        assert_eq!(file.uid, geteuid().as_raw());
        assert!(fact(&path("file/x")).error.is_some(), "below a file there is nothing");
        if geteuid().is_root() {
            std::os::unix::fs::chown(path("file"), Some(65_534), None).unwrap();
            assert_eq!(fact(&dir.path().to_string_lossy()).foreign.unwrap().0, path("file"));
        }
    }

    #[test]
    fn a_user_and_its_groups() {
        let root = account(Some("root"), None).unwrap();
        assert_eq!((root.name.as_str(), root.uid, root.groups.first()), ("root", 0, Some(&0)));
        assert_eq!(account(None, None).unwrap().uid, geteuid().as_raw());
        assert!(account(Some("no one's"), None).unwrap_err().contains("isn't a valid user name"));
    }
}
