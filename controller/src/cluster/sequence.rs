//! In which order services are started and stopped over the cluster.
//!
//! ```text
//!  places (who has what) ─► waves (what depends on nothing that is missing) ─► steps
//!                           cassandra                │ first seed, wait, other seeds, wait, the rest …
//!                           titan                    │ all at once, wait
//! ```
//!
//! It plans; it neither sends anything nor knows whether a step succeeds: whoever carries the steps
//! out ends at the first that does not.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use circus_protocol::service::{First, Select, Sequence};

use crate::cluster::names::is_meant;

/// What a targeted node has.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// Its name.
    pub node: String,
    /// Its position in the inventory, from 0: the first member of the cluster is 0, targeted or not.
    pub index: usize,
    /// Its watchers, in its own order.
    pub watchers: Vec<String>,
    /// What it says of its services.
    pub services: Vec<Sequence>,
}

/// Watchers on nodes; every node has every one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The watchers.
    pub names: Vec<String>,
    /// The nodes.
    pub nodes: Vec<String>,
}

/// One after the other.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Start these.
    Start(Group),
    /// Stop these.
    Stop(Group),
    /// Go on when these are ready.
    Wait(Group),
    /// Nothing, for so long.
    Pause(Duration),
}

/// The plan that starts `wanted`, or everything when that is empty.
///
/// # Errors
/// Services that wait for each other.
pub fn start(places: &[Place], wanted: &[String]) -> Result<Vec<Step>, String> {
    let chosen = Chosen::of(places, wanted);
    let mut steps = Vec::new();
    for wave in chosen.waves()? {
        let (together, ordered): (Vec<_>, Vec<_>) = wave.into_iter().partition(|key| chosen.all_at_once(key));
        let groups = chosen.groups(&together, |_| true);
        // What others of its wave do not wait for is started first, and waited for last.
        steps.extend(groups.iter().cloned().map(Step::Start));
        for key in ordered {
            chosen.in_turn(&key, &mut steps);
        }
        steps.extend(groups.into_iter().map(Step::Wait));
    }
    Ok(steps)
}

/// Who has which of `wanted`, or what at all when that is empty.
#[must_use]
pub fn groups(places: &[Place], wanted: &[String]) -> Vec<Group> {
    let chosen = Chosen::of(places, wanted);
    let keys: Vec<String> = chosen.names.iter().map(|(key, _)| key.clone()).collect();
    chosen.groups(&keys, |_| true)
}

/// The plan that stops `wanted`, or everything when that is empty: what others depend on goes last.
///
/// # Errors
/// Services that wait for each other.
pub fn stop(places: &[Place], wanted: &[String]) -> Result<Vec<Step>, String> {
    let chosen = Chosen::of(places, wanted);
    let waves = chosen.waves()?;
    Ok(waves.iter().rev().flat_map(|wave| chosen.groups(wave, |_| true)).map(Step::Stop).collect())
}

/// The watchers that are meant, by the key circus compares names with.
struct Chosen<'a> {
    places: &'a [Place],
    /// Name as configured, in order of first appearance.
    names: Vec<(String, String)>,
    /// Of services: what the first node says that has it.
    sequences: HashMap<String, &'a Sequence>,
}

fn key(name: &str) -> String {
    name.to_lowercase()
}

impl<'a> Chosen<'a> {
    fn of(places: &'a [Place], wanted: &[String]) -> Self {
        let mut seen = HashSet::new();
        let mut names = Vec::new();
        for name in places.iter().flat_map(|place| &place.watchers) {
            let key = key(name);
            let meant = wanted.is_empty() || wanted.iter().any(|wanted| is_meant(name, wanted));
            if meant && seen.insert(key.clone()) {
                names.push((key, name.clone()));
            }
        }
        let mut sequences = HashMap::new();
        for sequence in places.iter().flat_map(|place| &place.services) {
            let key = key(&sequence.service);
            if seen.contains(&key) {
                sequences.entry(key).or_insert(sequence);
            }
        }
        Self { places, names, sequences }
    }

    /// Each wave needs nothing but what is in those before it.
    fn waves(&self) -> Result<Vec<Vec<String>>, String> {
        let mut left: Vec<&String> = self.names.iter().map(|(key, _)| key).collect();
        let mut waves = Vec::new();
        while !left.is_empty() {
            let open: HashSet<&String> = left.iter().copied().collect();
            let (wave, rest): (Vec<&String>, Vec<&String>) =
                left.iter().copied().partition(|name| !self.needs(name).any(|need| open.contains(&need)));
            if wave.is_empty() {
                let names: Vec<&str> = rest.iter().map(|name| name.as_str()).collect();
                return Err(format!(
                    "{} wait for each other; see `after` and `cluster_after` of their services",
                    names.join(", ")
                ));
            }
            waves.push(wave.into_iter().cloned().collect());
            left = rest;
        }
        Ok(waves)
    }

