//! Performs a [`ConfigureJob`]: reads templates, lets the planner render everything, and only then
//! replaces files, each in one step. It refuses to decide what goes where.
//!
//! ```text
//! templates read ─► rendered ─► targets looked at ─► copies written beside them ─► renamed over them
//!        any fault up to here: nothing is changed, and no copy is left              a fault here: put back
//! ```
//!
//! Nobody ever sees half a file: a rename replaces a name in one instant, and the copy is on disk
//! before. A crash leaves at most copies behind, which the next run removes.

mod replace;
mod target;

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use circus_protocol::service::{
    ConfigureJob, ConfigureOutcome, FileOutcome, MAX_RENDERED, RenderError, TemplateText, WhileRunning,
    plan_configure, template_paths,
};

use target::Target;

/// Everything that is wrong; nothing was changed then, unless a problem says so.
#[derive(Debug, thiserror::Error)]
#[error("{}", lines(.0))]
pub struct ConfigureError(pub Vec<Problem>);

/// One thing that is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The planner refused.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// A template cannot be read.
    #[error("{path:?}: the template of {service}:{label} cannot be read: {reason}")]
    Template {
        /// The service.
        service: String,
        /// The label.
        label: String,
        /// The template's file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A target cannot be replaced.
    #[error("{path:?}: the target of {service}:{label} cannot be written: {reason}")]
    Target {
        /// The service.
        service: String,
        /// The label.
        label: String,
        /// The target as declared.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A service runs whose files would change.
    #[error(
        "{service} is running and {path:?} would change; stop it first, or set configure_while_running in [service:{service}]"
    )]
    Running {
        /// The service.
        service: String,
        /// One of its files.
        path: PathBuf,
    },
    /// A replaced file could not be put back after another one failed.
    #[error("{path:?}: was replaced and could not be put back: {reason}")]
    NotPutBack {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl ConfigureError {
    /// The problems as text, for a reply.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }
}

fn lines(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// Writes the services' files, or says what would change. Blocks; not for a task of the loop.
///
/// # Errors
/// Every problem there is.
pub fn configure(job: &ConfigureJob) -> Result<ConfigureOutcome, ConfigureError> {
    let mut targets = plan(job).map_err(ConfigureError)?;
    let refused: Vec<Problem> = targets.iter().filter_map(|target| refuse_running(job, target)).collect();
    // A dry run says what would change and who would have to be stopped for it.
    if !refused.is_empty() && !job.dry_run {
        return Err(ConfigureError(refused));
    }
    let outcome = outcome(job, &targets);
    if job.dry_run {
        let problems: Vec<Problem> = targets.iter().filter_map(Target::check_writable).collect();
        return if problems.is_empty() { Ok(outcome) } else { Err(ConfigureError(problems)) };
    }
    targets.retain(Target::changed);
    replace::replace(&targets).map_err(ConfigureError)?;
    Ok(outcome)
}

/// Everything up to and including a look at the targets.
fn plan(job: &ConfigureJob) -> Result<Vec<Target>, Vec<Problem>> {
    let (texts, mut problems) = read_templates(job)?;
    let wanted = job.wanted.as_deref();
    let files = match plan_configure(&job.services, &job.membership, wanted, &texts) {
        Ok(files) => files,
        Err(errors) => {
            // A template that could not be read is said once.
            let unread = !problems.is_empty();
            let said = |error: &RenderError| unread && matches!(error, RenderError::NoText { .. });
            problems.extend(errors.into_iter().filter(|error| !said(error)).map(Problem::Render));
            return Err(problems);
        }
    };
    let mut targets: Vec<Target> = Vec::new();
    for file in files {
        match Target::look(file, &targets) {
            Ok(target) => targets.push(target),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(targets) } else { Err(problems) }
}

/// The texts that were sent, and those of the templates' files.
fn read_templates(job: &ConfigureJob) -> Result<(Vec<TemplateText>, Vec<Problem>), Vec<Problem>> {
    let wanted = job.wanted.as_deref();
    let paths = template_paths(&job.services, &job.membership, wanted, &job.templates)
        .map_err(|errors| errors.into_iter().map(Problem::Render).collect::<Vec<_>>())?;
    let mut problems = Vec::new();
    let mut texts: Vec<TemplateText> = Vec::new();
    for (name, text) in &job.templates {
        let (service, label) = name.rsplit_once(':').unwrap_or((name, ""));
        let (service, label) = (service.to_owned(), label.to_owned());
        texts.push(TemplateText { origin: format!("{name} (as sent)"), service, label, text: text.clone() });
    }
    for (service, label, path) in paths {
        match read_text(&path) {
            Ok(text) => texts.push(TemplateText { service, label, origin: path.display().to_string(), text }),
            Err(error) => problems.push(Problem::Template { service, label, path, reason: reason(&error) }),
        }
    }
    Ok((texts, problems))
}

/// Reads a file that must be text of a bearable size. Does not wait for the other end of a pipe.
fn read_text(path: &Path) -> io::Result<String> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let bytes = read_regular(file)?;
    String::from_utf8(bytes).map_err(|error| {
        let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        io::Error::new(io::ErrorKind::InvalidData, format!("line {line} is not UTF-8"))
    })
}

fn read_regular(file: File) -> io::Result<Vec<u8>> {
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_RENDERED).unwrap_or(u64::MAX);
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_RENDERED {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {MAX_RENDERED} bytes")));
    }
    Ok(bytes)
}

/// The system's words without its number.
fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => nix::errno::Errno::from_raw(code).desc().to_lowercase(),
        None => error.to_string(),
    }
}

fn is_running(job: &ConfigureJob, service: &str) -> bool {
    job.running.iter().any(|name| name.to_lowercase() == service.to_lowercase())
}

fn policy(job: &ConfigureJob, service: &str) -> WhileRunning {
    job.services.get(service).map(|service| service.configure_while_running).unwrap_or_default()
}

/// The first changed file of a service that may not change while it runs.
fn refuse_running(job: &ConfigureJob, target: &Target) -> Option<Problem> {
    let service = &target.file.service;
    let refused =
        target.changed() && is_running(job, service) && policy(job, service) == WhileRunning::Refuse;
    refused.then(|| Problem::Running { service: service.clone(), path: target.file.path.clone() })
}

fn outcome(job: &ConfigureJob, targets: &[Target]) -> ConfigureOutcome {
    let mut outcome = ConfigureOutcome::default();
    for target in targets {
        let file = &target.file;
        let changed = target.changed();
        let restarts = policy(job, &file.service) == WhileRunning::Restart && is_running(job, &file.service);
        if changed && restarts && !outcome.restart.contains(&file.service) {
            outcome.restart.push(file.service.clone());
        }
        let stale = changed && !restarts || started(job, &file.service).is_some_and(|at| target.is_newer(at));
        let needed = stale && is_running(job, &file.service);
        if needed && !outcome.restart_needed.contains(&file.service) {
            outcome.restart_needed.push(file.service.clone());
        }
        outcome.files.push(FileOutcome {
            service: file.service.clone(),
            label: file.label.clone(),
            path: file.path.clone(),
            changed,
            diff: job.dry_run.then(|| target.diff()),
        });
    }
    outcome.restart_needed.retain(|service| !outcome.restart.contains(service));
    outcome
}

fn started(job: &ConfigureJob, service: &str) -> Option<f64> {
    let named = job.since.iter().find(|(name, _)| name.to_lowercase() == service.to_lowercase());
    named.map(|(_, at)| *at)
}

#[cfg(test)]
mod tests;
