//! Whole files in, whole configurations (or all their faults) out.

use serde_json::json;

use super::*;
use crate::config::option::show;
use crate::config::socket::{SocketAddress, SocketConfig, SocketKind};

pub(super) struct Venvs;

impl Python for Venvs {
    fn site_packages(&self, virtualenv: &str, version: Option<&str>) -> Option<SitePackages> {
        let version = version.unwrap_or("3.11");
        (virtualenv == "/venv").then(|| SitePackages {
            directory: format!("/venv/lib/python{version}/site-packages"),
            named: Vec::new(),
            has_bin: true,
        })
    }

    fn importable(&self, class: &str) -> Result<String, String> {
        let known = class.starts_with("ours.");
        known.then(|| "/py".to_owned()).ok_or_else(|| "no Python with circus here".to_owned())
    }

    fn own_program(&self) -> String {
        "/bin/circusd-rs".to_owned()
    }
}

pub(super) fn load(text: &str) -> Result<Resolved, Vec<String>> {
    let environment = [("HOME", "/home/app"), ("PATH", "/bin"), ("PORT", "7000")];
    let inherited = Inherited {
        environment: environment.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        working_dir: "/work".to_owned(),
    };
    resolve(Ini::parse(text, "c.ini").unwrap(), &Arc::new(inherited), &Venvs)
}

fn watchers(text: &str) -> Vec<WatcherConfig> {
    load(text).unwrap().config.watchers
}

fn env(config: &WatcherConfig) -> Vec<String> {
    config.env.iter().flat_map(|env| env.iter()).map(|(k, v)| format!("{k}={v}")).collect()
}

#[test]
fn nothing_given_is_circus_defaults() {
    let resolved = load("[circus]\nzorg = 1\n[watcher:one]\ncmd = sleep 1\n[other]\nx = y\n").unwrap();
    assert_eq!(resolved.config.circus, Global::default());
    let one = &resolved.config.watchers[0];
    let expected = WatcherConfig::new(one.name.clone(), "/work".to_owned());
    let expected = WatcherConfig {
        cmd: "sleep 1".to_owned(),
        args: json!(""),
        env: Some(Arc::default()),
        from_file: true,
        ..expected
    };
    assert_eq!(*one, expected);
    assert_eq!(resolved.warnings, Vec::<String>::new());
}

#[test]
fn every_fault_is_reported_with_its_place() {
    let text = "[circus]\ncheck_delay = often\nwarmup_delay = 0.5\numask = 9\nstatsd = perhaps\n\
                [watcher:a]\nnumprocesses = two\nshell = maybe\nstop_signal = NOSUCH\nrlimit_nofile = unlimited\n\
                stdout_stream = x\nhooks.before_start = a.b, y\nwarmup_delay = 0.5\n";
    assert_eq!(
        load(text).unwrap_err(),
        [
            "c.ini:5: [circus] statsd: \"perhaps\" is not a boolean (yes, true, on, 1, no, false, off, 0)",
            "c.ini:2: [circus] check_delay: \"often\" is not a number",
            "c.ini:3: [circus] warmup_delay: \"0.5\" is not a whole number",
            "c.ini:4: [circus] umask: \"9\" is not an octal umask up to 777",
            "c.ini:7: [watcher:a] numprocesses: \"two\" is not a whole number",
            "c.ini:8: [watcher:a] shell: \"maybe\" is not a boolean (yes, true, on, 1, no, false, off, 0)",
            "c.ini:9: [watcher:a] stop_signal: \"NOSUCH\" is not a signal (a number, or a name like TERM or SIGRTMIN+1)",
            "c.ini:10: [watcher:a] rlimit_nofile: \"unlimited\" is not a whole number (leave it empty for unlimited)",
            "c.ini:11: [watcher:a] stdout_stream: a stream's options are written stdout_stream.OPTION or \
             stderr_stream.OPTION, e.g. stdout_stream.filename",
            "c.ini:12: [watcher:a] hooks.before_start: \"y\" is not a boolean",
            "c.ini:13: [watcher:a] warmup_delay: \"0.5\" is not a whole number",
        ]
    );
}

