//! Reads configuration files, their includes and the environment for the pure resolver.
//!
//! It knows where things lie, not what they mean: `include` and `include_dir` are the only keys it
//! looks at.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use circus_protocol::ini::{Ini, MAX_BYTES};

use crate::config::expand::{environment, variables};
use crate::config::resolve::{Python, Resolved, SitePackages, resolve};
use crate::config::{Inherited, pattern};
use crate::host::python;

/// How many files one configuration may include.
const MAX_INCLUDES: usize = 1000;

/// A configuration file that can be read again and again.
#[derive(Debug, Clone)]
pub struct Source {
    path: PathBuf,
    inherited: Arc<Inherited>,
}

impl Source {
    /// The file at `path`; the daemon's environment and directory are read now.
    ///
    /// # Errors
    /// When the current directory is gone or the path cannot be made absolute.
    pub fn new(path: &Path) -> io::Result<Self> {
        let working_dir = std::env::current_dir()?;
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let inherited = Inherited {
            environment: std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect(),
            working_dir: working_dir.to_string_lossy().into_owned(),
        };
        Ok(Self { path: working_dir.join(path), inherited: Arc::new(inherited) })
    }

    /// Reads and resolves the file as it is now.
    ///
    /// # Errors
    /// Everything that is wrong, one line each.
    pub fn read(&self) -> Result<Resolved, Vec<String>> {
        let mut ini = read_ini(&self.path)?;
        let mut warnings = Vec::new();
        let mut errors = Vec::new();
        for path in self.includes(&ini, &mut warnings) {
            match read_ini(&path) {
                Ok(included) => ini.merge(included),
                Err(faults) => errors.extend(faults),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut resolved = resolve(ini, &self.inherited, &VirtualEnvs)?;
        warnings.append(&mut resolved.warnings);
        Ok(Resolved { config: resolved.config, warnings })
    }

    /// The files that the main file's `[circus]` includes, in its order; one that cannot be opened is
    /// reported when it is read.
    fn includes(&self, ini: &Ini, warnings: &mut Vec<String>) -> Vec<PathBuf> {
        let Some(circus) = ini.section("circus") else { return Vec::new() };
        let known = environment(&self.inherited.environment);
        let words = |key: &str| -> Vec<String> {
            let text = circus.text(key).unwrap_or_default();
            let text = variables(text, |key| known.get(key));
            text.split_whitespace().map(str::to_owned).collect()
        };
        let files = words("include").into_iter();
        let directories = words("include_dir").into_iter().map(|directory| format!("{directory}/*.ini"));
        let base = self.path.parent().unwrap_or(Path::new("/"));
        let mut found = Vec::new();
        for pattern in files.chain(directories) {
            let paths = glob(&base.join(&pattern));
            if paths.is_empty() {
                warnings.push(format!(
                    "'{}' does not lead to any config. Make sure include paths are relative to the main config file",
                    base.join(&pattern).display()
                ));
            }
            found.extend(paths);
        }
        if found.len() > MAX_INCLUDES {
            warnings.push(format!(
                "{} included files are more than {MAX_INCLUDES}; the rest is left out",
                found.len()
            ));
            found.truncate(MAX_INCLUDES);
        }
        found
    }
}

fn read_ini(path: &Path) -> Result<Ini, Vec<String>> {
    let shown = path.to_string_lossy();
    let bytes = read_bytes(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => vec![format!("the configuration file '{shown}' does not exist")],
        _ => vec![format!("the configuration file '{shown}' cannot be read: {error}")],
    })?;
    Ini::parse_bytes(&bytes, &shown).map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

/// One byte more than allowed is enough for the parser to refuse it.
fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The files that a pattern leads to, sorted. As in a shell, `*` takes no leading dot.
fn glob(wanted: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for component in wanted.components() {
        let name = component.as_os_str().to_string_lossy();
        if !name.contains(['*', '?', '[']) {
            for path in &mut found {
                path.push(component);
            }
            continue;
        }
        found = found.iter().flat_map(|directory| children(directory, &name)).collect();
    }
    found.retain(|path| path.exists());
    found
}

fn children(directory: &Path, wanted: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            (wanted.starts_with('.') || !name.starts_with('.')) && pattern::matches(wanted, &name)
        })
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths
}

/// Virtual environments on this machine.
struct VirtualEnvs;

