//! The shipped profiles, rendered: each for clusters of 1, 3, 5 and 11 nodes, first, middle and last
//! node, compared byte for byte with the files in `golden/profiles`. `CIRCUS_GOLDEN=write` writes them
//! anew; what changed is then to be read in the diff.
#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on must say so and end")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use circus_protocol::command::ResetKind;
use circus_protocol::ini::Ini;
use circus_protocol::service::{
    Level, Membership, RenderedFile, Services, check_root, plan_configure, plan_reset, shipped, template,
};

const SIZES: [u32; 4] = [1, 3, 5, 11];

fn member(identifier: u32, size: u32) -> Membership {
    let address = |n: u32| format!("192.0.2.{n}");
    Membership {
        identifier,
        address: address(identifier),
        cluster: (1..=size).map(address).collect(),
        is_master: identifier == 1,
        hostname: format!("node{identifier}"),
        ..Membership::default()
    }
}

/// Profiles that a service can use; the others are bases.
fn usable() -> impl Iterator<Item = &'static shipped::Profile> {
    shipped::PROFILES.iter().filter(|profile| !profile.about().versions.is_empty())
}

fn load(text: &str) -> Services {
    let ini = Ini::parse(text, "node.ini").unwrap_or_else(|errors| panic!("{errors:#?}"));
    Services::from_ini(&ini, Path::new("/etc")).unwrap_or_else(|errors| {
        panic!("{}", errors.iter().map(|error| format!("\n{error}")).collect::<String>())
    })
}

fn services(profile: &shipped::Profile, more: &str) -> Services {
    let service = profile.about().service;
    // Alone on its node: there is nobody to come after.
    load(&format!("[service:{service}]\nuse = {}\nhome = /srv/{service}\nafter =\n{more}", profile.name))
}

