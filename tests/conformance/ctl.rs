//! circusctl against circusctl: the same words through stock's and through ours, to one daemon, and the
//! same output, complaints and exit status wanted of both. Then what ours does better, row by row.
#![expect(clippy::expect_used, reason = "tests")]

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use circus_tests::daemon::{Daemon, Flavor, alive, built, run, stock};
use circus_tests::ending::Program;
use circus_tests::pty::Terminal;
use circus_tests::script::listed_differences;
use circus_tests::wait::until;
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::LocalFlags;
use nix::unistd::Pid;
use serde_json::Value;

use crate::THREE;

/// One of the two programs called circusctl.
fn circusctl(flavor: Flavor, dir: &Path) -> PathBuf {
    match flavor {
        Flavor::Stock => stock("circusctl"),
        // The name decides what it is.
        Flavor::Ours => {
            let link = dir.join("circusctl");
            if !link.exists() {
                // Another thread may be quicker.
                let _ = symlink(built("circusman"), &link);
            }
            link
        }
    }
}

fn prepared(flavor: Flavor, daemon: &Daemon) -> Command {
    let mut command = Command::new(circusctl(flavor, daemon.dir()));
    command.env("CIRCUSCTL_ENDPOINT", daemon.endpoint()).env("COLUMNS", "80").env_remove("AUTO_COMPLETE");
    command
}

/// The row of `differences.md` that allows what follows.
fn row(id: &str) {
    assert!(listed_differences().contains(id), "{id} is no row");
}

/// A daemon with its watchers up.
fn started(flavor: Flavor) -> Daemon {
    let daemon = Daemon::start(flavor, THREE);
    until("everything to be up", || {
        let (_, states, _) = run(prepared(Flavor::Ours, &daemon).arg("status"));
        (states.matches("active").count() == 2 && pids_of_one(&daemon).len() == 2).then_some(())
    });
    daemon
}

fn pids_of_one(daemon: &Daemon) -> Vec<i32> {
    let (_, pids, _) = run(prepared(Flavor::Ours, daemon).args(["list", "one"]));
    pids.trim().split(',').filter_map(|pid| pid.parse().ok()).collect()
}

/// Ids, pids, times and figures become placeholders.
fn normal(text: &str) -> String {
    let mut out = String::new();
    let mut run = String::new();
    for letter in text.chars().chain(std::iter::once('\0')) {
        if letter.is_ascii_hexdigit() || letter == '.' || (letter == ':' && !run.is_empty()) {
            run.push(letter);
            continue;
        }
        let figure = run.starts_with(|first: char| first.is_ascii_digit())
            && (run.trim_end_matches(':').len() > 2 || run.contains('.'));
        let id = run.len() == 32;
        out += if figure || id { "N" } else { &run };
        run.clear();
        if letter != '\0' {
            out.push(letter);
        }
    }
    out
}

fn answer(command: &mut Command) -> String {
    let (status, stdout, stderr) = run(command);
    format!("exit {status}\n{}--- stderr\n{}", normal(&stdout), normal(&stderr))
}

fn words(line: &str) -> Vec<&str> {
    line.split(' ').filter(|word| !word.is_empty()).map(|word| if word == "''" { "" } else { word }).collect()
}

/// Stock's circusctl many times for the price of one start: the same program, forked for each line.
const MANY: &str = r#"
import json, os, sys, tempfile, traceback
from circus import circusctl

answers = []
for words in json.loads(sys.argv[1]):
    files = [tempfile.TemporaryFile(), tempfile.TemporaryFile()]
    child = os.fork()
    if child == 0:
        os.dup2(files[0].fileno(), 1)
        os.dup2(files[1].fileno(), 2)
        sys.argv = ["circusctl"] + words
        code = 0
        try:
            circusctl.main()
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    answer = [status]
    for file in files:
        file.seek(0)
        answer.append(file.read().decode())
    answers.append(answer)
print(json.dumps(answers))
"#;

type Answer = (i32, String, String);

