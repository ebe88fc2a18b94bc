//! Values that a profile or an operator names once, and that may follow from the node's place in the
//! cluster: a directory, a heap size, how many members must be there before a cluster forms.
//!
//! ```ini
//! [value:data_dir]
//! text = ${home}/data
//! [value:primaries]
//! number = min(3, cluster_size)
//! [value:mode]
//! text = CORE
//! when = cluster_size >= 2
//! otherwise = SINGLE
//! ```
//!
//! A value may name built-in variables, lists and the home, never another value, so there is no order
//! to get wrong and no circle.

use super::expression::Expression;
use super::{Membership, Variables, template};
use crate::ini::Place;

/// A `[value:NAME]` section, or a profile's `value.NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DerivedValue {
    /// Its name in templates and paths.
    pub name: String,
    pub(super) content: Content,
    /// Under which condition; always when absent.
    pub(super) when: Option<Expression>,
    /// What it is when the condition does not hold.
    pub(super) otherwise: String,
    /// Where its section stands.
    pub place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    Text(String),
    Number(Expression),
}

impl DerivedValue {
    /// The value on one node; `variables` are what its text may name.
    pub(super) fn value(&self, membership: &Membership, variables: &Variables) -> String {
        let holds = self.when.as_ref().is_none_or(|when| when.holds(membership));
        match (&self.content, holds) {
            (Content::Number(number), true) => number.value(membership).to_string(),
            (Content::Text(text), true) => filled(text, variables),
            (Content::Number(_) | Content::Text(_), false) => filled(&self.otherwise, variables),
        }
    }

    /// The value where no membership is known yet, if it needs none.
    pub(super) fn settled(&self, variables: &Variables) -> Option<String> {
        match (&self.content, &self.when) {
            (Content::Text(text), None) => variables.substitute(text).ok(),
            (Content::Text(_) | Content::Number(_), _) => None,
        }
    }
}

/// Names were checked when the value was read; on a node without that name it stays as written.
fn filled(text: &str, variables: &Variables) -> String {
    template::substitute(text, |name| variables.get(name)).unwrap_or_else(|_| text.to_owned())
}
