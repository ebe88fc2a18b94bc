//! Templates are rendered to the byte as Python's `string.Template` renders them: recorded cases,
//! thousands of random ones asked of a real Python, and the example node's files for clusters of
//! several sizes.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that cannot go on must say so and end"
)]

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use circus_protocol::ini::Ini;
use circus_protocol::service::template::{TemplateProblemKind, substitute};
use circus_protocol::service::{Membership, Services, TemplateText, plan_configure, template_paths};
use circus_tests::daemon::workspace;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

/// How many random templates are compared.
const RANDOM: usize = 5000;

fn python() -> PathBuf {
    let found = std::env::var_os("CIRCUS_TEST_PYTHON")
        .map_or_else(|| workspace().join("target/stock/bin/python"), PathBuf::from);
    assert!(found.exists(), "no python at {}: run tests/setup, or set CIRCUS_TEST_PYTHON", found.display());
    found
}

/// Asks Python once for everything.
fn oracle(job: &Value) -> Value {
    let mut child = Command::new(python())
        .arg(workspace().join("tests/templates/oracle.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python starts");
    // The oracle reads everything before it writes anything, so this cannot wait for each other.
    child.stdin.take().expect("stdin").write_all(job.to_string().as_bytes()).expect("python reads");
    let output = child.wait_with_output().expect("python ends");
    assert!(output.status.success(), "the oracle failed");
    serde_json::from_slice(&output.stdout).expect("the oracle answers with JSON")
}

/// Our answer in the oracle's form; like Python, only the first problem.
fn ours(template: &str, values: &Value) -> Value {
    match substitute(template, |name| values[name].as_str()) {
        Ok(text) => json!({"ok": text}),
        Err(problems) => match &problems[0].kind {
            TemplateProblemKind::Unknown(name) => json!({"unknown": name}),
            TemplateProblemKind::Invalid => json!({"line": problems[0].line, "column": problems[0].column}),
        },
    }
}

fn compare(template: &str, values: &Value, theirs: &Value) {
    let ours = ours(template, values);
    // Python counts lines at many more characters than editors do.
    let exotic = |c: char| "\u{b}\u{c}\r\u{1c}\u{1d}\u{1e}\u{85}\u{2028}\u{2029}".contains(c);
    if template.contains(exotic) && theirs["line"].is_number() {
        assert!(ours["line"].is_number(), "{template:?}: {ours} instead of {theirs}");
        return;
    }
    assert_eq!(&ours, theirs, "{template:?}");
}

#[test]
fn recorded_cases_are_rendered_as_recorded() {
    let golden: Value = serde_json::from_str(include_str!("templates/golden.json")).expect("JSON");
    let cases = golden["cases"].as_array().expect("cases");
    assert!(cases.len() > 40);
    for case in cases {
        let mut theirs = case.clone();
        let template = theirs.as_object_mut().and_then(|case| case.remove("template")).expect("template");
        compare(template.as_str().expect("text"), &golden["values"], &theirs);
    }
}

#[test]
fn random_templates_are_rendered_as_python_does() {
    let values = json!({"a": "1", "_": "$a", "ab1": "${a}\n", "Zz": "é$", "a_": ""});
    let pieces = "(\\$|\\$\\$|\\{|\\}|\\$\\{|a|_|ab1|Zz|a_|1|b|\n|\r| |é|ſ|K|\u{2028}|\u{85}|\\PC|\\$a|\\$\\{ab1\\}){0,12}";
    let strategy = proptest::string::string_regex(pieces).expect("a pattern");
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let templates: Vec<String> =
        (0..RANDOM).map(|_| strategy.new_tree(&mut runner).expect("a template").current()).collect();
    let theirs = oracle(&json!({"values": values, "templates": templates, "files": []}));
    let mut rendered = 0;
    for (template, theirs) in templates.iter().zip(theirs["templates"].as_array().expect("answers")) {
        compare(template, &values, theirs);
        rendered += usize::from(theirs["ok"].is_string());
    }
    assert!(rendered > RANDOM / 20, "only {rendered} templates were good ones; the test asks too little");
    assert!(rendered < RANDOM, "and some must be bad");
}

/// The example node: five files, one per template, as the first `configure` would have written them.
#[test]
fn the_example_node_is_configured_as_in_2015() {
    let configs = workspace().join("examples/configs");
    let text = std::fs::read_to_string(configs.join("cluster-node.ini")).expect("the example");
    let file = configs.join("cluster-node.ini");
    let ini = Ini::parse(&text, file.to_str().expect("a plain path")).unwrap_or_else(|e| panic!("{e:?}"));
    let services = Services::from_ini(&ini, &configs).unwrap_or_else(|e| panic!("{e:#?}"));
    assert_eq!(services.warnings, Vec::<String>::new());
    let mut jobs = Vec::new();
    let mut rendered = Vec::new();
    for (identifier, size) in [(1, 1), (2, 3), (1, 11), (7, 32)] {
        let membership = member(identifier, size);
        let paths = template_paths(&services, &membership, None, &[]).expect("templates");
        let read = |(service, label, path): (String, String, PathBuf)| {
            let text =
                std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            TemplateText { service, label, origin: path.display().to_string(), text }
        };
        let texts: Vec<TemplateText> = paths.into_iter().map(read).collect();
        assert_eq!(texts.len(), 5);
        let files = plan_configure(&services, &membership, None, &texts).expect("files");
        jobs.extend(texts.iter().map(|text| {
            let Membership { identifier, address, cluster, is_master, .. } = &membership;
            json!({"identifier": identifier, "address": address, "cluster": cluster, "is_master": is_master, "text": text.text})
        }));
        rendered.extend(files.into_iter().map(|file| file.content));
    }
    let theirs = oracle(&json!({"values": {}, "templates": [], "files": jobs}));
    let theirs: Vec<&str> =
        theirs["files"].as_array().expect("files").iter().filter_map(Value::as_str).collect();
    assert_eq!(rendered, theirs);
    assert!(rendered[5].contains("ha.slave_only=True") && rendered[0].contains("ha.slave_only=False"));
    assert!(rendered.iter().any(|text| text.contains("Query$Compare")));
}

fn member(identifier: u32, size: u32) -> Membership {
    let address = |n: u32| format!("192.0.2.{n}");
    Membership {
        identifier,
        address: address(identifier),
        cluster: (1..=size).map(address).collect(),
        is_master: identifier == 1,
        hostname: "node".into(),
        ..Membership::default()
    }
}
