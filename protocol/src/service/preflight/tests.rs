use serde_json::json;

use super::*;
use crate::ini::Place;

fn limit(resource: &str, least: Option<u64>) -> Limit {
    Limit { resource: resource.to_owned(), least, place: Place { file: "x.ini".into(), line: 1 } }
}

fn account(name: &str, uid: u32) -> Account {
    Account { name: name.to_owned(), uid, groups: vec![uid] }
}

/// `check grade: text -> remedy`, one a line.
fn told(look: &Look, facts: &Facts) -> Vec<String> {
    let line = |finding: &Finding| {
        let Finding { service, check, grade, text, remedy } = finding;
        format!("{service}/{check} {}: {text} -> {remedy}", grade.word())
    };
    judge(look, facts).iter().map(line).collect()
}

fn look() -> Look {
    Look { service: "db".into(), address: Some("10.0.0.7".into()), ..Look::default() }
}

#[test]
fn nothing_found_is_nothing_wrong() {
    let look = Look { java: vec![8], limits: vec![limit("nofile", Some(1))], ports: vec![1], ..look() };
    assert_eq!(told(&look, &Facts::default()), Vec::<String>::new());
}

#[test]
fn a_node_that_does_not_know_itself() {
    let facts = Facts {
        hostname: "n7".into(),
        hostname_error: Some("unknown".into()),
        address_error: Some("cannot assign".into()),
        ..Facts::default()
    };
    assert_eq!(
        told(&Look { java: vec![8], ..look() }, &facts),
        [
            "/hostname problem: its own name n7 leads to no address: unknown -> add the line `10.0.0.7 n7` to /etc/hosts",
            "/address problem: 10.0.0.7 is not an address of this node: cannot assign -> correct the cluster's \
             addresses (`circusman cluster`), or give the node this one",
        ]
    );
    assert!(told(&look(), &facts)[1].starts_with("/hostname warning"), "without Java it is only a warning");
}

#[test]
fn ports_have_holders() {
    let holder = |port, pid, own| Holder {
        port,
        at: format!("0.0.0.0:{port}"),
        pid,
        command: "java -cp x".into(),
        user: "neo4j".into(),
        own,
    };
    let holders = vec![holder(7474, Some(12), false), holder(7687, None, false), holder(1, Some(3), true)];
    assert_eq!(
        told(&look(), &Facts { holders, ..Facts::default() }),
        [
            "db/port problem: port 7474 is taken: java -cp x (pid 12, user neo4j) listens on 0.0.0.0:7474 -> \
             stop it (`kill 12`), or give db another port",
            "db/port problem: port 7687 is taken: a process of user neo4j, which the daemon may not look into \
             listens on 0.0.0.0:7687 -> find it with `ss -ltnp sport = 7687` as root and stop it",
        ]
    );
}

#[test]
fn java_of_the_right_age() {
    let look = Look { java: vec![8, 11, 17], ..look() };
    let said = |output: &str| told(&look, &Facts { java: Some(Ok(output.into())), ..Facts::default() });
    let nothing: [&str; 0] = [];
    assert_eq!(said("openjdk version \"17.0.19\" 2026-01-20\n"), nothing);
    assert_eq!(said("Picked up JAVA_TOOL_OPTIONS: -Dx\njava version \"1.8.0_292\"\n"), nothing);
    assert_eq!(said("openjdk version \"11\" 2018-09-25\n"), nothing);
    assert!(
        said("openjdk version \"21-ea\" 2023\n")[0].contains("its Java is 21; it is made for 8, 11 or 17")
    );
    assert!(said("java version \"1.7.0\"\n")[0].starts_with("db/java problem: its Java is 7"));
    assert!(said("GraalVM")[0].starts_with("db/java warning: the version of its Java cannot be told"));
    let missing = Facts { java: Some(Err("java: not found".into())), ..Facts::default() };
    assert_eq!(
        told(&look, &missing),
        ["db/java problem: no Java: java: not found -> install Java 8, 11 or 17 and set `env.JAVA_HOME` in \
          [service:db] to where it is"]
    );
}

#[test]
fn limits_that_are_really_reached() {
    let reached = |soft, hard, running| Facts {
        limits: vec![Reached { resource: "nofile".into(), soft, hard, running }],
        ..Facts::default()
    };
    let plain = Look { limits: vec![limit("nofile", Some(40_000))], ..look() };
    let java = Look { java: vec![8], ..plain.clone() };
    let nothing: [&str; 0] = [];
    assert_eq!(told(&plain, &reached(Some(40_000), None, false)), nothing);
    assert_eq!(
        told(&plain, &reached(Some(1024), Some(65_536), false)),
        [
            "db/limit warning: nofile: a process would get 1024, it should have 40000 -> set `rlimit_nofile = 40000` \
          in [watcher:db]"
        ]
    );
    assert_eq!(told(&java, &reached(Some(1024), Some(65_536), false)), nothing, "it raises that itself");
    assert_eq!(
        told(&java, &reached(Some(4096), Some(4096), true)),
        [
            "db/limit warning: nofile: its process has 4096, it should have 40000 -> raise the daemon's own limit \
          (`LimitNOFILE=` of its unit, or limits.conf)"
        ]
    );
    let mut set = plain.clone();
    set.process.rlimits = vec![("nofile".into(), Some(50_000))];
    assert_eq!(told(&set, &reached(Some(1024), Some(65_536), false)), nothing);
    assert!(told(&set, &reached(Some(1024), Some(4096), false))[0].starts_with(
        "db/limit problem: rlimit_nofile = 50000 cannot be had: the daemon's own limit is 4096 -> raise that"
    ));
    let root = Facts { privileged: true, ..reached(Some(1024), Some(4096), false) };
    assert_eq!(told(&set, &root), nothing);
    set.process.rlimits = vec![("nofile".into(), Some(2000))];
    assert!(told(&set, &root)[0].starts_with("db/limit warning: rlimit_nofile = 2000, it should have 40000"));
    let memlock = Look { limits: vec![limit("memlock", None)], ..look() };
    let facts = Facts {
        limits: vec![Reached { resource: "memlock".into(), soft: Some(65_536), hard: None, running: false }],
        ..Facts::default()
    };
    assert!(
        told(&memlock, &facts)[0].contains("memlock: a process would get 65536, it should have unlimited")
    );
}

