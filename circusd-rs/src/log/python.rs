//! A Python logging configuration, as far as a daemon that is not Python can follow it.
//!
//! `--logger-config` and `loggerconfig` name an `.ini` or `.json` file for Python's `logging.config`.
//! What most of them say is where the lines go, from which level on, and how they look; that is
//! understood. Whatever else one asks for (own classes, filters, several handlers) is refused with its
//! place and the remedy, because a log that silently goes elsewhere is worse than none.
//!
//! Knows the files' text only; opening the target is the log's business.

use std::path::{Path, PathBuf};

use circus_protocol::ini::{Ini, Section};
use serde_json::Value;

use crate::cli::Level;

/// The logger that is circus' own; without it the root logger's settings count.
const LOGGER: &str = "circus";

/// What such a file says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Settings {
    /// From which level on.
    pub(crate) level: Option<Level>,
    /// A path; `None` for stderr.
    pub(crate) file: Option<PathBuf>,
    /// Python's `%`-format.
    pub(crate) format: Option<String>,
    /// `strftime` of `%(asctime)s`.
    pub(crate) dates: Option<String>,
}

/// Why a file cannot be followed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoggerError {
    #[error("logger configuration {path:?} cannot be read: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error(
        "logger configuration {0:?}: the file name should end in .ini or .json (YAML is not read: convert it to JSON)"
    )]
    Kind(PathBuf),
    #[error("{}", .0.join("\n"))]
    Syntax(Vec<String>),
    #[error(
        "logger configuration {path:?}: {place}: {reason}; leave the file out and use --log-output and --log-level"
    )]
    Beyond { path: PathBuf, place: String, reason: String },
}

/// What stands where, and why it is not followed.
type Beyond = (String, String);

/// Reads a file by its ending.
pub(super) fn read(path: &Path) -> Result<Settings, LoggerError> {
    let kind = path.extension().map(|kind| kind.to_ascii_lowercase()).unwrap_or_default();
    if kind != "ini" && kind != "json" {
        return Err(LoggerError::Kind(path.to_owned()));
    }
    let text = std::fs::read_to_string(path)
        .map_err(|source| LoggerError::Read { path: path.to_owned(), source })?;
    let beyond = |(place, reason)| LoggerError::Beyond { path: path.to_owned(), place, reason };
    if kind == "ini" {
        let ini = Ini::parse(&text, &path.to_string_lossy())
            .map_err(|faults| LoggerError::Syntax(faults.iter().map(ToString::to_string).collect()))?;
        from_ini(&ini).map_err(beyond)
    } else {
        let json = serde_json::from_str(&text)
            .map_err(|error| LoggerError::Syntax(vec![format!("{}: {error}", path.display())]))?;
        from_json(&json).map_err(beyond)
    }
}

// ---- .ini: logging.config.fileConfig ----

fn from_ini(ini: &Ini) -> Result<Settings, Beyond> {
    let section =
        |name: String| ini.section(&name).ok_or_else(|| (format!("[{name}]"), "is missing".to_owned()));
    let keys = ini.section("loggers").and_then(|loggers| loggers.text("keys")).unwrap_or_default();
    let mut own = None;
    for key in words(keys) {
        let logger = section(format!("logger_{key}"))?;
        if logger.text("qualname") == Some(LOGGER) {
            own = Some(logger);
        }
    }
    let root = section("logger_root".to_owned())?;
    let logger = own.filter(|logger| logger.text("handlers").is_some_and(|names| !names.trim().is_empty()));
    let logger = logger.unwrap_or(root);
    let place = format!("[{}]", logger.name);
    let handler = only(&place, words(logger.text("handlers").unwrap_or_default()))?;
    let handler = section(format!("handler_{handler}"))?;
    let mut settings = Settings { file: ini_target(handler)?, ..Settings::default() };
    // The more specific level counts, and a handler's own on top of it.
    let stated = own.and_then(|own| own.text("level")).or(logger.text("level"));
    settings.level = strictest(&place, stated, handler.text("level"))?;
    if let Some(name) = handler.text("formatter").filter(|name| !name.is_empty()) {
        let formatter = section(format!("formatter_{name}"))?;
        settings.format = formatter.text("format").map(str::to_owned);
        settings.dates = formatter.text("datefmt").filter(|format| !format.is_empty()).map(str::to_owned);
    }
    checked(settings)
}

