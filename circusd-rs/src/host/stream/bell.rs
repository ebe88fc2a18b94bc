//! Tells the loop which streams do not work, whenever that changes.
//!
//! Only the last state of each stream waits to be told, so that a loop that is busy holds nobody up and
//! nothing grows. It refuses to know why a stream fails.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use tokio::sync::{Notify, mpsc};

use crate::arbiter::effect::Feed;
use crate::arbiter::id::WatcherId;
use crate::arbiter::input::{Input, StreamState};

/// Where slots leave how they are.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    /// By watcher, stdout before stderr.
    untold: RefCell<BTreeMap<(u64, bool), StreamState>>,
    rings: Notify,
}

impl Bell {
    /// This stream is now so.
    pub(crate) fn ring(&self, watcher: u64, state: StreamState) {
        self.untold.borrow_mut().insert((watcher, state.feed() == Feed::Stderr), state);
        self.rings.notify_one();
    }

    /// Passes on, in turn, until nobody listens.
    pub(crate) async fn tell(self: Rc<Self>, inputs: mpsc::Sender<Input>) {
        loop {
            let next = self.untold.borrow_mut().pop_first();
            let Some(((watcher, _), state)) = next else {
                self.rings.notified().await;
                continue;
            };
            if inputs.send(Input::Output { watcher: WatcherId(watcher), state }).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn works(feed: Feed, lost_bytes: u64) -> StreamState {
        StreamState::Works { feed, lost_bytes, lost_lines: 0 }
    }

    #[tokio::test]
    async fn only_the_last_state_waits() {
        let bell = Rc::new(Bell::default());
        let (inputs, mut told) = mpsc::channel(1);
        for round in 0..100 {
            bell.ring(7, works(Feed::Stdout, round));
        }
        bell.ring(7, works(Feed::Stderr, 5));
        let telling = tokio::task::LocalSet::new();
        telling.spawn_local(Rc::clone(&bell).tell(inputs));
        telling
            .run_until(async {
                let watcher = WatcherId(7);
                let first = Input::Output { watcher, state: works(Feed::Stdout, 99) };
                assert_eq!(told.recv().await, Some(first));
                assert_eq!(told.recv().await, Some(Input::Output { watcher, state: works(Feed::Stderr, 5) }));
                bell.ring(7, works(Feed::Stdout, 1));
                assert_eq!(told.recv().await, Some(Input::Output { watcher, state: works(Feed::Stdout, 1) }));
            })
            .await;
    }
}
