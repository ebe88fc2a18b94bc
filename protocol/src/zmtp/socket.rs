//! Socket types and which of them talk to each other (28/REQREP, 29/PUBSUB). The types circus does
//! not use are unknown here: a peer that announces one is refused like any other misfit.

use core::fmt;

/// A ZeroMQ socket type of the two patterns circus uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SocketType {
    /// Asks, and waits for the answer.
    Req,
    /// Answers one request after the other.
    Rep,
    /// Asks without waiting.
    Dealer,
    /// Answers many, in any order.
    Router,
    /// Publishes.
    Pub,
    /// Subscribes.
    Sub,
    /// Publishes and sees subscriptions.
    Xpub,
    /// Subscribes by messages.
    Xsub,
}

const ALL: [(SocketType, &str); 8] = [
    (SocketType::Req, "REQ"),
    (SocketType::Rep, "REP"),
    (SocketType::Dealer, "DEALER"),
    (SocketType::Router, "ROUTER"),
    (SocketType::Pub, "PUB"),
    (SocketType::Sub, "SUB"),
    (SocketType::Xpub, "XPUB"),
    (SocketType::Xsub, "XSUB"),
];

impl SocketType {
    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    /// The type of this name on the wire.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        ALL.iter().find(|(_, known)| known.as_bytes() == name).map(|(kind, _)| *kind)
    }

    /// Whether the specification lets these two talk.
    #[must_use]
    pub fn talks_to(self, peer: Self) -> bool {
        match self {
            Self::Req => matches!(peer, Self::Rep | Self::Router),
            Self::Rep => matches!(peer, Self::Req | Self::Dealer),
            Self::Dealer => matches!(peer, Self::Rep | Self::Dealer | Self::Router),
            Self::Router => matches!(peer, Self::Req | Self::Dealer | Self::Router),
            Self::Pub | Self::Xpub => matches!(peer, Self::Sub | Self::Xsub),
            Self::Sub | Self::Xsub => matches!(peer, Self::Pub | Self::Xpub),
        }
    }

    /// Whether its peers send subscriptions.
    #[must_use]
    pub fn publishes(self) -> bool {
        matches!(self, Self::Pub | Self::Xpub)
    }
}

impl fmt::Display for SocketType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_compatibility_are_symmetric() {
        for (one, name) in ALL {
            assert_eq!(SocketType::from_name(name.as_bytes()), Some(one));
            assert_eq!(one.to_string(), name);
            for (two, _) in ALL {
                assert_eq!(one.talks_to(two), two.talks_to(one), "{one} {two}");
            }
        }
        assert_eq!(SocketType::from_name(b"PAIR"), None);
        assert!(!SocketType::Req.talks_to(SocketType::Dealer));
    }
}
