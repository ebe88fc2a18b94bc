//! What the screen shows and what a key does to it, as values: no terminal, no clock, no node.
//!
//! ```text
//!  Input ─► Model::update ─► Effects (look, glance, act, tell, suspend, leave)
//!               │
//!               └► view draws the model, only when it changed
//! ```

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use ratatui::crossterm::event::{KeyEvent, MouseEvent};

use super::deed::{Deed, Plan};
use super::layout::{Areas, LogSize, areas};
use super::live::Cause;
use super::tree::{self, Grouping, Key, Row, Sort, Wish, key};
use crate::cluster::view::News;
use crate::figures::Node;
use crate::figures::track::Tracker;
use crate::outcome::{NodeState, Operation, Outcome};
use crate::render;

/// Readings kept for the small curves.
pub const TREND: usize = 40;
/// Lines kept in the log.
const LOG: usize = 1_000;
/// Seconds after an action in which a watcher that stops surprises nobody.
const EXPECTED: f64 = 15.0;
/// Clusters of so many nodes at most show all watchers at once.
const SMALL: usize = 8;

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A key.
    Key(KeyEvent),
    /// The mouse.
    Mouse(MouseEvent),
    /// The screen has these columns and lines now.
    Resized(u16, u16),
    /// What all nodes tell, and when they told it (Unix seconds).
    Reading(Outcome, f64),
    /// The same of some of them only.
    Glance(Outcome, f64),
    /// What nodes told by themselves, and when we heard it.
    News(Vec<Arc<News>>, f64),
    /// An operation is done.
    Acted(Deed, Outcome),
    /// What was asked for is here: a title and a text.
    Told(String, String),
}

/// Something to do.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub enum Effect {
    /// Ask all nodes for their figures now.
    Look,
    /// Ask these soon: something has happened there.
    Glance(Vec<String>),
    /// Carry this out.
    Act(Deed),
    /// Ask and show the answer.
    Tell {
        /// What it is called.
        title: String,
        /// What.
        operation: Operation,
        /// Whom.
        targets: Vec<String>,
    },
    /// Give the terminal back until somebody says go on.
    Suspend,
    /// The end.
    Leave,
}

/// What keys mean at the moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Mode {
    /// They move and act.
    #[default]
    Table,
    /// They are text to search for.
    Search,
    /// They answer a question.
    Ask(Plan),
    /// They scroll a text.
    Text {
        /// What it is.
        title: String,
        /// Its lines.
        lines: Vec<String>,
        /// The first one shown.
        from: usize,
    },
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Unix seconds.
    pub at: f64,
    /// What.
    pub text: String,
    /// Whether somebody should look.
    pub bad: bool,
}

/// The last readings of one figure pair.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trend {
    /// Percent of one CPU.
    pub cpu: VecDeque<f32>,
    /// Bytes.
    pub memory: VecDeque<f32>,
}

impl Trend {
    fn push(&mut self, cpu: Option<f64>, memory: Option<f64>) {
        for (list, value) in [(&mut self.cpu, cpu), (&mut self.memory, memory)] {
            if list.len() >= TREND {
                list.pop_front();
            }
            list.push_back(value.unwrap_or(0.0) as f32);
        }
    }
}

