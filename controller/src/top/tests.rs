//! The screen as people see it, pinned, and what keys do to it.

use std::sync::Arc;
use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use serde_json::{Value, json};

use super::deed::Deed;
use super::layout::LogSize;
use super::model::{Effect, Input, Mode, Model};
use super::tree::Key;
use super::view::{Theme, draw};
use crate::cluster::view::{Change, DaemonView, News, Status};
use crate::figures::tests::{process, row};
use crate::outcome::{NodeOutcome, NodeState, Operation, Outcome};

const THEME: Theme = Theme { colour: false, unicode: true };
/// 2026-11-29T12:00:00Z.
const NOW: f64 = 1_795_953_600.0;

fn data(cpu: f64, born: f64, state: &str) -> Value {
    json!({"watchers": {
        "db": {"state": "active", "numprocesses": 1, "starts": 4, "restarts": 3, "ends": 3,
               "processes": {"5": process(cpu, 512, born, true)}},
        "web": {"state": state, "numprocesses": 2, "starts": 2, "restarts": 0, "ends": 0,
               "processes": if state == "active" { json!({"11": process(80.0, 20, 800.0, false)}) } else { json!({}) }}}})
}

fn rows(cpu: f64, born: f64, state: &str) -> Outcome {
    let stock =
        json!({"watchers": {"web": {"state": "active", "processes": {"21": process(1.0, 30, born, false)}}}});
    let mut rows = vec![
        row("node01.lab", NodeState::Done, data(cpu, 900.0, state)),
        row("node02.lab", NodeState::Done, stock),
        row("node03.lab", NodeState::Unreachable, Value::Null),
    ];
    rows[1].daemon = Some("circusd".to_owned());
    Outcome { nodes: rows, elapsed: Duration::ZERO }
}

fn small() -> Model {
    let names = ["node01.lab", "node02.lab", "node03.lab"].map(str::to_owned);
    let mut model = Model::new("lab".to_owned(), "circusman".to_owned(), &names, (80, 24));
    read(&mut model, rows(2.5, 950.0, "active"), NOW);
    model
}

fn read(model: &mut Model, outcome: Outcome, at: f64) {
    assert_eq!(model.update(Input::Reading(outcome, at)), []);
}

fn large(nodes: usize) -> Model {
    let names: Vec<String> = (1..=nodes).map(|number| format!("node{number:04}.lab")).collect();
    let mut model = Model::new("big".to_owned(), "circusman".to_owned(), &names, (120, 40));
    read(&mut model, many(&names), NOW);
    model
}

fn many(names: &[String]) -> Outcome {
    let watchers: serde_json::Map<String, Value> = (0..10)
        .map(|number| {
            let state = if number == 9 { "stopped" } else { "active" };
            (
                format!("w{number}"),
                json!({"state": state, "processes": {"5": process(1.0, 10, 900.0, false)}}),
            )
        })
        .collect();
    let data = json!({ "watchers": watchers });
    let nodes: Vec<NodeOutcome> = names.iter().map(|name| row(name, NodeState::Done, data.clone())).collect();
    Outcome { nodes, elapsed: Duration::ZERO }
}

fn buffer(model: &Model, theme: &Theme) -> Buffer {
    let (width, height) = model.size;
    let mut buffer = Buffer::empty(Rect { x: 0, y: 0, width, height });
    draw(model, theme, &mut buffer);
    buffer
}

fn picture(model: &Model, theme: &Theme) -> String {
    let buffer = buffer(model, theme);
    let line = |y: u16| {
        let line: String = (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect();
        line.trim_end().to_owned()
    };
    (0..buffer.area.height).map(line).collect::<Vec<_>>().join("\n")
}

fn press(model: &mut Model, keys: &str) -> Vec<Effect> {
    let mut effects = Vec::new();
    for key in keys.chars() {
        let code = match key {
            '\n' => KeyCode::Enter,
            '\u{1b}' => KeyCode::Esc,
            '↓' => KeyCode::Down,
            '↑' => KeyCode::Up,
            '→' => KeyCode::Right,
            '←' => KeyCode::Left,
            '⇟' => KeyCode::End,
            letter => KeyCode::Char(letter),
        };
        effects.extend(model.update(Input::Key(KeyEvent::new(code, KeyModifiers::NONE))));
    }
    effects
}

fn control(model: &mut Model, letter: char) -> Vec<Effect> {
    model.update(Input::Key(KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL)))
}

