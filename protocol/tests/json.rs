//! JSON against Python: tables recorded with CPython, and properties over arbitrary input.
#![expect(
    clippy::unwrap_used,
    reason = "the lints know tests by their functions; these are the helpers of tests"
)]

use circus_protocol::json::{self, JsonError, MAX_DEPTH, MAX_DIGITS};
use proptest::prelude::*;
use serde_json::Value;

fn printed(text: &str) -> String {
    String::from_utf8(json::to_vec(&json::parse(text.as_bytes()).unwrap())).unwrap()
}

#[test]
fn floats_print_as_in_python() {
    for line in include_str!("golden/floats.tsv").lines() {
        let (bits, python) = line.split_once('\t').unwrap();
        let float = f64::from_bits(u64::from_str_radix(bits, 16).unwrap());
        assert_eq!(json::float_repr(float), python);
        assert_eq!(json::to_vec(&json::float(float)), python.as_bytes());
        assert_eq!(printed(python), python);
    }
}

#[test]
fn values_are_counted() {
    let text = br#"[1, {"a": [true, "x"]}, null]"#;
    assert!(json::parse_within(text, 7).is_ok());
    assert_eq!(json::parse_within(text, 6), Err(JsonError::TooMany { limit: 6, at: 24 }));
    assert!(json::parse(format!("[{}1]", "1,".repeat(json::MAX_VALUES - 2)).as_bytes()).is_ok());
    assert!(json::parse(format!("[{}1]", "1,".repeat(json::MAX_VALUES - 1)).as_bytes()).is_err());
}