fn ask_stock(daemon: &Daemon, lines: &[&str]) -> Vec<Answer> {
    let all: Vec<Vec<&str>> = lines.iter().map(|line| words(line)).collect();
    let mut command = Command::new(stock("python"));
    command.args(["-c", MANY, &serde_json::json!(all).to_string()]);
    command.env("CIRCUSCTL_ENDPOINT", daemon.endpoint()).env("COLUMNS", "80").env_remove("AUTO_COMPLETE");
    let (status, stdout, stderr) = run(&mut command);
    assert_eq!((status, &*stderr), (0, ""));
    let answers: Vec<Value> = serde_json::from_str(&stdout).expect("a list");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let status = |value: &Value| i32::try_from(value.as_i64().expect("a status")).expect("a small one");
    answers.iter().map(|answer| (status(&answer[0]), text(&answer[1]), text(&answer[2]))).collect()
}

/// What both say about each line.
fn both(daemon: &Daemon, lines: &[&str]) -> Vec<[Answer; 2]> {
    let ours = lines.iter().map(|line| run(prepared(Flavor::Ours, daemon).args(words(line))));
    ask_stock(daemon, lines).into_iter().zip(ours).map(|(stock, ours)| [stock, ours]).collect()
}

/// Asks both and wants the same.
fn alike(daemon: &Daemon, lines: &[&str]) {
    let mut wrong = String::new();
    for (line, answers) in lines.iter().zip(both(daemon, lines)) {
        let [stock, ours] =
            answers.map(|(status, stdout, stderr)| (status, normal(&stdout), normal(&stderr)));
        if stock != ours {
            wrong += &format!("circusctl {line}\nstock: {stock:?}\nours:  {ours:?}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// None of these changes anything that another one shows.
const TO_ANY_DAEMON: &[&str] = &[
    "list",
    "list one",
    "status",
    "status nope",
    "get one cmd args uid numprocesses",
    "options three",
    "globaloptions",
    "globaloptions nope",
    "numwatchers",
    "numprocesses one",
    "listsockets",
    "stats one",
    "dstats",
    "ipython",
    "--json status nope",
    "--json --prettify status",
    "incr one 0",
    "stop --waiting three",
    "start --match regex nope",
    "signal one nope",
];

#[test]
fn both_tools_say_the_same_about_stock() {
    alike(&started(Flavor::Stock), TO_ANY_DAEMON);
}

#[test]
fn both_tools_say_the_same_about_ours() {
    let daemon = started(Flavor::Ours);
    alike(&daemon, TO_ANY_DAEMON);
    alike(
        &daemon,
        &[
            "list nope",
            "list ''",
            "status One",
            "get one nope",
            "stats",
            "stats --ext one",
            "stats one 1",
            "stats nope",
            "--json stats one",
            "numprocesses nope",
            "numprocesses",
            "globaloptions check_delay more",
            "incr --waiting one 0",
            "decr one -0",
            "set one graceful_timeout 5 WARMUP_DELAY 0",
            "set one uid nosuch",
            "set nope cmd x",
            "signal one cont",
            "signal --recursive --children one cont",
            "signal one 1 cont",
            "kill nope",
            "kill one 1",
            "rm nope",
            "reload nope",
            "restart --match nope one",
            "start --waiting one",
            "add ONE sleep 5",
            "--timeout 9 list",
        ],
    );
}

/// Nothing is sent for any of these.
#[test]
fn both_tools_complain_alike() {
    let daemon = started(Flavor::Ours);
    let lines = [
        "-h",
        "zorg",
        "zorg list",
        "-x list -y",
        "--endpoint",
        "--timeout x list",
        "--s",
        "--json=1 list",
        "list --json",
        "stop one --waiting two",
        "add foo ls -l /tmp",
        "add --start",
        "kill --signum",
        "stop --match",
        "reload --wait=1",
        "-- list",
        "--version",
        "--versi zorg",
        "dstats x",
        "numwatchers x",
        "numprocesses a b",
        "list a b",
        "status a b",
        "options",
        "get one",
        "globaloptions --nope",
        "decr",
        "kill",
        "kill a b c",
        "rm a b",
        "reload a b",
        "start a b",
        "stats a b c",
        "signal one",
        "set one zorg 1",
        "set one numprocesses",
        "set one numprocesses 1 cmd",
    ];
    alike(&daemon, &lines);
    for (position, typed) in [("1", "circusctl st"), ("1", "circusctl"), ("2", "circusctl stop o")] {
        let [stock, ours] = [Flavor::Stock, Flavor::Ours].map(|flavor| {
            let mut command = prepared(flavor, &daemon);
            answer(command.env("AUTO_COMPLETE", "1").env("COMP_CWORD", position).env("COMP_WORDS", typed))
        });
        assert_eq!(ours, stock, "{typed}");
    }
}

/// Other words, the same status.
#[test]
fn complaints_are_lines_instead_of_tracebacks() {
    row("D81");
    row("D82");
    row("D83");
    let daemon = started(Flavor::Ours);
    let dead = format!("--timeout 1 --endpoint tcp://{}:5999 list", daemon.address());
    let cases = [
        ("decr one x", "the number of processes 'x' is no integer\n"),
        ("set one numprocesses many", "'numprocesses' is 'many': give an integer\n"),
        ("--endpoint zorg list", "circusctl: endpoint \"zorg\": unknown scheme"),
    ];
    for ((line, says), [stock, ours]) in cases.iter().zip(both(&daemon, &cases.map(|(line, _)| line))) {
        assert!(stock.2.starts_with("Traceback"), "{line}: {stock:?}");
        assert_eq!((ours.0, &*ours.1), (stock.0, &*stock.1), "{line}");
        assert!(ours.2.starts_with(says) && ours.2.lines().count() == 1, "{line}: {ours:?}");
    }
    let [stock, ours] = both(&daemon, &[&dead]).remove(0);
    assert_eq!((ours.0, ours.2.lines().next()), (stock.0, stock.2.lines().next()), "{ours:?} {stock:?}");
    assert!(ours.2.contains(":5999: connection refused"), "{ours:?}");
    // A usage line is stock's, what follows is ours.
    let helps = ["--help", "stop --help", "kill --help"];
    for [stock, ours] in both(&daemon, &helps) {
        let usage = |text: &str| text.split("\n\n").next().map(str::to_owned);
        assert_eq!((ours.0, usage(&ours.1)), (stock.0, usage(&stock.1)));
    }
}

#[test]
fn what_stock_forgets_is_sent() {
    row("D80");
    for flavor in [Flavor::Stock, Flavor::Ours] {
        let daemon = started(flavor);
        // Stock refuses everything while its check is under way.
        let ask = |line: &str| {
            until("an answer that is none of haste", || {
                let answer = run(prepared(Flavor::Ours, &daemon).args(words(line)));
                (!answer.2.contains("arbiter is already running")).then_some(answer)
            })
        };
        let ok =
            |line: &str| assert_eq!(ask(line), (0, "ok\n".to_owned(), String::new()), "{flavor:?}: {line}");
        let pids = pids_of_one(&daemon);
        ok("kill --waiting --graceful_timeout 3 --signum term one");
        // With --waiting the answer comes when they are dead.
        assert!(pids.iter().all(|pid| !alive(*pid)), "{flavor:?}");
        ok("set three env A=1,B=2");
        assert_eq!(ask("get three env").1, "env: A=1,B=2\n");
        let pids = until("new processes", || {
            let pids = pids_of_one(&daemon);
            (pids.len() == 2).then_some(pids)
        });
        ok("rm --nostop --waiting one");
        assert!(pids.iter().all(|pid| alive(*pid)), "{flavor:?}");
        assert_eq!(ask("status one").0, 3);
        for pid in pids {
            kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it was left alone");
        }
    }
}

/// Types the lines, each at its prompt, and gives all that was seen.
fn shell(flavor: Flavor, daemon: &Daemon, lines: &[&str]) -> String {
    let mut terminal = Terminal::start(prepared(flavor, daemon).env("TERM", "dumb"));
    let prompt = |count: usize| move |seen: &str| seen.matches("(circusctl) ").count() == count;
    for (typed, line) in lines.iter().enumerate() {
        terminal.wait_until("a prompt", prompt(typed + 1));
        terminal.type_keys(&format!("{line}\n"));
    }
    terminal.wait_until("the last prompt", prompt(lines.len() + 1));
    terminal.type_keys("\u{4}");
    let (status, seen) = terminal.wait();
    format!("{}exit {:?}", normal(&seen.replace('\r', "")), status.code())
}

#[test]
fn shells_look_alike() {
    let daemon = started(Flavor::Ours);
    let lines = [
        "list",
        "status 'two words'",
        "",
        "zorg",
        "!ls",
        "help",
        "?zorg",
        "list one two",
        "status nope",
        "get one cmd",
        "set one zorg 1",
        "incr one 0",
        "help EOF",
    ];
    let [stock, ours] = [Flavor::Stock, Flavor::Ours].map(|flavor| shell(flavor, &daemon, &lines));
    assert_eq!(ours, stock);
    assert!(ours.starts_with("circusctl N\nOne: active\n"), "{ours}");
}

/// And the Tab key, on a terminal that can do more.
#[test]
fn our_shell_survives_mistakes_and_completes() {
    row("D84");
    let daemon = started(Flavor::Ours);
    let seen = shell(Flavor::Ours, &daemon, &["list --zorg", "list \"a", "list --help", "numwatchers"]);
    assert!(seen.contains("unrecognized arguments: --zorg") && seen.contains("numwatchers\n3\n"), "{seen}");
    assert!(seen.ends_with("exit Some(0)"), "{seen}");

    let mut terminal = Terminal::start(prepared(Flavor::Ours, &daemon).env("TERM", "xterm"));
    terminal.wait_until("the prompt", |seen| seen.contains("(circusctl) "));
    terminal.type_keys("status th");
    // The names must come soon, or the key does nothing.
    until("the watcher's name", || {
        terminal.type_keys("\t");
        std::thread::sleep(std::time::Duration::from_secs(1));
        terminal.seen().contains("status three ").then_some(())
    });
    terminal.type_keys("\r");
    terminal.wait_until("its state", |seen| {
        seen.contains("stopped\r\n(") || seen.matches("stopped").count() == 2
    });
    terminal.type_keys("\u{4}");
    assert_eq!(terminal.wait().0.code(), Some(0));
}

/// This ssh stands in for the system's: it
/// notes how it was called and forwards.
const SSH: &str = r#"
import os, select, socket, sys
open(os.environ["NOTES"], "a").write(" ".join(sys.argv[1:]) + "\n")
if "nowhere" in sys.argv:
    sys.exit("ssh: no such host")
path, host, port = sys.argv[sys.argv.index("-L") + 1].split(":")
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen()
while True:
    near = listener.accept()[0]
    far = socket.create_connection((host, int(port)))
    other = {near: far, far: near}
    while other:
        for end in select.select(list(other), [], [])[0]:
            data = end.recv(65536)
            if not data:
                other = {}
                break
            other[end].sendall(data)
    near.close()
    far.close()
"#;

#[test]
fn goes_through_the_systems_ssh() {
    row("D85");
    let daemon = started(Flavor::Ours);
    let bin = daemon.dir().join("bin");
    let temporary = daemon.dir().join("tmp");
    for dir in [&bin, &temporary] {
        std::fs::create_dir(dir).expect("a directory");
    }
    let program = bin.join("ssh");
    let script = format!("#!{}\n{SSH}", stock("python").display());
    std::fs::write(&program, script).expect("the program is written");
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("it can be run");
    let notes = daemon.dir().join("notes");
    let ask = |line: &str| {
        let mut command = prepared(Flavor::Ours, &daemon);
        run(command.env("PATH", &bin).env("TMPDIR", &temporary).env("NOTES", &notes).args(words(line)))
    };
    let answer = ask("--ssh me@far:2222 --ssh_keyfile /key numwatchers");
    assert_eq!(answer, (0, "3\n".to_owned(), String::new()));
    let called = std::fs::read_to_string(&notes).expect("notes");
    let wanted = format!("/s:{}:5555 -p 2222 -i /key me@far\n", daemon.address());
    assert!(called.ends_with(&wanted) && called.starts_with("-N -T "), "{called}");
    let left: Vec<_> = std::fs::read_dir(&temporary).expect("a directory").flatten().collect();
    assert!(left.is_empty(), "{left:?}");

    let (status, stdout, stderr) = ask("--ssh nowhere numwatchers");
    assert_eq!((status, &*stdout), (1, ""));
    assert!(stderr.starts_with("ssh: no such host\ncircusctl: --ssh nowhere: ssh ended with"), "{stderr}");
    let (status, _, stderr) = ask("--ssh -oProxyCommand=x numwatchers");
    assert_eq!(
        (status, stderr.contains("this is no host")),
        (2, false),
        "an option needs its value: {stderr}"
    );
    let (status, _, stderr) = ask("--ssh=-oProxyCommand=x numwatchers");
    assert_eq!((status, stderr.contains("this is no host")), (1, true), "{stderr}");
}

#[test]
fn listens_alike() {
    let daemon = started(Flavor::Ours);
    let pubsub = daemon.pubsub();
    let mut listeners = [Flavor::Stock, Flavor::Ours].map(|flavor| {
        let file = daemon.dir().join(format!("{flavor:?}.events"));
        let out = std::fs::File::create(&file).expect("a file");
        let mut command = prepared(flavor, &daemon);
        command.args(["--endpoint", &pubsub, "listen", "watcher.one."]);
        (Program::start(command.env("PYTHONUNBUFFERED", "1").stdout(out)), file)
    });
    let text = |file: &Path| std::fs::read_to_string(file).unwrap_or_default();
    // Nobody can tell when a subscription has arrived; events come until both have one.
    until("both to hear of it", || {
        let _answer = run(prepared(Flavor::Ours, &daemon).args(["set", "one", "warmup_delay", "0"]));
        listeners.iter().all(|(_, file)| text(file).ends_with('\n')).then_some(())
    });
    let [stock, ours] = listeners.each_mut().map(|(child, file)| {
        kill(Pid::from_raw(child.pid()), Signal::SIGINT).expect("it listens");
        let status = until("the end of listening", || child.ended());
        let heard = text(file);
        format!("exit {:?} {}", status.code(), normal(heard.lines().next().unwrap_or_default()))
    });
    assert_eq!(ours, stock);
    assert!(ours.starts_with("exit Some(1) b'watcher.one.updated': b'{\"time\": N}'"), "{ours}");
}

#[test]
fn top_shows_figures_of_both_daemons() {
    row("D86");
    let ini = THREE.replace("[circus]\n", "[circus]\nstats_endpoint = tcp://{address}:5557\n");
    std::thread::scope(|scope| {
        for flavor in [Flavor::Stock, Flavor::Ours] {
            let ini = &ini;
            scope.spawn(move || top(&Daemon::start(flavor, ini)));
        }
    });
}

fn top(daemon: &Daemon) {
    let endpoint = format!("tcp://{}:5557", daemon.address());
    let start = || {
        let mut command = Command::new(built("circusman"));
        Terminal::start(command.args(["ctl", "top", "--endpoint", &endpoint]).env("TERM", "xterm"))
    };
    // A new terminal collects lines and echoes; by when the program changes that is its own affair.
    let fresh = LocalFlags::ICANON | LocalFlags::ECHO;
    let mut terminal = start();
    terminal.wait_until("the empty picture", |seen| seen.contains("*** Waiting for data ***"));
    terminal.wait_until("figures", |seen| {
        ["Circus Top", "\none", "\ntwo", "(avg)", "(older)", "(circusd)"]
            .iter()
            .all(|part| seen.replace("\u{1b}[K", "").contains(part))
    });
    assert!(!terminal.settings().local_flags.intersects(fresh), "keys come one by one");
    terminal.type_keys("q");
    terminal.wait_until("the end", |seen| seen.ends_with("\u{1b}[?1049l"));
    assert!(terminal.settings().local_flags.contains(fresh), "the terminal is as it was");
    assert_eq!(terminal.wait().0.code(), Some(0));

    let mut terminal = start();
    terminal.wait_until("the screen", |seen| seen.contains("\u{1b}[?1049h"));
    kill(Pid::from_raw(terminal.pid()), Signal::SIGINT).expect("it runs");
    let (status, seen) = terminal.wait();
    assert_eq!((status.code(), seen.ends_with("\u{1b}[?1049l")), (Some(0), true));
}
