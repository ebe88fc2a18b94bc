//! Streams as they are read and heard, without any node.

use serde_json::json;

use super::*;
use crate::render::told::Columns;

const PLAIN: Columns = Columns { width: 2, several: false, paint: false };
const EXACT: Option<Offset> = Some(Offset { seconds: 0.0, error: 0.01 });

fn said(text: &str, time: f64) -> Said {
    Said { name: "web".into(), source: "stdout".into(), time, text: text.into(), lost: 0 }
}

fn entry(text: &str, next: u64, by: f64) -> Value {
    json!({"name": "web", "source": "stdout", "text": text, "offset": 0, "next_offset": next, "eof": true,
           "generation": "7", "zone": 0, "by": by})
}

fn all(streams: &mut Streams) -> String {
    streams.rest(&Filter::default())
}

#[test]
fn what_was_read_and_heard_is_told_once() {
    let mut streams = Streams::new(PLAIN, false);
    streams.read(0, "n1", &entry("1\n2\n3\n", 6, 100.0), EXACT, 100.0);
    assert_eq!(streams.places(0).len(), 1);
    let heard = vec![said("2\n", 99.8), said("3\n4", 99.9), said("\n5\n", 100.5)];
    streams.go_live(0, "n1", EXACT.expect("an offset"), (99.0, 100.0), heard, 101.0);
    assert!(streams.places(0).is_empty(), "it is heard now");
    streams.hear(0, "n1", said("6\n", 101.0), 0.0, 101.0);
    assert_eq!(all(&mut streams), "n1 | 1\nn1 | 2\nn1 | 3\nn1 | 4\nn1 | 5\nn1 | 6\n");
    streams.deafen(0);
    streams.read(0, "n1", &entry("5\n6\n7\n", 14, 102.0), EXACT, 102.0);
    assert_eq!(all(&mut streams), "n1 | 7\n");
}

#[test]
fn what_is_heard_later_than_it_was_read_is_told_once() {
    let exact = EXACT.expect("an offset");
    for heard in [vec![], vec![said("2\n", 99.8)]] {
        let mut streams = Streams::new(PLAIN, false);
        streams.read(0, "n1", &entry("1\n2\n3\n4\n", 8, 100.0), EXACT, 100.0);
        let begins = heard.is_empty();
        streams.go_live(0, "n1", exact, (99.0, 100.0), heard, 101.0);
        if begins {
            streams.hear(0, "n1", said("2\n", 99.8), 0.0, 101.0);
        }
        streams.hear(0, "n1", said("3\n", 99.9), 0.0, 101.0);
        streams.hear(0, "n1", said("4\n5\n", 99.95), 0.0, 101.0);
        streams.hear(0, "n1", said("4\n", 101.0), 0.0, 101.0);
        assert_eq!(all(&mut streams), "n1 | 1\nn1 | 2\nn1 | 3\nn1 | 4\nn1 | 5\nn1 | 4\n");
    }
}

#[test]
fn clocks_that_differ_are_corrected() {
    let mut streams = Streams::new(PLAIN, false);
    for (node, ahead) in [(0, 5.0), (1, -5.0), (2, 0.0)] {
        for second in 0..3_u32 {
            let time = 1_425_211_200.0 + f64::from(second) + ahead + f64::from(node) * 0.1;
            let stamp = chrono::DateTime::from_timestamp_millis((time * 1e3) as i64).expect("a time");
            let text = format!("{} {second}\n", stamp.format("%Y-%m-%d %H:%M:%S,%3f"));
            let offset = Offset { seconds: ahead, error: 0.0 };
            streams.go_live(node as usize, &format!("n{node}"), offset, (0.0, 0.0), Vec::new(), 2e9);
            streams.hear(node as usize, &format!("n{node}"), said(&text, time), ahead, 2e9);
        }
    }
    let order: Vec<String> = all(&mut streams)
        .lines()
        .map(|line| {
            format!(
                "{}{}",
                line.get(1..2).unwrap_or_default(),
                line.get(line.len() - 1..).unwrap_or_default()
            )
        })
        .collect();
    assert_eq!(order, ["00", "10", "20", "01", "11", "21", "02", "12", "22"]);
}

#[test]
fn a_file_that_is_not_there_yet_is_read_from_its_beginning() {
    let mut streams = Streams::new(PLAIN, true);
    let error = json!({"name": "web", "source": "gc", "error": "no such file", "refused": false});
    streams.read(0, "n1", &error, EXACT, 1.0);
    let places = streams.places(0);
    assert_eq!((places[0].offset, places[0].source.as_str()), (0, "gc"));
    streams.read(0, "n1", &entry("a\n\tb\n", 4, 1.5), EXACT, 1.5);
    let line: Value = serde_json::from_str(&all(&mut streams)).expect("one line");
    assert_eq!((&line["text"], &line["time"]), (&json!("a\n\tb"), &json!(1.5)));
}
