//! The demo's files: templates and services for all, an ini for each node.
//!
//! The ini has the shape of the 2015 set-up (watchers `neo4j`, `titan`, `cassandra`, none of them
//! started by itself) with our sections behind it; stock circusd ignores those. Paths of services
//! name the node by `${address}`, so that one text serves every node and the console.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use super::place::Ports;

/// The description of the services, for the console.
pub(super) const SERVICES: &str = "services.ini";

const TEMPLATES: [(&str, &str); 5] = [
    (
        "neo4j.properties.tmpl",
        "# Written by configure\nonline_backup_server=${address}:6362\nha.server_id=${identifier}\n\
         ha.slave_only=${slave_only}\nha.initial_hosts=${initial_hosts}\nha.cluster_server=${address}:5001\n\
         ha.server=${address}:6001\n",
    ),
    (
        "neo4j-server.properties.tmpl",
        "org.neo4j.server.database.mode=HA\norg.neo4j.server.database.location=data/graph.db\n\
         org.neo4j.server.webserver.port=7474\n",
    ),
    (
        "cassandra-cluster.yaml.tmpl",
        "cluster_name: 'demo'\nseed_provider:\n    - parameters:\n          - seeds: \"${seeds}\"\n\
         listen_address: ${address}\nrpc_address: ${address}\n",
    ),
    ("cassandra-rackdc.properties.tmpl", "dc=DC1\nrack=RAC1\n"),
    (
        "rexster-cassandra-cluster.xml.tmpl",
        "<rexster>\n  <http>\n    <server-host>${address}</server-host>\n\
         \x20   <base-uri>http://${address}</base-uri>\n  </http>\n  <graph>\n    <properties>\n\
         \x20     <storage.hostname>${address}</storage.hostname>\n    </properties>\n    <extension>\n\
         \x20     <configuration><sourceId>${identifier}</sourceId></configuration>\n\
         \x20     <class>Query$$Compare</class>\n    </extension>\n  </graph>\n</rexster>\n",
    ),
];

/// What cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}", path = path.display())]
pub(super) struct FilesError {
    path: PathBuf,
    source: io::Error,
}

/// Templates and the services file.
pub(super) fn shared(dir: &Path) -> Result<(), FilesError> {
    for (name, text) in TEMPLATES {
        write(&dir.join("templates").join(name), text)?;
    }
    write(&dir.join(SERVICES), &services(dir))
}

/// A node's directory and its ini; the path of the ini.
pub(super) fn node(dir: &Path, address: &str, ports: &Ports, stand_in: &Path) -> Result<PathBuf, FilesError> {
    let home = dir.join(address);
    for part in [
        "etc/neo4j",
        "etc/titan",
        "var/lib/neo4j/data",
        "var/lib/titan/db",
        "var/log/neo4j",
        "var/log/titan",
        "run",
    ] {
        let path = home.join(part);
        std::fs::create_dir_all(&path).map_err(|source| FilesError { path, source })?;
    }
    let ini = home.join("circus.ini");
    write(&ini, &(watchers(&home, address, ports, stand_in) + "\n" + &services(dir)))?;
    Ok(ini)
}

fn write(path: &Path, text: &str) -> Result<(), FilesError> {
    let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    made.and_then(|()| std::fs::write(path, text))
        .map_err(|source| FilesError { path: path.to_owned(), source })
}

fn watchers(home: &Path, address: &str, ports: &Ports, stand_in: &Path) -> String {
    let circus = ports.circus;
    let mut text = format!(
        "; A node of `circusman demo`, in the shape of the 2015 set-up.\n[circus]\n\
         endpoint = tcp://{address}:{circus}\npubsub_endpoint = tcp://{address}:{events}\n\
         multicast_endpoint =\ncheck_delay = 1\n",
        events = circus + 1,
    );
    let services =
        [("neo4j", ports.neo4j, 2.0), ("titan", ports.titan, 1.0), ("cassandra", ports.cassandra, 1.5)];
    for (name, port, stop) in services {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n[watcher:{name}]\ncmd = {stand_in}\n\
             args = stand-in {name} --home {home} --address {address} --port {port} --storage-port {storage} --stop-seconds {stop}\n\
             autostart = false\nnumprocesses = 1\ngraceful_timeout = 30\nmax_retry = 5\nworking_dir = {home}\n\
             stdout_stream.class = FileStream\nstdout_stream.filename = {home}/run/{name}.out\n\
             stderr_stream.class = FileStream\nstderr_stream.filename = {home}/run/{name}.err\n",
            stand_in = stand_in.display(),
            home = home.display(),
            storage = ports.cassandra,
        );
    }
    text
}

fn services(dir: &Path) -> String {
    SECTIONS.replace("@DIR@", &dir.display().to_string())
}

const SECTIONS: &str = "\
; What the cluster needs to know about the watchers; stock circusd ignores all of it.
[list:initial_hosts]
item = {address}:5001
separator = ,

[list:seeds]
item = {address}
separator = ,
select = every 5

[service:neo4j]
remove_before_start = @DIR@/${address}/run/neo4j.pid

[config:neo4j:properties]
template = @DIR@/templates/neo4j.properties.tmpl
target = @DIR@/${address}/etc/neo4j/neo4j.properties

[config:neo4j:server]
template = @DIR@/templates/neo4j-server.properties.tmpl
target = @DIR@/${address}/etc/neo4j/neo4j-server.properties

[reset:neo4j:data]
root = @DIR@/${address}/var/lib/neo4j/data
delete = graph.db, graph.db.*, rrd
keep = dbms, keystore, log

[reset:neo4j:log]
root = @DIR@/${address}/var/log/neo4j
truncate = *.log

[service:cassandra]
start_order = seeds-first, sequential
remove_before_start = @DIR@/${address}/run/cassandra.pid

[config:cassandra:yaml]
template = @DIR@/templates/cassandra-cluster.yaml.tmpl
target = @DIR@/${address}/etc/titan/cassandra-cluster.yaml

[config:cassandra:rackdc]
template = @DIR@/templates/cassandra-rackdc.properties.tmpl
target = @DIR@/${address}/etc/titan/cassandra-rackdc.properties

[reset:cassandra:data]
root = @DIR@/${address}/var/lib/titan/db
delete = *

[reset:cassandra:log]
root = @DIR@/${address}/var/log/titan
truncate = cassandra.log

[service:titan]
after = cassandra
remove_before_start = @DIR@/${address}/run/titan.pid

[config:titan:rexster]
template = @DIR@/templates/rexster-cassandra-cluster.xml.tmpl
target = @DIR@/${address}/etc/titan/rexster-cassandra-cluster.xml

[reset:titan:log]
root = @DIR@/${address}/var/log/titan
truncate = rexstitan.log
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_its_own_paths() {
        let dir = tempfile::tempdir().expect("a directory");
        let ports = Ports { circus: 5555, neo4j: 7474, cassandra: 9160, titan: 8182 };
        shared(dir.path()).expect("writes");
        let ini = node(dir.path(), "127.9.8.7", &ports, Path::new("/bin/circusman")).expect("writes");
        let text =
            std::fs::read_to_string(ini).expect("reads").replace(&dir.path().display().to_string(), "DIR");
        insta::assert_snapshot!(text.split("; What the cluster").next().unwrap_or_default());
        assert!(text.contains("target = DIR/${address}/etc/titan/cassandra-cluster.yaml"));
        assert!(!text.contains("@DIR@"));
        assert!(dir.path().join("templates/neo4j.properties.tmpl").is_file());
    }
}
