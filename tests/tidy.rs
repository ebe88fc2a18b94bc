//! The rules of the architecture, read from the source: who may import whom, what the pure parts may
//! not touch, how long a function and a file may be, and that every file says what it is.
#![expect(clippy::expect_used, reason = "tests")]

use std::path::{Path, PathBuf};

use circus_tests::daemon::workspace;

/// Lines of a function, signature and braces included.
const FUNCTION: usize = 60;
/// Lines of a file, without its tests.
const FILE: usize = 500;

/// A place and the words that must not stand in it, with the reason.
struct Rule {
    place: &'static str,
    except: &'static [&'static str],
    forbidden: &'static [&'static str],
    reason: &'static str,
}

/// What no pure part may touch.
const SYSTEM: &[&str] = &[
    "tokio",
    "libc::",
    "nix::",
    "std::fs",
    "std::net",
    "std::env",
    "std::thread",
    "std::process",
    "std::io",
    "Instant",
    "SystemTime",
    "sysinfo",
];

const RULES: &[Rule] = &[
    Rule {
        place: "protocol/src",
        except: &["protocol/src/transport", "protocol/src/transport.rs"],
        forbidden: SYSTEM,
        reason: "the wire is data; only `transport` does input and output",
    },
    Rule {
        place: "protocol/src",
        except: &[],
        forbidden: &["circusd_rs::", "controller::"],
        reason: "the protocol knows neither program",
    },
    Rule { place: "circusd-rs/src/arbiter", except: &[], forbidden: SYSTEM, reason: "rules are values" },
    Rule {
        place: "circusd-rs/src/arbiter",
        except: &[],
        forbidden: &["crate::host", "crate::endpoint", "crate::daemon", "crate::cli"],
        reason: "the arbiter imports config and protocol only",
    },
    Rule {
        place: "circusd-rs/src/config",
        except: &[],
        forbidden: SYSTEM,
        reason: "the configuration is resolved from text, not from the system",
    },
    Rule {
        place: "circusd-rs/src/config",
        except: &[],
        forbidden: &["crate::arbiter", "crate::host", "crate::endpoint", "crate::daemon", "crate::cli"],
        reason: "config imports protocol only",
    },
    Rule {
        place: "circusd-rs/src/host",
        except: &[],
        forbidden: &["crate::endpoint", "crate::daemon", "crate::cli"],
        reason: "the host and the endpoints never meet",
    },
    Rule {
        place: "circusd-rs/src/endpoint",
        except: &[],
        forbidden: &["crate::host", "crate::daemon", "crate::cli", "crate::config"],
        reason: "the endpoints know nothing of processes",
    },
    Rule {
        place: "circusd-rs/src",
        except: &[],
        forbidden: &["controller::"],
        reason: "the two programs never see each other",
    },
    Rule {
        place: "controller/src",
        except: &[],
        forbidden: &["circusd_rs::"],
        reason: "the two programs never see each other",
    },
    Rule {
        place: "controller/src/inventory",
        except: &[],
        forbidden: SYSTEM,
        reason: "which nodes a text names is a value; `sources` asks the world",
    },
    Rule {
        place: "controller/src/cluster",
        except: &[],
        forbidden: SYSTEM,
        reason: "the cluster's rules are values",
    },
    Rule {
        place: "controller/src/cluster",
        except: &[],
        forbidden: &["crate::link", "crate::cli", "crate::console", "crate::render", "crate::demo"],
        reason: "the rules know no face and no wire",
    },
    Rule {
        place: "examples",
        except: &[],
        forbidden: &["circusd_rs::", "controller::"],
        reason: "examples show the protocol library alone",
    },
];

/// The only visible entries of the top folder.
const TOP: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "README.md",
    "LICENSE",
    "protocol",
    "circusd-rs",
    "controller",
    "tests",
    "examples",
    "target",
];

