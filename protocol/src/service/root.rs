//! Directories below which no reset may act, whatever an ini says. Names only; where a path really
//! leads is checked again by whoever opens it.

use std::path::{Component, Path};

/// Why a directory is no root for a reset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootRefusal {
    /// Not from `/` on.
    #[error("{0:?} is relative; a root is absolute")]
    Relative(String),
    /// It climbs.
    #[error("{0:?} has `..` in it")]
    Climbs(String),
    /// The whole file system.
    #[error("{0:?} is the whole file system")]
    Everything(String),
    /// The system's own.
    #[error("{0:?} is, or is part of, the system's own directories")]
    System(String),
    /// Somebody's home.
    #[error("{0:?} is a home directory; name a directory below it")]
    Home(String),
}

/// Directories that are shared; what is below them may be a service's own.
const SHARED: [&str; 21] = [
    "/dev/shm",
    "/home",
    "/media",
    "/mnt",
    "/opt",
    "/root",
    "/run",
    "/srv",
    "/tmp",
    "/Users",
    "/usr/local",
    "/var",
    "/var/cache",
    "/var/db",
    "/var/lib",
    "/var/lock",
    "/var/log",
    "/var/opt",
    "/var/run",
    "/var/spool",
    "/var/tmp",
];

/// Trees in which a service has nothing to reset.
const SYSTEM: [&str; 14] = [
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/proc",
    "/sbin",
    "/sys",
    "/usr",
    "/var/lib/dpkg",
    "/var/lib/rpm",
];

/// Parts of [`SYSTEM`] trees where software is put by hand.
const EXCEPTIONS: [&str; 2] = ["/dev/shm", "/usr/local"];

/// Below these every directory is a home.
const HOMES: [&str; 2] = ["/home", "/Users"];

/// Checks a directory by its name.
///
/// # Errors
/// The reason why nothing below it may be removed.
pub fn check_root(path: &Path) -> Result<(), RootRefusal> {
    let shown = || path.display().to_string();
    if !path.is_absolute() {
        return Err(RootRefusal::Relative(shown()));
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(RootRefusal::Climbs(shown()));
    }
    // Components leave out doubled slashes and single dots.
    let plain: std::path::PathBuf = path.components().collect();
    if plain == Path::new("/") {
        return Err(RootRefusal::Everything(shown()));
    }
    let home =
        plain == Path::new("/root") || HOMES.iter().any(|homes| plain.parent() == Some(Path::new(homes)));
    if home {
        return Err(RootRefusal::Home(shown()));
    }
    let within = |trees: &[&str]| trees.iter().any(|tree| plain.starts_with(tree));
    let shared = SHARED.iter().any(|shared| plain == Path::new(shared));
    if shared || (within(&SYSTEM) && !within(&EXCEPTIONS)) {
        return Err(RootRefusal::System(shown()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_nobody_means() {
        let bad = "/ // /. /etc /etc/neo4j /usr /usr/bin /usr/local /var /var/lib /var/lib/ /var//log /home /home/joe \
                   /root /tmp /opt /dev /dev/shm /proc/self /bin /lib64/x /boot /srv relative ./x ../x /srv/../etc";
        for path in bad.split_whitespace() {
            assert!(check_root(Path::new(path)).is_err(), "{path}");
        }
        assert!(check_root(Path::new("")).is_err());
        let good = "/var/lib/neo4j/data /var/lib/titan/db /var/log/titan /home/joe/neo4j/data /opt/neo4j/data /data \
                    /tmp/x /usr/local/neo4j/data /srv/db /root/x/data /dev/shm/db";
        for path in good.split_whitespace() {
            assert_eq!(check_root(Path::new(path)), Ok(()), "{path}");
        }
    }
}
