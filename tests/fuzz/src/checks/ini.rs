//! A configuration file from its bytes to watchers and services, as `--check` and the daemon read it,
//! and on to what `configure` and `reset` would do with it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use circus_protocol::command::ResetKind;
use circus_protocol::endpoint::Endpoint;
use circus_protocol::ini::{Ini, parse_bool, parse_float, parse_int};
use circus_protocol::json;
use circus_protocol::service::{
    Membership, Services, TemplateText, plan_configure, plan_reset, template_paths,
};
use circusd_rs::config::resolve::{Python, Resolved, SitePackages, resolve};
use circusd_rs::config::{Config, Inherited, diff, expand, option};
use serde_json::Value;

/// The bytes as the only file.
pub fn check(data: &[u8]) {
    let Ok(ini) = Ini::parse_bytes(data, "fuzz.ini") else { return };
    let mut twice = ini.clone();
    twice.merge(ini.clone());
    assert_eq!(twice, ini, "what is there already wins");
    for entry in ini.sections.iter().flat_map(|section| &section.entries) {
        value(&entry.value);
    }
    let mut settled = ini.clone();
    if settled.settle().is_ok() {
        let mut again = settled.clone();
        again.settle().expect("nothing is left to inherit");
        assert_eq!(again, settled, "settled once and for all");
    }
    if let Ok(read) = Services::from_ini(&ini, Path::new("/etc/circus")) {
        services(&read);
    }
    configuration(ini);
}

/// Texts that mean something become the same thing when it is written out again.
fn value(text: &str) {
    if let Some(number) = parse_int(text) {
        assert_eq!(parse_int(&number.to_string()), Some(number));
    }
    if let Some(number) = parse_float(text) {
        let again = parse_float(&json::float_repr(number)).expect("a float reads back");
        assert!(number.is_nan() || again.to_bits() == number.to_bits());
    }
    if let Ok(endpoint) = text.parse::<Endpoint>() {
        assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
    }
    let _ = parse_bool(text);
    assert_eq!(expand::variables(text, |_| None::<&str>), text);
    assert!(text.contains('$') || expand::dollars(text, &BTreeMap::new()) == text);
}

fn services(services: &Services) {
    let address = "10.7.0.1".to_owned();
    let membership = Membership {
        identifier: 1,
        address: address.clone(),
        cluster: vec![address, "10.7.0.2".to_owned()],
        is_master: true,
        hostname: "one".to_owned(),
        ..Membership::default()
    };
    let texts: Vec<TemplateText> = services
        .services
        .iter()
        .flat_map(|service| service.configs.iter().map(|config| (service.name.clone(), config.label.clone())))
        .map(|(service, label)| {
            let text = "a = $address\nb = ${cluster} $$\n".to_owned();
            TemplateText { service, label, origin: "fuzz".to_owned(), text }
        })
        .collect();
    for file in plan_configure(services, &membership, None, &texts).into_iter().flatten() {
        assert!(file.path.is_absolute());
    }
    let _ = template_paths(services, &membership, None, &[]);
    for task in plan_reset(services, Some(&membership), None, ResetKind::All).into_iter().flatten() {
        assert!(task.root.is_absolute());
        let _ = task.rule.verdict(&[b"data".as_slice(), b"x.log"]);
    }
    let _ = plan_reset(services, None, None, ResetKind::Data);
}

fn configuration(ini: Ini) {
    let environment = [("HOME", "/home/web"), ("PATH", "/bin"), ("N", "7"), ("loop", "$(circus.env.home)")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let inherited = Arc::new(Inherited { environment, working_dir: "/srv".to_owned() });
    let read = resolve(ini.clone(), &inherited, &Virtual);
    match read {
        Ok(Resolved { config, .. }) => {
            resolved(&config);
            let again = resolve(ini, &inherited, &Virtual).expect("as before");
            assert!(unchanged(&config, &again.config));
        }
        Err(faults) => assert!(!faults.is_empty() && faults.iter().all(|fault| !fault.is_empty())),
    }
}

fn resolved(config: &Config) {
    let mut last = "";
    for watcher in &config.watchers {
        assert!(last <= watcher.name.original(), "sorted by name");
        last = watcher.name.original();
        let shown = Value::Object(option::show_all(watcher));
        assert!(json::parse(&json::to_vec(&shown)).is_ok());
    }
}

/// The same file again is nothing to do.
fn unchanged(old: &Config, new: &Config) -> bool {
    diff::watchers(&old.watchers, &new.watchers).is_empty() && diff::needs_restart(old, new).is_empty()
}

/// Some virtual environments exist.
struct Virtual;

impl Python for Virtual {
    fn site_packages(&self, virtualenv: &str, version: Option<&str>) -> Option<SitePackages> {
        let directory = format!("{virtualenv}/lib/python{}/site-packages", version.unwrap_or("3"));
        let named = vec![format!("{virtualenv}/src")];
        virtualenv.starts_with('/').then_some(SitePackages { directory, named, has_bin: version.is_none() })
    }

    fn importable(&self, name: &str) -> Result<String, String> {
        if name.len().is_multiple_of(2) {
            Ok("/usr/bin/python3".to_owned())
        } else {
            Err(format!("no {name}"))
        }
    }

    fn own_program(&self) -> String {
        "/usr/bin/circusd-rs".to_owned()
    }
}
