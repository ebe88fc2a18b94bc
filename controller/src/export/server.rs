//! The pages, and the program that serves them until it is told to end.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use clap::Args;
use serde_json::{Map, Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio::time::timeout;

use super::exposition::Format;
use super::gather::{Asker, Gatherer, channel};
use super::metrics::exposition;
use crate::cli::exit::Exit;
use crate::cli::output::talk;
use crate::cli::session::{Session, Stop};
use crate::cli::{Global, time};
use crate::http::{listen, serve};
use crate::inventory::NodeSpec;
use crate::outcome::Operation;

/// Time for each node; Prometheus gives up on all of them together after 10 s.
const TIMEOUT: Duration = Duration::from_secs(4);

/// How long answers under way may still take at the end.
const FAREWELL: Duration = Duration::from_secs(2);

/// `export`.
#[derive(Debug, Clone, Args)]
pub struct ExportArgs {
    /// Only these watchers
    pub names: Vec<String>,
    /// Where to listen; port 0: any
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9911")]
    pub listen: String,
    /// Listen where other machines can reach it, without a password
    #[arg(long)]
    pub expose: bool,
    /// Also metrics of each process, by worker id
    #[arg(long)]
    pub processes: bool,
    /// A reading this old is as good as a new one
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time)]
    pub fresh: Duration,
}

/// What the pages need.
#[derive(Clone)]
struct Shared {
    asker: Asker,
    cluster: Arc<str>,
    nodes: Arc<[NodeSpec]>,
    processes: bool,
}

/// Serves until SIGINT, SIGTERM or SIGHUP, which is its normal end.
///
/// # Errors
/// It cannot listen, or must not.
pub async fn export(session: &mut Session, global: &Global, args: &ExportArgs) -> Result<Exit, Stop> {
    let targets = session.targets(global)?;
    let listener = listen(&args.listen, args.expose, "--expose").await.map_err(Stop::usage)?;
    let address = listener.local_addr().map_err(Stop::usage)?;
    let (asker, readings) = channel();
    let wanted: HashSet<&String> = targets.iter().collect();
    let nodes = session.cluster.inventory.nodes.iter().filter(|node| wanted.contains(&node.name)).cloned();
    let shared = Shared {
        asker,
        cluster: session.cluster.name.as_str().into(),
        nodes: nodes.collect(),
        processes: args.processes,
    };
    let gatherer = Gatherer {
        handle: session.fleet.handle(),
        operation: Operation::Stats { names: args.names.clone(), over: Duration::ZERO },
        options: Session::run_options(global, TIMEOUT, &targets),
        fresh: args.fresh,
    };
    if !global.quiet {
        talk(&format!("{} nodes at http://{address}/metrics; Ctrl-C ends it", targets.len()));
    }
    let (end, ended) = watch::channel(false);
    let local = LocalSet::new();
    let gathering = local.run_until(async move {
        // The router holds the askers: when the server has ended, so does the gatherer.
        tokio::join!(gatherer.run(readings), serve(listener, router(shared), ended));
    });
    tokio::pin!(gathering);
    tokio::select! {
        () = &mut gathering => {}
        told = told() => {
            told?;
            end.send_replace(true);
            // A node that hangs does not hold up the end.
            let _late = timeout(FAREWELL, gathering).await;
        }
    }
    Ok(Exit::Done)
}

async fn told() -> Result<(), Stop> {
    let listened = |error| Stop::new(Exit::Failed, format!("signals cannot be listened for: {error}"));
    let [mut interrupt, mut terminate, mut hang_up] = [
        signal(SignalKind::interrupt()).map_err(listened)?,
        signal(SignalKind::terminate()).map_err(listened)?,
        signal(SignalKind::hangup()).map_err(listened)?,
    ];
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
    Ok(())
}

fn router(shared: Shared) -> Router {
    Router::new()
        .route("/", get(landing))
        .route("/metrics", get(metrics))
        .route("/sd", get(discovery))
        .route("/healthz", get(health))
        .with_state(shared)
}