fn rust_files(below: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![below.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).expect("a source folder").flatten() {
            let path = entry.path();
            if path.is_dir() && !path.ends_with("target") {
                open.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The program's own lines: from the top to the test module, comments blanked.
fn code(text: &str) -> Vec<&str> {
    text.lines()
        .take_while(|line| *line != "#[cfg(test)]")
        .map(|line| if line.trim_start().starts_with("//") { "" } else { line })
        .collect()
}

fn sources() -> Vec<(String, String)> {
    let top = workspace();
    ["protocol", "circusd-rs", "controller", "tests", "examples"]
        .iter()
        .flat_map(|folder| rust_files(&top.join(folder)))
        .map(|path| {
            let name = path.strip_prefix(&top).expect("below the top").display().to_string();
            let text = std::fs::read_to_string(&path).expect("a source file is readable");
            (name, text)
        })
        .collect()
}

/// A file that only holds tests, beside the file it tests.
fn is_test(name: &str) -> bool {
    name.ends_with("/tests.rs") || name.contains("/tests/") || name.starts_with("tests/")
}

/// `place` is a folder and the file of the same name beside it.
fn lies_in(name: &str, place: &str) -> bool {
    name == format!("{place}.rs")
        || name.strip_prefix(place).is_some_and(|rest| rest.starts_with('/') || rest.is_empty())
}

/// `word` stands in `line` and is not the end or the middle of a longer word.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let letter = |c: char| c.is_alphanumeric() || c == '_';
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + word.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(letter) && (word.ends_with(':') || !after.is_some_and(letter))
    })
}

#[test]
fn imports_follow_the_architecture() {
    let mut wrong = Vec::new();
    for (name, text) in sources() {
        for rule in RULES {
            let excepted = rule.except.iter().any(|place| name == *place || lies_in(&name, place));
            if !lies_in(&name, rule.place) || excepted || is_test(&name) {
                continue;
            }
            for (number, line) in code(&text).iter().enumerate() {
                for word in rule.forbidden.iter().filter(|word| names(line, word)) {
                    wrong.push(format!("{name}:{}: {word}: {}", number + 1, rule.reason));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_and_functions_keep_their_budget() {
    let mut wrong = Vec::new();
    for (name, text) in sources() {
        let lines = code(&text);
        if !is_test(&name) && lines.len() > FILE {
            wrong.push(format!("{name}: {} lines, the budget is {FILE}", lines.len()));
        }
        for (start, length, title) in functions(&lines) {
            if length > FUNCTION && !is_test(&name) {
                wrong.push(format!("{name}:{start}: {title}: {length} lines, the budget is {FUNCTION}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Start, length and name of each function; formatted code closes at the indentation it opened at.
fn functions(lines: &[&str]) -> Vec<(usize, usize, String)> {
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let body = line.trim_start();
        let indent = line.len() - body.len();
        let Some(rest) = body.split("fn ").nth(1).filter(|_| is_function(body)) else { continue };
        let title: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let close = format!("{}}}", " ".repeat(indent));
        let single = line.trim_end().ends_with(['}', ';']);
        let length = if single {
            1
        } else {
            lines.iter().skip(index).position(|line| *line == close).map_or(1, |offset| offset + 1)
        };
        found.push((index + 1, length, title));
    }
    found
}

fn is_function(line: &str) -> bool {
    let words = ["pub", "pub(crate)", "pub(super)", "const", "async", "unsafe", "extern", "\"C\""];
    line.split(' ').find(|word| !words.contains(word)) == Some("fn")
}

#[test]
fn every_file_says_what_it_is() {
    let wrong: Vec<_> = sources()
        .into_iter()
        .filter(|(name, text)| {
            !is_test(name) && (!text.starts_with("//! ") || text.starts_with("//! Placeholder"))
        })
        .map(|(name, _)| name)
        .collect();
    assert!(wrong.is_empty(), "no module text on line one: {wrong:?}");
}

#[test]
fn no_module_file_is_called_mod() {
    let wrong: Vec<_> = sources().into_iter().filter(|(name, _)| name.ends_with("/mod.rs")).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn the_top_folder_holds_what_it_should() {
    let wrong: Vec<_> = std::fs::read_dir(workspace())
        .expect("the workspace")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && !TOP.contains(&name.as_str()))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn tests_contact_loopback_only() {
    // The product's default range may be parsed and printed; a socket call with it would be a defect.
    let calls = ["connect(\"tcp://192", "connect(\"192", "bind(\"192", "send_to(b\"\", \"192"];
    let wrong: Vec<_> = sources()
        .into_iter()
        .filter(|(name, text)| {
            !name.ends_with("tests/tidy.rs") && calls.iter().any(|call| text.contains(call))
        })
        .map(|(name, _)| name)
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}
