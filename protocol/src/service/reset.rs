//! The plan of a `reset`: which rules apply, below which directories, and what each name there is in
//! for. Names only; what is really there, and where links lead, is for whoever looks.

use std::path::PathBuf;

use super::render::{RenderError, choose, path, path_variables};
use super::{Membership, ResetRule, Service, Services, Variables, check_root};
use crate::command::ResetKind;

/// The directory inside a root that holds what was moved aside; never data itself.
pub const PLACE_ASIDE: &str = ".circus-reset";

/// One rule with its directory on this node.
#[derive(Debug, Clone, PartialEq)]
pub struct ResetTask {
    /// The service.
    pub service: String,
    /// The rule.
    pub rule: ResetRule,
    /// The rule's root, variables filled in.
    pub root: PathBuf,
}

/// What a rule has in store for one path below its root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes, with everything below.
    Delete,
    /// It goes, except for what is kept below; if nothing is, it goes itself.
    DeleteAround,
    /// If it is a file, it is emptied.
    Truncate,
    /// It stays, because a `keep` pattern says so.
    Keep,
    /// It stays, but something below may not.
    Descend,
    /// Nothing is said about it or what is below.
    Leave,
}

impl ResetRule {
    /// The verdict for a path, given by its components below the root.
    #[must_use]
    pub fn verdict(&self, path: &[&[u8]]) -> Verdict {
        let first = path.first().copied().unwrap_or_default();
        if first == PLACE_ASIDE.as_bytes() {
            return Verdict::Leave;
        }
        // A pattern for a directory is also one for everything below it.
        let prefixes = || (1..=path.len()).filter_map(|length| path.get(..length));
        if prefixes().any(|prefix| self.keep.iter().any(|glob| glob.matches(prefix))) {
            return Verdict::Keep;
        }
        let keeps_below = self.keep.iter().any(|glob| glob.may_match_below(path));
        if prefixes().any(|prefix| self.delete.iter().any(|glob| glob.matches(prefix))) {
            return if keeps_below { Verdict::DeleteAround } else { Verdict::Delete };
        }
        if self.truncate.iter().any(|glob| glob.matches(path)) {
            return Verdict::Truncate;
        }
        let below = self.delete.iter().chain(&self.truncate).any(|glob| glob.may_match_below(path));
        if below { Verdict::Descend } else { Verdict::Leave }
    }
}

/// The rules for the `wanted` services (all when absent) and this kind, with their directories.
/// Without a membership, a root may name no variable that follows from it.
///
/// # Errors
/// Unknown services, and roots that cannot be used on this node.
pub fn plan_reset(
    services: &Services,
    membership: Option<&Membership>,
    wanted: Option<&[String]>,
    kind: ResetKind,
) -> Result<Vec<ResetTask>, Vec<RenderError>> {
    let mut errors = Vec::new();
    let mut tasks = Vec::new();
    for service in choose(services, wanted, &mut errors) {
        let rules: Vec<&ResetRule> =
            service.resets.iter().filter(|rule| rule.kind.is_part_of(kind)).collect();
        if rules.is_empty() {
            continue;
        }
        let variables = variables(services, membership, service, &mut errors);
        for rule in rules {
            match root(&variables, rule, membership) {
                Ok(root) => tasks.push(ResetTask { service: service.name.clone(), rule: rule.clone(), root }),
                Err(error) => errors.push(error),
            }
        }
    }
    if errors.is_empty() { Ok(tasks) } else { Err(errors) }
}

fn variables(
    services: &Services,
    membership: Option<&Membership>,
    service: &Service,
    errors: &mut Vec<RenderError>,
) -> Variables {
    match membership {
        Some(membership) => path_variables(services, membership, service, errors),
        // A root that needs more says so itself.
        None => services.variables_of(service, None),
    }
}

fn root(
    variables: &Variables,
    rule: &ResetRule,
    membership: Option<&Membership>,
) -> Result<PathBuf, RenderError> {
    let refuse = |reason: String| RenderError::Path {
        place: rule.root.place.clone(),
        text: rule.root.text.clone(),
        reason,
    };
    let root = path(variables, &rule.root).map_err(|error| match (error, membership) {
        (RenderError::Path { reason, .. }, None) => {
            refuse(format!("{reason}; this node has not been configured yet, so it does not know its place"))
        }
        (error, _) => error,
    })?;
    check_root(&root).map_err(|refusal| refuse(refusal.to_string()))?;
    Ok(root)
}
