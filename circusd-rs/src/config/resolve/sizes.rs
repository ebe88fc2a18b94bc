//! Files of a hundred kilobytes that ask for more than a machine has, or for the square of their length:
//! each is read like any other, or refused with the limit and its place. That this is quick is not
//! measured here; a shape that is not would not end.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::tests::{Venvs, load};
use super::*;

fn read(text: &str) -> Result<Config, Vec<String>> {
    load(text).map(|resolved| resolved.config)
}

fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(line).collect()
}

fn watchers(count: usize) -> String {
    lines(count, |n| format!("[watcher:{n:x}]\ncmd=a\n"))
}

/// The only fault.
fn fault(text: &str) -> String {
    let mut faults = read(text).unwrap_err();
    assert_eq!(faults.len(), 1, "{:?}", faults.first());
    faults.remove(0)
}

#[test]
fn a_default_for_every_section_has_a_limit() {
    let text = format!("[DEFAULT]\n{}{}", lines(9000, |n| format!("k{n:x}=\n")), watchers(3000));
    assert_eq!(
        fault(&text),
        "c.ini:2: [DEFAULT] has 9000 keys, and 3000 sections inherit them: more than 250000 keys or 67108864 bytes in all"
    );
    let text = format!("[DEFAULT]\n{}{}", lines(20, |n| format!("k{n:x}=\n")), watchers(3000));
    let config = read(&text).unwrap();
    assert_eq!(config.watchers.iter().map(|watcher| watcher.custom.len()).sum::<usize>(), 60_000);
}

#[test]
fn watchers_of_the_same_sections_share_one_environment() {
    for title in ["env", "env:*"] {
        let text = format!("[{title}]\n{}{}", lines(9000, |n| format!("k{n:x}=\n")), watchers(3000));
        let config = read(&text).unwrap();
        let first = config.watchers[0].env.clone().unwrap();
        assert_eq!((config.watchers.len(), first.len()), (3000, 9000));
        assert!(config.watchers.iter().all(|watcher| Arc::ptr_eq(watcher.env.as_ref().unwrap(), &first)));
    }
}

#[test]
fn different_environments_have_a_limit() {
    let own = lines(2000, |n| format!("[env:{n:x}]\na=\n"));
    let text = format!("[env]\n{}{own}{}", lines(5000, |n| format!("k{n:x}=\n")), watchers(2000));
    let fault = fault(&text);
    assert!(
        fault.ends_with("all different environments together have more than 250000 variables"),
        "{fault}"
    );
}

#[test]
fn patterns_for_watchers_have_a_limit() {
    let text = format!("[env:{}]\na=b\n{}", "*a*b*c,".repeat(8000), watchers(3000));
    let fault = fault(&text);
    assert!(fault.contains("too many [env:PATTERN]"), "{fault}");
    let text = format!("[env:{}*]\na=b\n{}", "some,other,".repeat(4000), watchers(1000));
    assert_eq!(read(&text).unwrap().watchers.len(), 1000);
}

#[test]
fn sections_of_services_and_keys_of_profiles_have_limits() {
    let services = |count| lines(count, |n| format!("[service:{n:x}]\nhome=/x\n"));
    assert_eq!(read(&services(1000)).unwrap().services.services.len(), 1000);
    assert_eq!(
        fault(&services(5000)),
        "c.ini:2001: [service:3e8]: there are more than 1000 sections about services"
    );
    let profile = |keys| format!("[profile:p]\n{}", lines(keys, |n| format!("env.k{n:x}=/x\n")));
    let users = |count| lines(count, |n| format!("[service:{n:x}]\nuse=p\n"));
    assert_eq!(fault(&profile(501)), "c.ini:1: [profile:p]: a profile has no more than 500 keys");
    let fault = fault(&format!("{}{}", users(900), profile(500)));
    assert_eq!(
        fault,
        "c.ini:81: [service:28]: all profiles and services together bring more than 20000 keys"
    );
    let config = read(&format!("{}{}", users(39), profile(500))).unwrap();
    assert_eq!(config.services.services.iter().map(|service| service.env.len()).sum::<usize>(), 39 * 500);
}

#[test]
fn many_watchers_and_sockets_are_many_and_not_more() {
    let text = format!(
        "{}{}{}",
        watchers(7000),
        lines(2000, |n| format!("[watcher:{n:X}]\ncmd=a\n")),
        lines(3000, |n| format!("[socket:{n:x}]\nport=0\n"))
    );
    let config = read(&text).unwrap();
    // Those of 2,000 hexadecimal numbers that have a letter are there in both cases.
    assert_eq!((config.watchers.len(), config.sockets.len()), (7000, 3000));
    let again = read(&text).unwrap();
    assert_eq!(crate::config::diff::watchers(&config.watchers, &again.watchers), []);
    assert_eq!(crate::config::diff::watchers([], &again.watchers).len(), 7000);
}

#[test]
fn what_variables_make_of_a_value_has_a_limit() {
    let long = "x".repeat(60_000);
    let text = format!("[env]\nV={long}\n[watcher:a]\ncmd=a\nargs={}\n", "$(circus.env.v)".repeat(4000));
    assert_eq!(
        fault(&text),
        "c.ini:5: [watcher:a] args: with its variables replaced this is 240000000 bytes, more than 1048576"
    );
    let text = format!(
        "[env]\nV={long}\n[env:*]\n{}[watcher:a]\ncmd=a\n",
        lines(3000, |n| format!("v{n:x}=$(circus.env.v)\n"))
    );
    let fault = fault(&text);
    assert!(fault.ends_with("all values together are more than 16777216 bytes"), "{fault}");
    let text = format!("[env]\nV={long}\n[watcher:a]\ncmd=a\nargs={}\n", "$(circus.env.v)".repeat(17));
    assert_eq!(read(&text).unwrap().watchers[0].args.as_str().map(str::len), Some(17 * 60_000));
}

#[test]
fn a_variable_of_the_daemon_is_not_multiplied_without_end() {
    let environment: BTreeMap<String, String> = [("V".to_owned(), "x".repeat(100_000))].into();
    let inherited = Arc::new(Inherited { environment, working_dir: "/".to_owned() });
    let text = format!("[env]\na={}\n[watcher:a]\ncmd=a\n", "$V".repeat(4000));
    let ini = Ini::parse(&text, "c.ini").unwrap();
    let faults = resolve(ini, &inherited, &Venvs).unwrap_err();
    assert_eq!(
        faults,
        [
            "c.ini:3: [watcher:a] env: the variable a: with its variables replaced this is 400000001 bytes, more than 1048576"
        ]
    );
}