/// Everything that is shown.
#[derive(Debug)]
pub struct Model {
    /// What the cluster is called.
    pub cluster: String,
    /// The beginning of the commands that are shown: program and cluster.
    pub shell: String,
    /// The last reading.
    pub nodes: Vec<Node>,
    /// When it was taken, in Unix seconds.
    pub at: f64,
    /// The rows of the table.
    pub rows: Vec<Row>,
    /// What is pointed at, as a position in `rows`.
    pub cursor: usize,
    /// The first row shown.
    pub from: usize,
    /// What keys mean.
    pub mode: Mode,
    /// Words that rows must have.
    pub filter: String,
    /// What stands at the root.
    pub grouping: Grouping,
    /// In which order.
    pub sort: Sort,
    /// What is marked.
    pub marks: BTreeSet<Key>,
    /// What happened.
    pub log: VecDeque<Entry>,
    /// How much of it is shown.
    pub log_size: LogSize,
    /// Nothing is asked until it is taken back.
    pub paused: bool,
    /// Operations under way.
    pub running: usize,
    /// Columns and lines of the screen.
    pub size: (u16, u16),
    pub(super) open: HashSet<Key>,
    pub(super) pointed: Option<Key>,
    trends: HashMap<Key, Trend>,
    pub(super) expected_until: f64,
    pub(super) tracker: Tracker,
    /// When each node told something last that its answers before do not know of.
    pub(super) told: HashMap<String, f64>,
    /// Why processes ended, by node and pid, until the tracker notices that they are gone.
    pub(super) causes: HashMap<(String, i64), Cause>,
    /// Only some watchers are shown, so one that nobody knows here is not meant.
    pub(super) narrow: bool,
    /// What there was to count when it was looked at first.
    pub seen: bool,
}

impl Model {
    /// Of a cluster nobody has asked yet.
    #[must_use]
    pub fn new(cluster: String, shell: String, names: &[String], size: (u16, u16)) -> Self {
        let node = |name: &String| Node {
            name: name.clone(),
            state: NodeState::Skipped,
            reason: "not asked yet".to_owned(),
            daemon: None,
            elapsed: std::time::Duration::ZERO,
            watchers: Vec::new(),
        };
        let mut model = Self {
            cluster,
            shell,
            nodes: names.iter().map(node).collect(),
            at: 0.0,
            rows: Vec::new(),
            cursor: 0,
            from: 0,
            mode: Mode::Table,
            filter: String::new(),
            grouping: Grouping::Node,
            sort: Sort::Order,
            marks: BTreeSet::new(),
            log: VecDeque::new(),
            log_size: LogSize::Small,
            paused: false,
            running: 0,
            size,
            open: HashSet::new(),
            pointed: None,
            trends: HashMap::new(),
            expected_until: 0.0,
            tracker: Tracker::default(),
            told: HashMap::new(),
            causes: HashMap::new(),
            narrow: false,
            seen: false,
        };
        model.rebuild();
        model
    }

    /// Something happened.
    pub fn update(&mut self, input: Input) -> Vec<Effect> {
        match input {
            Input::Key(key) => self.key(key),
            Input::Mouse(mouse) => self.mouse(mouse),
            Input::Resized(width, height) => {
                self.size = (width, height);
                self.rebuild();
                Vec::new()
            }
            Input::Reading(outcome, at) => {
                self.reading(&outcome, at);
                Vec::new()
            }
            Input::Glance(outcome, at) => {
                self.glance(&outcome, at);
                Vec::new()
            }
            Input::News(news, at) => self.news(&news, at),
            Input::Acted(deed, outcome) => {
                self.acted(&deed, &outcome);
                vec![Effect::Look]
            }
            Input::Told(title, text) => {
                self.running = self.running.saturating_sub(1);
                let lines = render::table::plain_lines(&text.replace('\t', "    "));
                let lines = lines.lines().map(str::to_owned).collect();
                self.mode = Mode::Text { title, lines, from: 0 };
                Vec::new()
            }
        }
    }

    fn reading(&mut self, outcome: &Outcome, at: f64) {
        let mut nodes = self.believed(outcome, at);
        let changes = self.tracker.take(&mut nodes);
        self.say_all(changes, at);
        if !self.seen {
            let up = nodes.iter().filter(|node| node.is_up()).count();
            self.say(at, format!("{up} of {} nodes answer", nodes.len()), up == 0);
        }
        (self.seen, self.at, self.nodes) = (true, at, nodes);
        self.follow();
        self.rebuild();
    }

