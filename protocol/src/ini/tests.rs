//! What the stock daemon's parser was seen to do, line by line, and what must hold for any text.

use super::*;
use proptest::prelude::*;

fn parse(text: &str) -> Ini {
    Ini::parse(text, "t.ini").unwrap_or_else(|errors| panic!("{text:?}: {errors:?}"))
}

/// `section key=value key=value` per section, as one line each.
fn dump(text: &str) -> String {
    let mut ini = parse(text);
    ini.settle().unwrap();
    let section = |s: &Section| {
        let entries: Vec<_> = s.entries.iter().map(|e| format!("{:?}={:?}", e.key, e.value)).collect();
        format!("{:?} {}", s.name, entries.join(" "))
    };
    ini.sections.iter().map(section).collect::<Vec<_>>().join("\n")
}

fn errors(text: &str) -> Vec<String> {
    Ini::parse(text, "t.ini").expect_err(text).iter().map(ToString::to_string).collect()
}

#[test]
fn reads_what_stock_reads() {
    // Left: a file; right: what the stock parser made of it.
    let cases = [
        ("[a]\nx = 1\ny: 2\nz=3\n", r#""a" "x"="1" "y"="2" "z"="3""#),
        ("[a]\nx = 1\nx = 2\n[a]\nx=3\ny=4\n", r#""a" "x"="1" "y"="4""#),
        ("[a]\n# c\n; d\nrem e\nrem\nREM x\nrEm\tfoo=1\nrem = 5\nx=1\n", r#""a" "x"="1""#),
        ("[a]\nremark = 1\nrem:5\n", r#""a" "remark"="1" "rem"="5""#),
        ("[a]\nx = a ; b ; c\ny = a;b\nz = a;b ; c\n", r#""a" "x"="a" "y"="a;b" "z"="a;b ; c""#),
        (
            "[a]\nw = a # b\nv = ;b\nu = a\t; c\ny = ; foo\n",
            r#""a" "w"="a # b" "v"=";b" "u"="a" "y"="; foo""#,
        ),
        ("[a]\ny = ; foo \nq=;b\t\nr= \nx=1 ;\nz= ;\n", r#""a" "y"="" "q"="" "r"="" "x"="1" "z"=";""#),
        ("[a]\nx = a ;\u{a0}b\nz=a\u{a0}; b\nw=a\u{1c}; b\n", r#""a" "x"="a" "z"="a" "w"="a""#),
        ("[a]\nx = 1\n  y = 2\n\tz ; c\n  # hash\nq = 1\n", r#""a" "x"="1\ny = 2\nz ; c\n# hash" "q"="1""#),
        ("[a]\nx = 1\n\n  y\n   \n# c\n  z\n", r#""a" "x"="1\ny\nz""#),
        ("[a]\nx=1\nx=2\n  more\n", r#""a" "x"="1\nmore""#),
        ("[a]\nx=1\n[b]\n  y = 2\nz=1\n", "\"a\" \"x\"=\"1\"\n\"b\" \"  y\"=\"2\" \"z\"=\"1\""),
        ("[a]\nx = \"\"\ny =\nz = \"a\"\nw=\" \"\n", r#""a" "x"="" "y"="" "z"="\"a\"" "w"="\" \"""#),
        ("[a]\nx = \n  foo\ny = \"\"\n  bar\nz = \"\" ; c\n", r#""a" "x"="\nfoo" "y"="\nbar" "z"="""#),
        ("[q]\nz=1\n [a]\nx=1\n", r#""q" "z"="1\n[a]" "x"="1""#),
        ("[a] junk\nx=1\n[ b ]\n[c]d]\n[e]; c\n", "\"a\" \"x\"=\"1\"\n\" b \" \n\"c]d\" \n\"e\" "),
        ("[a]\nx y = 1\na:b = 1\nc=d:e\n", r#""a" "x y"="1" "a"="b = 1" "c"="d:e""#),
        ("[a]\n=3\n[b = 1\n", r#""a" ""="3" "[b"="1""#),
        ("[a]\r\nx = 1\r\n  y\r\ny=2\r\n", r#""a" "x"="1\ny" "y"="2""#),
        ("[a]\rx=1\r", r#""a" "x"="1""#),
        ("[a]\nx = a\u{2028}b\ny = \u{a0}z\u{a0}\n\u{a0}more", r#""a" "x"="a\u{2028}b" "y"="z\nmore""#),
        ("[a]\nx = 1\n__name__ = 5\n  gone\ny = 2", r#""a" "x"="1" "y"="2""#),
        (
            "[DEFAULT]\nq=1\nx=9\n[a]\nx=1\n[b]\n",
            "\"a\" \"q\"=\"1\" \"x\"=\"1\"\n\"b\" \"q\"=\"1\" \"x\"=\"9\"",
        ),
        ("[DEFAULT]\nx=1\n  y\n[a]\n[DEFAULT]\nx=2\n  w\n", r#""a" "x"="1\ny\nw""#),
        ("\n  \n# c\n", ""),
    ];
    for (text, wanted) in cases {
        assert_eq!(dump(text), wanted, "{text:?}");
    }
}

#[test]
fn names_every_faulty_line() {
    assert_eq!(
        errors("[a]\nfoo\nbar baz\nx=1\n[b]\n  y\n"),
        [
            r#"t.ini:2: not a `key = value` line: "foo""#,
            r#"t.ini:3: not a `key = value` line: "bar baz""#,
            r#"t.ini:6: not a `key = value` line: "  y""#,
        ]
    );
    assert_eq!(
        errors("x=1\ny=2\n[]\n[a]\n[]\n"),
        [
            r#"t.ini:1: a [section] title must come first: "x=1""#,
            r#"t.ini:5: not a `key = value` line: "[]""#,
        ]
    );
    assert_eq!(errors(" [a]\nx=1\n"), [r#"t.ini:1: a [section] title must come first: " [a]""#]);
    assert!(errors("\u{feff}[a]\n").concat().contains("byte order mark"));
    let bytes = Ini::parse_bytes(b"[a]\r\ny=1\r\nx = \xff\n", "t.ini").expect_err("no text");
    assert_eq!(bytes[0].to_string(), r#"t.ini:3: not UTF-8: "x = ""#);
    let bytes = Ini::parse_bytes(b"[a]\n\xff\n", "t.ini").expect_err("no text");
    assert_eq!(bytes[0].to_string(), r#"t.ini:2: not UTF-8: """#);
    let large = "#".repeat(MAX_BYTES + 1);
    assert!(errors(&large).concat().contains("4194305 bytes"));
}

#[test]
fn the_first_file_wins() {
    let mut ini = parse("[a]\nx=1\n");
    let later = Ini::parse("[a]\nx=2\n  more\ny=3\n[b]\nz=1\n[DEFAULT]\nd=1\n", "u.ini").expect("ini");
    ini.merge(later);
    ini.settle().unwrap();
    let a = ini.section("a").expect("a");
    assert_eq!(a.text("x"), Some("1"));
    assert_eq!(a.get("y").map(|e| e.place().to_string()), Some("u.ini:4".into()));
    assert!(a.get("d").is_some_and(|e| e.inherited));
    assert_eq!(ini.section("b").map(|b| b.place().to_string()), Some("u.ini:5".into()));
}

#[test]
fn reads_numbers_as_python_does() {
    let ini = parse("[a]\ni = +1_000\nf = 1_0.5e1\nn = 1__0\nb = YES\nm = maybe\ne =\n");
    let a = ini.section("a").expect("a");
    assert_eq!(a.int("i"), Ok(Some(1000)));
    assert_eq!(a.float("f"), Ok(Some(105.0)));
    assert_eq!(a.bool("b"), Ok(Some(true)));
    assert_eq!(a.int("absent"), Ok(None));
    let said = |error: ValueError| error.to_string();
    assert_eq!(a.int("n").map_err(said), Err(r#"t.ini:4: [a] n: "1__0" is not a whole number"#.into()));
    assert!(
        a.bool("m").map_err(said).expect_err("m").contains(r#"t.ini:6: [a] m: "maybe" is not a boolean"#)
    );
    assert!(a.bool("e").is_err() && a.int("e").is_err() && a.float("e").is_err());
    assert!(a.int("f").is_err());
}

#[test]
fn rewrites_values() {
    let mut ini = parse("[a]\nx=1\ny=2\n");
    ini.rewrite(|section, entry| (entry.key == "y").then(|| format!("{section}-{}", entry.value)));
    assert_eq!(ini.section("a").and_then(|a| a.text("y")), Some("a-2"));
    assert_eq!(ini.section("a").and_then(|a| a.text("x")), Some("1"));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_with_places(text in "(\\PC|[\n\r\t =:;#\\[\\]\u{1c}]){0,200}") {
        let count = text.split(['\n', '\r']).count();
        match Ini::parse(&text, "f") {
            Ok(ini) => {
                for section in &ini.sections {
                    prop_assert!(section.line <= count);
                    for (at, entry) in section.entries.iter().enumerate() {
                        prop_assert!(section.entries[..at].iter().all(|e| e.key != entry.key));
                    }
                }
            }
            Err(errors) => prop_assert!(errors.iter().all(|e| e.to_string().starts_with("f:"))),
        }
    }

    #[test]
    fn what_is_written_plainly_is_read_back(
        entries in proptest::collection::btree_map("[a-z_.]{1,8}", "[a-zA-Z0-9/*=:,]{1,20}", 1..8)
    ) {
        let body: String = entries.iter().map(|(k, v)| format!("{k} = {v}\n")).collect();
        let ini = parse(&format!("[s]\n{body}"));
        let section = &ini.sections[0];
        prop_assume!(entries.keys().all(|k| k != "rem"));
        for (key, value) in &entries {
            prop_assert_eq!(section.text(key), Some(value.as_str()));
        }
    }
}