#[test]
fn reprs_are_python_s() {
    for line in include_str!("golden/reprs.jsonl").lines() {
        let row = json::parse(line.as_bytes()).unwrap();
        let text = row[0].as_str().unwrap();
        assert_eq!(json::python_repr_str(text), row[1].as_str().unwrap());
        assert_eq!(json::python_repr_bytes(text.as_bytes()), row[2].as_str().unwrap());
    }
    let value =
        json::parse(br#"{"a": [1, -0, 1.0, 1e400, -Infinity, NaN, null, true], "it's": {"b": false}}"#)
            .unwrap();
    let repr = r#"{'a': [1, 0, 1.0, inf, -inf, nan, None, True], "it's": {'b': False}}"#;
    assert_eq!(json::python_repr(&value), repr);
    assert_eq!(json::python_str(&Value::from("plain")), "plain");
}

#[test]
fn what_python_takes_is_taken() {
    for (text, python) in [
        ("[NaN,Infinity,-Infinity]", "[NaN, Infinity, -Infinity]"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("[-0, -0.0, 1E5, 1.10, 1e-5, 1e400]", "[0, -0.0, 100000.0, 1.1, 1e-05, Infinity]"),
        (r#"{"a":1,"b":2,"a":3}"#, r#"{"a": 3, "b": 2}"#),
        (r#""\u00e9\ud83d\ude00\/\b\f""#, r#""\u00e9\ud83d\ude00/\b\f""#),
        ("\"\u{7f}\u{1f600}\"", r#""\u007f\ud83d\ude00""#),
        (" \t\r\n{ } ", "{}"),
        ("[[],{},\"\"]", "[[], {}, \"\"]"),
    ] {
        assert_eq!(printed(text), python);
    }
}

/// `json!` and `to_value` write a value and read it again; both would panic on a number they do not know.
#[test]
fn no_number_makes_serde_json_panic() {
    let value = json::parse(
        b"[NaN, Infinity, -Infinity, 0e999, 0E+999, -0e999, 1e999, 123456789012345678901234567890]",
    )
    .unwrap();
    let wrapped = serde_json::json!({"wrapped": value});
    let python = r#"{"wrapped": [NaN, Infinity, -Infinity, 0.0, 0.0, -0.0, Infinity, 123456789012345678901234567890]}"#;
    assert_eq!(json::to_vec(&wrapped), python.as_bytes());
    assert_eq!(
        json::python_repr(&value),
        "[nan, inf, -inf, 0.0, 0.0, -0.0, inf, 123456789012345678901234567890]"
    );
    assert!(serde_json::from_str::<Value>(&wrapped.to_string()).is_ok());
}

/// A Rust string cannot hold half a surrogate pair.
#[test]
fn half_a_surrogate_pair_is_replaced() {
    for text in [r#""\ud800""#, r#""\udc00""#, r#""\ud800\u0041""#, r#""\ud800\ud800\udc00""#] {
        assert!(printed(text).starts_with(r#""\ufffd"#), "{text}");
    }
    assert_eq!(printed(r#""\ud800\u0041""#), r#""\ufffdA""#);
    assert_eq!(printed(r#""\ud800\ud800\udc00""#), r#""\ufffd\ud800\udc00""#);
}

#[test]
fn what_python_refuses_is_refused() {
    for text in [
        "",
        " ",
        "{",
        "[1,",
        "[1,]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{1:2}",
        "'a'",
        "01",
        "1.",
        ".5",
        "1e",
        "+1",
        "-",
        "--1",
        "nul",
        "Nan",
        "-NaN",
        "\"a",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u+123\"",
        "\"\\u12é\"",
        "\"a\nb\"",
        "\"\u{1}\"",
        "1 2",
        "[]]",
        "tru",
        "\u{a0}1",
        "\u{b}1",
    ] {
        assert!(json::parse(text.as_bytes()).is_err(), "{text:?}");
    }
    assert_eq!(json::parse("\u{feff}{}".as_bytes()), Err(JsonError::Bom));
    assert_eq!(json::parse(b"\"ab\xff\""), Err(JsonError::Utf8(3)));
    assert!(matches!(json::parse(&vec![b'7'; MAX_DIGITS + 1]), Err(JsonError::TooLong(0))));
    assert!(json::parse(&vec![b'7'; MAX_DIGITS]).is_ok());
}

#[test]
fn nesting_has_an_end() {
    let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
    assert!(json::parse(&nested(MAX_DEPTH)).is_ok());
    assert!(matches!(json::parse(&nested(MAX_DEPTH + 2)), Err(JsonError::TooDeep(_))));
    assert!(matches!(json::parse(&vec![b'['; 1_000_000]), Err(JsonError::TooDeep(_))));
}

#[test]
fn truth_is_python_s() {
    for (text, truth) in [
        ("null", false),
        ("false", false),
        ("true", true),
        ("0", false),
        ("-0", false),
        ("0.0", false),
        ("1", true),
        ("NaN", true),
        ("\"\"", false),
        ("\"no\"", true),
        ("[]", false),
        ("[0]", true),
        ("{}", false),
        ("{\"a\":0}", true),
    ] {
        assert_eq!(json::truthy(&json::parse(text.as_bytes()).unwrap()), truth, "{text}");
    }
}

/// Arbitrary JSON, floats included.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(json::float),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..5)
                .prop_map(|pairs| pairs.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn printed_values_read_back(value in value()) {
        let bytes = json::to_vec(&value);
        prop_assert!(bytes.is_ascii());
        prop_assert_eq!(json::parse(&bytes), Ok(value.clone()));
        prop_assert_eq!(serde_json::json!(value), value);
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = json::parse(&bytes);
        let _ = json::python_repr_bytes(&bytes);
    }

    #[test]
    fn arbitrary_json_like_text_does_not_panic(text in "[\\[\\]{}\",:\\\\udD8cC0-9eE.+\\- aNIfinity]{0,80}") {
        if let Ok(value) = json::parse(text.as_bytes()) {
            prop_assert!(json::parse(&json::to_vec(&value)).is_ok());
            let _ = json::python_repr(&value);
        }
    }

    #[test]
    fn a_decimal_prints_as_its_float(text in "-?(0|[1-9][0-9]{0,11})\\.[0-9]{1,12}") {
        prop_assert_eq!(printed(&text), json::float_repr(text.parse().unwrap()));
    }

    #[test]
    fn any_float_survives(float in any::<f64>()) {
        let read = json::parse(&json::to_vec(&json::float(float))).unwrap();
        let Value::Number(number) = read else { panic!("{read}") };
        let read = json::as_float(&number).unwrap();
        prop_assert!(read.to_bits() == float.to_bits() || read.is_nan() && float.is_nan());
    }
}
