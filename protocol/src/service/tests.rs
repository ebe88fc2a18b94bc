//! The description of services as a whole: an ini in, plans out; every fault named.

use std::path::Path;

use super::*;
use crate::command::ResetKind;
use crate::ini::Ini;

const NODE: &str = include_str!("tests/node.ini");

fn load(text: &str) -> Result<Services, Vec<String>> {
    let ini = Ini::parse(text, "etc/node.ini").expect("ini");
    Services::from_ini(&ini, Path::new("/srv")).map_err(|all| all.iter().map(ToString::to_string).collect())
}

fn node() -> Services {
    load(NODE).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

/// Nodes on one host, each with a home of its own: a node cannot start anything from that before it is
/// configured, and must be told its home otherwise; to a console it makes no difference.
#[test]
fn one_file_can_be_about_nodes_with_homes_of_their_own() {
    let text = "[service:cassandra]\nuse = cassandra-4.1\nhome = /srv/${address}\nenv.A = ${identifier}";
    let refused = load(text).expect_err("no process could be started");
    assert!(
        refused.iter().all(|fault| fault.contains("known before the node is configured")),
        "{refused:#?}"
    );
    let ini = Ini::parse(text, "services.ini").expect("ini");
    let services = Services::from_ini_of_all_nodes(&ini, Path::new("/srv")).expect("no fault");
    let files = plan_configure(&services, &member(2, 3), None, &[]).expect("a plan");
    let paths: Vec<String> = files.iter().map(|file| file.path.display().to_string()).collect();
    assert!(paths.contains(&"/srv/192.0.2.2/conf/cassandra.yaml".to_owned()), "{paths:?}");
}

fn member(identifier: u32, size: u32) -> Membership {
    let address = |n: u32| format!("192.0.2.{n}");
    Membership {
        identifier,
        address: address(identifier),
        cluster: (1..=size).map(address).collect(),
        is_master: identifier == 1,
        hostname: "host".into(),
        ..Membership::default()
    }
}

fn text(service: &str, label: &str, text: &str) -> TemplateText {
    TemplateText {
        service: service.into(),
        label: label.into(),
        origin: format!("{label}.tmpl"),
        text: text.into(),
    }
}

fn said<T: std::fmt::Debug>(result: Result<T, Vec<RenderError>>) -> Vec<String> {
    result.expect_err("an error").iter().map(ToString::to_string).collect()
}

#[test]
fn reads_every_kind_of_section() {
    let services = node();
    assert!(services.warnings.is_empty(), "{:?}", services.warnings);
    let names: Vec<&str> = services.services.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["neo4j", "cassandra", "titan", "bare"]);
    let neo4j = services.get("Neo4J").expect("names are compared as circus does");
    assert_eq!(neo4j.conflicts, ["titan", "cassandra"]);
    assert_eq!(neo4j.ports, [7474, 5001, 6001]);
    assert_eq!(neo4j.home.as_ref().map(|home| home.text.as_str()), Some("/srv/etc/run/${address}/neo4j"));
    assert_eq!(neo4j.configs[0].target.text, "${home}/conf/neo4j.properties");
    assert_eq!(neo4j.configs[0].template.text, "/srv/etc/templates/neo4j.properties.tmpl");
    assert_eq!(neo4j.configs[0].mode, 0o640);
    assert_eq!(neo4j.configs[0].owner, Some(Owner { user: "neo4j".into(), group: Some("adm".into()) }));
    assert_eq!((neo4j.configs[0].strip, neo4j.configs[1].strip), (true, false));
    assert_eq!(neo4j.probes.len(), 2);
    assert_eq!(neo4j.probes[0].checks, [Check::PidAlive(5.0)]);
    assert_eq!(
        neo4j.resets[0].keep.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["dbms", "keystore", "log"]
    );
    let cassandra = services.get("cassandra").expect("cassandra");
    let order = StartOrder { first: First::Seeds, sequential: true, stagger: 0.0 };
    assert_eq!(cassandra.start_order, order);
    assert_eq!(cassandra.resets[0].scope, Scope::Cluster);
    assert_eq!(cassandra.resets[0].require_dirs.len(), 3);
    assert_eq!(cassandra.resets[1].keep_seconds, 60.0);
    assert_eq!(cassandra.resets[1].label, "commitlog");
    let titan = services.get("titan").expect("titan");
    assert_eq!(titan.after, [Dependency { service: "cassandra".into(), level: Level::Joined }]);
    assert_eq!(titan.probes[0].on_timeout, OnTimeout::Restart);
}

