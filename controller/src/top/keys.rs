//! What keys and the mouse do, depending on what they mean at the moment.

use ratatui::crossterm::event::{
    KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};

use super::deed::{Plan, Verb, plan};
use super::layout::columns;
use super::model::{Effect, Mode, Model};
use super::tree::{Grouping, Key, Sort, key};
use crate::outcome::{LogsPart, LogsRequest, Operation};

/// Rows that one turn of the wheel moves.
const WHEEL: usize = 3;
/// Lines of a log that are shown.
const LINES: u32 = 200;
/// The longest text that is searched for.
const SEARCH: usize = 100;

/// What `?` shows.
const HELP: &str = "\
Up Down PgUp PgDn Home End   move (also j k, wheel, click)
Right Left Enter             open, close
Space                        mark; a marks everything shown, u nothing
s x r R   (F7 F9 Ctrl-R)     start, stop, restart, reload what is marked,
                             or what is pointed at; on a node all watchers
/         (F3 Ctrl-F)        search: words of nodes, watchers, states
Esc                          ends the search, then takes the marks away
g         (Tab)              by node, by watcher
o         (click a title)    order: state, cpu, memory, age, restarts, name
w                            why: the story of the node or the watcher
l                            the watcher's last lines
e                            how much of the log is shown
p                            pause, go on
q         (F10 Ctrl-C)       leave; Ctrl-Z to the shell and back

CPU: percent of one CPU, children included. RST: processes that took the
place of one that had ended, as circusd-rs counts them; of a stock node as
many as were seen since this screen was opened.
Every action shows the command that does the same in a shell.";

impl Model {
    pub(super) fn key(&mut self, event: KeyEvent) -> Vec<Effect> {
        if event.kind == KeyEventKind::Release {
            return Vec::new();
        }
        let control = event.modifiers.contains(KeyModifiers::CONTROL);
        match (control, event.code) {
            (true, KeyCode::Char('c')) => return vec![Effect::Leave],
            (true, KeyCode::Char('z')) => return vec![Effect::Suspend],
            (_, _) => {}
        }
        match std::mem::take(&mut self.mode) {
            Mode::Table => self.in_table(event.code, control),
            Mode::Search => {
                self.in_search(event.code, control);
                Vec::new()
            }
            Mode::Ask(plan) => self.answered(plan, event.code),
            Mode::Text { title, lines, from } => {
                self.in_text(title, lines, from, event.code);
                Vec::new()
            }
        }
    }

    fn in_table(&mut self, code: KeyCode, control: bool) -> Vec<Effect> {
        match code {
            KeyCode::Char('f') if control => self.mode = Mode::Search,
            KeyCode::Char('r') if control => return self.act(Verb::Restart),
            KeyCode::Char(letter) if !control => return self.letter(letter),
            KeyCode::F(1) => return self.letter('?'),
            KeyCode::F(3) => return self.letter('/'),
            KeyCode::F(7) => return self.letter('s'),
            KeyCode::F(9) => return self.letter('x'),
            KeyCode::F(10) => return self.letter('q'),
            KeyCode::Enter => self.toggle(),
            KeyCode::Right => self.set_open(true),
            KeyCode::Left => self.set_open(false),
            KeyCode::Tab => return self.letter('g'),
            KeyCode::Esc if !self.filter.is_empty() => {
                self.filter.clear();
                self.rebuild();
            }
            KeyCode::Esc => self.marks.clear(),
            code => self.step(code),
        }
        Vec::new()
    }

    fn letter(&mut self, letter: char) -> Vec<Effect> {
        match letter {
            'q' => return vec![Effect::Leave],
            's' => return self.act(Verb::Start),
            'x' => return self.act(Verb::Stop),
            'r' => return self.act(Verb::Restart),
            'R' => return self.act(Verb::Reload),
            'w' => return self.tell(false),
            'l' => return self.tell(true),
            '/' => self.mode = Mode::Search,
            '?' => self.show("keys", HELP),
            ' ' => self.mark(),
            'a' => {
                self.marks = self.rows.iter().filter_map(|row| key(&self.nodes, row)).filter(acts).collect()
            }
            'u' => self.marks.clear(),
            'g' => {
                self.grouping = match self.grouping {
                    Grouping::Node => Grouping::Watcher,
                    Grouping::Watcher => Grouping::Node,
                };
                self.rebuild();
            }
            'o' => self.sort_by(self.sort.next()),
            'e' => {
                self.log_size = self.log_size.next();
                self.rebuild();
            }
            'p' => {
                self.paused = !self.paused;
                return if self.paused { Vec::new() } else { vec![Effect::Look] };
            }
            'j' => self.step(KeyCode::Down),
            'k' => self.step(KeyCode::Up),
            _ => {}
        }
        Vec::new()
    }