#[test]
fn a_watcher_that_contradicts_itself_is_left_out_and_the_rest_runs() {
    let text = "[watcher:a]\nsingleton = 1\nnumprocesses = 2\n[watcher:b]\ncmd = x\ncopy_path = 1\n\
                [watcher:c]\nmax_age = old\n[watcher:d]\nstdout_stream.class = QueueStrom\n\
                [watcher:e]\nstdout_stream.filename = /tmp/x\nstdout_stream.max_bytes = 10k\n\
                [watcher:f]\nvirtualenv = /venv\n[watcher:g]\ncmd = ok\n";
    let resolved = load(text).unwrap();
    let left: Vec<&str> = resolved.config.watchers.iter().map(|watcher| watcher.name.original()).collect();
    assert_eq!(left, ["g"]);
    assert_eq!(resolved.warnings.len(), 6);
    assert_eq!(
        resolved.warnings[0],
        "Failed to create watcher 'a': c.ini:1: Cannot have 2 processes with a singleton  watcher"
    );
}

#[test]
fn watchers_are_sorted_renamed_and_keep_what_we_do_not_know() {
    let text = "[watcher:two words]\ncmd = x\nhello = world\n[watcher:One]\ncmd = y\n[watcher:z]\nname = alpha\n\
                [watcher:]\ncmd = nameless\n[watcher:empty]\n";
    let watchers = watchers(text);
    let names: Vec<&str> = watchers.iter().map(|watcher| watcher.name.original()).collect();
    assert_eq!(names, ["", "One", "alpha", "two words"]);
    assert_eq!(show(&watchers[3], "hello"), Some(json!("world")));
}

#[test]
fn of_names_that_differ_in_case_the_last_is_kept() {
    let resolved = load("[watcher:one]\ncmd = low\n[watcher:ONE]\ncmd = high\n").unwrap();
    assert_eq!(resolved.config.watchers.len(), 1);
    assert_eq!(resolved.config.watchers[0].cmd, "low");
    assert_eq!(resolved.warnings.len(), 1);
}

#[test]
fn the_environment_is_the_sections_only_unless_copied() {
    let text = "[env]\nZ = 1\nHOME = $HOME/sub\n[env:web*, Db ]\nX = $PATH:/x\n\
                [watcher:web1]\ncmd = x\n[watcher:Db]\ncmd = x\ncopy_env = yes\n[watcher:other]\ncmd = x\n";
    let watchers = watchers(text);
    assert_eq!(env(&watchers[0]), ["HOME=/home/app/sub", "PATH=/bin", "PORT=7000", "X=/bin:/x", "Z=1"]);
    assert_eq!(env(&watchers[1]), ["HOME=/home/app/sub", "Z=1"]);
    assert_eq!(env(&watchers[2]), ["HOME=/home/app/sub", "X=/bin:/x", "Z=1"]);
}

#[test]
fn variables_see_raw_values() {
    let text = "[env]\nBASE = ((circus.env.home))/b\n[env:a]\nMINE = m$HOME\nSELF = $(circus.env.base)\n\
                [circus]\nendpoint = tcp://127.0.0.1:$(circus.env.port)\n\
                [watcher:a]\ncmd = $(circus.env.base) $(circus.env.mine) $(circus.wid) $(circus.env.self)\n\
                numprocesses = $(circus.env.n)\n";
    let faults = load(text).unwrap_err();
    assert_eq!(faults, ["c.ini:10: [watcher:a] numprocesses: \"$(circus.env.n)\" is not a whole number"]);
    let text = text.replace("$(circus.env.n)", "2");
    let config = load(&text).unwrap().config;
    assert_eq!(config.circus.endpoint, "tcp://127.0.0.1:7000");
    let a = &config.watchers[0];
    assert_eq!(a.cmd, "/home/app/b m$HOME $(circus.wid) $(circus.env.base)");
    assert_eq!(env(a), ["BASE=/home/app/b", "MINE=m/home/app", "SELF=$(circus.env.base)"]);
}