impl Python for VirtualEnvs {
    fn site_packages(&self, virtualenv: &str, version: Option<&str>) -> Option<SitePackages> {
        let virtualenv = Path::new(virtualenv);
        let lib = virtualenv.join("lib");
        let candidates = match version {
            Some(version) => vec![lib.join(format!("python{version}")), lib.join(format!("pypy{version}"))],
            None => [children(&lib, "python[0-9]*"), children(&lib, "pypy[0-9]*")].concat(),
        };
        let packages =
            candidates.into_iter().map(|path| path.join("site-packages")).find(|path| path.is_dir())?;
        let files = children(&packages, "*.pth");
        Some(SitePackages {
            directory: packages.to_string_lossy().into_owned(),
            named: files.iter().flat_map(|file| directories_in(&packages, file)).collect(),
            has_bin: virtualenv.join("bin").exists(),
        })
    }

    fn importable(&self, class: &str) -> Result<String, String> {
        python::importable(class).map_err(|error| error.to_string())
    }

    fn own_program(&self) -> String {
        // The kernel's own name for it, should it have no path.
        std::env::current_exe()
            .map_or_else(|_| "/proc/self/exe".to_owned(), |path| path.to_string_lossy().into_owned())
    }
}

/// The existing directories that a `.pth` file names.
fn directories_in(packages: &Path, file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines = text.lines().map(str::trim_end);
    let named =
        lines.filter(|line| !line.is_empty() && !line.starts_with('#') && !line.starts_with("import"));
    named
        .map(|line| packages.join(line))
        .filter(|path| path.exists())
        .map(|path| path.to_string_lossy().into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn source(directory: &Path, files: &[(&str, &str)]) -> Source {
        for (name, text) in files {
            let path = directory.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let inherited = Inherited { environment: BTreeMap::new(), working_dir: "/".to_owned() };
        Source { path: directory.join("circus.ini"), inherited: Arc::new(inherited) }
    }

    #[test]
    fn includes_are_relative_to_the_main_file_and_come_second() {
        let directory = tempfile::tempdir().unwrap();
        let main = "[circus]\ninclude = one.ini sub/t*.ini none*.ini\ninclude_dir = d\n[watcher:main]\ncmd = first\n";
        let files = [
            ("circus.ini", main),
            ("one.ini", "[watcher:main]\ncmd = second\nargs = added\n[watcher:one]\ncmd = x\n"),
            ("sub/two.ini", "[watcher:two]\ncmd = x\n"),
            ("sub/.tree.ini", "[watcher:hidden]\ncmd = x\n"),
            ("d/three.ini", "[watcher:three]\ncmd = x\n[circus]\ninclude = ../one.ini\n"),
            ("d/not.txt", "junk"),
        ];
        let resolved = source(directory.path(), &files).read().unwrap();
        let names: Vec<&str> =
            resolved.config.watchers.iter().map(|watcher| watcher.name.original()).collect();
        assert_eq!(names, ["main", "one", "three", "two"]);
        assert_eq!(resolved.config.watchers[0].cmd, "first");
        assert_eq!(resolved.config.watchers[0].args, "added");
        assert_eq!(resolved.warnings.len(), 1);
        assert!(
            resolved.warnings[0].contains("none*.ini' does not lead to any config"),
            "{:?}",
            resolved.warnings
        );
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let shown = directory.path().display();
        let missing = source(directory.path(), &[]).read().unwrap_err();
        assert_eq!(missing, [format!("the configuration file '{shown}/circus.ini' does not exist")]);
        let junk = source(
            directory.path(),
            &[("circus.ini", "[circus]\ninclude=a.ini\n"), ("a.ini", "[x]\njunk\n")],
        );
        assert_eq!(
            junk.read().unwrap_err(),
            [format!("{shown}/a.ini:2: not a `key = value` line: \"junk\"")]
        );
    }

    #[test]
    fn a_virtual_environment_is_looked_for() {
        let directory = tempfile::tempdir().unwrap();
        let venv = directory.path().to_string_lossy().into_owned();
        let packages = directory.path().join("lib/python3.9/site-packages");
        fs::create_dir_all(packages.join("more")).unwrap();
        fs::write(packages.join("a.pth"), "# no\nimport no\nmore\ngone\n").unwrap();
        let found = VirtualEnvs.site_packages(&venv, None).unwrap();
        assert_eq!(found.directory, packages.to_string_lossy());
        assert_eq!(found.named, [packages.join("more").to_string_lossy()]);
        assert!(!found.has_bin);
        assert_eq!(VirtualEnvs.site_packages(&venv, Some("3.8")), None);
    }
}
