//! The texts of our sections, read: lists, words, modes, seconds. Each reader says what it wants.

use super::glob::Glob;
use super::{Dependency, First, Level, OnTimeout, Owner, Scope, Select, StartOrder, WhileRunning};
use crate::ini;

/// A reader's refusal; the caller adds file, line and key.
pub(super) type Read<T> = Result<T, String>;

/// Items between commas or newlines.
pub(super) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', '\n']).map(ini::strip).filter(|item| !item.is_empty())
}

pub(super) fn names(text: &str) -> Read<Vec<String>> {
    Ok(list(text).map(str::to_owned).collect())
}

pub(super) fn globs(text: &str) -> Read<Vec<Glob>> {
    list(text).map(|item| Glob::parse(item).map_err(|error| error.to_string())).collect()
}

/// Directories below a root, by components; no patterns.
pub(super) fn directories(text: &str) -> Read<Vec<Vec<String>>> {
    let components = |item: &str| {
        Glob::parse(item).map_err(|error| error.to_string())?;
        Ok(item.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect())
    };
    list(text).map(components).collect()
}

pub(super) fn ports(text: &str) -> Read<Vec<u16>> {
    let port = |item: &str| match item.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(format!("{item:?} is not a port (1 to 65535)")),
    };
    list(text).map(port).collect()
}

/// Major versions of Java.
pub(super) fn versions(text: &str) -> Read<Vec<u16>> {
    let version = |item: &str| match item.parse() {
        Ok(version @ 5..=99) => Ok(version),
        _ => Err(format!("{item:?} is not a major version of Java such as 17")),
    };
    list(text).map(version).collect()
}

pub(super) fn statuses(text: &str) -> Read<Vec<u16>> {
    let status = |item: &str| match item.parse() {
        Ok(status @ 100..=599) => Ok(status),
        _ => Err(format!("{item:?} is not an HTTP status (100 to 599)")),
    };
    list(text).map(status).collect()
}

pub(super) fn exit_codes(text: &str) -> Read<Vec<u8>> {
    let code = |item: &str| item.parse().map_err(|_| format!("{item:?} is not an exit status (0 to 255)"));
    list(text).map(code).collect()
}

/// A regular expression, for a text of several lines.
pub(super) fn pattern(text: &str) -> Read<String> {
    match regex_lite::Regex::new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{text:?} is not a regular expression: {error}")),
    }
}

/// Where somebody listens.
pub(super) fn host_and_port(text: &str) -> Read<()> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0) => Ok(()),
        Some(_) | None => Err(format!("{text:?} is not HOST:PORT, such as ${{address}}:9160")),
    }
}

/// What can be fetched without a library for encryption.
pub(super) fn url(text: &str) -> Read<()> {
    let remedy = "write http://HOST:PORT/PATH";
    let Some(rest) = text.strip_prefix("http://") else {
        let encrypted = text.starts_with("https://");
        let remedy = if encrypted { "https is not spoken here; use `exec` with curl" } else { remedy };
        return Err(format!("{text:?} is no http:// address; {remedy}"));
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let port = authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')).map(|(_, port)| port);
    let strange = |c: char| c.is_whitespace() || c.is_control();
    if authority.contains('@') {
        return Err(format!("{text:?} holds a name or a password; use `user` and `password_file`"));
    }
    if authority.is_empty() || text.contains(strange) || port.is_some_and(|port| port.parse::<u16>().is_err())
    {
        return Err(format!("{text:?} is no address; {remedy}"));
    }
    Ok(())
}

pub(super) fn dependencies(text: &str) -> Read<Vec<Dependency>> {
    let dependency = |item: &str| match item.rsplit_once(':') {
        None => Ok(Dependency { service: item.to_owned(), level: Level::Up }),
        Some((service, word)) => {
            Ok(Dependency { service: service.trim().to_owned(), level: level(word.trim())? })
        }
    };
    list(text).map(dependency).collect()
}

pub(super) fn level(word: &str) -> Read<Level> {
    match word {
        "up" => Ok(Level::Up),
        "joined" => Ok(Level::Joined),
        _ => Err(format!("{word:?} is neither `up` nor `joined`")),
    }
}

/// Words in any order: `seeds-first, sequential`, `first then parallel`, `parallel stagger=5`.
pub(super) fn start_order(text: &str) -> Read<StartOrder> {
    let mut order = StartOrder::default();
    let spaced = text.replace("-then-", " ");
    for word in spaced.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty()) {
        match word {
            "then" | "parallel" => {}
            "sequential" => order.sequential = true,
            "first" => order.first = First::FirstMember,
            "seeds-first" | "seed-first" | "seeds" | "seed" => order.first = First::Seeds,
            _ => match word.strip_prefix("stagger=").map(seconds) {
                Some(Ok(pause)) => order.stagger = pause,
                Some(Err(reason)) => return Err(reason),
                None => {
                    return Err(format!(
                        "{word:?} is none of `parallel`, `sequential`, `first`, `seeds-first`, `stagger=SECONDS`"
                    ));
                }
            },
        }
    }
    Ok(order)
}