#[test]
fn directories_and_their_owners() {
    let look = Look { needed: vec!["/opt/db".into()], written: vec!["/var/db".into()], ..look() };
    let at = |path: &str, found: &str, uid, mode| PathFact {
        path: path.into(),
        found: found.into(),
        is_dir: true,
        uid,
        gid: uid,
        owner: format!("u{uid}:u{uid}"),
        mode,
        ..PathFact::default()
    };
    let said = |paths: Vec<PathFact>| {
        told(&look, &Facts { user: Some(Ok(account("db", 9))), paths, ..Facts::default() })
    };
    let nothing: [&str; 0] = [];
    assert_eq!(said(vec![at("/opt/db", "/opt/db", 0, 0o755), at("/var/db", "/var/db", 9, 0o700)]), nothing);
    assert_eq!(
        said(vec![at("/opt/db", "/opt", 0, 0o755), at("/var/db", "/var/db", 0, 0o755)]),
        [
            "db/directory problem: /opt/db does not exist -> make it (`mkdir -p /opt/db`), or correct where it should be",
            "db/directory problem: db cannot write into /var/db: it is u0:u0's, mode 0755 -> `chown -R db /var/db`",
        ]
    );
    assert_eq!(
        said(vec![at("/opt/db", "/opt/db", 0, 0o700), at("/var/db", "/var", 0, 0o755)]),
        [
            "db/directory problem: db cannot enter /opt/db: it is u0:u0's, mode 0700 -> `chmod a+x /opt/db`, or give it to db",
            "db/directory problem: /var/db does not exist, and db cannot make it in /var (u0:u0) -> \
             `install -d -o db /var/db`",
        ]
    );
    let foreign = Some(("/var/db/data".to_owned(), "root".to_owned()));
    assert_eq!(
        said(vec![PathFact { foreign, ..at("/var/db", "/var/db", 9, 0o700) }]),
        ["db/directory warning: /var/db/data belongs to root, not to db -> `chown -R db /var/db`"]
    );
    let file = PathFact { is_dir: false, ..at("/var/db", "/var/db", 9, 0o600) };
    assert!(said(vec![file])[0].contains("/var/db is not a directory"));
}

#[test]
fn a_process_that_cannot_start() {
    let mut look = look();
    look.process.program = "bin/db".into();
    let facts = Facts {
        user: Some(Err("there is no user db".into())),
        program_error: Some("not found".into()),
        ..Facts::default()
    };
    assert_eq!(
        told(&look, &facts),
        [
            "db/user problem: its processes cannot run as their user: there is no user db -> make the user, or correct \
             `uid` of [watcher:db]",
            "db/program problem: bin/db cannot be started: not found -> install it, or correct `home` or `cmd` of db",
        ]
    );
}

#[test]
fn what_a_program_says_is_read() {
    let said = json!({
        "user": {"name": "db", "uid": 9, "groups": [9, 10]}, "privileged": true, "hostname": "n1",
        "hostname_error": null, "address_error": "no", "program_error": null,
        "limits": [{"resource": "nofile", "soft": 1024, "hard": null, "running": false}],
        "holders": [{"port": 80, "at": "0.0.0.0:80", "pid": 1, "command": "x", "user": "root", "own": false}],
        "java": {"error": "not found"},
        "paths": [{"path": "/a/b", "found": "/a", "is_dir": true, "uid": 0, "gid": 0, "owner": "root:root",
                   "mode": 493, "foreign": {"path": "/a/x", "owner": "joe"}, "error": null}],
    });
    let facts = Facts::from_json(said.as_object().unwrap());
    assert_eq!(facts.user, Some(Ok(Account { name: "db".into(), uid: 9, groups: vec![9, 10] })));
    assert_eq!((facts.hostname_error, facts.address_error), (None, Some("no".into())));
    assert_eq!((facts.limits[0].soft, facts.limits[0].hard), (Some(1024), None));
    assert_eq!((facts.holders[0].port, facts.holders[0].pid), (80, Some(1)));
    assert_eq!(facts.java, Some(Err("not found".into())));
    assert_eq!((facts.paths[0].mode, facts.paths[0].is_dir), (0o755, true));
    assert_eq!(facts.paths[0].foreign, Some(("/a/x".into(), "joe".into())));
    let empty = Facts::from_json(&serde_json::Map::new());
    assert_eq!(empty, Facts::default());
    for finding in judge(&look(), &Facts { hostname_error: Some("x".into()), ..Facts::default() }) {
        assert_eq!(Finding::from_json(&finding.to_json()), finding);
    }
}
