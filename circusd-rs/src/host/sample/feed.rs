//! Figures for the stats feed: a thread of its own, so that neither a slow `/proc` holds up the loop
//! nor those who ask for `stats` change what "since the last look" means for the feed.
//!
//! It refuses to know watchers and who subscribed; it looks at the pids it is given, once each.

use std::io;
use std::thread;

use circus_protocol::number::Pid;
use circus_protocol::stat::ProcessFigures;
use tokio::sync::{mpsc, oneshot};

use super::Sampler;

/// Looks that may wait: there is one feed, and it waits for each look.
const LOOKS: usize = 1;

/// The thread's end in the loop.
#[derive(Debug)]
pub struct Feed {
    looks: mpsc::Sender<Look>,
}

#[derive(Debug)]
struct Look {
    pids: Vec<Pid>,
    answer: oneshot::Sender<Vec<ProcessFigures>>,
}

impl Feed {
    /// Starts the thread; it ends with this value.
    ///
    /// # Errors
    /// When the system refuses a thread or what there is to know about it.
    pub fn start() -> io::Result<Self> {
        let (looks, mut asked) = mpsc::channel::<Look>(LOOKS);
        let mut sampler = Sampler::new()?;
        thread::Builder::new().name("feed".to_owned()).spawn(move || {
            while let Some(Look { pids, answer }) = asked.blocking_recv() {
                let _nobody_waits = answer.send(sampler.each(&pids));
            }
        })?;
        Ok(Self { looks })
    }

    /// The figures of those that live, in the order asked for. Without the thread, of nobody.
    pub async fn look(&self, pids: Vec<Pid>) -> Vec<ProcessFigures> {
        let (answer, figures) = oneshot::channel();
        if self.looks.send(Look { pids, answer }).await.is_err() {
            tracing::error!("the stats feed's sampler has ended");
            return Vec::new();
        }
        figures.await.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_living_are_looked_at_and_the_dead_left_out() {
        let feed = Feed::start().unwrap();
        let me = Pid::new(std::process::id().cast_signed()).unwrap();
        let figures = feed.look(vec![Pid::new(i32::MAX).unwrap(), me]).await;
        let pids: Vec<i64> = figures.iter().map(|figures| figures.pid).collect();
        assert_eq!(pids, [i64::from(me.get())]);
        assert!(figures[0].children.is_empty());
        assert_eq!(figures[0].cpu, Some(0.0));
    }
}