#[test]
fn a_virtual_environment_goes_in_front() {
    let text = "[watcher:a]\ncmd = x\ncopy_env = 1\nvirtualenv = /venv\nvirtualenv_py_ver = 3.12\n";
    let a = &watchers(text)[0];
    assert!(env(a).contains(&"PATH=/venv/bin:/bin".to_owned()), "{:?}", env(a));
    assert!(env(a).contains(&"PYTHONPATH=/venv/lib/python3.12/site-packages".to_owned()), "{:?}", env(a));
    assert_eq!(watchers("[watcher:a]\ncopy_env = 1\nvirtualenv = /gone\n"), []);
}

#[test]
fn limits_streams_and_hooks() {
    let text = "[watcher:a]\nrlimit_NOFILE = 40000\nrlimit_core =\nstdout_stream.filename = /tmp/o\n\
                stdout_stream.max_bytes = 10\nstderr_stream.class = StdoutStream\nhooks.before_stop = a:b, true\n";
    let a = &watchers(text)[0];
    assert_eq!(a.rlimits, [("core".to_owned(), None), ("nofile".to_owned(), Some(40000))].into());
    assert_eq!(show(a, "stdout_stream_conf").unwrap(), json!({"filename": "/tmp/o", "max_bytes": "10"}));
    assert_eq!(a.stderr_stream.as_ref().unwrap().class.name(), "StdoutStream");
    assert!(a.hooks["before_stop"].ignore_failure);
}

#[test]
fn statsd_is_switched_on_by_its_endpoint_and_discovery_off_by_nothing() {
    let resolved =
        load("[circus]\nstats_endpoint = tcp://127.0.0.1:9\nmulticast_endpoint =\nendpoint_owner =\n")
            .unwrap();
    assert!(resolved.config.circus.statsd);
    assert_eq!(resolved.config.circus.multicast_endpoint, None);
    assert_eq!(resolved.warnings, Vec::<String>::new());
}

#[test]
fn our_sections_are_read_with_variables_and_their_faults_join_the_others() {
    let text = "[watcher:a]\ncmd = x\n[service:a]\nhome = $(circus.env.home)/db\n";
    let config = load(text).unwrap().config;
    assert_eq!(config.services.services[0].name, "a");
    let faults = load("[watcher:a]\nnumprocesses = x\n[service:a]\nzorg = 1\n").unwrap_err();
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[1].starts_with("c.ini:4: [service:a] zorg: unknown key"), "{faults:?}");
}

// ---- sockets ----

#[test]
fn sockets_have_circus_defaults_and_come_by_name() {
    let text = "\
[socket:Web]
port = $(circus.env.port)
[socket:a]
path = /run/a.sock
host = ignored
family = af_inet6
type = sock_seqpacket
replace = yes
umask = 0
backlog = 5
blocking = on
proto = UDP
interface = lo
";
    let sockets = load(text).unwrap().config.sockets;
    let address = SocketAddress::Inet { host: "localhost".to_owned(), port: 7000, six: false };
    let web = SocketConfig {
        name: "web".to_owned(),
        address,
        kind: SocketKind::Stream,
        proto: 0,
        backlog: 2048,
        so_reuseport: false,
        blocking: false,
        interface: None,
    };
    let a = SocketConfig {
        name: "a".to_owned(),
        address: SocketAddress::Unix { path: "/run/a.sock".to_owned(), umask: 0, replace: true },
        kind: SocketKind::SeqPacket,
        proto: 17,
        backlog: 5,
        so_reuseport: false,
        blocking: true,
        interface: Some("lo".to_owned()),
    };
    assert_eq!(sockets, [a, web]);
}

