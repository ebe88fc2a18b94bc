//! `cluster add` and `cluster remove`: a SPEC with more or fewer nodes that is still the user's own.
//! What is named by a file, a group or a command stays named that way.

use super::fold::fold;
use super::spec::{self, At, Op, Parsed, Reason, Sources, SpecError};

/// A SPEC as its terms from left to right.
struct Terms(Vec<(Op, String)>);

impl Terms {
    /// Exclusions that hold wherever they stand go to the end, where they mean the same.
    fn of(text: &str) -> Result<Self, SpecError> {
        let pieces = spec::pieces(text)?;
        let (last, first): (Vec<_>, Vec<_>) = pieces.into_iter().partition(|piece| piece.op == Op::Drop);
        let op = |op| if op == Op::Drop { Op::Without } else { op };
        let terms = first.into_iter().chain(last);
        Ok(Self(terms.map(|piece| (op(piece.op), closed(piece.body))).collect()))
    }

    fn print(&self) -> String {
        let mut text = String::new();
        for (op, body) in &self.0 {
            text.push_str(match op {
                Op::Add if text.is_empty() => "",
                Op::Add => ",",
                Op::Drop | Op::Without => "!",
                Op::Only => "&",
            });
            text.push_str(body);
        }
        text
    }
}

/// A term that something can follow: an `exec:` without quotes would take that for its own.
fn closed(body: &str) -> String {
    let command = body.strip_prefix("exec:").filter(|command| !command.starts_with(['"', '\'']));
    match command {
        Some(command) if !command.bytes().all(|byte| byte.is_ascii_digit()) => {
            let quote = if command.contains('"') { '\'' } else { '"' };
            format!("exec:{quote}{command}{quote}")
        }
        _ => body.to_owned(),
    }
}

/// Names of nodes.
fn names(parsed: &Parsed) -> Vec<String> {
    parsed.inventory.nodes.iter().map(|node| node.name.clone()).collect()
}

/// The SPEC with these nodes as well.
///
/// # Errors
/// One of the two is wrong, or they are too many.
pub fn added(text: &str, more: &str, port: u16, sources: &mut dyn Sources) -> Result<String, SpecError> {
    let wanted = names(&spec::parse(more, port, sources)?);
    let plain = spec::pieces(more)?.iter().all(|piece| piece.op == Op::Add);
    // Taking away from what is added must not take away from what was there.
    let more = Terms::of(&if plain { more.to_owned() } else { fold(&wanted) })?;
    let mut back = Terms::of(text)?;
    // Whoever was taken out is put back in its old place.
    back.0.retain(|(op, body)| *op != Op::Without || !more.0.iter().any(|(_, wanted)| wanted == body));
    let has_all = |text: &str, sources: &mut dyn Sources| {
        let there = spec::parse(text, port, sources).map(|parsed| names(&parsed)).unwrap_or_default();
        wanted.iter().all(|name| there.contains(name))
    };
    if has_all(&back.print(), sources) {
        return Ok(back.print());
    }
    let mut longer = Terms::of(text)?;
    longer.0.extend(more.0);
    let longer = longer.print();
    spec::parse(&longer, port, sources)?;
    Ok(longer)
}

