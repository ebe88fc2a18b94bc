//! Sections that give names their values: lists of members, and derived values.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::super::derived::{Content, DerivedValue};
use super::super::expression::Expression;
use super::super::value::{self, Read};
use super::super::variables::{self, ListVariable};
use super::super::{membership, template};
use super::ServiceError;
use super::build::{entry, fault, read};
use super::sort::Part;

type Errors = RefCell<Vec<ServiceError>>;

/// A list; `name` is the title's, or the dotted key's.
pub(super) fn list(part: &Part<'_>, name: &str, errors: &Errors) -> Option<ListVariable> {
    check_name(part, name, "list", errors)?;
    let item = |text: &str| variables::check_item(text).map(|()| text.to_owned());
    Some(ListVariable {
        name: name.to_owned(),
        item: read(part, "item", errors, item).unwrap_or_else(|| "{address}".into()),
        separator: read(part, "separator", errors, value::separator).unwrap_or_else(|| ",".into()),
        select: read(part, "select", errors, value::select).unwrap_or_default(),
        exclude_self_when_joining: read(part, "exclude_self_when", errors, value::exclude_self)
            .unwrap_or(false),
        place: part.place.clone(),
    })
}

/// A value; `known` are the names that its text may use.
pub(super) fn value(
    part: &Part<'_>,
    name: &str,
    known: &BTreeSet<String>,
    errors: &Errors,
) -> Option<DerivedValue> {
    check_name(part, name, "value", errors)?;
    let text = |key: &str| {
        read(part, key, errors, |text| {
            check_placeholders(text, known)?;
            Ok(text.to_owned())
        })
    };
    let number = read(part, "number", errors, Expression::parse);
    let content = match (text("text"), number, entry(part, "text"), entry(part, "number")) {
        (Some(_), _, _, Some(number)) => {
            fault(part, number, "number", "beside `text`; a value is one or the other".into(), errors);
            return None;
        }
        (Some(text), _, _, None) => Content::Text(text),
        (None, Some(number), None, _) => Content::Number(number),
        (None, _, None, None) => {
            let (place, section) = (part.place.clone(), part.title.clone());
            errors.borrow_mut().push(ServiceError::Missing { place, section, key: "text" });
            return None;
        }
        // Said above.
        (None, _, _, _) => return None,
    };
    if let Some(found) = entry(part, "otherwise")
        && entry(part, "when").is_none()
    {
        fault(part, found, "otherwise", "means something only beside `when`".into(), errors);
    }
    Some(DerivedValue {
        name: name.to_owned(),
        content,
        when: read(part, "when", errors, Expression::parse),
        otherwise: text("otherwise").unwrap_or_default(),
        place: part.place.clone(),
    })
}

/// Checks placeholders and their names; the values come later.
pub(super) fn check_placeholders(text: &str, known: &BTreeSet<String>) -> Read<()> {
    match template::substitute(text, |name| known.contains(name).then_some("")) {
        Ok(_) => Ok(()),
        Err(problems) => {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            Err(format!("{:?}: {}; known: {}", text, template::describe(&problems), known.join(" ")))
        }
    }
}

fn check_name(part: &Part<'_>, name: &str, what: &str, errors: &Errors) -> Option<()> {
    if membership::is_name(name) && !variables::is_identity(name) && name != "home" {
        return Some(());
    }
    errors.borrow_mut().push(ServiceError::Title {
        place: part.place.clone(),
        section: part.title.clone(),
        reason: format!("{name:?} cannot be the name of a {what}"),
    });
    None
}
