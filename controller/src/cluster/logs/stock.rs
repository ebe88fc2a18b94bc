//! Where the logs of a stock node are: files that its streams or services name, read by a program of
//! ours whose answer is packed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::{ALL, Logs, Task};

/// The program that reads files on a stock node.
pub(super) const PROGRAM: &str = include_str!("../oneshot/logs.py");
/// Nothing that was packed is larger.
const LARGEST: usize = 4 * 1024 * 1024;

/// What was packed with zlib and base64.
pub(super) fn unpack(packed: &Value) -> Option<Vec<u8>> {
    let bytes = STANDARD.decode(packed.as_str()?).ok()?;
    miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(&bytes, LARGEST).ok()
}

impl Logs {
    /// What is wanted of a watcher, by its options; and what of it cannot be had.
    pub(super) fn files_of(&self, name: &str, reply: &Map<String, Value>) -> (Vec<Task>, Vec<Value>) {
        let options = reply.get("options").and_then(Value::as_object);
        let stream = |stream: &str| {
            let about = options?.get(&format!("{stream}_stream_conf"))?;
            about.get("filename")?.as_str().map(str::to_owned)
        };
        let mut known: Vec<(String, Result<String, String>)> = Vec::new();
        for feed in ["stdout", "stderr"] {
            known.extend(stream(feed).map(|path| (feed.to_owned(), Ok(path))));
        }
        known.extend(self.labels(name));
        let (mut tasks, mut errors) = (Vec::new(), Vec::new());
        let mut failed = |source: &str, error: String| {
            errors.push(json!({"name": name, "source": source, "error": error, "refused": true}));
        };
        for wanted in &self.request.sources {
            let chosen: Vec<_> =
                known.iter().filter(|(source, _)| wanted == ALL || source == wanted).collect();
            if chosen.is_empty() && wanted != ALL {
                failed(wanted, missing(name, wanted));
            }
            for (source, path) in chosen {
                match path {
                    Ok(path) => {
                        let mut task = Task::new(name, source.clone());
                        task.path = Some(path.clone());
                        tasks.push(task);
                    }
                    Err(why) => failed(source, why.clone()),
                }
            }
        }
        (tasks, errors)
    }

    /// The log files of the service of that name.
    fn labels(&self, name: &str) -> Vec<(String, Result<String, String>)> {
        let Some(file) = &self.setting.services else { return Vec::new() };
        let Some(service) = file.services.get(name) else { return Vec::new() };
        let variables = file.services.variables_of(service, Some(&self.setting.membership));
        let resolve = |text: &str| {
            let path = variables.substitute(text);
            path.map_err(|problems| circus_protocol::service::template::describe(&problems))
        };
        service.logs.iter().map(|log| (log.label.clone(), resolve(&log.path.text))).collect()
    }
}

fn missing(name: &str, source: &str) -> String {
    match source {
        "stdout" | "stderr" => format!(
            "{source} of '{name}' goes into no file, and a stock circusd keeps no output; give it \
             {source}_stream.class = FileStream with a filename"
        ),
        label => format!("'{name}' has no log '{label}'; name the services with --services FILE"),
    }
}