    /// What must be there first. On one node the daemon sees to `after` itself, unless it is a stock one.
    fn needs(&self, name: &str) -> impl Iterator<Item = String> {
        let sequence = self.sequences.get(name).copied();
        let both = sequence.map(|sequence| sequence.after.iter().chain(&sequence.cluster_after));
        both.into_iter().flatten().map(|dependency| key(&dependency.service))
    }

    fn all_at_once(&self, name: &str) -> bool {
        self.sequences.get(name).is_none_or(|sequence| {
            let order = sequence.order;
            order.first == First::Nobody && !order.sequential && order.stagger <= 0.0
        })
    }

    /// Nodes that have the same of these watchers, together.
    fn groups(&self, keys: &[String], keep: impl Fn(&Place) -> bool) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let keys: BTreeSet<&String> = keys.iter().collect();
        for place in self.places.iter().filter(|place| keep(place)) {
            let names: Vec<String> =
                place.watchers.iter().filter(|name| keys.contains(&key(name))).cloned().collect();
            if names.is_empty() {
                continue;
            }
            match groups.iter_mut().find(|group| group.names == names) {
                Some(group) => group.nodes.push(place.node.clone()),
                None => groups.push(Group { names, nodes: vec![place.node.clone()] }),
            }
        }
        groups
    }

    /// A service that is not started everywhere at once.
    fn in_turn(&self, name: &str, steps: &mut Vec<Step>) {
        let Some(sequence) = self.sequences.get(name).copied() else { return };
        let order = sequence.order;
        let keys = [name.to_owned()];
        let has = |place: &&Place| place.watchers.iter().any(|watcher| key(watcher) == *name);
        let (first, rest): (Vec<&Place>, Vec<&Place>) =
            self.places.iter().filter(has).partition(|place| match order.first {
                First::Nobody => false,
                First::FirstMember => place.index == 0,
                First::Seeds => is_seed(sequence.seeds, place.index),
            });
        let mut first = first.into_iter();
        let leader: Vec<&Place> = first.next().into_iter().collect();
        for (part, sequential) in
            [(leader, true), (first.collect(), order.sequential), (rest, order.sequential)]
        {
            let mut started: Vec<Group> = Vec::new();
            for (turn, batch) in batches(&part, sequential || order.stagger > 0.0).into_iter().enumerate() {
                if turn > 0 && order.stagger > 0.0 {
                    steps.push(Step::Pause(Duration::from_secs_f64(order.stagger)));
                }
                let groups = self.groups(&keys, |place| batch.iter().any(|meant| meant.node == place.node));
                steps.extend(groups.iter().cloned().map(Step::Start));
                if sequential {
                    steps.extend(groups.into_iter().map(Step::Wait));
                } else {
                    started.extend(groups);
                }
            }
            steps.extend(merged(started).into_iter().map(Step::Wait));
        }
    }
}

/// Groups of equal names as one.
fn merged(groups: Vec<Group>) -> Vec<Group> {
    let mut out: Vec<Group> = Vec::new();
    for group in groups {
        match out.iter_mut().find(|other| other.names == group.names) {
            Some(other) => other.nodes.extend(group.nodes),
            None => out.push(group),
        }
    }
    out
}

fn batches<'p>(places: &[&'p Place], one_by_one: bool) -> Vec<Vec<&'p Place>> {
    match (places, one_by_one) {
        ([], _) => Vec::new(),
        (all, true) => all.iter().map(|place| vec![*place]).collect(),
        (all, false) => vec![all.to_vec()],
    }
}

pub(super) fn is_seed(seeds: Select, index: usize) -> bool {
    match seeds {
        // Every node is its own peer list's exception, so no node is singled out by it.
        Select::All | Select::Peers => true,
        Select::First => index == 0,
        Select::Every(step) => index.is_multiple_of(step.max(1)),
    }
}

#[cfg(test)]
mod tests {
    use circus_protocol::service::{Dependency, Level, StartOrder};

    use super::*;

    fn service(name: &str, order: StartOrder, cluster_after: &[&str]) -> Sequence {
        let needs = cluster_after
            .iter()
            .map(|service| Dependency { service: (*service).to_owned(), level: Level::Joined });
        Sequence {
            service: name.to_owned(),
            order,
            seeds: Select::Every(2),
            after: Vec::new(),
            cluster_after: needs.collect(),
            cluster_resets: Vec::new(),
        }
    }