fn click(model: &mut Model, column: u16, row: u16) {
    let kind = MouseEventKind::Down(MouseButton::Left);
    let effects = model.update(Input::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }));
    assert_eq!(effects, [], "a click never acts");
}

#[test]
fn a_small_cluster_in_80x24() {
    let mut model = small();
    read(&mut model, rows(40.0, 990.0, "stopped"), NOW + 2.0);
    assert_eq!(press(&mut model, "↓\n"), []);
    insta::assert_snapshot!(picture(&model, &THEME));
}

#[test]
fn without_unicode_and_before_anybody_answered() {
    let names = ["a".to_owned()];
    let model = Model::new("lab".to_owned(), "circusman".to_owned(), &names, (80, 10));
    let plain = Theme { colour: false, unicode: false };
    insta::assert_snapshot!(picture(&model, &plain));
    assert!(picture(&small(), &plain).is_ascii());
}

#[test]
fn by_watcher_and_wide() {
    let mut model = small();
    assert_eq!(model.update(Input::Resized(120, 16)), []);
    press(&mut model, "gooo↓→");
    insta::assert_snapshot!(picture(&model, &THEME));
}

#[test]
fn what_is_pointed_at_is_reversed_and_colours_can_be_off() {
    let model = small();
    let plain = buffer(&model, &THEME);
    let table = model.areas().table.y;
    assert!(plain[(10, table)].modifier.contains(Modifier::REVERSED));
    assert!(!plain[(10, table + 1)].modifier.contains(Modifier::REVERSED));
    let coloured =
        |buffer: &Buffer| buffer.content.iter().any(|cell| cell.fg != ratatui::style::Color::Reset);
    assert!(!coloured(&plain), "NO_COLOR");
    assert!(coloured(&buffer(&model, &Theme { colour: true, ..THEME })));
}

#[test]
fn a_stop_asks_and_shows_its_command() {
    let mut model = small();
    press(&mut model, "gj ");
    assert_eq!(press(&mut model, "x"), [], "nothing before the answer");
    insta::assert_snapshot!(picture(&model, &THEME));
    assert_eq!(press(&mut model, "n"), []);
    assert_eq!(model.mode, Mode::Table);
    press(&mut model, "x");
    let effects = press(&mut model, "y");
    let expected = Deed {
        operation: Operation::Stop { names: vec!["web".to_owned()] },
        targets: vec!["node01.lab".to_owned(), "node02.lab".to_owned()],
        command: "circusman --on 'node[01-02].lab' stop web".to_owned(),
    };
    assert_eq!(effects, [Effect::Act(expected.clone())]);
    assert_eq!((model.running, model.marks.len()), (1, 0));
    let nodes = vec![
        row("node01.lab", NodeState::Done, Value::Null),
        row("node02.lab", NodeState::TimedOut, Value::Null),
    ];
    let outcome = Outcome { nodes, elapsed: Duration::ZERO };
    assert_eq!(model.update(Input::Acted(expected, outcome)), [Effect::Look], "what came of it is looked at");
    let log: Vec<&str> = model.log.iter().rev().take(2).map(|entry| entry.text.as_str()).collect();
    assert_eq!(log[0], "node02.lab: timed out: connection refused");
    assert_eq!(log[1], "circusman --on 'node[01-02].lab' stop web: 1 of 2 done");
}

#[test]
fn one_restart_needs_no_question() {
    let mut model = small();
    let effects = press(&mut model, "↓r");
    let [Effect::Act(deed)] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(deed.command, "circusman --on node01.lab restart db");
    assert_eq!(press(&mut model, "w").len(), 1);
    assert!(matches!(press(&mut model, "l").as_slice(), [Effect::Tell { .. }]));
    assert_eq!(press(&mut model, "↑l"), [], "of which watcher?");
    assert!(matches!(press(&mut model, "w").as_slice(), [Effect::Tell { .. }]), "a node has a story, too");
    assert_eq!(model.running, 4);
}