fn words(text: &str) -> Vec<&str> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty()).collect()
}

fn ini_target(handler: &Section) -> Result<Option<PathBuf>, Beyond> {
    let place = format!("[{}] class", handler.name);
    let first = handler.text("args").map(|args| args.trim().trim_start_matches('(').trim());
    let quoted = first.and_then(|args| {
        let quote = args.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        args.get(1..)?.split(quote).next()
    });
    target(&place, handler.text("class").unwrap_or_default(), quoted, first)
}

// ---- .json: logging.config.dictConfig ----

fn from_json(json: &Value) -> Result<Settings, Beyond> {
    let own = json.pointer(&format!("/loggers/{LOGGER}"));
    let has_handlers = |logger: &&Value| logger["handlers"].as_array().is_some_and(|names| !names.is_empty());
    let (place, logger) = match own.filter(has_handlers) {
        Some(own) => (format!("loggers.{LOGGER}"), own),
        None => ("root".to_owned(), &json["root"]),
    };
    let names = logger["handlers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let name = only(&place, names)?;
    let handler = member(json, "handlers", name);
    let class_place = format!("handlers.{name}.class");
    let class = handler["class"].as_str().unwrap_or_default();
    let file = target(&class_place, class, handler["filename"].as_str(), handler["stream"].as_str())?;
    let stated = own.and_then(|own| own["level"].as_str()).or(logger["level"].as_str());
    let level = strictest(&place, stated, handler["level"].as_str())?;
    let formatter = handler["formatter"].as_str().map(|name| member(json, "formatters", name));
    let text = |key: &str| formatter.and_then(|formatter| formatter[key].as_str()).map(str::to_owned);
    checked(Settings { level, file, format: text("format"), dates: text("datefmt") })
}

/// What is not there is null, as in the rest of the file.
fn member<'a>(json: &'a Value, of: &str, name: &str) -> &'a Value {
    json.get(of).and_then(|all| all.get(name)).unwrap_or(&Value::Null)
}

// ---- both ----

/// One stream of lines has one place.
fn only<'a>(place: &str, names: Vec<&'a str>) -> Result<&'a str, Beyond> {
    match names.as_slice() {
        [name] => Ok(name),
        _ => Err((
            format!("{place} handlers"),
            format!("has {} handlers, exactly one is followed", names.len()),
        )),
    }
}

fn target(
    place: &str,
    class: &str,
    file: Option<&str>,
    stream: Option<&str>,
) -> Result<Option<PathBuf>, Beyond> {
    let refused = |reason: String| Err((place.to_owned(), reason));
    match class.rsplit('.').next().unwrap_or_default() {
        "StreamHandler" if stream.is_some_and(|stream| stream.contains("stdout")) => {
            refused("a stream other than stderr is not followed".to_owned())
        }
        "StreamHandler" => Ok(None),
        "FileHandler" | "WatchedFileHandler" => match file {
            Some(file) => Ok(Some(PathBuf::from(file))),
            None => refused("has no file name".to_owned()),
        },
        _ => refused(format!(
            "{class:?} is not followed, only StreamHandler, FileHandler and WatchedFileHandler are"
        )),
    }
}

fn strictest(place: &str, logger: Option<&str>, handler: Option<&str>) -> Result<Option<Level>, Beyond> {
    let level = |word: Option<&str>| match word.map(str::to_ascii_uppercase).as_deref() {
        None | Some("NOTSET" | "") => Ok(None),
        Some("WARN") => Ok(Some(Level::Warning)),
        Some("FATAL") => Ok(Some(Level::Critical)),
        Some(word) => Level::from_word(word)
            .map(Some)
            .ok_or_else(|| (format!("{place} level"), format!("{word:?} is no level"))),
    };
    // Levels are ordered from the quietest.
    let (logger, handler) = (level(logger)?, level(handler)?);
    Ok(match (logger, handler) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    })
}

/// Whether every field of a format is one that we have.
fn checked(settings: Settings) -> Result<Settings, Beyond> {
    let format = settings.format.as_deref().unwrap_or_default();
    match line(format, &|name| known(name).then(String::new)) {
        Ok(_) => Ok(settings),
        Err(field) => Err(("format".to_owned(), format!("{field:?} is not followed"))),
    }
}

fn known(name: &str) -> bool {
    matches!(name, "asctime" | "name" | "process" | "levelname" | "message" | "processName")
}

