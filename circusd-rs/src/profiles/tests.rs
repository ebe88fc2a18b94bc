use circus_protocol::ini::Ini;
use circus_protocol::service::Services;

use super::*;

fn words(profiles: &[&str], homes: &[&str]) -> InitArguments {
    InitArguments {
        profiles: profiles.iter().map(|name| (*name).to_owned()).collect(),
        home: homes.iter().map(Into::into).collect(),
        output: None,
    }
}

fn text(profiles: &[&str], homes: &[&str]) -> String {
    let chosen = chosen(&words(profiles, homes)).unwrap_or_else(|error| panic!("{error}"));
    first::file(&chosen, None)
}

fn services(text: &str) -> Services {
    let ini = Ini::parse(text, "circus.ini").unwrap();
    Services::from_ini(&ini, Path::new("/etc")).unwrap_or_else(|errors| panic!("{text}\n{errors:#?}"))
}

/// Each file loads, and each of its commented keys does, too.
#[test]
fn every_first_file_loads() {
    for profile in shipped::PROFILES.iter().filter(|profile| !profile.about().versions.is_empty()) {
        let text = text(&[profile.name], &["/opt/x"]);
        let plain = services(&text);
        assert_eq!(plain.services[0].home.as_ref().map(|home| home.text.as_str()), Some("/opt/x"));
        let said: String = text
            .lines()
            .map(|line| match line.strip_prefix("; ") {
                Some(key) if ["value.", "watcher.", "env."].iter().any(|group| key.starts_with(group)) => key,
                _ => line,
            })
            .map(|line| format!("{line}\n"))
            .collect();
        let again = services(&said);
        assert_eq!(again.services[0].configs.len(), plain.services[0].configs.len(), "{}", profile.name);
    }
}

#[test]
fn a_first_file_for_two_products() {
    let text = text(&["cassandra-4.1", "janusgraph-1"], &["/opt/c/", "/opt/j"]);
    let services = services(&text);
    let names: Vec<&str> = services.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["cassandra", "janusgraph"]);
    assert_eq!(services.services[1].after[0].service, "cassandra", "it is there, so it is waited for");
    assert!(text.contains("; cmd = /opt/c/bin/cassandra\n"), "{text}");
    assert!(text.contains("; args = console /opt/j/conf/janusgraph-cluster.yaml\n"), "{text}");
    let alone = self::text(&["titan-1.0"], &["/opt/t"]);
    assert!(alone.contains("\nafter =\n") && alone.contains("\ncluster_after =\n"), "{alone}");
}

#[test]
fn what_cannot_be_is_said() {
    let cases: [(&[&str], &[&str], &str); 6] = [
        (&["neo4j-6"], &["/x"], "there is no profile \"neo4j-6\"; did you mean `neo4j-5`?"),
        (&["neo4j-base"], &["/x"], "for no version by itself; choose one of: neo4j-2-ha, "),
        (&["neo4j-5", "neo4j-2-ha"], &["/x"], "neo4j-5 and neo4j-2-ha are both for [service:neo4j]"),
        (&["neo4j-5"], &["/x", "/y"], "--home is there 2 times for 1 profiles"),
        (&["neo4j-5"], &["/a$b"], "has a character in it that an ini file cannot hold"),
        (&["zorg"], &["/x"], "there is no profile \"zorg\"; `circusd-rs profiles` lists them"),
    ];
    for (profiles, homes, wanted) in cases {
        let error = chosen(&words(profiles, homes)).err().unwrap().to_string();
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn profiles_are_listed_and_printed() {
    let list = listed();
    assert!(list.lines().all(|line| line.len() < 110), "{list}");
    assert!(list.contains("\nneo4j-5-v2 "), "{list}");
    assert!(!list.contains("-base"), "{list}");
    let printed = printed(&["neo4j-5".to_owned(), "shipped:graph.groovy".to_owned()]).unwrap();
    assert!(printed.contains("[profile:neo4j-5]") && printed.contains("graph.traversal()"));
    assert!(super::printed(&["x".to_owned()]).is_err());
}

#[test]
fn a_file_that_is_there_stays() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("circus.ini");
    write_new(&path, "mine").unwrap();
    assert!(write_new(&path, "theirs").unwrap_err().to_string().contains("cannot be written"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
}