#[test]
fn the_search_narrows_and_ends() {
    let mut model = small();
    press(&mut model, "/node02 web");
    assert_eq!(model.rows.len(), 2);
    assert!(picture(&model, &THEME).contains("/node02 web▏"));
    press(&mut model, "\n");
    assert!(picture(&model, &THEME).contains("/node02 web"), "it is not forgotten");
    press(&mut model, "\u{1b}");
    assert_eq!(model.rows.len(), 6);
    press(&mut model, "/zzz");
    assert!(picture(&model, &THEME).contains("nothing matches"));
    press(&mut model, "\u{1b}q");
    assert_eq!(control(&mut model, 'c'), [Effect::Leave]);
    assert_eq!(control(&mut model, 'z'), [Effect::Suspend]);
}

#[test]
fn the_cursor_stays_on_what_it_points_at() {
    let mut model = small();
    press(&mut model, "↓↓");
    let pointed = Key::Watcher("node01.lab".into(), "web".into());
    assert_eq!(model.pointed(), Some(&pointed));
    press(&mut model, "ooo");
    assert_eq!(model.pointed(), Some(&pointed), "in another order");
    read(&mut model, rows(90.0, 950.0, "stopped"), NOW);
    assert_eq!(model.pointed(), Some(&pointed), "after another reading");
    press(&mut model, "←");
    assert_eq!(model.pointed(), Some(&Key::Node("node01.lab".into())), "to what it is in");
    press(&mut model, "←");
    assert_eq!(model.rows.len(), 4, "closed");
}

#[test]
fn the_mouse_points_opens_sorts_and_scrolls() {
    let mut model = small();
    let table = model.areas().table.y;
    click(&mut model, 30, table + 1);
    assert_eq!(model.pointed(), Some(&Key::Watcher("node01.lab".into(), "db".into())));
    click(&mut model, 30, table + 1);
    assert_eq!(model.rows.len(), 8, "a second click opens: a process and its child");
    click(&mut model, 50, 1);
    assert_ne!(model.sort, super::tree::Sort::Order);
    click(&mut model, 0, 0);
    let mut model = large(1000);
    let kind = MouseEventKind::ScrollDown;
    let wheel = MouseEvent { kind, column: 5, row: 10, modifiers: KeyModifiers::NONE };
    assert_eq!(model.update(Input::Mouse(wheel)), []);
    assert_eq!(model.cursor, 3);
}

#[test]
fn changes_are_logged() {
    let mut model = small();
    read(&mut model, rows(1.0, 999.0, "stopped"), NOW + 2.0);
    let mut gone = rows(1.0, 999.0, "stopped");
    gone.nodes[1] = row("node02.lab", NodeState::Unreachable, Value::Null);
    read(&mut model, gone, NOW + 4.0);
    let log: Vec<(&str, bool)> = model.log.iter().map(|entry| (entry.text.as_str(), entry.bad)).collect();
    assert_eq!(
        log,
        [
            ("2 of 3 nodes answer", false),
            ("node01.lab: web: active -> stopped", true),
            ("node02.lab: web: process 21 gone, 21 in its place", true),
            ("node02.lab: down: connection refused", true),
        ]
    );
    press(&mut model, "e");
    assert_eq!(model.log_size, LogSize::Half);
}

fn tell(model: &mut Model, at: f64, node: &str, changes: &[Change]) -> Vec<Effect> {
    let news = |change: &Change| {
        Arc::new(News { at: Duration::from_secs_f64(at), node: node.into(), change: change.clone() })
    };
    model.update(Input::News(changes.iter().map(news).collect(), at))
}

fn died(watcher: &str, pid: i32, code: i32, wanted: bool) -> Change {
    Change::Died { watcher: watcher.into(), pid, code: Some(code), wanted }
}

