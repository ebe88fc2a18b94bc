//! What a SPEC names, and the words of each refusal.

use super::*;

fn files(path: &str) -> io::Result<String> {
    match path {
        "nodes" => Ok("# the lab\n10.0.0.1\n 10.0.0.2:6000 # odd one\n\nnode[1-2]\n".to_owned()),
        "bad" => Ok("10.0.0.1\n10.0.0.300\n".to_owned()),
        "nest" => Ok("@nodes\n".to_owned()),
        "empty" => Ok("# nothing\n".to_owned()),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    }
}

fn names(spec: &str) -> String {
    match parse(spec, 5555, &mut files) {
        Ok(parsed) => {
            parsed.inventory.nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(" ")
        }
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn names_every_form() {
    assert_eq!(names("192.168.0.1-192.168.0.3"), "192.168.0.1 192.168.0.2 192.168.0.3");
    assert_eq!(names("192.168.0.254-192.168.1.1"), "192.168.0.254 192.168.0.255 192.168.1.0 192.168.1.1");
    assert_eq!(names("192.168.0.1-3"), "192.168.0.1 192.168.0.2 192.168.0.3");
    assert_eq!(names("192.168.0.0/30"), "192.168.0.1 192.168.0.2");
    assert_eq!(names("192.168.0.4/31,10.0.0.1/32"), "192.168.0.4 192.168.0.5 10.0.0.1");
    assert_eq!(names("node[08-10].lab"), "node08.lab node09.lab node10.lab");
    assert_eq!(names("r[1-2]n[1,3]"), "r1n1 r1n3 r2n1 r2n3");
    assert_eq!(names("a,b:5556,tcp://c:5555"), "a b:5556 c");
    assert_eq!(names("tcp://c:5557"), "c:5557");
    assert_eq!(names("db-1,db-[2-3]"), "db-1 db-2 db-3");
    assert_eq!(names("node[1-2]:6000 x"), "node1:6000 node2:6000 x");
    assert_eq!(names("@nodes"), "10.0.0.1 10.0.0.2:6000 node1 node2");
    assert_eq!(names("10.0.0.1-4,-10.0.0.2,-10.0.0.4"), "10.0.0.1 10.0.0.3");
    assert_eq!(names("-b a b c"), "a c");
    assert_eq!(names("@nodes,-node[1-2]"), "10.0.0.1 10.0.0.2:6000");
    assert_eq!(names("10.0.0.1-10.0.0.4,-@nodes"), "10.0.0.2 10.0.0.3 10.0.0.4");
}

#[test]
fn merges_doubles_with_a_note() {
    let parsed = parse("10.0.0.1-3,10.0.0.2,A,a", 5555, &mut files).expect("parses");
    assert_eq!(parsed.inventory.nodes.len(), 4);
    assert_eq!(
        parsed.notes,
        [
            "\"10.0.0.2\" names 10.0.0.2 again; each node counts once",
            "\"a\" names a again; each node counts once"
        ]
    );
}

#[test]
fn ranges_are_marked() {
    let parsed = parse("a,10.0.0.1-2", 5555, &mut files).expect("parses");
    assert_eq!(
        parsed.inventory.nodes.iter().map(|node| node.from_range).collect::<Vec<_>>(),
        [false, true, true]
    );
    assert_eq!(parsed.inventory.spec, "a,10.0.0.1-2");
}

#[test]
fn default_port_is_left_out_of_names() {
    let parsed = parse("a:6000,b", 6000, &mut files).expect("parses");
    let names: Vec<_> = parsed.inventory.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn refuses_with_part_and_remedy() {
    let cases = [
        "",
        " , ",
        "a,-a",
        "a,-b",
        "10.0.0.5-10.0.0.1",
        "10.0.0.5-1",
        "10.0.0.1-x",
        "10.0.0.1-300",
        "10.0.0.300",
        "010.0.0.1",
        "10.0.0.[01-02]",
        "10.0.0.1/27",
        "10.0.0.0/33",
        "10.0.0.0/",
        "a.b/27",
        "node[1-",
        "node]1",
        "node[a]",
        "node[5-1]",
        "node[1-016]",
        "node[]",
        "a:0",
        "a:99999",
        "a:",
        "http://a:1",
        "tcp://a",
        "::1",
        "tcp://[::1]:5555",
        "a..b",
        "a-",
        "ä",
        "@",
        "@none",
        "@bad",
        "@nest",
        "@empty",
        "10.0.0.0/8",
        "n[1-99999]",
        "n[1-999][1-999]",
        "a b:5x",
    ];
    let text: Vec<String> = cases.iter().map(|case| format!("{case:18} {}", names(case))).collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn holds_its_limit() {
    assert_eq!(parse("10.0.0.0/16", 5555, &mut files).expect("fits").inventory.nodes.len(), 65_534);
    assert!(matches!(parse("10.0.0.0/16,10.1.0.0/16", 5555, &mut files), Err(SpecError::TooMany { .. })));
}

proptest::proptest! {
    #[test]
    fn never_panics(text in "[-a0-9.,:/@\\[\\] #]{0,40}") {
        let _unused = parse(&text, 5555, &mut files);
    }
}
