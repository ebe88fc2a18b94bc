//! Everything a fork needs, prepared while allocating, locking and looking up names is still
//! allowed: after the fork there are only system calls.
//!
//! It starts nothing and knows no descriptor.

use std::ffi::CString;
use std::io;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

use crate::arbiter::effect::SpawnSpec;

/// Where programs are looked for when the child's environment has no PATH.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Why a process cannot be started, known before trying.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlanError {
    #[error("the command is empty: set `cmd`")]
    EmptyCommand,
    #[error("embedded null byte in {0}")]
    NullByte(String),
    #[error("{} isn't a valid user name", repr(.0))]
    NoUser(String),
    #[error("{} isn't a valid group name", repr(.0))]
    NoGroup(String),
    #[error("user {0} is not in the user database, so its group is unknown: set `gid` too")]
    NoPrimaryGroup(u32),
    #[error("cannot look up {}: {text}", repr(.name))]
    Lookup { name: String, text: String },
    #[error("unknown rlimit \"{0}\" (known: {known})", known = known_limits())]
    NoLimit(String),
}

/// One resource limit, soft and hard alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) resource: i32,
    pub(crate) value: u64,
    /// Tried when the kernel refuses `value`: an unlimited number of files is more than it allows.
    pub(crate) fallback: Option<u64>,
}

/// A program ready to be executed.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The program as configured, for words about it.
    pub(crate) program: String,
    /// Where it may be, in the order to try.
    pub(crate) candidates: Vec<CString>,
    pub(crate) argv: Vec<CString>,
    pub(crate) env: Vec<CString>,
    pub(crate) directory: CString,
    /// Resource, soft and hard: what a process gets besides what was asked for. Refused is no failure.
    pub(crate) bounds: Vec<(i32, u64, u64)>,
    pub(crate) limits: Vec<Limit>,
    pub(crate) gid: Option<u32>,
    /// Supplementary groups; only with a user.
    pub(crate) groups: Option<Vec<u32>>,
    pub(crate) uid: Option<u32>,
}

impl Limit {
    pub(crate) fn name(self) -> &'static str {
        LIMITS.iter().find(|(_, resource)| *resource == self.resource).map_or("?", |(name, _)| name)
    }
}

impl Plan {
    pub(crate) fn new(spec: &SpawnSpec) -> Result<Self, PlanError> {
        let program = spec.argv.first().filter(|word| !word.is_empty()).ok_or(PlanError::EmptyCommand)?;
        let (uid, gid, groups) = identity(spec.uid.as_deref(), spec.gid.as_deref())?;
        Ok(Self {
            program: program.clone(),
            candidates: candidates(program, &spec.env)?,
            argv: spec.argv.iter().map(|word| text(word, "the command")).collect::<Result<_, _>>()?,
            env: spec
                .env
                .iter()
                .map(|(name, value)| text(&format!("{name}={value}"), "the environment"))
                .collect::<Result<_, _>>()?,
            directory: text(&spec.working_dir, "working_dir")?,
            bounds: Vec::new(),
            limits: spec.rlimits.iter().map(|(name, value)| limit(name, *value)).collect::<Result<_, _>>()?,
            gid,
            groups,
            uid,
        })
    }

    /// Whether it will run as somebody else than we do.
    pub(crate) fn changes_user(&self) -> bool {
        self.uid.is_some() || self.gid.is_some() || self.groups.is_some()
    }
}

fn text(value: &str, place: &str) -> Result<CString, PlanError> {
    CString::new(value).map_err(|_| PlanError::NullByte(place.to_owned()))
}

pub(crate) fn candidates(program: &str, env: &[(String, String)]) -> Result<Vec<CString>, PlanError> {
    if program.contains('/') {
        return Ok(vec![text(program, "the command")?]);
    }
    // Of a name given twice, getenv(3) and thus the child sees the first.
    let path = env.iter().find(|(name, _)| name == "PATH").map_or(DEFAULT_PATH, |(_, value)| value);
    path.split(':')
        .map(|directory| match directory {
            // An empty entry means the current directory, which is working_dir by then.
            "" => text(program, "the command"),
            directory => text(&format!("{}/{program}", directory.trim_end_matches('/')), "PATH"),
        })
        .collect()
}

pub(crate) type Identity = (Option<u32>, Option<u32>, Option<Vec<u32>>);

pub(crate) fn identity(uid: Option<&str>, gid: Option<&str>) -> Result<Identity, PlanError> {
    let user = uid.map(user).transpose()?;
    let gid = match (gid, &user) {
        (Some(name), _) => Some(group(name)?),
        (None, Some((_, Some(user)))) => Some(user.gid.as_raw()),
        (None, Some((number, None))) => return Err(PlanError::NoPrimaryGroup(*number)),
        (None, None) => None,
    };
    let groups = match (&user, gid) {
        (Some((_, Some(user))), Some(gid)) => Some(supplementary(user, gid)?),
        (Some((_, None)), Some(gid)) => Some(vec![gid]),
        (Some(_) | None, None) | (None, Some(_)) => None,
    };
    Ok((user.map(|(number, _)| number), gid, groups))
}

fn supplementary(user: &User, gid: u32) -> Result<Vec<u32>, PlanError> {
    let name = text(&user.name, "uid")?;
    let groups = getgrouplist(&name, Gid::from_raw(gid)).map_err(|error| lookup(&user.name, error))?;
    Ok(groups.into_iter().map(Gid::as_raw).collect())
}

