//! Four nodes on four loopback addresses, from one and the same ini, and the console to drive them.

use std::path::{Path, PathBuf};
use std::process::Command;

use circus_tests::daemon::{Daemon, Flavor, built, circusman, descendants, fresh_block, run};
use circus_tests::wire::Wire;
use serde_json::{Value, json};

const NODE_INI: &str = include_str!("node.ini");

const TEMPLATES: [(&str, &str); 3] = [
    (
        "neo4j.properties.tmpl",
        "online_backup_server=${address}:6362\nha.server_id=${identifier}\nha.slave_only=${slave_only}\n\
         ha.initial_hosts=${initial_hosts}\nha.cluster_server=${address}:5001\nha.server=${address}:6001\n\
         remote.pattern=$$Conclusion\n",
    ),
    (
        "cassandra.yaml.tmpl",
        "cluster_name: 'Titan Cassandra Cluster'\nseed_provider:\n    - seeds: \"${seeds}\"\n\
         listen_address: ${address}\nrpc_address: $address\n",
    ),
    (
        "rexster.xml.tmpl",
        "<server-host>${address}</server-host>\n<base-uri>http://${address}</base-uri>\n\
         <sourceId>${identifier}</sourceId>\n<type>Query$$Compare</type>\n",
    ),
];

/// Which daemon runs on which of the four nodes.
pub(crate) const MIXED: [Flavor; 4] = [Flavor::Ours, Flavor::Stock, Flavor::Ours, Flavor::Stock];

/// A running cluster; dropping it ends everything.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Daemon>,
    pub(crate) addresses: Vec<String>,
    base: tempfile::TempDir,
}

/// What `circusman --json` printed, and how it exited.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) exit: i32,
    pub(crate) document: Value,
    pub(crate) stderr: String,
}

impl Cluster {
    pub(crate) fn start(flavors: [Flavor; 4]) -> Self {
        Self::start_edited(flavors, |ini| ini)
    }

    /// With another ini than `node.ini`; `{base}` in it is the directory of all.
    pub(crate) fn start_edited(flavors: [Flavor; 4], edit: impl FnOnce(String) -> String) -> Self {
        let base = tempfile::tempdir().expect("a temporary directory");
        let stand_in = format!("{} stand-in", built("circusman").display());
        let ini = edit(NODE_INI.to_owned())
            .replace("{stand_in}", &stand_in)
            .replace("{base}", base.path().to_str().expect("a plain path"));
        std::fs::write(base.path().join("node.ini"), ini).expect("the ini is written");
        std::fs::create_dir(base.path().join("templates")).expect("a folder");
        for (name, text) in TEMPLATES {
            std::fs::write(base.path().join("templates").join(name), text).expect("a template is written");
        }
        let addresses = fresh_block(4);
        let nodes = addresses
            .iter()
            .zip(flavors)
            .map(|(address, flavor)| {
                let home = base.path().join(address);
                for part in [
                    "etc/neo4j",
                    "etc/titan",
                    "var/lib/neo4j/data",
                    "var/lib/titan/db",
                    "var/log/neo4j",
                    "var/log/titan",
                    "run",
                ] {
                    std::fs::create_dir_all(home.join(part)).expect("a folder");
                }
                Daemon::start_on(flavor, &base.path().join("node.ini"), &home, address)
            })
            .collect();
        Self { nodes, addresses, base }
    }

    /// The file of a service on a node.
    pub(crate) fn path(&self, node: usize, below: &str) -> PathBuf {
        self.base.path().join(&self.addresses[node]).join(below)
    }

    pub(crate) fn base(&self) -> &Path {
        self.base.path()
    }

    /// `FIRST-LAST` over the first `count` nodes.
    pub(crate) fn range(&self, count: usize) -> String {
        format!("{}-{}", self.addresses[0], self.addresses[count - 1])
    }

    /// circusman with all options of its own, ready for a command.
    pub(crate) fn circusman(&self, cluster: &str) -> Command {
        self.patient(cluster, 50)
    }

    /// The same that gives each node so many seconds.
    pub(crate) fn patient(&self, cluster: &str, seconds: u32) -> Command {
        let mut command = circusman(self.base.path());
        command
            .args(["--cluster", cluster, "--timeout", &seconds.to_string()])
            .arg("--services")
            .arg(self.base.path().join("node.ini"))
            .env("NO_COLOR", "1");
        command
    }

    /// Runs one verb on the first `count` nodes with `--json`.
    pub(crate) fn ask(&self, count: usize, arguments: &[&str]) -> Answer {
        let mut command = self.circusman(&self.range(count));
        command.arg("--json").args(arguments);
        let (exit, stdout, stderr) = run(&mut command);
        let document = serde_json::from_str(&stdout).unwrap_or_else(|error| {
            panic!("circusman {arguments:?} (exit {exit}): {error}\n{stdout}\n{stderr}")
        });
        Answer { exit, document, stderr }
    }

    /// Runs one verb on all nodes and demands that each did it.
    pub(crate) fn all_do(&self, arguments: &[&str]) -> Answer {
        let answer = self.ask(4, arguments);
        assert_eq!(answer.exit, 0, "{arguments:?}: {:#}\n{}", answer.document, answer.stderr);
        assert_eq!(answer.nodes().len(), 4, "{:#}", answer.document);
        for node in answer.nodes() {
            let state = node["state"].as_str().unwrap_or_default();
            assert!(["done", "unchanged"].contains(&state), "{arguments:?}: {node:#}");
        }
        answer
    }

    /// No one-shot watcher of the console is left on any node that runs.
    pub(crate) fn assert_no_one_shots(&mut self) {
        for node in &mut self.nodes {
            if !node.is_running() {
                continue;
            }
            let mut wire = Wire::connect(&node.endpoint(), &node.pubsub());
            let reply = wire.call("list", &json!({}));
            assert_eq!(reply["watchers"], json!(["cassandra", "neo4j", "titan"]), "{:?}", node.flavor());
        }
    }

    /// How many processes each node has below its daemon.
    pub(crate) fn process_counts(&self) -> Vec<usize> {
        self.nodes.iter().map(|node| descendants(node.pid()).len()).collect()
    }
}

impl Answer {
    pub(crate) fn nodes(&self) -> &[Value] {
        self.document["nodes"].as_array().map_or(&[], Vec::as_slice)
    }

    /// The state of a watcher on each node.
    pub(crate) fn watchers(&self, name: &str) -> Vec<String> {
        self.nodes()
            .iter()
            .map(|node| node["data"]["watchers"][name].as_str().unwrap_or("?").to_owned())
            .collect()
    }

    /// The state of each node.
    pub(crate) fn states(&self) -> Vec<&str> {
        self.nodes().iter().map(|node| node["state"].as_str().unwrap_or("?")).collect()
    }
}