#[test]
fn a_profile_is_laid_underneath() {
    let services = load(
        "[profile:base]\nports = 1,2\nhome = /opt/base\nconfig.main.template = /t\nconfig.main.target = main.conf\n\
         config.main.mode = 0600\nprobe.up.tcp = ${address}:1\nreset.data.root = ${home}/data\nreset.data.delete = *\n\
         reset.data.extra.root = ${home}/extra\nreset.data.extra.delete = *\n\
         [profile:new]\nuse = base\nports = 3\n[service:a]\nuse = new\nhome = /opt/a\n[config:a:main]\nmode = 0644\n",
    );
    let services = services.expect("services");
    let a = services.get("a").expect("a");
    assert_eq!(a.ports, [3]);
    assert_eq!((a.configs[0].mode, a.configs[0].target.text.as_str()), (0o644, "${home}/main.conf"));
    assert_eq!(a.probes[0].checks, [Check::Tcp("${address}:1".into())]);
    let tasks = plan_reset(&services, None, None, ResetKind::Data).expect("plan");
    let roots: Vec<_> = tasks.iter().map(|task| task.root.display().to_string()).collect();
    assert_eq!(roots, ["/opt/a/data", "/opt/a/extra"]);
}

#[test]
fn names_every_fault() {
    let errors = load(
        "[watcher:a]\nwhatever = 1\n[service:a]\nprots = 1\nports = 0, x\nuse = nowhere\nafter = b:soon\n\
         [config:a:x]\ntemplate = /t\ntarget = relative\nmode = 999\n[config:a]\n[config:a:y]\ntarget = /x/../y\n\
         [probe:a:up]\ninterval = -1\nbody = x\n[probe:a:sometimes]\ntcp = ${adress}:1\n\
         [reset:a:data]\nroot = /etc\ndelete = ../x\n[reset:a:everything]\nroot = relative\n\
         [list:seeds]\nselect = every 0\nitem = {adress}\n[list:address]\n[service:]\n\
         [confg:a:z]\n[profile:p]\nconfig.x.tmeplate = 1\n",
    );
    let errors = errors.expect_err("faults");
    let wanted = [
        "etc/node.ini:4: [service:a] prots: unknown key; did you mean `ports`?",
        r#"etc/node.ini:5: [service:a] ports: "0" is not a port"#,
        "etc/node.ini:6: [service:a] use: there is no [profile:nowhere]",
        r#"etc/node.ini:7: [service:a] after: "soon" is neither `up` nor `joined`"#,
        r#"etc/node.ini:10: [config:a:x] target: "relative" is relative to the service's `home`, which is not set"#,
        r#"etc/node.ini:11: [config:a:x] mode: "999" is not a file mode"#,
        "etc/node.ini:12: [config:a]: the title of such a section is [config:SERVICE:LABEL]",
        "etc/node.ini:13: [config:a:y] template: missing",
        r#"etc/node.ini:14: [config:a:y] target: "/x/../y" has `..` in it"#,
        r#"etc/node.ini:16: [probe:a:up] interval: "-1" is not a number of seconds"#,
        "etc/node.ini:17: [probe:a:up] body: means something only beside `http`",
        "etc/node.ini:15: [probe:a:up]: asks nothing",
        r#"etc/node.ini:18: [probe:a:sometimes]: "sometimes" is neither"#,
        r#"etc/node.ini:19: [probe:a:sometimes] tcp: "${adress}:1": column 1: unknown name "adress"; known: address"#,
        r#"etc/node.ini:21: [reset:a:data] root: "/etc" is, or is part of, the system's own directories"#,
        r#"etc/node.ini:22: [reset:a:data] delete: "../x" has a `.` or `..` in it"#,
        r#"[reset:a:everything]: "everything" is neither `data` nor `log`"#,
        r#"[reset:a:everything] root: "relative" is relative"#,
        "[reset:a:everything]: resets nothing",
        r#"[list:seeds] select: every "0""#,
        "[list:seeds] item: {adress} is not known",
        r#"[list:address]: "address" cannot be the name of a list"#,
        "[service:]: the title of such a section is [service:NAME]",
        "[profile:p] config.x.tmeplate: unknown key; did you mean `config.x.template`?",
    ];
    for start in wanted {
        assert!(errors.iter().any(|error| error.contains(start)), "{start}\n{errors:#?}");
    }
    assert_eq!(errors.len(), wanted.len(), "{errors:#?}");
    let line = |error: &String| error.split(':').nth(1).and_then(|line| line.parse::<u32>().ok());
    assert!(errors.iter().map(line).is_sorted(), "in reading order: {errors:#?}");
    let circle =
        load("[profile:a]\nuse = b\n[profile:b]\nuse = a\n[service:s]\nuse = a\n").expect_err("circle");
    assert!(circle.iter().any(|error| error.contains("goes in a circle")), "{circle:?}");
}