/// `/metrics`, or `/metrics?node=NAME&node=NAME` for some.
async fn metrics(State(shared): State<Shared>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let wanted = nodes_of(query.as_deref().unwrap_or_default());
    if let Some(stranger) = wanted.iter().find(|name| !shared.nodes.iter().any(|node| node.name == **name)) {
        let text = format!("no node named {stranger:?} is exported here; /sd lists those that are\n");
        return (StatusCode::NOT_FOUND, text).into_response();
    }
    let Some(reading) = shared.asker.reading().await else {
        return (StatusCode::SERVICE_UNAVAILABLE, "nobody asks the nodes any more\n").into_response();
    };
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let format = Format::wanted(accept);
    let meant = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    let text = exposition(&reading, &meant, shared.processes).print(format);
    ([(header::CONTENT_TYPE, format.content_type())], text).into_response()
}

/// The values of `node` in a query.
fn nodes_of(query: &str) -> Vec<String> {
    query.split('&').filter_map(|pair| pair.strip_prefix("node=")).map(decoded).collect()
}

/// Percent-encoded text; what is not UTF-8 matches no node.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex =
            |digits: &[u8]| std::str::from_utf8(digits).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits: Vec<u8> = rest.by_ref().take(2).collect();
                bytes.push(hex(&digits).unwrap_or(b'?'));
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `/sd`, as `http_sd_config` reads it. Nobody is asked for it.
async fn discovery(State(shared): State<Shared>) -> Response {
    let reading = shared.asker.last();
    let target = |spec: &NodeSpec| {
        // Before the first reading nothing more is known.
        let node = reading.nodes.iter().find(|node| node.name == spec.name);
        let labels = [
            ("__meta_circus_cluster", Some(shared.cluster.to_string())),
            ("__meta_circus_node", Some(spec.name.clone())),
            ("__meta_circus_address", Some(spec.address.clone())),
            ("__meta_circus_endpoint", Some(spec.endpoint.to_string())),
            ("__meta_circus_up", node.map(|node| if node.is_up() { "1" } else { "0" }.to_owned())),
            ("__meta_circus_daemon", node.map(|node| node.daemon.clone().unwrap_or_default())),
        ];
        let labels: Map<String, Value> =
            labels.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.into()))).collect();
        json!({"targets": [spec.name], "labels": labels})
    };
    let targets: Vec<Value> = shared.nodes.iter().map(target).collect();
    ([(header::CONTENT_TYPE, "application/json")], Value::from(targets).to_string()).into_response()
}

async fn health(State(shared): State<Shared>) -> Response {
    if shared.asker.is_alive() {
        (StatusCode::OK, "ok\n").into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "nobody asks the nodes any more\n").into_response()
    }
}

async fn landing(State(shared): State<Shared>) -> Html<String> {
    let name = escaped(&shared.cluster);
    Html(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>circusman export: {name}</title>\
         <h1>{name}</h1><p>{} nodes, for Prometheus.</p><ul>\
         <li><a href=\"/metrics\">/metrics</a>: all nodes; /metrics?node=NAME: one of them</li>\
         <li><a href=\"/sd\">/sd</a>: the nodes, for http_sd_config</li>\
         <li><a href=\"/healthz\">/healthz</a>: whether this program is well</li></ul></html>\n",
        shared.nodes.len()
    ))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_name_nodes() {
        assert_eq!(nodes_of(""), [""; 0]);
        assert_eq!(nodes_of("node=a.lab&x=1&node=tcp%3A%2F%2Fb%3A1"), ["a.lab", "tcp://b:1"]);
        assert_eq!(decoded("%"), "?");
        assert_eq!(decoded("%zz+%ff"), "? \u{fffd}");
        assert_eq!(escaped("<a&\"b\">"), "&lt;a&amp;&quot;b&quot;&gt;");
    }
}