fn user(name: &str) -> Result<(u32, Option<User>), PlanError> {
    if let Ok(number) = name.parse::<u32>() {
        let user = User::from_uid(Uid::from_raw(number)).map_err(|error| lookup(name, error))?;
        return Ok((number, user));
    }
    let user = User::from_name(name).map_err(|error| lookup(name, error))?;
    let user = user.ok_or_else(|| PlanError::NoUser(name.to_owned()))?;
    Ok((user.uid.as_raw(), Some(user)))
}

fn group(name: &str) -> Result<u32, PlanError> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let group = Group::from_name(name).map_err(|error| lookup(name, error))?;
    group.map(|group| group.gid.as_raw()).ok_or_else(|| PlanError::NoGroup(name.to_owned()))
}

fn lookup(name: &str, error: Errno) -> PlanError {
    PlanError::Lookup { name: name.to_owned(), text: words(error as i32) }
}

/// Resource names as in `setrlimit(2)`, without their prefix.
pub(crate) const LIMITS: [(&str, i32); 16] = [
    ("as", libc::RLIMIT_AS as i32),
    ("core", libc::RLIMIT_CORE as i32),
    ("cpu", libc::RLIMIT_CPU as i32),
    ("data", libc::RLIMIT_DATA as i32),
    ("fsize", libc::RLIMIT_FSIZE as i32),
    ("memlock", libc::RLIMIT_MEMLOCK as i32),
    ("msgqueue", libc::RLIMIT_MSGQUEUE as i32),
    ("nice", libc::RLIMIT_NICE as i32),
    ("nofile", libc::RLIMIT_NOFILE as i32),
    ("ofile", libc::RLIMIT_NOFILE as i32),
    ("nproc", libc::RLIMIT_NPROC as i32),
    ("rss", libc::RLIMIT_RSS as i32),
    ("rtprio", libc::RLIMIT_RTPRIO as i32),
    ("rttime", libc::RLIMIT_RTTIME as i32),
    ("sigpending", libc::RLIMIT_SIGPENDING as i32),
    ("stack", libc::RLIMIT_STACK as i32),
];

fn known_limits() -> String {
    LIMITS.map(|(name, _)| name).join(", ")
}

fn limit(name: &str, value: Option<u64>) -> Result<Limit, PlanError> {
    let known = LIMITS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    let (_, resource) = *known.ok_or_else(|| PlanError::NoLimit(name.to_owned()))?;
    let files = resource == libc::RLIMIT_NOFILE as i32;
    let fallback = match value {
        None if files => getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(_, hard)| hard),
        None | Some(_) => None,
    };
    Ok(Limit { resource, value: value.unwrap_or(libc::RLIM_INFINITY), fallback })
}

/// The C library's words with the kernel's number, as Python prints them.
pub(crate) fn words(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    format!("[Errno {errno}] {}", text.rsplit_once(" (os error").map_or(text.as_str(), |(words, _)| words))
}

/// A text in quotes, as Python prints it.
pub(crate) fn repr(value: &str) -> String {
    let quote = if value.contains('\'') && !value.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(program: &str, env: &[(&str, &str)]) -> Vec<String> {
        let env: Vec<_> = env.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let found = candidates(program, &env).unwrap();
        found.into_iter().map(|path| path.into_string().unwrap()).collect()
    }

    #[test]
    fn a_program_is_looked_up_in_the_childs_path() {
        assert_eq!(paths("p", &[]), ["/bin/p", "/usr/bin/p"]);
        assert_eq!(paths("p", &[("PATH", "/a/:b::/")]), ["/a/p", "b/p", "p", "/p"]);
        assert_eq!(paths("./p", &[("PATH", "/a")]), ["./p"]);
    }

    #[test]
    fn limits_are_known_by_name_in_any_case() {
        let found = limit("NOFILE", Some(3)).unwrap();
        assert_eq!(found, Limit { resource: libc::RLIMIT_NOFILE as i32, value: 3, fallback: None });
        assert!(limit("nofile", None).unwrap().fallback.is_some());
        assert_eq!(limit("Core", None).unwrap().value, libc::RLIM_INFINITY);
        let error = limit("filez", Some(3)).unwrap_err().to_string();
        assert!(error.starts_with("unknown rlimit \"filez\" (known: as, core,"), "{error}");
    }

    #[test]
    fn a_user_brings_its_group_and_its_other_groups() {
        let (uid, gid, groups) = identity(Some("root"), None).unwrap();
        assert_eq!((uid, gid), (Some(0), Some(0)));
        assert!(groups.unwrap().contains(&0));
        assert_eq!(identity(None, Some("0")).unwrap(), (None, Some(0), None));
        assert_eq!(identity(Some("54321"), Some("54321")).unwrap().2, Some(vec![54321]));
        assert_eq!(identity(Some("54321"), None), Err(PlanError::NoPrimaryGroup(54321)));
        assert_eq!(
            identity(Some("no one's"), None).unwrap_err().to_string(),
            "\"no one's\" isn't a valid user name"
        );
    }

    #[test]
    fn texts_are_quoted_as_python_does() {
        assert_eq!(repr("a'b"), "\"a'b\"");
        assert_eq!(repr("a'\"\\\n\u{1}é"), "'a\\'\"\\\\\\n\\x01é'");
        assert_eq!(words(2), "[Errno 2] No such file or directory");
        assert_eq!(words(11), "[Errno 11] Resource temporarily unavailable");
    }
}