pub(super) fn while_running(text: &str) -> Read<WhileRunning> {
    match text {
        "refuse" => Ok(WhileRunning::Refuse),
        "allow" => Ok(WhileRunning::Allow),
        "restart" => Ok(WhileRunning::Restart),
        _ => Err(format!("{text:?} is none of `refuse`, `allow`, `restart`")),
    }
}

pub(super) fn on_timeout(text: &str) -> Read<OnTimeout> {
    match text {
        "keep" => Ok(OnTimeout::Keep),
        "restart" => Ok(OnTimeout::Restart),
        _ => Err(format!("{text:?} is neither `keep` nor `restart`")),
    }
}

pub(super) fn scope(text: &str) -> Read<Scope> {
    match text {
        "node" => Ok(Scope::Node),
        "cluster" => Ok(Scope::Cluster),
        _ => Err(format!("{text:?} is neither `node` nor `cluster`")),
    }
}

pub(super) fn select(text: &str) -> Read<Select> {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        ["all"] => Ok(Select::All),
        ["first"] => Ok(Select::First),
        ["peers"] => Ok(Select::Peers),
        ["every", number] => match number.parse() {
            Ok(step) if step > 0 => Ok(Select::Every(step)),
            _ => Err(format!("every {number:?}: not a number from 1")),
        },
        _ => Err(format!("{text:?} is none of `all`, `first`, `peers`, `every N`")),
    }
}

/// `joining`, or `never`.
pub(super) fn exclude_self(text: &str) -> Read<bool> {
    match text {
        "joining" => Ok(true),
        "never" => Ok(false),
        _ => Err(format!("{text:?} is neither `joining` nor `never`")),
    }
}

/// What stands between list items; quotes keep blanks, and `\n` in quotes is a newline.
pub(super) fn separator(text: &str) -> Read<String> {
    match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => Ok(quoted.replace("\\n", "\n").replace("\\t", "\t")),
        None => Ok(text.to_owned()),
    }
}

/// Permission bits in octal; no set-user-id bits, because a template is no program.
pub(super) fn mode(text: &str) -> Read<u32> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    match u32::from_str_radix(digits, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err(format!("{text:?} is not a file mode such as 0644")),
    }
}

pub(super) fn owner(text: &str) -> Read<Owner> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user.trim(), Some(group.trim())),
        None => (text, None),
    };
    if user.is_empty() || group.is_some_and(str::is_empty) {
        return Err(format!("{text:?} is neither USER nor USER:GROUP"));
    }
    Ok(Owner { user: user.to_owned(), group: group.map(str::to_owned) })
}

pub(super) fn boolean(text: &str) -> Read<bool> {
    ini::parse_bool(text)
        .ok_or_else(|| format!("{text:?} is not a boolean (yes, true, on, 1, no, false, off, 0)"))
}

/// A time that is not negative and not endless.
pub(super) fn seconds(text: &str) -> Read<f64> {
    match ini::parse_float(text) {
        Some(seconds) if seconds.is_finite() && seconds >= 0.0 => Ok(seconds),
        _ => Err(format!("{text:?} is not a number of seconds")),
    }
}

/// The shortest time between two tries of a probe: a probe shall not be what keeps a node busy.
const SHORTEST: f64 = 0.1;

/// A time that something may come round in.
pub(super) fn period(text: &str) -> Read<f64> {
    let period = seconds(text)?;
    if period < SHORTEST {
        Err(format!("{text:?} is too short; at least {SHORTEST} seconds"))
    } else {
        Ok(period)
    }
}

/// A time, or `never`.
pub(super) fn recheck(text: &str) -> Read<Option<f64>> {
    if text == "never" { Ok(None) } else { period(text).map(Some) }
}

/// A time, or `unlimited`.
pub(super) fn patience(text: &str) -> Read<Option<f64>> {
    if text == "unlimited" { Ok(None) } else { seconds(text).map(Some) }
}