fn spawned(watcher: &str, pid: i32) -> Change {
    Change::Spawned { watcher: watcher.into(), pid, again: true }
}

fn pids(model: &Model, node: usize, watcher: usize) -> Vec<i64> {
    model.nodes[node].watchers[watcher].processes.iter().map(|process| process.pid).collect()
}

fn log(model: &Model) -> Vec<(&str, bool)> {
    model.log.iter().skip(1).map(|entry| (entry.text.as_str(), entry.bad)).collect()
}

#[test]
fn a_crash_is_on_the_screen_before_anybody_asks_and_told_once() {
    let mut model = small();
    let glance = [Effect::Glance(vec!["node01.lab".to_owned()])];
    assert_eq!(tell(&mut model, NOW + 0.5, "node01.lab", &[died("DB", 5, -11, false)]), glance);
    assert_eq!(pids(&model, 0, 0), [0; 0]);
    assert!(picture(&model, &THEME).contains("node01.lab: db: process 5 gone: SIGSEGV"));
    assert_eq!(tell(&mut model, NOW + 0.6, "node01.lab", &[spawned("db", 6)]), glance);
    assert_eq!(pids(&model, 0, 0), [6]);
    // The tracker has never seen the beginning of this one.
    assert_eq!(tell(&mut model, NOW + 0.7, "node01.lab", &[died("db", 6, 1, false)]), glance);
    let before = model.log.len();
    // All were asked before that, and this node answered before that: its picture is newer.
    let mut old = rows(2.5, 950.0, "active");
    old.elapsed = Duration::from_secs(1);
    read(&mut model, old, NOW + 1.4);
    assert_eq!(pids(&model, 0, 0), [0; 0]);
    // Asked since, it is believed: another process with the same number.
    let mut new = rows(2.5, 951.0, "active");
    new.nodes.truncate(1);
    assert_eq!(model.update(Input::Glance(new, NOW + 1.5)), []);
    assert_eq!((pids(&model, 0, 0), model.nodes.len()), (vec![5], 3));
    assert_eq!(model.log.len(), before + 1);
    let expected = [
        ("node01.lab: db: process 5 gone: SIGSEGV", true),
        ("node01.lab: db: process 6 died: exit status 1", true),
        ("node01.lab: db: process 5 in the place of one that had gone", false),
    ];
    assert_eq!(log(&model), expected);
}

#[test]
fn nodes_and_watchers_come_and_go_by_themselves() {
    let mut model = small();
    let down = Change::Down { why: "silent".into() };
    assert_eq!(tell(&mut model, NOW, "node01.lab", &[down.clone(), down]), []);
    assert!(!model.nodes[0].is_up() && model.nodes[0].watchers.is_empty());
    let up = Change::Up { daemon: Arc::new(DaemonView::Stock) };
    assert_eq!(tell(&mut model, NOW, "node01.lab", &[up]), [Effect::Glance(vec!["node01.lab".into()])]);
    let status = |watcher: &str, to| Change::Status { watcher: watcher.into(), from: None, to };
    tell(&mut model, NOW, "node02.lab", &[status("web", Some(Status::Stopped))]);
    assert_eq!((pids(&model, 1, 0), model.nodes[1].watchers[0].state.as_deref()), (vec![], Some("stopped")));
    tell(&mut model, NOW, "node02.lab", &[status("new", Some(Status::Active)), status("web", None)]);
    let names: Vec<&str> = model.nodes[1].watchers.iter().map(|watcher| watcher.name.as_str()).collect();
    assert_eq!(names, ["new"]);
    let note = Change::Note { watcher: "new".into(), text: "hook before_start failed: no".into() };
    tell(&mut model, NOW, "node02.lab", &[note]);
    assert_eq!(tell(&mut model, NOW, "a stranger", &[spawned("web", 1)]), []);
    let expected = [
        ("node01.lab: down: silent", true),
        ("node02.lab: web: active -> stopped", true),
        ("node02.lab: new: hook before_start failed: no", true),
    ];
    assert_eq!(log(&model), expected);
}

