//! One node: whether there is a connection to it, and what was learnt on it.
//!
//! ```text
//!  Closed ──Open──► Opening ──Opened──► Open
//!    ▲                 │ Lost             │ Lost
//!    └─────────────────┴──────────────────┘   what was learnt about the daemon is forgotten
//! ```

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::cluster::Effect;
use crate::cluster::answer::Answer;
use crate::cluster::follow::{Follow, Manner};
use crate::cluster::operations::Ended;
use crate::cluster::run::{NO_CIRCUS, Run, Turn};
use crate::cluster::view::{Change, DaemonView, News, NodeView, State, Watching};
use crate::inventory::NodeSpec;
use crate::outcome::NodeState;

/// Names a node for as long as it is part of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u64);

/// What runs on a node.
#[derive(Debug, Clone, PartialEq)]
pub enum Daemon {
    /// The Python circusd: it does not know `hello`.
    Stock,
    /// A circusd-rs.
    Rs {
        /// Its version.
        version: String,
        /// Its extension commands, with blanks between them: there may be ten thousand of these lists.
        extensions: Box<str>,
        /// Where it says that its events are published.
        publishes: Option<Box<str>>,
    },
}

impl Daemon {
    /// From the answer to `hello`.
    #[must_use]
    pub fn from_hello(hello: &Map<String, Value>) -> Self {
        let text = |key: &str| hello.get(key).and_then(Value::as_str);
        let version = text("version").unwrap_or("?").to_owned();
        let listed = hello.get("extensions").and_then(Value::as_array);
        let extensions: Vec<String> =
            listed.into_iter().flatten().filter_map(Value::as_str).map(str::to_ascii_lowercase).collect();
        let publishes = text("pubsub_endpoint").map(Box::from);
        Self::Rs { version, extensions: extensions.join(" ").into(), publishes }
    }

    /// As the results print it.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Stock => "circusd".to_owned(),
            Self::Rs { version, .. } => format!("circusd-rs {version}"),
        }
    }

    /// Whether it has an extension command.
    #[must_use]
    pub fn can(&self, command: &str) -> bool {
        match self {
            Self::Stock => false,
            Self::Rs { extensions, .. } => extensions.split(' ').any(|known| known == command),
        }
    }
}

/// The connection to a node.
#[derive(Debug, Clone, PartialEq)]
pub enum Connection {
    /// None.
    Closed,
    /// Being made.
    Opening {
        /// Somebody accepts it.
        reached: bool,
    },
    /// There.
    Open {
        /// What answered, once asked.
        daemon: Option<Daemon>,
        /// Leftovers of crashed consoles were looked for.
        swept: bool,
        /// Something was answered on it; until then a loss may be an old connection found dead.
        proven: bool,
    },
}

/// A node and everything known about it.
#[derive(Debug)]
pub struct Node {
    /// Its name for the cluster.
    pub id: NodeId,
    /// Its name for everybody else.
    pub spec: NodeSpec,
    /// The connection to it.
    pub connection: Connection,
    /// Somebody was there at some time.
    pub seen: bool,
    /// The operation at hand; between two steps there is none.
    pub run: Option<Run>,
    /// The operations under way. They share the connection and know nothing of each other.
    pub runs: Vec<Run>,
    /// Those that ended in this step.
    pub ended: Vec<Ended>,
    /// What following it needs, while it is followed.
    pub follow: Option<Follow>,
    /// What faces see of it.
    pub view: Arc<NodeView>,
    /// When it is to be ticked, as the cluster has noted.
    pub armed: Option<Duration>,
    /// The connection was dropped in this step, and why; who still counts on it is told at its end.
    pub cut: Option<&'static str>,
    /// Whether the cluster counts it among those that connect.
    pub counted: bool,
    /// One-shot watchers of abandoned operations, to be removed before anything else is done there.
    pub debts: Vec<String>,
}

impl Node {
    /// A node nobody has talked to.
    #[must_use]
    pub fn new(id: NodeId, spec: NodeSpec) -> Self {
        let view = Arc::new(NodeView::new(&spec.name, spec.endpoint.clone(), Duration::ZERO));
        Self {
            id,
            spec,
            connection: Connection::Closed,
            seen: false,
            run: None,
            runs: Vec::new(),
            ended: Vec::new(),
            follow: None,
            view,
            armed: None,
            cut: None,
            counted: false,
            debts: Vec::new(),
        }
    }

    /// What runs there, if known.
    #[must_use]
    pub fn daemon(&self) -> Option<&Daemon> {
        match &self.connection {
            Connection::Open { daemon, .. } => daemon.as_ref(),
            Connection::Closed | Connection::Opening { .. } => None,
        }
    }

    /// Somebody is there.
    pub fn reached(&mut self) {
        self.seen = true;
        if let Connection::Opening { reached } = &mut self.connection {
            *reached = true;
        }
    }

    /// What it is when there is no connection to it.
    #[must_use]
    pub fn missing(&self) -> NodeState {
        if self.spec.from_range && !self.seen { NodeState::Absent } else { NodeState::Unreachable }
    }

    /// What it is when no connection came about within `limit`, and why.
    #[must_use]
    pub fn silent(&self, limit: &str) -> (NodeState, String) {
        match self.connection {
            Connection::Opening { reached: true } => {
                let why = format!(
                    "accepts connections, but says nothing within {limit}: a circusd that hangs, or none"
                );
                (NodeState::TimedOut, why)
            }
            Connection::Closed | Connection::Opening { reached: false } => {
                (self.missing(), format!("no connection within {limit}"))
            }
            Connection::Open { .. } => (NodeState::TimedOut, format!("its turn did not come within {limit}")),
        }
    }