#[test]
fn probes_are_checked_when_the_file_is_read() {
    let services = load(
        "[service:a]\nhome = /opt/a\n[probe:a:joined]\nhttp = http://${address}:7474/x?y=${identifier}\nstatus = 200, 404\n\
         body = ^(master|slave)$\nuser = neo4j\npassword_file = conf/password\nexec = ${home}/bin/nodetool info\n\
         exit_codes = 0, 3\nlog = log/a.log\npattern = Started\ninterval = 0.5\nattempt_timeout = 3\ntimeout = unlimited\n\
         recheck = 30\n[probe:a:up]\nlog = stdout\npattern = x\n",
    );
    let services = services.expect("services");
    let probe = &services.services[0].probes[0];
    let wanted = [
        Check::Http {
            url: "http://${address}:7474/x?y=${identifier}".into(),
            status: vec![200, 404],
            body: Some("^(master|slave)$".into()),
            login: Some(Login { user: "neo4j".into(), password_file: "${home}/conf/password".into() }),
        },
        Check::Exec { command: "${home}/bin/nodetool info".into(), exit_codes: vec![0, 3], output: None },
        Check::Log { file: "${home}/log/a.log".into(), pattern: "Started".into() },
    ];
    assert_eq!(probe.checks, wanted);
    let times = (probe.interval, probe.attempt_timeout, probe.timeout, probe.recheck);
    assert_eq!(times, (0.5, 3.0, None, Some(30.0)));
    let errors = load(
        "[probe:a:up]\ntcp = ${address}\nhttp = https://x/\nbody = (\nexec = \"x\nexit_codes = 256\nlog = x.log\n\
         pattern = [\ninterval = 0\nuser = me\non_timeout = restart\n\
         [probe:a:joined]\nhttp = http://me:pw@x/\ntimeout = 0.5\non_timeout = restart\n\
         [service:a]\nhome = /opt/a\nafter = b\nremove_before_start = run/a.pid, /etc/passwd\nconflicts = b\n\
         [service:b]\nafter = C:joined\n[service:c]\nafter = a, nobody\n[watcher:a]\ncmd = x\n",
    );
    let errors = errors.expect_err("faults");
    let wanted = [
        r#":2: [probe:a:up] tcp: "192.0.2.1" is not HOST:PORT, such as ${address}:9160 (from "${address}")"#,
        r#":3: [probe:a:up] http: "https://x/" is no http:// address; https is not spoken here; use `exec`"#,
        r#":4: [probe:a:up] body: "(" is not a regular expression"#,
        r#":5: [probe:a:up] exec: "\"x" has a quotation mark without its partner"#,
        r#":6: [probe:a:up] exit_codes: "256" is not an exit status"#,
        r#":8: [probe:a:up] pattern: "[" is not a regular expression"#,
        r#":9: [probe:a:up] interval: "0" is too short"#,
        ":10: [probe:a:up] user: means something only beside `password_file`",
        ":11: [probe:a:up] on_timeout: needs a `timeout`",
        r#":13: [probe:a:joined] http: "http://me:pw@x/" holds a name or a password; use `user`"#,
        ":15: [probe:a:joined] on_timeout: restarts without end",
        ":18: [service:a] after: a would wait for itself (a after b after c after a)",
        r#":18: [service:a] after: a cannot come after "b" and be in conflict with it"#,
        r#":19: [service:a] remove_before_start: no such file is removed before a start: "/etc/passwd" is"#,
        ":22: [service:b] after: b would wait for itself (b after c after a after b)",
        ":24: [service:c] after: c would wait for itself (c after a after b after c)",
        r#":24: [service:c] after: there is no watcher "nobody"; if it runs on another node, write `after =`"#,
    ];
    for part in wanted {
        assert!(errors.iter().any(|error| error.contains(part)), "{part}\n{errors:#?}");
    }
    assert_eq!(errors.len(), wanted.len(), "{errors:#?}");
}

