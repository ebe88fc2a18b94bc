//! What to think of what was found.

use super::{Account, Facts, Finding, Grade, Holder, Look, PathFact, Reached};
use crate::service::Limit;

/// Everything that is not as it should be, the worst first.
#[must_use]
pub fn judge(look: &Look, facts: &Facts) -> Vec<Finding> {
    let mut judge = Judge { look, facts, findings: Vec::new() };
    judge.node();
    judge.start();
    judge.ports();
    judge.java();
    judge.limits();
    judge.directories();
    judge.findings.sort_by_key(|finding| std::cmp::Reverse(finding.grade));
    judge.findings
}

struct Judge<'a> {
    look: &'a Look,
    facts: &'a Facts,
    findings: Vec<Finding>,
}

impl Judge<'_> {
    fn find(&mut self, check: &str, grade: Grade, text: String, remedy: String) {
        let about_node = matches!(check, "hostname" | "address");
        let service = if about_node { String::new() } else { self.look.service.clone() };
        self.findings.push(Finding { service, check: check.to_owned(), grade, text, remedy });
    }

    fn node(&mut self) {
        let Facts { hostname, hostname_error, address_error, .. } = self.facts;
        if let Some(error) = hostname_error {
            // A Java machine asks for its own name; Titan does not start without an answer.
            let grade = if self.look.java.is_empty() { Grade::Warning } else { Grade::Problem };
            let address = self.look.address.as_deref().unwrap_or("127.0.1.1");
            let text = format!("its own name {hostname} leads to no address: {error}");
            self.find("hostname", grade, text, format!("add the line `{address} {hostname}` to /etc/hosts"));
        }
        if let (Some(address), Some(error)) = (&self.look.address, address_error) {
            let text = format!("{address} is not an address of this node: {error}");
            let remedy = "correct the cluster's addresses (`circusman cluster`), or give the node this one";
            self.find("address", Grade::Problem, text, remedy.to_owned());
        }
    }

    fn start(&mut self) {
        if let Some(Err(error)) = &self.facts.user {
            let text = format!("its processes cannot run as their user: {error}");
            let remedy = format!("make the user, or correct `uid` of [watcher:{}]", self.look.service);
            self.find("user", Grade::Problem, text, remedy);
        }
        if let Some(error) = &self.facts.program_error {
            let text = format!("{} cannot be started: {error}", self.look.process.program);
            let remedy = format!("install it, or correct `home` or `cmd` of {}", self.look.service);
            self.find("program", Grade::Problem, text, remedy);
        }
    }

    fn ports(&mut self) {
        for Holder { port, at, pid, command, user, own } in &self.facts.holders {
            if *own {
                continue;
            }
            let who = match pid {
                Some(pid) => format!("{command} (pid {pid}, user {user})"),
                None => format!("a process of user {user}, which the daemon may not look into"),
            };
            let text = format!("port {port} is taken: {who} listens on {at}");
            let remedy = match pid {
                Some(pid) => format!("stop it (`kill {pid}`), or give {} another port", self.look.service),
                None => format!("find it with `ss -ltnp sport = {port}` as root and stop it"),
            };
            self.find("port", Grade::Problem, text, remedy);
        }
    }

    fn java(&mut self) {
        let wanted = self.look.java.as_slice();
        if wanted.is_empty() {
            return;
        }
        let versions = alternatives(wanted);
        let remedy = format!(
            "install Java {versions} and set `env.JAVA_HOME` in [service:{}] to where it is",
            self.look.service
        );
        match &self.facts.java {
            None => {}
            Some(Err(error)) => {
                self.find("java", Grade::Problem, format!("no Java: {error}"), remedy);
            }
            Some(Ok(output)) => match major(output) {
                Some(found) if wanted.contains(&found) => {}
                Some(found) => {
                    let text = format!("its Java is {found}; it is made for {versions}");
                    self.find("java", Grade::Problem, text, remedy);
                }
                None => {
                    let said = output.lines().next().unwrap_or_default();
                    let text = format!("the version of its Java cannot be told from {said:?}");
                    self.find("java", Grade::Warning, text, format!("it is made for Java {versions}"));
                }
            },
        }
    }

    fn limits(&mut self) {
        for Limit { resource, least, place: _ } in &self.look.limits {
            let Some(reached) = self.facts.limits.iter().find(|reached| reached.resource == *resource) else {
                continue;
            };
            let set = self.look.process.rlimits.iter().find(|(name, _)| name == resource);
            if let Some((_, wanted)) = set.filter(|_| !reached.running) {
                self.limit_set(resource, *wanted, *least, reached);
                continue;
            }
            // A Java machine raises its number of files as far as it may.
            let raises = resource == "nofile" && !self.look.java.is_empty() && !reached.running;
            let counts = if raises { reached.hard } else { reached.soft };
            if covers(counts, *least) {
                continue;
            }
            let (has, wants) = (shown(counts), shown(*least));
            let whose = if reached.running { "its process has" } else { "a process would get" };
            let text = format!("{resource}: {whose} {has}, it should have {wants}");
            let service = &self.look.service;
            let own = format!("`rlimit_{resource} = {wants}` in [watcher:{service}]");
            let unit = resource.to_uppercase();
            let remedy = if covers(reached.hard, *least) || self.facts.privileged {
                format!("set {own}")
            } else {
                format!("raise the daemon's own limit (`Limit{unit}=` of its unit, or limits.conf)")
            };
            self.find("limit", Grade::Warning, text, remedy);
        }
    }

    /// What the watcher asks for itself: more than may be had keeps it from starting.
    fn limit_set(&mut self, resource: &str, wanted: Option<u64>, least: Option<u64>, reached: &Reached) {
        let service = &self.look.service;
        if !(self.facts.privileged || covers(reached.hard, wanted)) {
            let text = format!(
                "rlimit_{resource} = {} cannot be had: the daemon's own limit is {}",
                shown(wanted),
                shown(reached.hard)
            );
            let unit = resource.to_uppercase();
            let remedy = format!("raise that (`Limit{unit}=` of its unit, or limits.conf), or ask for less");
            self.find("limit", Grade::Problem, text, remedy);
        } else if !covers(wanted, least) {
            let text = format!("rlimit_{resource} = {}, it should have {}", shown(wanted), shown(least));
            let remedy = format!("set `rlimit_{resource} = {}` in [watcher:{service}]", shown(least));
            self.find("limit", Grade::Warning, text, remedy);
        }
    }

    fn directories(&mut self) {
        let user = self.facts.user.as_ref().and_then(|user| user.as_ref().ok());
        for (paths, is_written) in [(&self.look.needed, false), (&self.look.written, true)] {
            for path in paths {
                if let Some(fact) = self.facts.paths.iter().find(|fact| fact.path == *path) {
                    self.directory(fact, user, is_written);
                }
            }
        }
    }

    fn directory(&mut self, fact: &PathFact, user: Option<&Account>, is_written: bool) {
        let PathFact { path, found, owner, mode, .. } = fact;
        let problem = |judge: &mut Self, text: String, remedy: String| {
            judge.find("directory", Grade::Problem, text, remedy);
        };
        if let Some(error) = &fact.error {
            return problem(self, format!("{path}: {error}"), "let the daemon look there".to_owned());
        }
        if !fact.is_dir {
            let text = format!("{found} is not a directory");
            return problem(self, text, "move it out of the way, or name another directory".to_owned());
        }
        let name = user.map_or("its user", |user| user.name.as_str());
        let may = |bits| user.is_none_or(|user| allows(fact, user, bits));
        let is_there = path == found;
        match (is_there, is_written) {
            (false, false) => {
                let remedy = format!("make it (`mkdir -p {path}`), or correct where it should be");
                return problem(self, format!("{path} does not exist"), remedy);
            }
            (false, true) if !may(WRITE | ENTER) => {
                let text = format!("{path} does not exist, and {name} cannot make it in {found} ({owner})");
                return problem(self, text, format!("`install -d -o {name} {path}`"));
            }
            (true, true) if !may(WRITE | ENTER) => {
                let text = format!("{name} cannot write into {path}: it is {owner}'s, mode {mode:04o}");
                return problem(self, text, format!("`chown -R {name} {path}`"));
            }
            (true, false) if !may(ENTER) => {
                let text = format!("{name} cannot enter {path}: it is {owner}'s, mode {mode:04o}");
                return problem(self, text, format!("`chmod a+x {path}`, or give it to {name}"));
            }
            (_, _) => {}
        }
        if let Some((foreign, whose)) = fact.foreign.as_ref().filter(|_| is_there && is_written)
            && user.is_some_and(|user| user.uid != 0)
        {
            let text = format!("{foreign} belongs to {whose}, not to {name}");
            self.find("directory", Grade::Warning, text, format!("`chown -R {name} {path}`"));
        }
    }
}

