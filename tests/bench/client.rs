//! One plain blocking socket that speaks ZMTP by itself, the same for every server.

use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// A connection as DEALER or as SUB.
#[derive(Debug)]
pub(crate) struct Client {
    input: BufReader<TcpStream>,
    output: TcpStream,
}

impl Client {
    /// To commands.
    pub(crate) fn dealer(address: &str) -> io::Result<Self> {
        Self::connect(address, "DEALER")
    }

    /// To everything that is published.
    pub(crate) fn subscriber(address: &str) -> io::Result<Self> {
        let mut client = Self::connect(address, "SUB")?;
        client.send(b"\x01")?;
        Ok(client)
    }

    fn connect(address: &str, kind: &str) -> io::Result<Self> {
        let mut output = TcpStream::connect(address)?;
        output.set_nodelay(true)?;
        output.set_read_timeout(Some(PATIENCE))?;
        let mut hello = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL".to_vec();
        hello.resize(64, 0);
        let mut ready = b"\x05READY\x0bSocket-Type\0\0\0".to_vec();
        ready.push(kind.len() as u8);
        ready.extend(kind.as_bytes());
        hello.extend([4, ready.len() as u8]);
        hello.extend(ready);
        output.write_all(&hello)?;
        let mut input = BufReader::with_capacity(64 * 1024, output.try_clone()?);
        let mut greeting = [0; 64];
        input.read_exact(&mut greeting)?;
        let mut client = Self { input, output };
        client.frame()?;
        Ok(client)
    }

    /// Sends a message of one frame.
    pub(crate) fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        let mut message = match u8::try_from(payload.len()) {
            Ok(short) => vec![0, short],
            Err(_) => {
                let mut long = vec![2];
                long.extend((payload.len() as u64).to_be_bytes());
                long
            }
        };
        message.extend(payload);
        self.output.write_all(&message)
    }

    /// The next message; its frames one after the other.
    pub(crate) fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut message = Vec::new();
        loop {
            let (flags, frame) = self.frame()?;
            // A command, a heartbeat for example.
            if flags & 4 != 0 {
                continue;
            }
            message.extend(frame);
            if flags & 1 == 0 {
                return Ok(message);
            }
        }
    }

    /// One request and its reply.
    pub(crate) fn ask(&mut self, payload: &[u8]) -> io::Result<Vec<u8>> {
        let named = |error| io::Error::other(format!("{}: {error}", String::from_utf8_lossy(payload)));
        self.send(payload).and_then(|()| self.receive()).map_err(named)
    }

    /// As `ask`, and again while stock is busy with something else.
    pub(crate) fn insist(&mut self, payload: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            let reply = self.ask(payload)?;
            if !reply.windows(26).any(|words| words == b"arbiter is already running") {
                return Ok(reply);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn frame(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut flags = [0];
        self.input.read_exact(&mut flags)?;
        let [flags] = flags;
        let length = if flags & 2 == 0 {
            let mut short = [0];
            self.input.read_exact(&mut short)?;
            u64::from(u8::from_be_bytes(short))
        } else {
            let mut long = [0; 8];
            self.input.read_exact(&mut long)?;
            u64::from_be_bytes(long)
        };
        let mut frame = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.input.read_exact(&mut frame)?;
        Ok((flags, frame))
    }
}