#[test]
fn default_keys_and_misspelt_kinds_are_no_faults() {
    let services =
        load("[DEFAULT]\nuid = x\n[service:a]\nports = 1\n[confg:a:b]\nx=1\n[something:else]\ny=2\n");
    let services = services.expect("services");
    assert_eq!(services.warnings, ["etc/node.ini:5: [confg:a:b] is ignored; did you mean [config:…]?"]);
}

#[test]
fn built_in_variables_follow_the_rules_of_2015() {
    let variables = Variables::for_templates(&member(2, 11), &[]);
    let get = |name: &str| variables.get(name).unwrap_or_default().to_owned();
    assert_eq!(get("seeds"), "192.0.2.1,192.0.2.6,192.0.2.11");
    assert!(get("initial_hosts").starts_with("192.0.2.1:5001,192.0.2.2:5001,"));
    assert!(!get("initial_hosts").contains(' '));
    assert_eq!((get("slave_only"), get("is_master")), ("True".into(), "False".into()));
    assert_eq!((get("identifier"), get("index"), get("cluster_size")), ("2".into(), "1".into(), "11".into()));
    assert_eq!((get("majority"), get("master_address")), ("6".into(), "192.0.2.1".into()));
    assert_eq!(get("peers").split(',').count(), 10);
    assert!(variables.names().eq(BUILT_IN), "the list of names is the list of values");
}

#[test]
fn lists_redefine_and_add() {
    let services = load(
        "[list:seeds]\nselect = every 2\nexclude_self_when = joining\n[list:others]\nitem = {identifier}@{address}/{index}\n\
         separator = \"; \"\nselect = peers\n[list:one]\nselect = first\n",
    );
    let services = services.expect("services");
    let mut membership = member(3, 4);
    let value = |membership: &Membership, name: &str| {
        Variables::for_templates(membership, &services.lists).get(name).map(str::to_owned)
    };
    assert_eq!(value(&membership, "seeds").as_deref(), Some("192.0.2.1,192.0.2.3"));
    assert_eq!(value(&membership, "others").as_deref(), Some("1@192.0.2.1/0; 2@192.0.2.2/1; 4@192.0.2.4/3"));
    assert_eq!(value(&membership, "one").as_deref(), Some("192.0.2.1"));
    membership.joining = true;
    assert_eq!(value(&membership, "seeds").as_deref(), Some("192.0.2.1"));
    membership.variables = vec![("seeds".into(), "x".into())];
    assert_eq!(value(&membership, "seeds").as_deref(), Some("x"), "the controller knows better");
}

#[test]
fn a_peer_cannot_choose_a_path() {
    let services = node();
    for address in ["../../etc", "a/b", "", "a b", ".hidden", "a..b", "a\nb", "$x"] {
        let membership =
            Membership { address: address.into(), cluster: vec![address.into()], ..member(1, 1) };
        let errors = said(template_paths(&services, &membership, None, &[]));
        assert!(
            errors.iter().any(|error| error.contains("is neither a host name")),
            "{address:?} {errors:?}"
        );
    }
    let membership = Membership { variables: vec![("home".into(), "/etc".into())], ..member(1, 1) };
    let paths = template_paths(&services, &membership, None, &[]).expect("paths");
    assert!(paths.iter().all(|(_, _, path)| path.starts_with("/srv/etc/templates")), "{paths:?}");
    let variables = vec![("peer".into(), "../../etc".into())];
    let membership = Membership { variables, ..member(1, 1) };
    let files =
        plan_configure(&services, &membership, Some(&["bare".into()]), &[text("bare", "one", "$peer")]);
    let files = files.expect("files");
    assert_eq!(
        (files[0].path.as_path(), files[0].content.as_str()),
        (Path::new("/srv/192.0.2.1/x"), "../../etc")
    );
    let membership = Membership {
        variables: vec![("address".into(), "x".into()), ("1".into(), String::new())],
        ..member(1, 1)
    };
    assert_eq!(membership.check().expect_err("two").len(), 2);
    let membership = Membership {
        identifier: 0,
        address: "x".into(),
        cluster: vec!["a".into(), "a".into()],
        ..member(1, 1)
    };
    assert_eq!(membership.check().expect_err("three").len(), 3);
}

