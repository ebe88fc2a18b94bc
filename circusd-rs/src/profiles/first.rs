//! The text of a first configuration file: what must be said, and as comments what can be.

use std::path::Path;

use circus_protocol::service::shipped::{self, About, Profile};

/// A profile and where its server is.
pub(super) struct Chosen {
    pub(super) profile: Profile,
    pub(super) about: About,
    pub(super) home: String,
}

/// The whole file.
pub(super) fn file(chosen: &[Chosen], output: Option<&Path>) -> String {
    let products: Vec<String> = chosen.iter().map(title).collect();
    let shown = output.map_or("circus.ini".to_owned(), |path| path.display().to_string());
    let mut text = format!(
        "; A node of a cluster with {}.
; The same file serves every node: who a node is comes from the console.
;
;     circusd-rs --check {shown}
;     circusd-rs {shown}               on every node
;     circusman --cluster ADDRESSES configure --fresh
;     circusman start
;
; What the profiles say: circusd-rs profiles {}
; Every key below a `;` is as the profile has it; take the `;` away to say something else.

[circus]
; Consoles connect from other machines. Nothing is authenticated: a network of your own only.
endpoint = tcp://0.0.0.0:5555
pubsub_endpoint = tcp://0.0.0.0:5556
stats_endpoint = tcp://0.0.0.0:5557
",
        products.join(" and "),
        chosen.iter().map(|one| one.profile.name).collect::<Vec<_>>().join(" "),
    );
    for one in chosen {
        text += &service(one, chosen);
    }
    text
}

fn title(chosen: &Chosen) -> String {
    format!("{} {}", chosen.about.product, chosen.about.versions)
}

fn service(one: &Chosen, all: &[Chosen]) -> String {
    let name = &one.about.service;
    let keys = keys(one.profile);
    let mut text = format!(
        "\n; ---- {} ----\n\n[service:{name}]\nuse = {}\nhome = {}\n",
        title(one),
        one.profile.name,
        one.home
    );
    for key in ["after", "cluster_after"] {
        if let Some((_, value)) = keys.iter().find(|(found, _)| found == key) {
            let there = value.split(',').all(|item| {
                let wanted = item.split(':').next().unwrap_or_default().trim();
                all.iter().any(|other| other.about.service == wanted)
            });
            if !there {
                text += &format!(
                    "; {value} is what it needs; without a service of that name here it is not waited for.\n{key} =\n"
                );
            }
        }
    }
    for group in ["value.", "watcher.", "env."] {
        text.push_str(";\n");
        for (key, value) in keys.iter().filter(|(key, _)| key.starts_with(group)) {
            text += format!("; {key} = {value}").trim_end();
            text.push('\n');
        }
        match group {
            "watcher." => {
                for (limit, least) in
                    keys.iter().filter_map(|(key, least)| Some((key.strip_prefix("limit.")?, least)))
                {
                    let value = if least == "unlimited" { "" } else { least };
                    text += format!("; watcher.rlimit_{limit} = {value}").trim_end();
                    text.push('\n');
                }
                text += "; watcher.uid =\n";
            }
            "env." => text += "; env.JAVA_HOME =\n",
            _ => {}
        }
    }
    text + &for_stock(one, &keys)
}

/// The process as a section of its own, commented out.
fn for_stock(one: &Chosen, keys: &[(String, String)]) -> String {
    let name = &one.about.service;
    let mut text = format!(
        "
; Stock circusd does not know profiles. For it, and only for it, the process must be said here, and its environment in [env:{name}]:
; [watcher:{name}]
"
    );
    for key in ["cmd", "args", "working_dir", "autostart", "copy_env", "graceful_timeout", "stop_children"] {
        if let Some((_, value)) = keys.iter().find(|(found, _)| found.strip_prefix("watcher.") == Some(key)) {
            let said =
                keys.iter().fold(value.clone(), |value, (key, meaning)| match key.strip_prefix("value.") {
                    Some(name) => value.replace(&format!("${{{name}}}"), meaning),
                    None => value,
                });
            text += format!("; {key} = {}", said.replace("${home}", &one.home)).trim_end();
            text.push('\n');
        }
    }
    text
}

/// All keys of a profile and of those below it, each once, those of the base first.
fn keys(profile: Profile) -> Vec<(String, String)> {
    let ini = profile.ini().unwrap_or_default();
    let Some(section) = ini.sections.first() else { return Vec::new() };
    let below = section.text("use").and_then(shipped::profile);
    let mut keys = below.map(keys).unwrap_or_default();
    for entry in &section.entries {
        match keys.iter_mut().find(|(key, _)| *key == entry.key) {
            Some((_, value)) => value.clone_from(&entry.value),
            None => keys.push((entry.key.clone(), entry.value.clone())),
        }
    }
    keys
}
