//! Many names as one short text that parses back as a SPEC: `node[01-30].lab,127.0.0.[1-3]`.
//!
//! One number per name is folded: the last octet of an address, the last number of a host name's
//! first label. Padding decides who folds with whom (`node8` and `node08` are two nodes).

use std::collections::HashMap;

/// One name taken apart at its number.
struct Cut<'a> {
    before: &'a str,
    digits: &'a str,
    after: &'a str,
}

/// What a bracket holds, and where it first appeared.
enum Group<'a> {
    Name(&'a str),
    Numbers { before: &'a str, after: &'a str, width: usize, numbers: Vec<u64> },
}

/// Folds names; the order is that of first appearance, numbers ascend, doubles vanish.
#[must_use]
pub fn fold<S: AsRef<str>>(names: &[S]) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    let padded = padded_widths(&names);
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut known: HashMap<(&str, &str, usize), usize> = HashMap::new();
    for name in names {
        let cut = cut(name).and_then(|cut| Some((cut.digits.parse().ok()?, cut)));
        let Some((number, cut)) = cut else {
            if !groups.iter().any(|group| matches!(group, Group::Name(other) if *other == name)) {
                groups.push(Group::Name(name));
            }
            continue;
        };
        let length = cut.digits.len();
        let is_padded = padded.contains_key(&(cut.before, cut.after, length));
        let width = if is_padded { length } else { 0 };
        let at = *known.entry((cut.before, cut.after, width)).or_insert_with(|| {
            groups.push(Group::Numbers { before: cut.before, after: cut.after, width, numbers: Vec::new() });
            groups.len() - 1
        });
        if let Some(Group::Numbers { numbers, .. }) = groups.get_mut(at) {
            numbers.push(number);
        }
    }
    groups.into_iter().map(print).collect::<Vec<_>>().join(",")
}

/// `node[01-07] (7)`: the folded set as messages show it.
#[must_use]
pub fn counted<S: AsRef<str>>(names: &[S]) -> String {
    format!("{} ({})", fold(names), names.len())
}

/// Which lengths of digits occur with a leading zero: `10` belongs to `08`, not to `8`, then.
fn padded_widths<'a>(names: &[&'a str]) -> HashMap<(&'a str, &'a str, usize), ()> {
    let cuts = names.iter().filter_map(|name| cut(name));
    let padded = cuts.filter(|cut| cut.digits.len() > 1 && cut.digits.starts_with('0'));
    padded.map(|cut| ((cut.before, cut.after, cut.digits.len()), ())).collect()
}

/// `None` when there is no number to fold, or one too long to be counted.
fn cut(name: &str) -> Option<Cut<'_>> {
    // The numbers of an IPv6 address or a path are no series.
    if name.contains('/') || name.matches(':').count() > 1 {
        return None;
    }
    let host = name.split(':').next()?;
    let is_address = host.parse::<core::net::Ipv4Addr>().is_ok();
    let label = if is_address { host } else { host.split('.').next()? };
    let end = label.rfind(|letter: char| letter.is_ascii_digit())? + 1;
    let start = label
        .get(..end)?
        .rfind(|letter: char| !letter.is_ascii_digit())
        .map_or(0, |at| at + label.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8));
    let digits = name.get(start..end)?;
    if digits.len() > 9 {
        return None;
    }
    Some(Cut { before: name.get(..start)?, digits, after: name.get(end..)? })
}

fn print(group: Group<'_>) -> String {
    match group {
        Group::Name(name) => name.to_owned(),
        Group::Numbers { before, after, width, mut numbers } => {
            numbers.sort_unstable();
            numbers.dedup();
            let runs = runs(&numbers, width);
            match numbers.as_slice() {
                [only] => format!("{before}{only:0width$}{after}"),
                _ => format!("{before}[{runs}]{after}"),
            }
        }
    }
}

fn runs(numbers: &[u64], width: usize) -> String {
    let chunks = numbers.chunk_by(|a, b| a + 1 == *b);
    let texts = chunks.filter_map(|run| match run {
        [] => None,
        [only] => Some(format!("{only:0width$}")),
        [first, .., last] => Some(format!("{first:0width$}-{last:0width$}")),
    });
    texts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::inventory::spec;

    fn check(names: &[&str], expected: &str) {
        assert_eq!(fold(names), expected);
        let back = spec::parse(expected, 5555, &mut spec::fake::Fake::default()).expect("parses back");
        let mut back: Vec<_> = back.inventory.nodes.into_iter().map(|node| node.name).collect();
        let mut names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        back.sort();
        names.sort();
        names.dedup();
        assert_eq!(back, names);
    }

    #[test]
    fn folds_hosts_and_addresses() {
        check(&["a"], "a");
        check(&["node01", "node02", "node03"], "node[01-03]");
        check(&["node1.lab", "node2.lab", "node7.lab"], "node[1-2,7].lab");
        check(&["127.0.0.1", "127.0.0.2", "127.0.0.3"], "127.0.0.[1-3]");
        check(&["127.0.0.9", "127.0.0.10", "127.0.0.11"], "127.0.0.[9-11]");
        check(&["10.0.0.1", "10.0.1.1", "10.0.0.2"], "10.0.0.[1-2],10.0.1.1");
        check(&["n1:6000", "n2:6000", "n3"], "n[1-2]:6000,n3");
        check(&["n1:6000", "n1:6001"], "n1:6000,n1:6001");
        check(&["r2n1", "r2n2", "db"], "r2n[1-2],db");
        check(&["b", "a", "b"], "b,a");
    }

    #[test]
    fn padding_tells_nodes_apart() {
        check(&["node8", "node9", "node10"], "node[8-10]");
        check(&["node08", "node09", "node10", "node11"], "node[08-11]");
        check(&["node8", "node08", "node9"], "node[8-9],node08");
        check(&["n099", "n100"], "n[099-100]");
    }

    proptest! {
        #[test]
        fn whatever_is_folded_parses_back(
            names in proptest::collection::vec("(node|db-|10\\.0\\.0\\.|r1n|r2n|fe80::|ipc:///run/c)[1-9][0-9]?(:6000)?", 1..40)
        ) {
            let texts: Vec<&str> = names.iter().map(String::as_str).collect();
            let folded = fold(&texts);
            check(&texts, &folded);
        }
    }
}