const WRITE: u32 = 0o2;
const ENTER: u32 = 0o1;

/// As the kernel decides: the first class that fits, and root whatever the bits say.
fn allows(fact: &PathFact, user: &Account, bits: u32) -> bool {
    if user.uid == 0 {
        return true;
    }
    let shift = if fact.uid == user.uid {
        6
    } else if user.groups.contains(&fact.gid) {
        3
    } else {
        0
    };
    (fact.mode >> shift) & bits == bits
}

/// Whether so much is as much as that; nothing is unlimited.
fn covers(has: Option<u64>, least: Option<u64>) -> bool {
    match (has, least) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(has), Some(least)) => has >= least,
    }
}

fn shown(limit: Option<u64>) -> String {
    limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string())
}

fn alternatives(versions: &[u16]) -> String {
    let words: Vec<String> = versions.iter().map(u16::to_string).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        Some((only, _)) => only.clone(),
        None => String::new(),
    }
}

/// `version "1.8.0_292"` is 8, `version "17.0.2"` is 17. The vendor's name may come first, and other
/// lines (`Picked up JAVA_TOOL_OPTIONS …`) before that.
fn major(output: &str) -> Option<u16> {
    let rest = output.lines().find_map(|line| line.split_once("version \""))?.1;
    let mut numbers = rest.split(|letter: char| !letter.is_ascii_digit());
    let first: u16 = numbers.next()?.parse().ok()?;
    if first == 1 { numbers.next()?.parse().ok() } else { Some(first) }
}