#[test]
fn renders_all_or_nothing() {
    let services = node();
    let membership = member(2, 3);
    let wanted = ["neo4j".to_owned()];
    let good = [
        text("neo4j", "properties", "\n ha.server_id=${identifier}\nha.initial_hosts=$initial_hosts $$ \n\n"),
        text("neo4j", "server", " home=${home}\n"),
    ];
    let files = plan_configure(&services, &membership, Some(&wanted), &good).expect("files");
    assert_eq!(files[0].path, Path::new("/srv/etc/run/192.0.2.2/neo4j/conf/neo4j.properties"));
    let hosts = "192.0.2.1:5001,192.0.2.2:5001,192.0.2.3:5001";
    assert_eq!(files[0].content, format!("ha.server_id=2\nha.initial_hosts={hosts} $"));
    assert_eq!(files[1].content, " home=/srv/etc/run/192.0.2.2/neo4j\n", "strip = false");
    let bad = [text("neo4j", "properties", "a\nb ${adress}\n$")];
    let errors = said(plan_configure(&services, &membership, Some(&wanted), &bad));
    assert!(
        errors[0].starts_with(r#"properties.tmpl:2:3: unknown name "adress"; known: address cluster "#),
        "{errors:?}"
    );
    assert!(errors[1].starts_with("properties.tmpl:3:1: `$` starts no placeholder"), "{errors:?}");
    assert_eq!(errors[2], "etc/node.ini:23: the template of neo4j:server was not read");
    let errors = said(plan_configure(&services, &membership, Some(&["neo".into()]), &[]));
    assert_eq!(errors, [r#"there is no service "neo"; known: neo4j cassandra titan bare"#]);
    let sent = [("neo4j:colour".to_owned(), String::new())];
    let errors = said(template_paths(&services, &membership, None, &sent));
    assert_eq!(errors, ["there is no [config:neo4j:colour] for the template text that was sent"]);
}

#[test]
fn two_writers_of_one_file_are_refused() {
    let two = "[config:a:x]\ntemplate=/t\ntarget=/srv/a/${identifier}\n[config:b:y]\ntemplate=/t\ntarget=/srv//a/1\n";
    let services = load(two).expect("services");
    let texts = [text("a", "x", ""), text("b", "y", "")];
    let errors = said(plan_configure(&services, &member(1, 1), None, &texts));
    assert_eq!(errors, [r#"etc/node.ini:6: "/srv/a/1" is the target of a:x and of b:y"#]);
}

#[test]
fn verdicts_follow_the_patterns() {
    let services = load(
        "[reset:a:data]\nroot=/opt/a\ndelete = graph.db, data/*, dbms, log.[0-9]*\nkeep = dbms/auth*, data/keep\n\
         truncate = *.log\n",
    );
    let services = services.expect("services");
    let rule = &services.services[0].resets[0];
    let verdict = |path: &str| {
        let parts: Vec<&[u8]> = path.split('/').map(str::as_bytes).collect();
        rule.verdict(&parts)
    };
    assert_eq!(verdict("graph.db"), Verdict::Delete);
    assert_eq!(verdict("data"), Verdict::Descend);
    assert_eq!(verdict("data/x"), Verdict::Delete);
    assert_eq!(verdict("data/keep"), Verdict::Keep);
    assert_eq!(verdict("data/.hidden"), Verdict::Leave);
    assert_eq!(verdict("dbms"), Verdict::DeleteAround);
    assert_eq!(verdict("dbms/auth.ini"), Verdict::Keep);
    assert_eq!(verdict("dbms/other"), Verdict::Delete);
    assert_eq!(verdict("a.log"), Verdict::Truncate);
    assert_eq!(verdict("log.1x"), Verdict::Delete);
    assert_eq!(verdict("else"), Verdict::Leave);
    assert_eq!(verdict(PLACE_ASIDE), Verdict::Leave);
}

#[test]
fn a_root_needs_the_membership_only_if_it_says_so() {
    let services = node();
    let tasks = plan_reset(&services, None, Some(&["cassandra".into()]), ResetKind::All).expect("plan");
    assert_eq!(tasks.len(), 3);
    let errors = said(plan_reset(&services, None, Some(&["neo4j".into()]), ResetKind::Data));
    assert!(errors[0].contains("has not been configured yet"), "{errors:?}");
    let tasks =
        plan_reset(&services, Some(&member(1, 1)), Some(&["neo4j".into()]), ResetKind::Data).expect("plan");
    assert_eq!(tasks[0].root, Path::new("/srv/etc/run/192.0.2.1/neo4j/data"));
    assert!(plan_reset(&services, None, Some(&["titan".into()]), ResetKind::Data).expect("none").is_empty());
}

#[test]
fn replies_have_the_promised_keys() {
    let file =
        FileOutcome { service: "s".into(), label: "l".into(), path: "/p".into(), changed: true, diff: None };
    let outcome =
        ConfigureOutcome { files: vec![file], restart: Vec::new(), restart_needed: vec!["s".into()] };
    let wanted = r#"{"success":true,"files":[{"service":"s","label":"l","path":"/p","changed":true}],"restart_needed":["s"]}"#;
    assert_eq!(serde_json::Value::Object(outcome.reply()).to_string(), wanted);
    let item = ResetItem { path: "/p".into(), bytes: 5, entries: 2, modified: 1.5 };
    let kept = vec![KeptItem { path: "/k".into(), reason: "keep" }];
    let service =
        ServiceReset { service: "s".into(), deleted: vec![item], kept, bytes: 5, ..ServiceReset::default() };
    let wanted = concat!(
        r#"{"services":{"s":{"deleted":[{"path":"/p","bytes":5,"entries":2,"modified":1.5}],"truncated":[],"#,
        r#""kept":[{"path":"/k","reason":"keep"}],"bytes":5,"undo_until":null}}}"#
    );
    let reply = ResetOutcome { services: vec![service] }.reply();
    assert_eq!(serde_json::Value::Object(reply).to_string(), wanted);
}

const PROFILED: &str = "[service:neo4j]\nuse = neo4j-5\nhome = /opt/neo4j\n";

fn profiled(more: &str) -> Services {
    load(&format!("{PROFILED}{more}")).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

fn conf(services: &Services, membership: &Membership) -> String {
    let files =
        plan_configure(services, membership, None, &[]).unwrap_or_else(|errors| panic!("{errors:#?}"));
    files[0].content.clone()
}

#[test]
fn an_operators_keys_count_before_a_profiles() {
    let services = profiled(
        "ports = 1\nvalue.heap = 9g\nwatcher.args = run\nprobe.up.tcp =\nprobe.up.pid_alive = 3\n\
         [reset:neo4j:data]\ndelete = all\n[list:endpoints]\nitem = {address}:1\n[value:page_cache]\ntext = 8g\n\
         [value:heap]\ntext = 1m\n[value:primaries]\ntext = 7\n",
    );
    let neo4j = &services.services[0];
    assert_eq!(neo4j.ports, [1]);
    let watcher =
        |key: &str| neo4j.watcher.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str());
    assert_eq!((watcher("args"), watcher("cmd")), (Some("run"), Some("/opt/neo4j/bin/neo4j")));
    assert_eq!(watcher("numprocesses"), Some("1"), "from the profile below");
    let up = neo4j.probes.iter().find(|probe| probe.level == Level::Up).expect("up");
    assert_eq!(up.checks, [Check::PidAlive(3.0)]);
    assert!(neo4j.resets[0].verdict(&[b"all"]) == Verdict::Delete);
    assert!(neo4j.resets[0].verdict(&[b"databases", b"x"]) == Verdict::Leave);
    assert!(neo4j.resets[0].verdict(&[b"dbms"]) == Verdict::Keep, "still the profile's");
    let text = conf(&services, &member(2, 3));
    assert!(text.contains("heap.max_size=9g\n"), "the service's own before [value:*]: {text}");
    assert!(text.contains("pagecache.size=8g\n") && text.contains("primaries_count=7\n"), "{text}");
    assert!(text.contains("endpoints=192.0.2.1:1,192.0.2.2:1,192.0.2.3:1\n"), "{text}");
    let meaning = neo4j.exit_meanings.iter().find(|meaning| meaning.code == 1).expect("1");
    assert!(meaning.meaning.contains("strict validation"), "the nearer profile's: {meaning:?}");
}

#[test]
fn shipped_profiles_can_be_extended() {
    let services = profiled(
        "[profile:neo4j-5]\nports = 9\n[profile:mine]\nuse = neo4j-single-5\nports = 10\nvalue.extra = a=1\n  b=2\n\
         [service:other]\nuse = mine\nhome = /opt/other\nprobe.joined.http =\nprobe.joined.status =\n\
         probe.joined.interval =\nprobe.joined.timeout =\nprobe.joined.on_timeout =\n",
    );
    assert_eq!((&services.services[0].ports[..], &services.services[1].ports[..]), (&[9][..], &[10][..]));
    assert_eq!(services.services[1].probes.len(), 1, "all keys of `joined` were taken back");
    let files = plan_configure(&services, &member(1, 1), Some(&["other".into()]), &[]).expect("files");
    assert!(files[0].content.ends_with("\na=1\nb=2"), "{}", files[0].content);
    assert_eq!(files[0].path, Path::new("/opt/other/conf/neo4j.conf"));
    let sent = [text("other", "conf", "${data_dir} ${heap}")];
    let files = plan_configure(&services, &member(1, 1), Some(&["other".into()]), &sent).expect("files");
    assert_eq!(files[0].content, "/opt/other/data 1g", "a template that is sent counts before ours");
}

#[test]
fn faults_in_profiles_are_all_said() {
    let errors = load(
        "[service:a]\nuse = neo4j-6\n[service:b]\nuse = neo4j-5\n[service:c]\nuse = cassandra-4\nhome = /opt/c\n\
         watcher.args = ${address}\nwatchr.cmd = x\nexit.900 = x\nvalue.a.txt = 1\nvalue.b.number = size\n\
         value.c.number = 1\nvalue.c.text = x\nvalue.d.text = x\nvalue.d.otherwise = y\nvalue.address = 1\n\
         config.yaml.template = shipped:cassandra-4.yml\nlist.x.item = {z}\njava = seven\n",
    )
    .expect_err("faults");
    let wanted = [
        "etc/node.ini:2: [service:a] use: there is no [profile:neo4j-6]; did you mean `neo4j-5`?",
        "etc/node.ini:3: [service:b] home: missing",
        "etc/node.ini:8: [service:c] watcher.args: \"${address}\": column 1: unknown name \"address\"; known before",
        "etc/node.ini:9: [service:c] watchr.cmd: unknown key; did you mean `watcher.cmd`?",
        "etc/node.ini:10: [service:c] exit.900: \"900\" is not an exit code (0 to 255)",
        "etc/node.ini:11: [service:c] value.a.txt: unknown key; did you mean `value.a.text`?",
        "etc/node.ini:12: [value:c:b] number: unknown name \"size\"",
        "etc/node.ini:13: [value:c:c] number: beside `text`; a value is one or the other",
        "etc/node.ini:16: [value:c:d] otherwise: means something only beside `when`",
        "etc/node.ini:17: [value:c:address]: \"address\" cannot be the name of a value",
        "etc/node.ini:18: [config:c:yaml] template: no template \"cassandra-4.yml\" is shipped; did you mean `cassandra-4.yaml`?",
        "etc/node.ini:19: [list:c:x] item: {z} is not known",
        "etc/node.ini:20: [service:c] java: \"seven\" is not a major version of Java such as 17",
    ];
    for (index, wanted) in wanted.iter().enumerate() {
        let said = errors.get(index).map(String::as_str).unwrap_or_default();
        assert!(said.starts_with(wanted), "{index}: {wanted}\n{errors:#?}");
    }
    assert_eq!(errors.len(), wanted.len(), "{errors:#?}");
}