#[test]
fn a_bad_socket_is_left_out_and_a_bad_boolean_is_fatal() {
    let resolved = load(
        "[socket:a]\nport = 70000\n[socket:b]\nfamily = AF_X\ntype = y\n[socket:c]\nproto = z\n[socket:d]\nbacklog = x\n",
    );
    let resolved = resolved.unwrap();
    assert_eq!(resolved.config.sockets, []);
    let starts = [
        "Failed to create socket 'a': c.ini:2: [socket:a] port: \"70000\" is not a port number",
        "Failed to create socket 'b': c.ini:5: [socket:b] type: \"y\" is not one of SOCK_STREAM",
        "Failed to create socket 'b': c.ini:4: [socket:b] family: \"AF_X\" is not one of AF_INET",
        "Failed to create socket 'c': c.ini:7: [socket:c] proto: \"z\" is not one of ip",
        "Failed to create socket 'd': c.ini:9: [socket:d] backlog: \"x\" is not a whole number",
    ];
    for (warning, start) in resolved.warnings.iter().zip(starts) {
        assert!(warning.starts_with(start), "{warning}");
    }
    assert_eq!(resolved.warnings.len(), starts.len());
    let errors = load("[socket:a]\nreplace = maybe\n[socket:b]\nfamily = AF_UNIX\n").unwrap_err();
    assert_eq!(
        errors,
        [
            "c.ini:2: [socket:a] replace: \"maybe\" is not a boolean (yes, true, on, 1, no, false, off, 0)",
            "c.ini:4: [socket:b] family: a socket of family AF_UNIX needs a path",
        ]
    );
}

#[test]
fn a_umask_is_decimal_as_with_circus_and_that_is_said() {
    let resolved = load("[socket:a]\npath = /a\numask = 077\n").unwrap();
    let [socket] = resolved.config.sockets.as_slice() else { panic!("one socket") };
    assert_eq!(socket.address, SocketAddress::Unix { path: "/a".to_owned(), umask: 0o115, replace: false });
    let [warning] = resolved.warnings.as_slice() else { panic!("one warning") };
    assert!(warning.contains("mode becomes 0662; for octal 077 write 63"), "{warning}");
    assert_eq!(load("[socket:a]\npath = /a\numask = 000\n").unwrap().warnings, Vec::<String>::new());
}

#[test]
fn a_watcher_that_waits_for_no_socket_is_told() {
    let text = "[socket:a]\nhost = x\n[watcher:w]\ncmd = x $(circus.sockets.b)\non_demand = 1\n";
    let warnings = load(text).unwrap().warnings;
    assert_eq!(
        warnings,
        [
            "w: there is no socket 'b'",
            "w: on_demand, but it uses no socket, so it never starts; name one as $(circus.sockets.NAME)",
        ]
    );
}

#[test]
fn a_plugin_is_a_watcher_of_our_own_program() {
    let text = "[circus]\nendpoint = tcp://127.0.0.1:1\ncheck_delay = 0.5\nloglevel = debug\n\
                [plugin:Flap it]\nuse = circus.plugins.flapping.Flapping\nwindow = 3\nhello = a $(circus.env.home)\n\
                graceful_timeout = 4\nsingleton = yes\nstdout_stream.class = StdoutStream\n";
    let resolved = load(text).unwrap();
    assert_eq!(resolved.warnings, Vec::<String>::new());
    let plugin = &resolved.config.watchers[0];
    assert_eq!((plugin.name.original(), plugin.cmd.as_str()), ("plugin:Flap it", "/bin/circusd-rs"));
    let config = "graceful_timeout:4:::hello:a /home/app:::name:plugin:Flap it:::singleton:yes:::\
                  stdout_stream.class:StdoutStream:::window:3";
    let expected = [
        "--run-plugin",
        "--endpoint",
        "tcp://127.0.0.1:1",
        "--pubsub",
        "tcp://127.0.0.1:5556",
        "--check-delay",
        "0.5",
        "--config",
        config,
        "--log-level",
        "debug",
        "circus.plugins.flapping.Flapping",
    ];
    assert_eq!(plugin.args, json!(expected));
    assert!(plugin.singleton && plugin.copy_env && plugin.copy_path && plugin.autostart && plugin.respawn);
    assert_eq!((plugin.priority, plugin.graceful_timeout), (1, 4.0));
    assert!(plugin.stdout_stream.is_some());
    assert_eq!(env(plugin), ["HOME=/home/app", "PATH=/bin", "PORT=7000"]);
    assert_eq!(plugin.custom.keys().collect::<Vec<_>>(), ["hello", "window"]);
}

#[test]
fn other_plugins_run_in_python() {
    let plugin = &watchers("[plugin:mine]\nuse = ours.Plugin\nactive = off\n")[0];
    assert_eq!(plugin.cmd, "/py");
    assert_eq!(plugin.args[1], "from circus import plugins;plugins.main()");
    assert!(plugin.close_child_stderr && !plugin.autostart && !plugin.respawn, "not active");
}

