//! Sends one command to a circusd, stock or ours, and prints the reply.
//!
//! `cargo run -p circus-examples --example call -- tcp://127.0.0.1:5555 status '{"name": "web"}'`

use std::error::Error;
use std::time::Duration;

use circus_protocol::endpoint::Endpoint;
use circus_protocol::json;
use circus_protocol::transport::Client;

/// How long a reply may take.
const LIMIT: Duration = Duration::from_secs(5);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let usage = "usage: call ENDPOINT COMMAND [PROPERTIES], for example: call tcp://127.0.0.1:5555 list";
    let (Some(endpoint), Some(command)) = (words.next(), words.next()) else { return Err(usage.into()) };
    let endpoint: Endpoint = endpoint.parse()?;
    let properties = json::parse(words.next().as_deref().unwrap_or("{}").as_bytes())?;

    let mut client = Client::connect(endpoint)?;
    let reply = client.call(&command, properties, LIMIT).await?;
    println!("{}", String::from_utf8_lossy(&json::to_vec(&reply)));
    client.close().await;
    Ok(())
}