#[test]
fn what_was_told_to_end_surprises_nobody_and_who_is_not_meant_is_left_out() {
    let mut model = small().narrow(true);
    tell(&mut model, NOW, "node01.lab", &[died("db", 5, -15, true), spawned("db", 6)]);
    assert_eq!(log(&model), [("node01.lab: db: process 5 gone: SIGTERM", false)]);
    let status = Change::Status { watcher: "other".into(), from: None, to: Some(Status::Active) };
    assert_eq!(
        tell(&mut model, NOW, "node01.lab", &[status, spawned("other", 1), died("other", 1, 1, false)]),
        []
    );
    assert_eq!((model.nodes[0].watchers.len(), model.log.len()), (2, 2));
    // A picture that somebody looks at stays as it is; then all nodes are asked.
    assert_eq!(press(&mut model, "p"), []);
    assert_eq!(tell(&mut model, NOW, "node01.lab", &[died("db", 6, 1, false)]), []);
    assert_eq!((pids(&model, 0, 0), press(&mut model, "p")), (vec![6], vec![Effect::Look]));
}

#[test]
fn texts_are_shown_and_scrolled() {
    let mut model = small();
    press(&mut model, "?");
    insta::assert_snapshot!(picture(&model, &THEME));
    press(&mut model, "q");
    let text: String = (0..100).map(|number| format!("line {number}\u{7}\n")).collect();
    assert_eq!(model.update(Input::Told("logs".into(), text)), []);
    assert!(picture(&model, &THEME).contains("80 more"));
    press(&mut model, "⇟");
    assert!(picture(&model, &THEME).contains("line 99"));
}

#[test]
fn nothing_breaks_on_any_screen() {
    for (width, height) in [(0, 0), (1, 1), (5, 3), (20, 5), (79, 23), (300, 4), (4, 200)] {
        for keys in ["", "?", "x", "/a", "e", "ee", "g", "a"] {
            let mut model = small();
            let _effects = model.update(Input::Resized(width, height));
            press(&mut model, keys);
            let _drawn = picture(&model, &THEME);
        }
    }
}

#[test]
fn a_thousand_nodes_are_drawn_in_time() {
    let mut model = large(1000);
    let names: Vec<String> = model.nodes.iter().map(|node| node.name.clone()).collect();
    assert_eq!(model.rows.len(), 1000, "folded");
    press(&mut model, "/w9");
    assert_eq!(model.rows.len(), 2000, "each node, and what was found on it");
    press(&mut model, "\u{1b}g⇟");
    assert_eq!(model.rows.len(), 10);
    press(&mut model, "xn");
    read(&mut model, many(&names), NOW + 1.0);
    insta::assert_snapshot!(picture(&model, &THEME).lines().take(4).collect::<Vec<_>>().join("\n"));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn never_panics(
        keys in proptest::collection::vec((0_u8..24, 0_u16..90, 0_u16..40), 0..60),
        odd in ".*",
    ) {
        let mut model = small();
        for (key, x, y) in keys {
            match key {
                0..=19 => {
                    let letters = ['q', 's', 'x', 'r', 'R', 'w', 'l', '/', '?', ' ', 'a', 'u', 'g', 'o', 'e', 'p', 'y', '\n', '\u{1b}', '←'];
                    press(&mut model, &letters[usize::from(key)].to_string());
                }
                20 => { let _effects = model.update(Input::Resized(x, y)); }
                21 => click_any(&mut model, x, y),
                22 => read(&mut model, rows(f64::from(x), f64::from(y), if x % 2 == 0 { "active" } else { &odd }), NOW),
                _ => { let _effects = model.update(Input::Told(odd.clone(), odd.clone())); }
            }
            proptest::prop_assert!(model.rows.is_empty() || model.cursor < model.rows.len());
            let _drawn = picture(&model, &THEME);
        }
    }
}

fn click_any(model: &mut Model, column: u16, row: u16) {
    let kind = MouseEventKind::Down(MouseButton::Left);
    let _effects =
        model.update(Input::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }));
}
