//! Prints what happens to the watchers of a circusd, until it is interrupted.
//!
//! `cargo run -p circus-examples --example listen -- tcp://127.0.0.1:5556`

use std::error::Error;

use circus_protocol::endpoint::Endpoint;
use circus_protocol::event::{self, Event};
use circus_protocol::transport::{LinkEvent, LinkOptions, Subscriber};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let endpoint =
        std::env::args().nth(1).ok_or("usage: listen ENDPOINT, for example: listen tcp://127.0.0.1:5556")?;
    let endpoint: Endpoint = endpoint.parse()?;
    let mut subscriber = Subscriber::connect(endpoint, LinkOptions::default())?;
    subscriber.subscribe(event::PREFIX)?;
    loop {
        match subscriber.recv().await {
            LinkEvent::Connected { .. } => eprintln!("connected"),
            // It connects again by itself; what was published meanwhile is lost.
            LinkEvent::Disconnected { reason, again_in } => eprintln!("{reason}; again in {again_in:.1?}"),
            LinkEvent::Message(frames) => match frames.as_slice() {
                [topic, payload] => match Event::decode(topic, payload) {
                    Ok(event) => println!("{:.3} {}: {:?}", event.time, event.watcher, event.kind),
                    Err(error) => eprintln!("{error}"),
                },
                _ => eprintln!("a message of {} frames is no event", frames.len()),
            },
        }
    }
}