fn rendered(services: &Services, membership: &Membership) -> Vec<RenderedFile> {
    plan_configure(services, membership, None, &[]).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

fn golden(profile: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/profiles").join(format!("{profile}.txt"))
}

#[test]
fn every_profile_renders_as_before() {
    let write = std::env::var("CIRCUS_GOLDEN").is_ok_and(|word| word == "write");
    for profile in usable() {
        let services = services(profile, "");
        let mut text = String::new();
        for size in SIZES {
            let nodes: BTreeSet<u32> = [1, size / 2 + 1, size].into_iter().collect();
            for identifier in nodes {
                for file in rendered(&services, &member(identifier, size)) {
                    let path = file.path.display();
                    writeln!(text, "==> {size} nodes, node {identifier}: {path}\n{}\n", file.content)
                        .expect("a string");
                }
            }
        }
        let path = golden(profile.name);
        if write {
            std::fs::create_dir_all(path.parent().expect("a directory")).expect("made");
            std::fs::write(&path, &text).expect("written");
        }
        let wanted = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(text == wanted, "{} has changed; CIRCUS_GOLDEN=write, and read the diff", profile.name);
    }
}

/// What an operator relies on in each of them.
#[test]
fn every_profile_is_complete() {
    for profile in usable() {
        let about = profile.about();
        for (what, text) in
            [("product", &about.product), ("service", &about.service), ("ports", &about.ports)]
        {
            assert!(!text.is_empty(), "{}: {what}", profile.name);
        }
        let services = services(profile, "");
        assert_eq!(services.warnings, Vec::<String>::new(), "{}", profile.name);
        let service = &services.services[0];
        let watcher = |key: &str| service.watcher.iter().find(|entry| entry.key == key);
        for key in ["cmd", "stop_signal", "graceful_timeout", "autostart", "numprocesses"] {
            assert!(watcher(key).is_some(), "{}: watcher.{key}", profile.name);
        }
        for entry in service.watcher.iter().chain(&service.env) {
            assert!(!entry.value.contains("${"), "{}: {}", profile.name, entry.value);
        }
        for level in [Level::Up, Level::Joined] {
            assert!(service.probes.iter().any(|probe| probe.level == level), "{}: {level:?}", profile.name);
        }
        assert!(!service.java.is_empty() && !service.logs.is_empty(), "{}", profile.name);
        assert!(!service.exit_meanings.is_empty(), "{}", profile.name);
        let tasks = plan_reset(&services, Some(&member(2, 3)), None, ResetKind::All)
            .unwrap_or_else(|errors| panic!("{}: {errors:?}", profile.name));
        assert!(!tasks.is_empty(), "{}: resets nothing", profile.name);
        for task in tasks {
            assert!(task.root.starts_with(format!("/srv/{}", about.service)), "{:?}", task.root);
            check_root(&task.root).expect("a root");
        }
        // A reset does not need to know the node's place.
        plan_reset(&services, None, None, ResetKind::All)
            .unwrap_or_else(|errors| panic!("{}: {errors:?}", profile.name));
    }
}

#[test]
fn every_shipped_file_is_used_and_says_its_name() {
    let mut used = BTreeSet::new();
    for profile in shipped::PROFILES {
        let ini = profile.ini().unwrap_or_else(|errors| panic!("{}: {errors:?}", profile.name));
        let titles: Vec<&str> = ini.sections.iter().map(|section| section.name.as_str()).collect();
        assert_eq!(titles, [format!("profile:{}", profile.name)]);
        let entries = ini.sections.iter().flat_map(|section| &section.entries);
        used.extend(entries.filter_map(|entry| entry.value.strip_prefix(shipped::PREFIX).map(str::to_owned)));
        assert!(profile.text.is_ascii(), "{}: plain text, for any terminal", profile.name);
    }
    let there: BTreeSet<String> = shipped::TEMPLATES.iter().map(|one| one.name.to_owned()).collect();
    assert_eq!(used, there);
    for one in shipped::TEMPLATES {
        assert!(one.text.is_ascii() && !template::names(one.text).is_empty() || one.name == "graph.groovy");
    }
    let on_disk = |directory: &str| -> BTreeSet<String> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
        let entries =
            std::fs::read_dir(directory).expect("the profiles").map(|entry| entry.expect("an entry"));
        let files = entries.filter(|entry| entry.path().is_file());
        files.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    assert_eq!(on_disk("profiles/templates"), there);
    let profiles: BTreeSet<String> = shipped::names().map(|name| format!("{name}.ini")).collect();
    assert_eq!(on_disk("profiles"), profiles);
}

fn content(services: &Services, membership: &Membership, label: &str) -> String {
    let files = rendered(services, membership);
    files.into_iter().find(|file| file.label == label).expect("the file").content
}

/// The derived values of the fact sheet.
#[test]
fn values_follow_from_the_cluster() {
    let five = services(&shipped::profile("neo4j-5-v2").expect("shipped"), "");
    for (size, system, primaries) in [(1, 1, 1), (2, 2, 1), (3, 3, 3), (4, 3, 3), (11, 3, 3)] {
        let text = content(&five, &member(1, size), "conf");
        let wanted = format!("minimum_initial_system_primaries_count={system}\n");
        assert!(text.contains(&wanted), "{size}: {text}");
        assert!(text.contains(&format!("default_primaries_count={primaries}\n")), "{size}: {text}");
    }
    let many = services(
        &shipped::profile("neo4j-2025").expect("shipped"),
        "value.primaries.number = odd(min(11, cluster_size))\n",
    );
    for (size, primaries) in [(6, 5), (11, 11), (32, 11)] {
        let text = content(&many, &member(1, size), "conf");
        assert!(text.contains(&format!("default_primaries_count={primaries}\n")), "{size}: {text}");
    }
    let causal = services(&shipped::profile("neo4j-4.4-cc").expect("shipped"), "");
    for (size, mode, minimum) in [(1, "SINGLE", 2), (2, "CORE", 2), (5, "CORE", 3)] {
        let text = content(&causal, &member(1, size), "conf");
        assert!(text.contains(&format!("dbms.mode={mode}\n")), "{size}: {text}");
        assert!(text.contains(&format!("size_at_formation={minimum}\n")), "{size}: {text}");
    }
}

#[test]
fn seeds_and_bootstrap_follow_from_what_is_begun() {
    let ring = services(&shipped::profile("cassandra-4.1").expect("shipped"), "");
    let yaml = |membership: &Membership| content(&ring, membership, "yaml");
    let usual = member(6, 11);
    assert!(yaml(&usual).contains("seeds: \"192.0.2.1,192.0.2.6,192.0.2.11\""));
    assert!(yaml(&usual).contains("auto_bootstrap: true"));
    let joining = Membership { joining: true, ..usual.clone() };
    assert!(yaml(&joining).contains("seeds: \"192.0.2.1,192.0.2.11\""));
    assert!(yaml(&Membership { fresh: true, ..usual }).contains("auto_bootstrap: false"));
    let index = services(&shipped::profile("elasticsearch-7").expect("shipped"), "");
    let text = content(&index, &member(2, 3), "yml");
    assert!(text.contains(r#"cluster.initial_master_nodes: ["192.0.2.1", "192.0.2.2", "192.0.2.3"]"#));
    let joining = Membership { joining: true, ..member(2, 3) };
    assert!(!content(&index, &joining, "yml").contains("initial_master_nodes"));
}