    fn places(count: usize, services: &[Sequence]) -> Vec<Place> {
        let watchers: Vec<String> = services.iter().map(|s| s.service.clone()).collect();
        (0..count)
            .map(|index| Place {
                node: format!("n{}", index + 1),
                index,
                watchers: watchers.clone(),
                services: services.to_vec(),
            })
            .collect()
    }

    /// `+` starts, `-` stops, `?` waits.
    fn told(steps: &[Step]) -> Vec<String> {
        let group =
            |sign: &str, group: &Group| format!("{sign}{} {}", group.names.join(","), group.nodes.join(","));
        steps
            .iter()
            .map(|step| match step {
                Step::Start(meant) => group("+", meant),
                Step::Stop(meant) => group("-", meant),
                Step::Wait(meant) => group("?", meant),
                Step::Pause(time) => format!("{}s", time.as_secs_f64()),
            })
            .collect()
    }

    const PARALLEL: StartOrder = StartOrder { first: First::Nobody, sequential: false, stagger: 0.0 };

    #[test]
    fn what_depends_on_nothing_starts_everywhere_at_once() {
        let places = places(3, &[service("a", PARALLEL, &[]), service("b", PARALLEL, &[])]);
        assert_eq!(told(&start(&places, &[]).expect("a plan")), ["+a,b n1,n2,n3", "?a,b n1,n2,n3"]);
        assert_eq!(told(&start(&places, &["B".into()]).expect("a plan")), ["+b n1,n2,n3", "?b n1,n2,n3"]);
    }

    #[test]
    fn seeds_go_first_and_the_rest_one_by_one() {
        let order = StartOrder { first: First::Seeds, sequential: true, stagger: 0.0 };
        let places =
            places(4, &[service("titan", PARALLEL, &["Cassandra"]), service("cassandra", order, &[])]);
        assert_eq!(
            told(&start(&places, &[]).expect("a plan")),
            [
                "+cassandra n1",
                "?cassandra n1",
                "+cassandra n3",
                "?cassandra n3",
                "+cassandra n2",
                "?cassandra n2",
                "+cassandra n4",
                "?cassandra n4",
                "+titan n1,n2,n3,n4",
                "?titan n1,n2,n3,n4",
            ]
        );
        assert_eq!(
            told(&stop(&places, &[]).expect("a plan")),
            ["-titan n1,n2,n3,n4", "-cassandra n1,n2,n3,n4"]
        );
    }

    #[test]
    fn one_by_one_and_seeds_before_all_others() {
        let order = StartOrder { first: First::Nobody, sequential: true, stagger: 0.0 };
        assert_eq!(
            told(&start(&places(3, &[service("a", order, &[])]), &[]).expect("a plan")),
            ["+a n1", "?a n1", "+a n2", "?a n2", "+a n3", "?a n3"]
        );
        let order = StartOrder { first: First::Seeds, sequential: false, stagger: 0.0 };
        assert_eq!(
            told(&start(&places(6, &[service("a", order, &[])]), &[]).expect("a plan")),
            ["+a n1", "?a n1", "+a n3,n5", "?a n3,n5", "+a n2,n4,n6", "?a n2,n4,n6"]
        );
        let order = StartOrder { first: First::Nobody, sequential: false, stagger: 2.0 };
        assert_eq!(
            told(&start(&places(3, &[service("a", order, &[])]), &[]).expect("a plan")),
            ["+a n1", "2s", "+a n2", "2s", "+a n3", "?a n1,n2,n3"]
        );
    }

    #[test]
    fn a_stagger_does_not_wait_and_the_first_member_does() {
        let order = StartOrder { first: First::FirstMember, sequential: false, stagger: 1.5 };
        let places = places(3, &[service("a", order, &[])]);
        let expected = ["+a n1", "?a n1", "+a n2", "1.5s", "+a n3", "?a n2,n3"];
        assert_eq!(told(&start(&places, &[]).expect("a plan")), expected);
    }

    #[test]
    fn nobody_is_asked_for_what_it_has_not() {
        let mut places = places(2, &[service("a", PARALLEL, &[]), service("b", PARALLEL, &["a", "absent"])]);
        if let Some(place) = places.get_mut(1) {
            place.watchers = vec!["a".into(), "other".into()];
        }
        assert_eq!(
            told(&start(&places, &[]).expect("a plan")),
            ["+a n1", "+a,other n2", "?a n1", "?a,other n2", "+b n1", "?b n1"]
        );
    }

    #[test]
    fn a_circle_is_named() {
        let places = places(1, &[service("a", PARALLEL, &["b"]), service("b", PARALLEL, &["a"])]);
        let error = start(&places, &[]).expect_err("a circle");
        assert!(error.starts_with("a, b wait for each other"), "{error}");
    }
}
