//! `--preflight`: what a start of the file's services would meet on this machine, told without a daemon.
//!
//! The same question as the command `preflight`, looked into by the same host, judged in the same place
//! and told in the words of `circusman preflight`. Of processes that another daemon runs already nothing
//! is known: their ports are taken by somebody.

use std::io::{self, Write};
use std::process::ExitCode;

use circus_protocol::service::preflight::{Finding, Grade, Look, report};
use serde_json::Value;
use tokio::runtime;
use tokio::sync::mpsc;

use super::setup::{self, SetupError};
use crate::arbiter::effect::Effect;
use crate::arbiter::id::JobId;
use crate::arbiter::input::Input;
use crate::arbiter::looks;
use crate::cli::Arguments;
use crate::host::runner::{Orphans, Runner};

/// The file, or this machine, cannot even be looked at.
const BAD: u8 = 2;

/// 0 without a problem, 1 with one, 2 for a file that is wrong.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let hostname = super::hostname();
    let told = setup::read(arguments).and_then(|(_, resolved)| {
        setup::check_endpoints(&resolved.config.circus)?;
        setup::say(&mut io::stderr(), &resolved.warnings.join("\n"));
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let looks = looks(&resolved.config, &hostname);
        runtime.map_err(SetupError::Runtime)?.block_on(looked(&looks, &hostname)).map_err(SetupError::Runtime)
    });
    match told {
        Ok((text, problem)) => {
            let _closed = io::stdout().write_all(text.as_bytes());
            if problem { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
        Err(error) => {
            setup::complain(&error);
            ExitCode::from(BAD)
        }
    }
}

/// Looks; the text, for a node of this name, and whether there is a problem.
async fn looked(looks: &[Look], node: &str) -> io::Result<(String, bool)> {
    let (inputs, mut mailbox) = mpsc::channel(1);
    // Who tells the version of Java is started as any process.
    let mut runner = Runner::new(inputs, Orphans::Left)?;
    let job = JobId(0);
    let _nothing_for_a_loop = runner.perform(Effect::Preflight { job, looks: looks.to_vec() });
    let facts = loop {
        match mailbox.recv().await {
            Some(Input::Preflighted { facts, .. }) => break facts,
            Some(_) => {}
            None => return Err(io::Error::other("the look did not end")),
        }
    };
    runner.finish().await;
    let body = report(looks, &facts);
    let findings = body.get("findings").and_then(Value::as_array).into_iter().flatten();
    let mut findings: Vec<Finding> = findings.map(Finding::from_json).collect();
    findings.sort_by_key(|finding| finding.grade);
    let problem = findings.iter().any(|finding| finding.grade == Grade::Problem);
    Ok((text(node, looks, &findings), problem))
}

/// The worst last, as `circusman` has it.
fn text(node: &str, looks: &[Look], findings: &[Finding]) -> String {
    if findings.is_empty() {
        let services: Vec<&str> = looks.iter().map(|look| look.service.as_str()).collect();
        let what = if services.is_empty() { "no service".to_owned() } else { services.join(", ") };
        let checks: usize = looks.iter().map(Look::count).sum();
        return format!("clean  {node}  {what}: {checks} checks and nothing found\n");
    }
    let lines = findings.iter().flat_map(|finding| finding.lines(node));
    lines.map(|line| plain(&line) + "\n").collect()
}

/// What others chose (command lines, names) can neither move the cursor nor ring the bell.
fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}