/// The SPEC without these nodes, which it has.
///
/// # Errors
/// Nobody would be left.
pub fn removed(
    text: &str,
    gone: &[String],
    port: u16,
    sources: &mut dyn Sources,
) -> Result<String, SpecError> {
    let mut terms = Terms::of(text)?;
    // Behind the last operator a term stands for itself and can simply be left out.
    let free = terms.0.iter().rposition(|(op, _)| *op != Op::Add).map_or(0, |at| at + 1);
    let mut at = 0;
    terms.0.retain(|(_, body)| {
        at += 1;
        let goes = |name: &String| gone.contains(name);
        at <= free
            || is_outside(body)
            || !spec::parse(body, port, sources).is_ok_and(|p| names(&p).iter().all(goes))
    });
    let left = match spec::parse(&terms.print(), port, sources) {
        Ok(parsed) => names(&parsed),
        Err(error) if terms.0.is_empty() => return Err(error),
        Err(_) => Vec::new(),
    };
    let rest = gone.iter().filter(|name| left.contains(name));
    let mut rest: Vec<String> = rest.map(|name| alone(name, gone, &left, port)).collect();
    // Whoever goes with its whole host need not be named as well, and must not.
    let hosts: Vec<String> = rest.iter().map(|name| with_port(name)).collect();
    rest.retain(|name| !hosts.iter().any(|host| name.starts_with(host)));
    if !rest.is_empty() {
        let less = Terms::of(&fold(&rest))?;
        terms.0.extend(less.0.into_iter().map(|(_, body)| (Op::Without, body)));
    }
    let shorter = terms.print();
    spec::parse(&shorter, port, sources)?;
    Ok(shorter)
}

/// A name that takes away this node and not those of its host that stay on other ports.
fn alone(name: &str, gone: &[String], left: &[String], port: u16) -> String {
    let host = with_port(name);
    let others = left.iter().any(|other| other.starts_with(&host) && !gone.contains(other));
    if others { format!("{host}{port}") } else { name.to_owned() }
}

/// How names of nodes on this host begin when a port follows.
fn with_port(name: &str) -> String {
    if name.contains(':') { format!("[{name}]:") } else { format!("{name}:") }
}

/// Its nodes are named elsewhere and may be others tomorrow.
fn is_outside(body: &str) -> bool {
    ["@", "exec:", "dns:", "srv:"].iter().any(|kind| body.starts_with(kind))
}