    fn step(&mut self, code: KeyCode) {
        let page = usize::from(self.areas().table.height).saturating_sub(1).max(1);
        let at = match code {
            KeyCode::Down => self.cursor.saturating_add(1),
            KeyCode::Up => self.cursor.saturating_sub(1),
            KeyCode::PageDown => self.cursor.saturating_add(page),
            KeyCode::PageUp => self.cursor.saturating_sub(page),
            KeyCode::Home => 0,
            KeyCode::End => usize::MAX,
            _ => return,
        };
        self.point(at);
    }

    fn in_search(&mut self, code: KeyCode, control: bool) {
        match code {
            KeyCode::Enter => return,
            KeyCode::Esc => {
                self.filter.clear();
                self.rebuild();
                return;
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char('u') if control => self.filter.clear(),
            KeyCode::Char(letter) if !control && self.filter.chars().count() < SEARCH => {
                self.filter.push(letter)
            }
            code => self.step(code),
        }
        self.mode = Mode::Search;
        self.rebuild();
    }

    fn in_text(&mut self, title: String, lines: Vec<String>, from: usize, code: KeyCode) {
        let page = usize::from(self.size.1).saturating_sub(6).max(1);
        let last = lines.len().saturating_sub(page);
        let from = match code {
            KeyCode::Down | KeyCode::Char('j') => from.saturating_add(1),
            KeyCode::Up | KeyCode::Char('k') => from.saturating_sub(1),
            KeyCode::PageDown | KeyCode::Char(' ') => from.saturating_add(page),
            KeyCode::PageUp => from.saturating_sub(page),
            KeyCode::Home => 0,
            KeyCode::End => last,
            _ => return,
        };
        self.mode = Mode::Text { title, lines, from: from.min(last) };
    }

    fn answered(&mut self, plan: Plan, code: KeyCode) -> Vec<Effect> {
        match code {
            KeyCode::Char('y' | 'Y') => self.carry_out(plan),
            _ => {
                self.say(self.at, format!("not confirmed: {}", plan.text), false);
                Vec::new()
            }
        }
    }

    fn act(&mut self, verb: Verb) -> Vec<Effect> {
        let Some(plan) = plan(verb, &self.chosen(), &self.nodes, &self.shell) else { return Vec::new() };
        if plan.asks {
            self.mode = Mode::Ask(plan);
            return Vec::new();
        }
        self.carry_out(plan)
    }

    fn carry_out(&mut self, plan: Plan) -> Vec<Effect> {
        self.running += plan.deeds.len();
        for deed in &plan.deeds {
            self.say(self.at, format!("$ {}", deed.command), false);
        }
        self.marks.clear();
        plan.deeds.into_iter().map(Effect::Act).collect()
    }

    /// Asks the node of what is pointed at: for a story, of the node or of a watcher, or for what the
    /// watcher printed.
    fn tell(&mut self, logs: bool) -> Vec<Effect> {
        let (node, watcher) = match self.pointed() {
            Some(Key::Watcher(node, watcher) | Key::Process(node, watcher, _)) => {
                (node.clone(), Some(watcher.clone()))
            }
            Some(Key::Node(node)) if !logs => (node.clone(), None),
            Some(Key::Node(_) | Key::Name(_)) | None => {
                self.say(self.at, "point at a watcher of one node first".to_owned(), false);
                return Vec::new();
            }
        };
        self.running += 1;
        let title = watcher.as_ref().map_or_else(|| node.clone(), |watcher| format!("{watcher} on {node}"));
        let (word, operation) = if logs {
            let (names, sources) = (watcher.into_iter().collect(), vec!["all".to_owned()]);
            let part = LogsPart::Last { lines: LINES };
            ("logs", Operation::Logs(LogsRequest { names, sources, part, binary: false }))
        } else {
            ("why", Operation::Why { name: watcher })
        };
        vec![Effect::Tell { title: format!("{word} {title}"), operation, targets: vec![node] }]
    }

    fn show(&mut self, title: &str, text: &str) {
        let lines = text.lines().map(str::to_owned).collect();
        self.mode = Mode::Text { title: title.to_owned(), lines, from: 0 };
    }

    fn mark(&mut self) {
        if let Some(key) = self.pointed.clone().filter(acts)
            && !self.marks.remove(&key)
        {
            self.marks.insert(key);
        }
        self.step(KeyCode::Down);
    }

    pub(super) fn sort_by(&mut self, sort: Sort) {
        self.sort = sort;
        self.rebuild();
    }

    fn toggle(&mut self) {
        if let Some(open) = self.rows.get(self.cursor).and_then(|row| row.open) {
            self.set_open(!open);
        } else {
            self.set_open(false);
        }
    }

    /// Opens or closes what is pointed at; to close what is closed goes to what it is in.
    fn set_open(&mut self, wanted: bool) {
        let Some(row) = self.rows.get(self.cursor) else { return };
        let depth = row.depth;
        match row.open {
            Some(open) if open != wanted => {
                if let Some(key) = self.pointed.clone()
                    && !self.open.remove(&key)
                {
                    self.open.insert(key);
                }
                self.rebuild();
            }
            Some(_) | None if !wanted => {
                let above = self.rows.iter().take(self.cursor).rposition(|row| row.depth < depth);
                if let Some(above) = above {
                    self.point(above);
                }
            }
            Some(_) | None => {}
        }
    }

    pub(super) fn mouse(&mut self, event: MouseEvent) -> Vec<Effect> {
        let wheel = match event.kind {
            MouseEventKind::ScrollDown => Some(KeyCode::Down),
            MouseEventKind::ScrollUp => Some(KeyCode::Up),
            MouseEventKind::Down(MouseButton::Left) => None,
            _ => return Vec::new(),
        };
        match (std::mem::take(&mut self.mode), wheel) {
            (Mode::Text { title, lines, from }, Some(code)) => {
                self.in_text(title, lines, from, code);
                for _ in 1..WHEEL {
                    if let Mode::Text { title, lines, from } = std::mem::take(&mut self.mode) {
                        self.in_text(title, lines, from, code);
                    }
                }
            }
            // A click beside a text closes it; a question wants a key.
            (Mode::Text { .. }, None) => {}
            (mode @ Mode::Ask(_), _) => self.mode = mode,
            (mode @ (Mode::Table | Mode::Search), Some(code)) => {
                self.mode = mode;
                (0..WHEEL).for_each(|_| self.step(code));
            }
            (mode @ (Mode::Table | Mode::Search), None) => {
                self.mode = mode;
                self.click(event.column, event.row);
            }
        }
        Vec::new()
    }

    /// A click never acts on a node: it points, opens and sorts.
    fn click(&mut self, column: u16, line: u16) {
        let areas = self.areas();
        if line == areas.titles.y {
            let under = columns(areas.titles.width).into_iter().rfind(|(_, at, _)| *at <= column);
            if let Some(sort) = under.and_then(|(column, ..)| column.sort()) {
                // A second click gives the nodes' own order back.
                self.sort_by(if sort == self.sort { Sort::Order } else { sort });
            }
            return;
        }
        if line < areas.table.y || line >= areas.table.bottom() {
            return;
        }
        let at = self.from + usize::from(line - areas.table.y);
        let Some(row) = self.rows.get(at) else { return };
        let (same, sign) = (at == self.cursor, 2 * row.depth + 2);
        self.point(at);
        if same || usize::from(column) <= sign + 1 {
            self.toggle_only();
        }
    }

    fn toggle_only(&mut self) {
        if let Some(open) = self.rows.get(self.cursor).and_then(|row| row.open) {
            self.set_open(!open);
        }
    }
}

/// Whether operations are about such a thing; those on a process are about its watcher.
fn acts(key: &Key) -> bool {
    match key {
        Key::Node(_) | Key::Name(_) | Key::Watcher(..) => true,
        Key::Process(..) => false,
    }
}
