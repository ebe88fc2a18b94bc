//! From the sections' texts to questions and paths without variables.
//!
//! Who the node is comes from `configure`. Until then its address is that of its own endpoint, if that
//! is a definite one; a text that needs more cannot be resolved, and says so.

use core::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use circus_protocol::endpoint::{Endpoint, Host, HostPort};
use circus_protocol::service::{
    Check, Level, Membership, STDERR, STDOUT, Service, Services, Variables, template,
};

use crate::arbiter::question::{Preparation, ProbeCall, Question};
use crate::arbiter::time::seconds;
use crate::arbiter::words;
use crate::config::{Global, StreamConfig, WatcherConfig};

/// Every machine has it, so it names none. Its relatives name the nodes of a cluster on one machine.
const SHARED: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Who the node is, as far as that is known.
#[derive(Debug, Clone, Copy)]
pub(in crate::arbiter) struct Names<'a> {
    pub(in crate::arbiter) services: &'a Services,
    pub(in crate::arbiter) membership: Option<&'a Membership>,
    pub(in crate::arbiter) global: &'a Global,
    pub(in crate::arbiter) hostname: &'a str,
}

impl Names<'_> {
    pub(in crate::arbiter) fn variables(self, service: &Service) -> Variables {
        if self.membership.is_some() {
            return self.services.variables_of(service, self.membership);
        }
        let known = self.services.variables_of(service, None).with("hostname", self.hostname);
        let Some(address) = own_address(&self.global.endpoint) else { return known };
        let known = known.with("address", &address);
        // A home that names the address is known, too.
        match service.home.as_ref().and_then(|home| known.substitute(&home.text).ok()) {
            Some(home) => known.with("home", &home),
            None => known,
        }
    }

    pub(in crate::arbiter) fn resolve(self, variables: &Variables, text: &str) -> Result<String, String> {
        variables.substitute(text).map_err(|problems| {
            let why = template::describe(&problems);
            let remedy = "; send `configure`, which says who this node is";
            format!("{text:?}: {why}{}", if self.membership.is_none() { remedy } else { "" })
        })
    }
}

/// The host of an endpoint that others can reach it by.
fn own_address(endpoint: &str) -> Option<String> {
    match endpoint.parse().ok()? {
        Endpoint::Tcp(HostPort { host: Host::Ip(ip), .. }) if !ip.is_unspecified() && ip != SHARED => {
            Some(ip.to_string())
        }
        Endpoint::Tcp(_) | Endpoint::Ipc(_) | Endpoint::Udp(_) => None,
    }
}

/// One try of the probe of that level; what cannot be asked is the answer.
pub(in crate::arbiter) fn call(
    names: Names<'_>,
    config: &WatcherConfig,
    service: &Service,
    level: Level,
) -> Result<ProbeCall, String> {
    let probe = service.probes.iter().find(|probe| probe.level == level);
    let probe = probe.ok_or_else(|| "there is no such probe".to_owned())?;
    let variables = names.variables(service);
    let mut questions = Vec::new();
    for check in &probe.checks {
        let text = |text: &str| names.resolve(&variables, text);
        questions.push(match check {
            Check::Tcp(address) => Question::Tcp(text(address)?),
            Check::Http { url, status, body, login } => {
                let login = match login {
                    Some(login) => {
                        let password_file = text(&login.password_file)?;
                        Some(circus_protocol::service::Login { password_file, ..login.clone() })
                    }
                    None => None,
                };
                Question::Http { url: text(url)?, status: status.clone(), body: body.clone(), login }
            }
            Check::Exec { command, exit_codes, output } => {
                let argv = words::split(&text(command)?).map_err(|error| format!("{command:?}: {error}"))?;
                Question::Exec { argv, exit_codes: exit_codes.clone(), output: output.clone() }
            }
            Check::Log { file, pattern } => {
                Question::Log { file: log_file(names, &variables, config, file)?, pattern: pattern.clone() }
            }
            Check::PidAlive(_) => continue,
        });
    }
    Ok(ProbeCall {
        watcher: config.name.original().to_owned(),
        questions,
        limit: seconds(probe.attempt_timeout),
        env: config
            .env
            .iter()
            .flat_map(|env| env.iter())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        working_dir: config.working_dir.clone(),
        uid: config.uid.as_ref().map(ToString::to_string),
        gid: config.gid.as_ref().map(ToString::to_string),
    })
}

fn log_file(
    names: Names<'_>,
    variables: &Variables,
    config: &WatcherConfig,
    file: &str,
) -> Result<PathBuf, String> {
    let stream = match file {
        STDOUT => &config.stdout_stream,
        STDERR => &config.stderr_stream,
        _ => return names.resolve(variables, file).map(PathBuf::from),
    };
    let written = stream.as_ref().and_then(StreamConfig::file);
    written.map(PathBuf::from).ok_or_else(|| format!("{file} is written to no file; give it a FileStream"))
}

/// What is done before the first process starts, and what of it cannot be.
pub(in crate::arbiter) fn preparation(
    names: Names<'_>,
    config: &WatcherConfig,
    service: &Service,
) -> (Preparation, Vec<String>) {
    let (mut preparation, mut problems) = (Preparation::default(), Vec::new());
    let logs = service.probes.iter().flat_map(|probe| &probe.checks).filter_map(|check| match check {
        Check::Log { file, .. } => Some(file),
        Check::Tcp(_) | Check::Http { .. } | Check::Exec { .. } | Check::PidAlive(_) => None,
    });
    let logs: Vec<&String> = logs.collect();
    if logs.is_empty() && service.remove_before_start.is_empty() {
        return (preparation, problems);
    }
    let variables = names.variables(service);
    for path in &service.remove_before_start {
        match names.resolve(&variables, &path.text) {
            Ok(path) => preparation.remove.push(PathBuf::from(path)),
            Err(error) => problems.push(format!("{}: remove_before_start: {error}", path.place)),
        }
    }
    // What cannot be resolved is what the probe will say.
    preparation.logs =
        logs.iter().filter_map(|file| log_file(names, &variables, config, file).ok()).collect();
    (preparation, problems)
}