/// The SPEC with paths that do not depend on a directory; groups stay as they are.
///
/// # Errors
/// No SPEC, or a path that cannot be made absolute.
pub fn absolute(
    text: &str,
    groups: &[String],
    path: &dyn Fn(&str) -> Result<String, String>,
) -> Result<String, SpecError> {
    let mut out = String::new();
    let mut done = 0;
    for piece in spec::pieces(text)? {
        let Some(written) = piece.body.strip_prefix('@') else { continue };
        let bare = spec::unquoted(written);
        if bare.is_empty() || (groups.iter().any(|group| group == written) && !written.contains('/')) {
            continue;
        }
        let at = At::of(text, piece.body, None);
        let failed = |why| SpecError::new(Reason::File { path: bare.to_owned(), why }, at.clone());
        let full = path(bare).map_err(failed)?;
        let odd = |letter: char| matches!(letter, ',' | '!' | '&' | '[') || letter.is_whitespace();
        out.push_str(text.get(done..at.span.start).unwrap_or_default());
        out.push_str(&if full.contains(odd) { format!("@\"{full}\"") } else { format!("@{full}") });
        done = at.span.end;
    }
    out.push_str(text.get(done..).unwrap_or_default());
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::spec::fake::Fake;

    fn add(text: &str, more: &str) -> String {
        let added = added(text, more, 5555, &mut Fake::default());
        added.unwrap_or_else(|error| format!("error: {}", error.summary()))
    }

    fn remove(text: &str, gone: &[&str]) -> String {
        let gone: Vec<String> = gone.iter().map(|name| (*name).to_owned()).collect();
        let removed = removed(text, &gone, 5555, &mut Fake::default());
        removed.unwrap_or_else(|error| format!("error: {}", error.summary()))
    }

    #[test]
    fn nodes_are_added() {
        assert_eq!(add("a,b", "c"), "a,b,c");
        assert_eq!(add("a b", "b"), "a,b");
        assert_eq!(add("node[1-9],-node3", "x"), "node[1-9]!node3,x");
        assert_eq!(add("node[1-9]!node3", "node3"), "node[1-9]");
        assert_eq!(add("node[1-4]", "n[1-3]!n2"), "node[1-4],n[1,3]");
        assert_eq!(add("exec:list --up", "c"), "exec:\"list --up\",c");
        assert_eq!(add("@some", "@db"), "@some,@db");
        assert!(add("a", "b..c").starts_with("error: \"b..c\" has an empty part"));
    }

    #[test]
    fn a_host_may_stay_on_another_port() {
        assert_eq!(remove("n[1-2],n1:6000", &["n1"]), "n[1-2],n1:6000!n1:5555");
        assert_eq!(remove("a,[::1]:6000,::1&::1", &["::1"]), "a,[::1]:6000,::1&::1![::1]:5555");
    }

    #[test]
    fn a_host_goes_with_all_its_ports() {
        assert_eq!(
            remove("n3,n[1-2],n3:6000&n[1-8],@some", &["n3", "n3:6000"]),
            "n3,n[1-2],n3:6000&n[1-8],@some!n3"
        );
    }

    #[test]
    fn nodes_are_removed() {
        assert_eq!(remove("a,b,c", &["b"]), "a,c");
        assert_eq!(remove("node[1-9]", &["node3", "node4"]), "node[1-9]!node[3-4]");
        assert_eq!(remove("node[1-3],x", &["node1", "node2", "node3"]), "x");
        assert_eq!(remove("@some", &["node01.lab"]), "@some!node01.lab");
        assert_eq!(remove("a,b!b,c", &["a"]), "a,b!b,c!a");
        assert_eq!(remove("a,b!b,c", &["c"]), "a,b!b");
        assert_eq!(remove("a,b:6000", &["b:6000"]), "a");
        assert!(remove("a", &["a"]).starts_with("error: the cluster SPEC \"\" names no node"));
        assert!(remove("@some", &["node01.lab", "node02.lab"]).contains("names no node"));
    }

    proptest::proptest! {
        #[test]
        fn exactly_those_go_and_come(
            terms in proptest::collection::vec("(@some|@db|exec:list|n[1-9]|n\\[1-[2-9]\\]|n[1-9]:6000|!n[1-4]|&n\\[1-8\\],)", 1..8),
            which in proptest::collection::vec(proptest::bool::ANY, 40),
        ) {
            let text = terms.join(" ");
            let all = |text: &str| spec::parse(text, 5555, &mut Fake::default()).map(|parsed| names(&parsed));
            let Ok(before) = all(&text) else { return Ok(()) };
            let goes = before.iter().zip(which).filter(|(_, goes)| *goes);
            let gone: Vec<String> = goes.map(|(name, _)| name.clone()).collect();
            let left: Vec<String> =
                before.iter().filter(|name| !gone.contains(name)).cloned().collect();
            let shorter = removed(&text, &gone, 5555, &mut Fake::default());
            if gone.is_empty() || left.is_empty() {
                return Ok(());
            }
            let shorter = shorter.expect("somebody is left");
            proptest::prop_assert_eq!(all(&shorter).expect("parses"), left, "{} -> {}", text, shorter);
            let longer = added(&shorter, &gone.join(","), 5555, &mut Fake::default()).expect("they were there");
            let mut now = all(&longer).expect("parses");
            now.retain(|name| before.contains(name));
            for name in &gone {
                proptest::prop_assert!(now.contains(name), "{} -> {}", shorter, longer);
            }
        }
    }

    #[test]
    fn what_was_removed_can_be_added_again() {
        let text = remove("node[1-9],x", &["node3"]);
        assert_eq!(text, "node[1-9],x!node3");
        assert_eq!(add(&text, "node3"), "node[1-9],x");
    }

    #[test]
    fn files_become_absolute() {
        let path =
            |path: &str| Ok(if path.starts_with('/') { path.to_owned() } else { format!("/here/{path}") });
        let text = absolute("a, @nodes,-@/abs b @db!@./db @\"x y\"", &["db".to_owned()], &path);
        assert_eq!(text.as_deref(), Ok("a, @/here/nodes,-@/abs b @db!@/here/./db @\"/here/x y\""));
        assert_eq!(absolute("exec:list @x", &[], &path).as_deref(), Ok("exec:list @x"));
    }
}