    /// Notes the figures of nodes and watchers for the curves, and forgets those that are gone.
    fn follow(&mut self) {
        let mut old = std::mem::take(&mut self.trends);
        let mut names: HashMap<String, crate::figures::Sum> = HashMap::new();
        for node in &self.nodes {
            let mut note = |key: Key, sum: &crate::figures::Sum| {
                let mut trend = old.remove(&key).unwrap_or_default();
                trend.push(sum.cpu, sum.memory);
                self.trends.insert(key, trend);
            };
            note(Key::Node(node.name.clone()), &node.sum());
            for watcher in &node.watchers {
                let sum = watcher.sum();
                note(Key::Watcher(node.name.clone(), watcher.name.clone()), &sum);
                let name = names.entry(watcher.name.to_lowercase()).or_default();
                *name = name.and(sum);
            }
        }
        for (name, sum) in names {
            let key = Key::Name(name);
            let mut trend = old.remove(&key).unwrap_or_default();
            trend.push(sum.cpu, sum.memory);
            self.trends.insert(key, trend);
        }
    }

    /// The curves of a row; processes have none.
    #[must_use]
    pub fn trend(&self, row: &Row) -> Option<&Trend> {
        key(&self.nodes, row).and_then(|key| self.trends.get(&key))
    }

    fn acted(&mut self, deed: &Deed, outcome: &Outcome) {
        self.running = self.running.saturating_sub(1);
        let bad = |state: NodeState| state > NodeState::Skipped;
        let failed: Vec<_> = outcome.nodes.iter().filter(|row| bad(row.state)).collect();
        let done = outcome.nodes.len() - failed.len();
        let at = self.at;
        self.expected_until = at + EXPECTED;
        self.say(at, format!("{}: {done} of {} done", deed.command, outcome.nodes.len()), !failed.is_empty());
        for row in failed {
            let reason = render::table::plain(&row.reason);
            self.say(at, format!("{}: {}: {reason}", row.node, render::word(row.state)), true);
        }
    }

    pub(super) fn say(&mut self, at: f64, text: String, bad: bool) {
        if self.log.len() >= LOG {
            self.log.pop_front();
        }
        self.log.push_back(Entry { at, text: render::table::plain(&text), bad });
    }

    /// Makes the rows anew; the cursor stays on what it points at.
    pub(super) fn rebuild(&mut self) {
        let wish = Wish {
            grouping: self.grouping,
            sort: self.sort,
            filter: &self.filter,
            open: &self.open,
            inverted: self.grouping == Grouping::Node && self.nodes.len() <= SMALL,
        };
        self.rows = tree::rows(&self.nodes, wish);
        if let Some(pointed) = &self.pointed
            && let Some(at) = self.rows.iter().position(|row| key(&self.nodes, row).as_ref() == Some(pointed))
        {
            self.cursor = at;
        }
        self.point(self.cursor);
    }

    /// Points at a row, and scrolls so that it is seen.
    pub(super) fn point(&mut self, at: usize) {
        self.cursor = at.min(self.rows.len().saturating_sub(1));
        self.pointed = self.rows.get(self.cursor).and_then(|row| key(&self.nodes, row));
        let height = usize::from(self.areas().table.height).max(1);
        self.from = self.from.min(self.cursor).max((self.cursor + 1).saturating_sub(height));
        self.from = self.from.min(self.rows.len().saturating_sub(height));
    }

    /// Where everything stands.
    #[must_use]
    pub fn areas(&self) -> Areas {
        areas(self.size, self.log_size)
    }

    /// The key of what is pointed at.
    #[must_use]
    pub fn pointed(&self) -> Option<&Key> {
        self.pointed.as_ref()
    }

    /// What a key acts on: the marks, or else what is pointed at.
    #[must_use]
    pub fn chosen(&self) -> BTreeSet<Key> {
        if self.marks.is_empty() { self.pointed.iter().cloned().collect() } else { self.marks.clone() }
    }
}