    /// There is a connection.
    pub fn opened(&mut self, turn: &mut Turn<'_>) {
        self.seen = true;
        self.connection = Connection::Open { daemon: None, swept: false, proven: false };
        self.follow_opened(turn);
        self.each(turn, Self::run_opened);
    }

    /// There is none any more, or never was.
    pub fn lost(&mut self, turn: &mut Turn<'_>, reason: &str) {
        self.connection = Connection::Closed;
        self.follow_lost(turn, reason);
        self.each(turn, |node, turn| node.run_lost(turn, reason));
    }

    /// A frame came.
    pub fn received(&mut self, turn: &mut Turn<'_>, payload: &[u8]) {
        let Some((id, answer)) = Answer::decode(payload) else {
            if self.follow.is_some() && self.cut.is_none() {
                self.close(turn, NO_CIRCUS);
            }
            return self.each(turn, Self::run_garbled);
        };
        if let Connection::Open { proven, .. } = &mut self.connection {
            *proven = true;
        }
        if self.follow_received(turn, &id, &answer) {
            return self.settle(turn);
        }
        // Late, twice, or a quirk of the daemon: nobody waits for it.
        let Some(at) = self.runs.iter().position(|run| run.asked(&id)) else { return };
        self.run = Some(self.runs.remove(at));
        self.run_received(turn, &id, answer);
        self.runs.extend(self.run.take());
        self.settle(turn);
    }

    /// What the console asked for itself about this node has its answers.
    pub fn probed(&mut self, turn: &mut Turn<'_>, id: &str, answers: Map<String, Value>) {
        // Of an operation that has ended meanwhile, nobody wants to know.
        let Some(at) = self.runs.iter().position(|run| run.asked(id)) else { return };
        self.run = Some(self.runs.remove(at));
        self.run_probed(turn, answers);
        self.runs.extend(self.run.take());
        self.settle(turn);
    }

    /// Time has passed.
    pub fn tick(&mut self, turn: &mut Turn<'_>) {
        self.follow_tick(turn);
        self.each(turn, Self::run_tick);
    }

    /// Something is due by itself then.
    #[must_use]
    pub fn next_deadline(&self, manner: &Manner) -> Option<Duration> {
        let follow = self.follow.as_ref().and_then(|follow| follow.next_deadline(manner));
        self.runs.iter().filter_map(Run::next_deadline).chain(follow).min()
    }

    /// Makes every run, one after the other, the one at hand.
    pub fn each(&mut self, turn: &mut Turn<'_>, mut step: impl FnMut(&mut Self, &mut Turn<'_>)) {
        for run in std::mem::take(&mut self.runs) {
            self.run = Some(run);
            step(self, turn);
            self.runs.extend(self.run.take());
        }
        self.settle(turn);
    }

    /// Drops the connection.
    pub fn close(&mut self, turn: &mut Turn<'_>, reason: &'static str) {
        if self.connection != Connection::Closed {
            self.connection = Connection::Closed;
            self.cut = Some(reason);
            turn.out.push(Effect::Close { node: self.id });
        }
    }

    /// Tells all who counted on a connection that was dropped.
    fn settle(&mut self, turn: &mut Turn<'_>) {
        if let Some(reason) = self.cut.take() {
            self.lost(turn, reason);
        }
    }

    /// What runs there is known now.
    pub fn knows(&mut self, daemon: Daemon) {
        let seen = Arc::new(match &daemon {
            Daemon::Stock => DaemonView::Stock,
            Daemon::Rs { version, .. } => DaemonView::Native { version: version.clone() },
        });
        if self.view.daemon.as_ref() != Some(&seen) {
            Arc::make_mut(&mut self.view).daemon = Some(seen);
        }
        if let Connection::Open { daemon: known, .. } = &mut self.connection {
            *known = Some(daemon);
        }
    }

    /// The view, to be changed; `matters` when a face should see it soon.
    pub fn view_mut(&mut self, turn: &mut Turn<'_>, matters: bool) -> &mut NodeView {
        turn.shared.touch(matters);
        Arc::make_mut(&mut self.view)
    }

    /// How its changes become known from now on.
    pub fn watching(&mut self, turn: &mut Turn<'_>, watching: Watching) {
        self.view_mut(turn, true).watching = watching;
    }

    /// Whether it is there, from now on. A change of an earlier answer is news.
    pub fn turn_into(&mut self, turn: &mut Turn<'_>, state: State) {
        if self.view.state == state {
            return;
        }
        let now = turn.shared.manner.wall + turn.now;
        let (same, was_up) = (self.view.state.word() == state.word(), self.view.state == State::Up);
        let was_gone = self.view.state.why().is_some();
        let view = self.view_mut(turn, true);
        view.state = state.clone();
        if !same {
            view.since = now;
        }
        if state != State::Up {
            view.watching = Watching::Not;
        }
        match state {
            State::Up if was_gone => {
                let daemon = self.view.daemon.clone().unwrap_or_else(|| Arc::new(DaemonView::Stock));
                self.tell(turn, [Change::Up { daemon }]);
            }
            State::Down { why } if was_up => self.tell(turn, [Change::Down { why }]),
            State::Unknown | State::Connecting | State::Up | State::Down { .. } | State::Absent { .. } => {}
        }
    }

    /// Says what changed.
    pub fn tell(&self, turn: &mut Turn<'_>, changes: impl IntoIterator<Item = Change>) {
        let at = turn.shared.manner.wall + turn.now;
        let news = changes.into_iter().map(|change| News { at, node: self.view.name.clone(), change });
        turn.out.extend(news.map(Effect::News));
    }
}
