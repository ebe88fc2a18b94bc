//! Addresses in 127.0.0.0/8 that nobody else uses, so that ports need no luck.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

/// The ports every daemon of the tests has.
const PORTS: [u16; 2] = [5555, 5556];

/// How many addresses share their second octet. A process takes all of its addresses from one octet
/// and no address twice.
const PLACES: u32 = 250 * 250;

/// Where two processes whose octet is the same begin: this far apart.
const STRIDE: u32 = 2_500;

/// An address where nothing listens, that this process gets only once.
///
/// It is looked at before it is given away: what an earlier test, or an earlier process, left behind
/// must not answer in the place of a daemon that is about to start.
#[must_use]
pub fn fresh_address() -> String {
    fresh_block(1).remove(0)
}

/// Neighbouring addresses, for a cluster.
#[must_use]
pub fn fresh_block(count: u32) -> Vec<String> {
    static NEXT: Mutex<u32> = Mutex::new(0);
    let mut next = NEXT.lock().expect("nobody fails with it");
    for _ in 0..PLACES {
        // Neighbours differ in the last octet alone.
        if *next % 250 + count > 250 {
            *next += 250 - *next % 250;
        }
        let block: Vec<Ipv4Addr> = (*next..*next + count).map(place).collect();
        *next += count;
        assert!(*next < PLACES, "this process has used all of its addresses");
        if block.iter().all(|address| is_free(*address)) {
            return block.iter().map(ToString::to_string).collect();
        }
    }
    panic!("something listens on every address of this process");
}

/// The `n`th address of this process.
fn place(n: u32) -> Ipv4Addr {
    let pid = std::process::id();
    let n = (n + pid / 200 * STRIDE) % PLACES;
    let octet = |number: u32| u8::try_from(number).expect("small");
    Ipv4Addr::new(127, octet(16 + pid % 200), octet(n / 250 + 1), octet(n % 250 + 1))
}

fn is_free(address: Ipv4Addr) -> bool {
    PORTS.iter().all(|port| TcpListener::bind((address, *port)).is_ok())
}
