//! What a controller must know of a service to start it on many nodes in the right order, and to reset
//! it only where that makes sense: the part of `hello` that tells it, spelled as in the ini.
//!
//! It refuses to know nodes: who is a seed is said as a rule, because only the controller knows all
//! members.

use std::fmt;

use serde_json::{Map, Value};

use super::value;
use super::variables::SEEDS_EVERY;
use super::{Dependency, First, Level, ListVariable, RuleKind, Select, Service, StartOrder};

/// One service's place among all.
#[derive(Debug, Clone, PartialEq)]
pub struct Sequence {
    /// Its name.
    pub service: String,
    /// Who goes first, and how the others follow.
    pub order: StartOrder,
    /// Who is a seed.
    pub seeds: Select,
    /// What must be ready on the same node first.
    pub after: Vec<Dependency>,
    /// What must be ready on all nodes first.
    pub cluster_after: Vec<Dependency>,
    /// What is reset only while it is stopped on all nodes.
    pub cluster_resets: Vec<RuleKind>,
}

impl Sequence {
    /// As the node's ini has it.
    #[must_use]
    pub fn of(service: &Service, lists: &[ListVariable]) -> Self {
        let seeds = lists.iter().find(|list| list.name == "seeds");
        Self {
            service: service.name.clone(),
            order: service.start_order,
            seeds: seeds.map_or(Select::Every(SEEDS_EVERY), |list| list.select),
            after: service.after.clone(),
            cluster_after: service.cluster_after.clone(),
            cluster_resets: service.cluster_resets(),
        }
    }

    /// As a member of `services` in the reply to `hello`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut map = Map::new();
        map.insert("start_order".into(), self.order.to_string().into());
        map.insert("seeds".into(), self.seeds.to_string().into());
        map.insert("after".into(), joined(&self.after).into());
        map.insert("cluster_after".into(), joined(&self.cluster_after).into());
        let kinds: Vec<&str> = self.cluster_resets.iter().map(|kind| kind.word()).collect();
        map.insert("cluster_resets".into(), kinds.join(", ").into());
        Value::Object(map)
    }

    /// From such a member; `None` when a later version says what this one cannot read.
    #[must_use]
    pub fn from_json(service: &str, said: &Value) -> Option<Self> {
        let text = |key: &str| said.get(key).map_or(Some(""), Value::as_str);
        let dependencies = |key: &str| value::dependencies(text(key)?).ok();
        let seeds = Some(text("seeds")?).filter(|seeds| !seeds.is_empty());
        Some(Self {
            service: service.to_owned(),
            order: value::start_order(text("start_order")?).ok()?,
            seeds: seeds.map_or(Some(Select::default()), |seeds| value::select(seeds).ok())?,
            after: dependencies("after")?,
            cluster_after: dependencies("cluster_after")?,
            cluster_resets: value::list(text("cluster_resets")?)
                .map(RuleKind::from_word)
                .collect::<Option<_>>()?,
        })
    }
}

fn joined(dependencies: &[Dependency]) -> String {
    dependencies.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Up => "up",
            Level::Joined => "joined",
        };
        write!(f, "{}:{level}", self.service)
    }
}

impl fmt::Display for StartOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first {
            First::Nobody => {}
            First::FirstMember => f.write_str("first, ")?,
            First::Seeds => f.write_str("seeds-first, ")?,
        }
        f.write_str(if self.sequential { "sequential" } else { "parallel" })?;
        if self.stagger > 0.0 {
            write!(f, ", stagger={}", self.stagger)?;
        }
        Ok(())
    }
}

impl fmt::Display for Select {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::First => f.write_str("first"),
            Self::Peers => f.write_str("peers"),
            Self::Every(step) => write!(f, "every {step}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_as_it_was_written() {
        let dependency = |service: &str, level| Dependency { service: service.into(), level };
        for first in [First::Nobody, First::FirstMember, First::Seeds] {
            for seeds in [Select::All, Select::First, Select::Peers, Select::Every(5)] {
                for (sequential, stagger) in [(true, 0.0), (false, 2.5)] {
                    let sequence = Sequence {
                        service: "titan".into(),
                        order: StartOrder { first, sequential, stagger },
                        seeds,
                        after: vec![dependency("es", Level::Up), dependency("cassandra", Level::Joined)],
                        cluster_after: Vec::new(),
                        cluster_resets: vec![RuleKind::Data],
                    };
                    assert_eq!(Sequence::from_json("titan", &sequence.to_json()), Some(sequence));
                }
            }
        }
    }

    #[test]
    fn what_a_later_version_says_is_no_guess() {
        let later = serde_json::json!({"start_order": "by-the-moon"});
        assert_eq!(Sequence::from_json("x", &later), None);
        let bare = Sequence::from_json("x", &serde_json::json!({})).expect("all has a default");
        assert_eq!(bare.order, StartOrder::default());
    }
}
