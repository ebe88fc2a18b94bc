//! Shells take the completion scripts, the program answers them, and every command has a man page.

use std::path::Path;
use std::process::Command;

use circus_tests::daemon::{built, run};

/// circusman with a home of its own.
fn circusman(home: &Path) -> Command {
    let mut command = Command::new(built("circusman"));
    command.env_clear().env("HOME", home).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

fn home() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

/// Whether a program is installed.
fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

#[test]
fn each_shell_parses_its_script() {
    let home = home();
    for (shell, file, check) in [
        ("bash", "circusman.bash", "-n"),
        ("zsh", "_circusman", "-n"),
        ("fish", "circusman.fish", "--no-execute"),
    ] {
        let (exit, script, stderr) = run(circusman(home.path()).args(["completions", shell]));
        assert_eq!((exit, stderr.as_str()), (0, ""), "{shell}");
        assert!(script.contains("circusman") && script.contains("COMPLETE"), "{script}");
        let (exit, ..) = run(circusman(home.path()).args(["completions", shell, "--dir"]).arg(home.path()));
        assert_eq!(exit, 0);
        let path = home.path().join(file);
        assert_eq!(std::fs::read_to_string(&path).expect("it was written"), script);
        if !installed(shell) {
            eprintln!("{shell} is not installed: its script was not parsed");
            continue;
        }
        let (exit, stdout, stderr) = run(Command::new(shell).arg(check).arg(&path));
        assert_eq!((exit, stdout.as_str(), stderr.as_str()), (0, "", ""), "{shell}");
    }
}

/// What bash offers for this line, whose last word is under the cursor.
fn offered(home: &Path, line: &str) -> Vec<String> {
    let program = built("circusman");
    let path = format!("{}:/usr/bin:/bin", program.parent().expect("a directory").display());
    let script = "source <(circusman completions bash)\n\
                  read -ra COMP_WORDS <<<\"$1\"\n\
                  [[ $1 == *' ' ]] && COMP_WORDS+=('')\n\
                  COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMP_TYPE=9\n\
                  _clap_complete_circusman circusman \"${COMP_WORDS[COMP_CWORD]}\" ''\n\
                  printf '%s\\n' \"${COMPREPLY[@]}\"\n";
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", script, "bash", line]).env_clear().env("HOME", home).env("PATH", path);
    let (exit, stdout, stderr) = run(&mut bash);
    assert_eq!(exit, 0, "{line}: {stderr}");
    let mut offered: Vec<String> =
        stdout.lines().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect();
    offered.sort_unstable();
    offered
}

#[test]
fn bash_completes_verbs_options_watchers_nodes_and_operations() {
    let home = home();
    let state = home.path().join(".local/state/circusman");
    std::fs::create_dir_all(state.join("operations")).expect("a directory");
    std::fs::write(
        state.join("seen.json"),
        r#"{"nodes": ["db1", "db2", "web1"], "watchers": ["neo4j", "titan"]}"#,
    )
    .expect("writes");
    let begun = r#"{"schema":1,"id":7,"time":1,"user":"a@b","cluster":"c","spec":"c","operation":"stop","words":["stop"],"targets":["db1"]}"#;
    std::fs::write(state.join("operations/7.jsonl"), format!("{begun}\n")).expect("writes");
    let offered = |line: &str| offered(home.path(), line);
    assert_eq!(offered("circusman res"), ["reset", "restart", "resume"]);
    assert_eq!(offered("circusman restart ne"), ["neo4j"]);
    assert_eq!(offered("circusman restart --roll"), ["--rolling"]);
    assert_eq!(offered("circusman stop titan --on db1,d"), ["db1,db1", "db1,db2"]);
    assert!(offered("circusman history ").contains(&"7".to_owned()));
    assert_eq!(offered("circusman reset d"), ["data"]);
    assert!(!offered("circusman ").contains(&"stand-in".to_owned()));
}

#[test]
fn every_command_has_a_man_page() {
    let home = home();
    let dir = home.path().join("man1");
    let (exit, _, stderr) = run(circusman(home.path()).args(["completions", "man", "--dir"]).arg(&dir));
    assert_eq!(exit, 0, "{stderr}");
    let (_, help, _) = run(circusman(home.path()).arg("--help"));
    let commands = help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    let names: Vec<&str> = commands
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(names.len() > 15, "{help}");
    for name in names.into_iter().filter(|name| *name != "help") {
        let page = std::fs::read_to_string(dir.join(format!("circusman-{name}.1"))).unwrap_or_default();
        assert!(page.contains(".TH ") && page.contains("OPTIONS"), "{name}: {page}");
    }
    let page = std::fs::read_to_string(dir.join("circusman.1")).expect("the first page");
    assert!(page.contains("Exit status") && !page.contains("stand-in"), "{page}");
    if installed("man") {
        let (exit, text, stderr) = run(Command::new("man").arg("-l").arg(dir.join("circusman-restart.1")));
        assert_eq!(exit, 0, "{stderr}");
        assert!(text.contains("rolling"), "{text}");
    } else {
        eprintln!("man is not installed: no page was shown");
    }
}
