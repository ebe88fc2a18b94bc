//! Exit statuses: how a script learns what came of it. They are part of the interface.

use std::process::ExitCode;

use crate::outcome::{NodeState, Outcome};

/// How circusman ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Exit {
    /// 0: done as asked, or answered.
    #[default]
    Done,
    /// 1: at least one node failed or refused.
    Failed,
    /// 2: usage or configuration.
    Usage,
    /// 3: no such target, or an empty set.
    NoTarget,
    /// 4: some nodes unreachable.
    Unreachable,
    /// 5: timed out, still running.
    TimedOut,
    /// 6: confirmation missing or not permitted.
    Unconfirmed,
    /// 8: `--check` found a difference.
    Differs,
    /// 130: interrupted.
    Interrupted,
}

impl Exit {
    /// The number the shell sees.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NoTarget => 3,
            Self::Unreachable => 4,
            Self::TimedOut => 5,
            Self::Unconfirmed => 6,
            Self::Differs => 8,
            Self::Interrupted => 130,
        }
    }

    /// The worst news decide: an interrupt, then a failure, then a time-out, then an absence. Where
    /// every node was left out, there was no target.
    #[must_use]
    pub fn of(outcome: &Outcome) -> Self {
        let states = || outcome.nodes.iter().map(|node| node.state);
        let skipped = |state| matches!(state, NodeState::Skipped | NodeState::Absent);
        // A pattern that matched nothing on any node.
        if states().all(skipped) && states().any(|state| state == NodeState::Skipped) {
            return Self::NoTarget;
        }
        outcome
            .nodes
            .iter()
            .map(|node| Self::of_node(node.state))
            .max_by_key(|exit| exit.weight())
            .unwrap_or_default()
    }

    fn of_node(state: NodeState) -> Self {
        match state {
            NodeState::Done | NodeState::Unchanged | NodeState::Skipped | NodeState::Absent => Self::Done,
            NodeState::Cancelled => Self::Interrupted,
            NodeState::Refused | NodeState::Failed => Self::Failed,
            NodeState::TimedOut => Self::TimedOut,
            NodeState::Unreachable => Self::Unreachable,
        }
    }

    fn weight(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Differs => 1,
            Self::Unreachable => 2,
            Self::TimedOut => 3,
            Self::Unconfirmed | Self::NoTarget | Self::Usage => 4,
            Self::Failed => 5,
            Self::Interrupted => 6,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.number().into()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::outcome::NodeOutcome;

    fn of(states: &[NodeState]) -> u8 {
        let node = |state: &NodeState| NodeOutcome {
            node: "n".to_owned(),
            state: *state,
            reason: String::new(),
            daemon: None,
            data: serde_json::Value::Null,
            elapsed: Duration::ZERO,
        };
        Exit::of(&Outcome { nodes: states.iter().map(node).collect(), elapsed: Duration::ZERO }).number()
    }

    #[test]
    fn worst_news_decide() {
        use NodeState::*;
        assert_eq!(of(&[]), 0);
        assert_eq!(of(&[Done, Unchanged, Skipped, Absent]), 0);
        assert_eq!(of(&[Skipped, Absent]), 3);
        assert_eq!(of(&[Absent]), 0);
        assert_eq!(of(&[Done, Unreachable]), 4);
        assert_eq!(of(&[Unreachable, TimedOut, Done]), 5);
        assert_eq!(of(&[TimedOut, Refused, Unreachable]), 1);
        assert_eq!(of(&[Failed, Absent]), 1);
        assert_eq!(of(&[Cancelled, Failed]), 130);
    }
}