/// A line by Python's `%`-format: `%(name)s` or `%(name)d`, with a width as in `%(levelname)-8s`.
pub(super) fn line(format: &str, value: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = format;
    while let Some((before, field)) = rest.split_once('%') {
        out.push_str(before);
        if let Some(after) = field.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let bad = || format!("%{}", field.chars().take(20).collect::<String>());
        let (name, after) =
            field.strip_prefix('(').and_then(|field| field.split_once(')')).ok_or_else(bad)?;
        let end = after.find(['s', 'd']).ok_or_else(bad)?;
        let (width, tail) = after.split_at(end);
        let text = value(name).ok_or_else(bad)?;
        let columns: usize = match width.trim_start_matches(['-', '0']) {
            "" => 0,
            digits => digits.parse().ok().filter(|columns| *columns <= 100).ok_or_else(bad)?,
        };
        if width.starts_with('-') {
            out.push_str(&format!("{text:<columns$}"));
        } else {
            out.push_str(&format!("{text:>columns$}"));
        }
        rest = tail.get(1..).unwrap_or_default();
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INI: &str = "[loggers]\nkeys = root, circus\n[handlers]\nkeys = f\n[formatters]\nkeys = x\n\
        [logger_root]\nlevel = WARNING\nhandlers = f\n[logger_circus]\nqualname = circus\nlevel = DEBUG\nhandlers =\n\
        [handler_f]\nclass = handlers.WatchedFileHandler\nformatter = x\nargs = ('/tmp/x.log', 'a')\n\
        [formatter_x]\nformat = %(asctime)s %(levelname)-8s|%(message)s\ndatefmt = %Y\n";

    fn ini(text: &str) -> Result<Settings, Beyond> {
        from_ini(&Ini::parse(text, "log.ini").unwrap())
    }

    #[test]
    fn both_formats_say_level_place_and_look() {
        let expected = Settings {
            level: Some(Level::Debug),
            file: Some(PathBuf::from("/tmp/x.log")),
            format: Some("%(asctime)s %(levelname)-8s|%(message)s".to_owned()),
            dates: Some("%Y".to_owned()),
        };
        assert_eq!(ini(INI), Ok(expected.clone()));
        let json = serde_json::json!({
            "version": 1,
            "formatters": {"x": {"format": "%(asctime)s %(levelname)-8s|%(message)s", "datefmt": "%Y"}},
            "handlers": {"f": {"class": "logging.FileHandler", "filename": "/tmp/x.log", "formatter": "x"}},
            "loggers": {"circus": {"level": "DEBUG", "handlers": ["f"]}},
            "root": {"level": "WARN"},
        });
        assert_eq!(from_json(&json), Ok(expected));
        let to_stderr = INI.replace("handlers.WatchedFileHandler", "StreamHandler");
        assert_eq!(
            ini(&to_stderr.replace("args = ('/tmp/x.log', 'a')", "args = (sys.stderr,)")).unwrap().file,
            None
        );
    }

    #[test]
    fn what_is_beyond_us_is_refused_with_its_place() {
        for (from, to, place) in [
            ("handlers.WatchedFileHandler", "handlers.SMTPHandler", "[handler_f] class"),
            ("handlers = f\n[logger_c", "handlers = f, g\n[logger_c", "[logger_root] handlers"),
            ("%(message)s", "%(thread)s", "format"),
            ("level = DEBUG", "level = LOUD", "[logger_root] level"),
            ("[handler_f]", "[handler_g]", "[handler_f]"),
        ] {
            let (found, reason) = ini(&INI.replace(from, to)).unwrap_err();
            assert_eq!(found, place, "{reason}");
        }
        assert!(matches!(read(Path::new("/x.yaml")), Err(LoggerError::Kind(_))));
        assert!(matches!(read(Path::new("/nonexistent/x.ini")), Err(LoggerError::Read { .. })));
    }

    #[test]
    fn lines_follow_the_format() {
        let value = |name: &str| (name == "levelname").then(|| "INFO".to_owned());
        assert_eq!(line("[%(levelname)6s|%(levelname)-6s] 5%%", &value), Ok("[  INFO|INFO  ] 5%".to_owned()));
        assert_eq!(line("%(zorg)s", &value), Err("%(zorg)s".to_owned()));
        assert_eq!(line("%s", &value), Err("%s".to_owned()));
    }
}
