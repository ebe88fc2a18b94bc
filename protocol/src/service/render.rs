//! The plan of a `configure`: membership and template texts in, files out. All or nothing.

use std::path::{Component, Path, PathBuf};

use super::template::TemplateProblemKind;
use super::{
    ConfigFile, Membership, MembershipError, Owner, PathText, Service, Services, Variables, shipped,
};
use crate::ini::{self, Place};

/// The largest text of a rendered file, in bytes; configuration files have some ten thousand.
pub const MAX_RENDERED: usize = 16 * 1024 * 1024;

/// The longest path that Linux takes, without its final NUL.
const MAX_PATH: usize = 4095;

/// A template's text, read by whoever may read files, or sent by the controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateText {
    /// The service.
    pub service: String,
    /// The label of its `[config:SERVICE:LABEL]`.
    pub label: String,
    /// Where the text is from, for messages: a path, or what the controller calls it.
    pub origin: String,
    /// The text.
    pub text: String,
}

/// A file as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedFile {
    /// The service.
    pub service: String,
    /// The label of its section.
    pub label: String,
    /// Where it goes; absolute.
    pub path: PathBuf,
    /// What is in it.
    pub content: String,
    /// Permission bits, if it is new.
    pub mode: u32,
    /// Owner, if it is new.
    pub owner: Option<Owner>,
}

/// Why nothing was rendered, or which path has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The membership itself is wrong.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// A service that is not in the ini.
    #[error("there is no service {name:?}; known: {known}")]
    UnknownService {
        /// As asked for.
        name: String,
        /// The services there are.
        known: String,
    },
    /// A template text for a file that is not in the ini.
    #[error("there is no [config:{service}:{label}] for the template text that was sent")]
    UnknownTemplate {
        /// As sent.
        service: String,
        /// As sent.
        label: String,
    },
    /// A template's text is not there.
    #[error("{place}: the template of {service}:{label} was not read")]
    NoText {
        /// Where the key stands.
        place: Place,
        /// The service.
        service: String,
        /// The label.
        label: String,
    },
    /// A template cannot be rendered. Shown as `file:line:column: reason`.
    #[error("{origin}:{line}:{column}: {kind}{}", known_names(.kind, .known))]
    Template {
        /// The template's file.
        origin: String,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What is wrong.
        kind: TemplateProblemKind,
        /// The names there are.
        known: String,
    },
    /// The rendered text is too large.
    #[error("{origin}: rendered, it has {bytes} bytes, more than {MAX_RENDERED}")]
    TooLarge {
        /// The template's file.
        origin: String,
        /// The size.
        bytes: usize,
    },
    /// A path of the ini cannot be used on this node.
    #[error("{place}: {text:?}: {reason}")]
    Path {
        /// Where it stands.
        place: Place,
        /// As written.
        text: String,
        /// What is wrong.
        reason: String,
    },
    /// Two sections write the same file.
    #[error("{place}: {path:?} is the target of {first} and of {second}")]
    SameTarget {
        /// Where the second target stands.
        place: Place,
        /// The file.
        path: PathBuf,
        /// `service:label`
        first: String,
        /// `service:label`
        second: String,
    },
}

fn known_names(kind: &TemplateProblemKind, known: &str) -> String {
    match kind {
        TemplateProblemKind::Invalid => String::new(),
        TemplateProblemKind::Unknown(_) => format!("; known: {known}"),
    }
}

/// The template files that have to be read for `wanted` services (all when absent), leaving out those
/// whose text the controller sent.
///
/// # Errors
/// Everything that is wrong before any template is read.
pub fn template_paths(
    services: &Services,
    membership: &Membership,
    wanted: Option<&[String]>,
    sent: &[(String, String)],
) -> Result<Vec<(String, String, PathBuf)>, Vec<RenderError>> {
    let mut errors = check(services, membership, sent);
    let chosen = choose(services, wanted, &mut errors);
    let mut paths = Vec::new();
    for service in chosen {
        let variables = path_variables(services, membership, service, &mut errors);
        for config in &service.configs {
            let is_sent = sent.iter().any(|(name, _)| names_file(name, service, config));
            if !is_sent && shipped::of_path(&config.template).is_none() {
                match path(&variables, &config.template) {
                    Ok(path) => paths.push((service.name.clone(), config.label.clone(), path)),
                    Err(error) => errors.push(error),
                }
            }
        }
    }
    if errors.is_empty() { Ok(paths) } else { Err(errors) }
}

/// Renders every file of the `wanted` services (all when absent).
///
/// # Errors
/// Everything that is wrong with any of them; then nothing is to be written at all.
pub fn plan_configure(
    services: &Services,
    membership: &Membership,
    wanted: Option<&[String]>,
    texts: &[TemplateText],
) -> Result<Vec<RenderedFile>, Vec<RenderError>> {
    let mut errors = check(services, membership, &[]);
    let chosen = choose(services, wanted, &mut errors);
    let mut files: Vec<RenderedFile> = Vec::new();
    for service in chosen {
        let paths = path_variables(services, membership, service, &mut errors);
        let mut values = paths.clone().overlaid(membership);
        if let Some(home) = paths.get("home").filter(|_| service.home.is_some()) {
            values = values.with("home", home);
        }
        for config in &service.configs {
            match render(service, config, &paths, &values, texts) {
                Ok(file) => {
                    errors.extend(clash(&files, &file, config));
                    files.push(file);
                }
                Err(problems) => errors.extend(problems),
            }
        }
    }
    if errors.is_empty() { Ok(files) } else { Err(errors) }
}