#[test]
fn a_plugin_that_cannot_run_is_a_fault_of_the_file() {
    let text = "[plugin:a]\nwindow = 1\n[plugin:b]\nuse = x.Y\n[plugin:c]\n\
                use = circus.plugins.flapping.Flapping\nwindow = soon\nx = a:::b\n\
                [plugin:d]\nuse = circus.plugins.resource_watcher.ResourceWatcher\n";
    assert_eq!(
        load(text).unwrap_err(),
        [
            "c.ini:1: [plugin:a] use: missing: the class to run, e.g. circus.plugins.flapping.Flapping",
            "c.ini:4: [plugin:b] use: x.Y: no Python with circus here",
            "c.ini:8: [plugin:c] x: \"a:::b\" contains \":::\", which separates options",
            "c.ini:7: [plugin:c] window: \"soon\" is not a number of seconds",
            "c.ini:9: [plugin:d] watcher: missing: the name of the watcher to look after",
        ]
    );
}

#[test]
fn a_profile_makes_a_watcher() {
    let resolved = load("[service:Graph]\nuse = neo4j-single-5\nhome = $(circus.env.HOME)/neo4j\n").unwrap();
    let graph = &resolved.config.watchers[0];
    assert_eq!((graph.name.original(), graph.cmd.as_str()), ("Graph", "/home/app/neo4j/bin/neo4j"));
    assert_eq!((graph.autostart, graph.graceful_timeout, graph.stop_children), (false, 180.0, true));
    // What it should have is not what it gets: a limit that may not be raised would keep it from starting.
    assert_eq!(graph.rlimits.get("nofile"), None);
    assert_eq!(resolved.config.services.services[0].limits[0].least, Some(60000));
    let wanted = [
        "HOME=/home/app",
        "NEO4J_CONF=/home/app/neo4j/conf",
        "NEO4J_HOME=/home/app/neo4j",
        "PATH=/bin",
        "PORT=7000",
    ];
    assert_eq!(env(graph), wanted);
    assert_eq!(resolved.warnings, Vec::<String>::new());
}

#[test]
fn an_operators_watcher_counts_before_its_profile() {
    let resolved = load(
        "[DEFAULT]\nwarmup_delay = 3\nautostart = yes\n[watcher:x]\nname = neo4j\ncmd = mine\nrlimit_NOFILE = 1\n\
         [env]\nNEO4J_CONF = a\n[env:neo*]\nNEO4J_HOME = b\nMORE = c\n\
         [service:neo4j]\nuse = neo4j-single-5\nhome = /n\nwatcher.args = run\nwatcher.rlimit_nofile = 2\nenv.JAVA_HOME = ${home}/java\n",
    )
    .unwrap();
    assert_eq!(resolved.config.watchers.len(), 1);
    let neo4j = &resolved.config.watchers[0];
    assert_eq!((neo4j.cmd.as_str(), &neo4j.args, neo4j.autostart), ("mine", &json!("run"), false));
    assert_eq!((neo4j.warmup_delay, neo4j.rlimits.get("nofile")), (3.0, Some(&Some(1))));
    let env = env(neo4j);
    for wanted in ["NEO4J_CONF=a", "NEO4J_HOME=b", "MORE=c", "JAVA_HOME=/n/java"] {
        assert!(env.iter().any(|pair| pair == wanted), "{wanted}: {env:?}");
    }
}

#[test]
fn faults_of_a_profiles_options_have_a_place() {
    let faults = load(
        "[profile:p]\nwatcher.cmd = x\nwatcher.numprocesses = many\nwatcher.working_dir = ${address}\n[service:s]\nuse = p\n",
    );
    let faults = faults.unwrap_err();
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(
        faults[0]
            .starts_with("c.ini:4: [service:s] watcher.working_dir: \"${address}\": column 1: unknown name"),
        "{faults:?}"
    );
    let faults = load("[profile:p]\nwatcher.cmd = x\nwatcher.numprocesses = many\n[service:s]\nuse = p\n")
        .unwrap_err();
    assert!(faults[0].starts_with("c.ini:3: [watcher:s] numprocesses: "), "{faults:?}");
}
