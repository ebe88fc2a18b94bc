//! What a SPEC names, and the words of each refusal.

use super::fake::Fake;
use super::*;

fn names(spec: &str) -> String {
    match parse(spec, 5555, &mut Fake::default()) {
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
    assert_eq!(names("@less"), "10.0.0.1 10.0.0.3 10.0.0.4");
}

#[test]
fn names_more_forms() {
    for (spec, expected) in [
        // Steps and dimensions.
        ("node[0-10/5]", "node0 node5 node10"),
        ("n[01-07/3,9]", "n01 n04 n07 n9"),
        ("n[0-1000000/500000]", "n0 n500000 n1000000"),
        ("r[1-2]n[0-2/2].lab:6000", "r1n0.lab:6000 r1n2.lab:6000 r2n0.lab:6000 r2n2.lab:6000"),
        ("10.[1-2].0.[7,9]", "10.1.0.7 10.1.0.9 10.2.0.7 10.2.0.9"),
        // Operators, from left to right but for the dash.
        ("a,b!b,c", "a c"),
        ("a ! a , b", "b"),
        ("a,b,c&b,c", "b c"),
        ("n[1-9]&n[5-12]!n6", "n5 n7 n8 n9"),
        ("a,b!b,b", "a b"),
        ("a,-b,b,c", "a c"),
        ("n1:6000,n1&n1:6000", "n1:6000"),
        ("n1:6000,n1,x!n1", "x"),
        // Groups and files.
        ("@some", "node01.lab node02.lab"),
        ("@db", "node01.lab node02.lab node04.lab"),
        ("@web", "web1 web2 web9 web8"),
        ("@all!@some", "node04.lab web1 web2 web9 web8"),
        ("@db&@some", "node01.lab node02.lab"),
        ("@./db!node[1-2]", "10.0.0.1 10.0.0.2:6000"),
        ("@\"/etc/my nodes\",x", "10.0.0.1 10.0.0.2:6000 node1 node2 x"),
        ("@listed", "10.0.0.1 10.0.0.2:6000 node1 node2"),
        // Commands.
        ("exec:list", "a:6000 b"),
        ("x,exec:list --up", "x a:6000 b"),
        ("exec:\"list --up\",x", "a:6000 b x"),
        ("-exec:'list',b,c", "c"),
        ("@up!b", "a:6000"),
        ("exec:22,dns:53,srv:1", "exec:22 dns:53 srv:1"),
        // Name servers.
        ("dns:db.lab", "10.1.0.1 fd00::2"),
        ("dns:db.lab:6000@127.0.0.1:8600", "10.1.0.1:6000 [fd00::2]:6000"),
        ("srv:_circus._tcp.lab", "n1.lab n2.lab:5600"),
        // Endpoints.
        ("ipc:///run/c.sock,a", "ipc:///run/c.sock a"),
        ("::1,[::2],[::3]:6000,tcp://[::4]:5555", "::1 ::2 [::3]:6000 ::4"),
        ("fd00:0::1,fd00::1", "fd00::1"),
    ] {
        assert_eq!(names(spec), expected, "{spec}");
    }
}

#[test]
fn nodes_have_endpoints_and_addresses() {
    let parsed = parse("ipc:///run/c.sock,::1,db:6000", 5555, &mut Fake::default()).expect("parses");
    let all: Vec<_> =
        parsed.inventory.nodes.iter().map(|node| format!("{} {}", node.address, node.endpoint)).collect();
    assert_eq!(all, ["127.0.0.1 ipc:///run/c.sock", "::1 tcp://[::1]:5555", "db tcp://db:6000"]);
}

#[test]
fn everything_is_asked_once() {
    let mut fake = Fake::default();
    parse("exec:list --up", 5555, &mut fake).expect("parses");
    parse("@up,@up!b,\"\"x", 5555, &mut fake).expect_err("quotes are no host");
    parse("dns:db.lab,@nodes,-dns:db.lab,@nodes", 5555, &mut fake).expect("parses");
    assert_eq!(fake.asked, ["exec list --up", "exec list --up, now", "dns db.lab None", "file nodes"]);
}

#[test]
fn commands_in_a_groups_file_that_others_can_write_are_not_run() {
    let mut fake = Fake { trusted: false, ..Fake::default() };
    assert_eq!(parse("@some", 5555, &mut fake).expect("parses").inventory.nodes.len(), 2);
    let error = parse("@up", 5555, &mut fake).expect_err("not run").to_string();
    assert_eq!(
        error,
        "~/groups:11: exec: is not run from ~/groups, because it belongs to somebody else or others can \
         write it; chmod go-w\n  | up: exec:list --up, now\n  |     ^^^^^^^^^^^^^^^^^^^"
    );
    assert!(fake.asked.is_empty(), "{:?}", fake.asked);
}

#[test]
fn a_groups_file_is_checked_where_it_is_wrong() {
    let words = |groups| {
        let mut fake = Fake { groups, ..Fake::default() };
        parse("@some", 5555, &mut fake).map_or_else(|error| error.to_string(), |_| "fine".to_owned())
    };
    let cases = [
        " x",
        "some\n",
        "some: a\n: b",
        "so me: a",
        "some: a\nsome: b",
        "some: a\n  b, c.[1",
        "other: a",
        "",
    ];
    let text: Vec<String> = cases.iter().map(|case| format!("{case:?}\n{}", words(case))).collect();
    insta::assert_snapshot!(text.join("\n\n"));
}

#[test]
fn long_lines_show_what_is_wrong_with_them() {
    let spec = format!("{},a..b,{}", vec!["node[1-9]"; 40].join(","), vec!["ü"; 200].join(","));
    let error = names(&spec);
    let lines: Vec<&str> = error.lines().skip(1).collect();
    assert_eq!(lines.len(), 2, "{error}");
    let caret = lines[1].chars().position(|letter| letter == '^').expect("carets");
    let shown: String = lines[0].chars().skip(caret).take(4).collect();
    assert_eq!(shown, "a..b", "{error}");
    assert!(lines[0].chars().count() < 110 && lines[0].contains('…'), "{error}");
}

#[test]
fn merges_doubles_with_a_note() {
    let parsed = parse("10.0.0.1-3,10.0.0.2,A,a", 5555, &mut Fake::default()).expect("parses");
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
    let parsed = parse("a,10.0.0.1-2", 5555, &mut Fake::default()).expect("parses");
    assert_eq!(
        parsed.inventory.nodes.iter().map(|node| node.from_range).collect::<Vec<_>>(),
        [false, true, true]
    );
    assert_eq!(parsed.inventory.spec, "a,10.0.0.1-2");
}

#[test]
fn default_port_is_left_out_of_names() {
    let parsed = parse("a:6000,b", 6000, &mut Fake::default()).expect("parses");
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
        "@runs",
        "@/x/y",
        "@one",
        "@two",
        "@empty,b",
        "@typo",
        "a,@db&",
        "!",
        "a ,-",
        "a!b",
        "a&b",
        "exec:",
        "exec:\"list",
        "exec:fails x",
        "exec:evil",
        "dns:",
        "dns:a..b",
        "dns:none.lab",
        "dns:db.lab:0",
        "srv:_odd._tcp.lab",
        "srv:none",
        "ipc://x",
        "ipc://",
        "[::g]:5555",
        "[::1]",
        "1::2::3",
        "n[1/2]",
        "n[1-9/0]",
        "n[1-9/x]",
        "a,n[1-3,7-5]b",
        "10.0.0.0/8",
        "n[1-99999]",
        "n[1-999][1-999]",
        "a b:5x",
    ];
    let text: Vec<String> = cases.iter().map(|case| format!("{case}\n{}\n", names(case))).collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn holds_its_limit() {
    assert_eq!(parse("10.0.0.0/16", 5555, &mut Fake::default()).expect("fits").inventory.nodes.len(), 65_534);
    let error = parse("10.0.0.0/16,10.1.0.0/16", 5555, &mut Fake::default()).expect_err("too many");
    assert!(matches!(error.reason, Reason::TooManyNodes { .. }), "{error}");
}

proptest::proptest! {
    #[test]
    fn never_panics(text in "(exec:|dns:|srv:|@db|@one|ipc://|[-a0-9.,:/@\\[\\] #!&\"'ä\\n]){0,40}") {
        if let Err(error) = parse(&text, 5555, &mut Fake::default()) {
            let _shown = error.to_string();
            if let Some(at) = error.at {
                assert!(at.line.get(at.span.clone()).is_some());
            }
        }
    }
}
