//! The wire is plain ZeroMQ and JSON: a client without our transport, on the `zeromq` crate.
//!
//! `cargo run -p circus-examples --example zeromq_client -- tcp://127.0.0.1:5555`

use std::error::Error;

use circus_protocol::codec::{decode_reply, encode_request};
use circus_protocol::reply::Status;
use serde_json::{Value, json};
use zeromq::{DealerSocket, Socket, SocketRecv, SocketSend, ZmqMessage};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let usage = "usage: zeromq_client ENDPOINT, for example: zeromq_client tcp://127.0.0.1:5555";
    let endpoint = std::env::args().nth(1).ok_or(usage)?;
    let mut dealer = DealerSocket::new();
    dealer.connect(&endpoint).await?;

    // One frame there, one frame back; a REQ socket would add an empty frame that circus does not expect.
    dealer.send(ZmqMessage::from(encode_request("1", "status", &json!({})))).await?;
    let frames = dealer.recv().await?;
    let reply = decode_reply(frames.get(0).ok_or("an empty message")?)?;
    match reply.status {
        Status::Ok => {
            for (watcher, state) in
                reply.keys.get("statuses").and_then(Value::as_object).into_iter().flatten()
            {
                println!("{watcher}: {state}");
            }
        }
        Status::State(state) => println!("{state}"),
        Status::Error { reason, .. } => return Err(reason.into()),
    }
    Ok(())
}
