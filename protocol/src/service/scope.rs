//! Which names one service's paths, probes and templates may use, and their values on one node: the
//! built-in ones, lists, its home, and values.

use super::{DerivedValue, ListVariable, Membership, Service, Services, Variables};

/// What the values of one service are made from.
pub(super) struct Scope<'a> {
    /// `[list:*]` sections.
    pub(super) lists: &'a [ListVariable],
    /// `[value:*]` sections.
    pub(super) values: &'a [DerivedValue],
    /// The service's own lists, which count before those.
    pub(super) own_lists: &'a [ListVariable],
    /// The service's own values, which count before those.
    pub(super) own_values: &'a [DerivedValue],
    /// Its home, as written.
    pub(super) home: Option<&'a str>,
}

impl Services {
    /// What the paths, commands and probes of a service may name. Without a membership, only what needs
    /// none. What a remote peer made up is not among them, so it cannot choose a path.
    #[must_use]
    pub fn variables_of(&self, service: &Service, membership: Option<&Membership>) -> Variables {
        let scope = Scope {
            lists: &self.lists,
            values: &self.values,
            own_lists: &service.lists,
            own_values: &service.values,
            home: service.home.as_ref().map(|home| home.text.as_str()),
        };
        scope.variables(membership)
    }
}

impl Scope<'_> {
    pub(super) fn variables(&self, membership: Option<&Membership>) -> Variables {
        let mut variables = match membership {
            Some(membership) => {
                self.own_lists.iter().fold(Variables::for_paths(membership, self.lists), |variables, list| {
                    variables.with(&list.name, &list.value(membership))
                })
            }
            None => Variables::default(),
        };
        if let Some(home) = self.home.and_then(|home| variables.substitute(home).ok()) {
            variables = variables.with("home", &home);
        }
        let known = variables.clone();
        for value in self.values.iter().chain(self.own_values) {
            let text = match membership {
                Some(membership) => Some(value.value(membership, &known)),
                None => value.settled(&known),
            };
            if let Some(text) = text {
                variables = variables.with(&value.name, &text);
            }
        }
        variables
    }
}