/// What is wrong with the request as such.
fn check(services: &Services, membership: &Membership, sent: &[(String, String)]) -> Vec<RenderError> {
    let mut errors: Vec<RenderError> = match membership.check() {
        Ok(()) => Vec::new(),
        Err(faults) => faults.into_iter().map(RenderError::Membership).collect(),
    };
    for (name, _) in sent {
        let known =
            |service: &Service| service.configs.iter().any(|config| names_file(name, service, config));
        if !services.services.iter().any(known) {
            let (service, label) = name.split_once(':').unwrap_or((name, ""));
            errors
                .push(RenderError::UnknownTemplate { service: service.to_owned(), label: label.to_owned() });
        }
    }
    errors
}

/// Whether `service:label` means this file.
pub(super) fn names_file(name: &str, service: &Service, config: &ConfigFile) -> bool {
    name.rsplit_once(':').is_some_and(|(left, right)| {
        left.to_lowercase() == service.name.to_lowercase() && right == config.label
    })
}

/// The services that are meant, each once, in the ini's order.
pub(super) fn choose<'s>(
    services: &'s Services,
    wanted: Option<&[String]>,
    errors: &mut Vec<RenderError>,
) -> Vec<&'s Service> {
    let Some(wanted) = wanted else { return services.services.iter().collect() };
    for name in wanted {
        if services.get(name).is_none() {
            let known: Vec<&str> = services.services.iter().map(|service| service.name.as_str()).collect();
            errors.push(RenderError::UnknownService { name: name.clone(), known: known.join(" ") });
        }
    }
    let is_wanted =
        |service: &&Service| wanted.iter().any(|name| name.to_lowercase() == service.name.to_lowercase());
    services.services.iter().filter(is_wanted).collect()
}

/// The values a service's paths may use: the node's own, and `home`.
pub(super) fn path_variables(
    services: &Services,
    membership: &Membership,
    service: &Service,
    errors: &mut Vec<RenderError>,
) -> Variables {
    let variables = services.variables_of(service, Some(membership));
    let Some(home) = &service.home else { return variables };
    match path(&variables, home) {
        Ok(path) => {
            let shown = path.display().to_string();
            variables.with("home", &shown)
        }
        Err(error) => {
            errors.push(error);
            variables.with("home", "/")
        }
    }
}

/// A path with its variables filled in: absolute, not climbing, something the kernel takes.
pub(super) fn path(variables: &Variables, text: &PathText) -> Result<PathBuf, RenderError> {
    let refuse =
        |reason: String| RenderError::Path { place: text.place.clone(), text: text.text.clone(), reason };
    let filled = variables.substitute(&text.text).map_err(|problems| {
        let reason = super::template::describe(&problems);
        let known: Vec<&str> = variables.names().collect();
        refuse(format!("{reason}; known: {}", known.join(" ")))
    })?;
    let path = Path::new(&filled);
    let climbs = path.components().any(|part| part == Component::ParentDir);
    let reason = if !path.is_absolute() {
        "is not absolute"
    } else if climbs {
        "has `..` in it"
    } else if filled.contains('\0') {
        "holds a NUL"
    } else if filled.len() > MAX_PATH {
        "is too long"
    } else {
        return Ok(path.components().collect());
    };
    Err(refuse(format!("{filled:?} {reason}")))
}

fn render(
    service: &Service,
    config: &ConfigFile,
    paths: &Variables,
    values: &Variables,
    texts: &[TemplateText],
) -> Result<RenderedFile, Vec<RenderError>> {
    let (name, label) = (service.name.clone(), config.label.clone());
    let target = path(paths, &config.target);
    let is_ours =
        |text: &&TemplateText| text.label == label && text.service.to_lowercase() == name.to_lowercase();
    let shipped = shipped::of_path(&config.template).map(|template| TemplateText {
        service: name.clone(),
        label: label.clone(),
        origin: config.template.text.clone(),
        text: template.text.to_owned(),
    });
    let Some(template) = texts.iter().find(is_ours).or(shipped.as_ref()) else {
        let missing = RenderError::NoText { place: config.template.place.clone(), service: name, label };
        return Err(target.err().into_iter().chain([missing]).collect());
    };
    let content = content(template, config.strip, values);
    match (target, content) {
        (Ok(path), Ok(content)) => {
            let (mode, owner) = (config.mode, config.owner.clone());
            Ok(RenderedFile { service: name, label, path, content, mode, owner })
        }
        (target, content) => Err(target.err().into_iter().chain(content.err().unwrap_or_default()).collect()),
    }
}

fn content(template: &TemplateText, strip: bool, values: &Variables) -> Result<String, Vec<RenderError>> {
    let origin = &template.origin;
    let rendered = values.substitute(&template.text).map_err(|problems| {
        let known: Vec<&str> = values.names().collect();
        let known = known.join(" ");
        let error = |problem: super::template::TemplateProblem| RenderError::Template {
            origin: origin.clone(),
            line: problem.line,
            column: problem.column,
            kind: problem.kind,
            known: known.clone(),
        };
        problems.into_iter().map(error).collect::<Vec<_>>()
    })?;
    if rendered.len() > MAX_RENDERED {
        return Err(vec![RenderError::TooLarge { origin: origin.clone(), bytes: rendered.len() }]);
    }
    Ok(if strip { ini::strip(&rendered).to_owned() } else { rendered })
}

fn clash(files: &[RenderedFile], file: &RenderedFile, config: &ConfigFile) -> Option<RenderError> {
    let other = files.iter().find(|other| other.path == file.path)?;
    Some(RenderError::SameTarget {
        place: config.target.place.clone(),
        path: file.path.clone(),
        first: format!("{}:{}", other.service, other.label),
        second: format!("{}:{}", file.service, file.label),
    })
}
