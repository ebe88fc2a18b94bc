//! What every target does around its checks: it counts memory and processor time, and sometimes makes
//! the input long, because a cost that grows faster than the input shows on long input only.

pub mod checks;
mod cost;

use std::time::Duration;

pub use cost::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How long a pumped input becomes.
const PUMPED: usize = 128 * 1024;
/// One input in so many is pumped.
const PUMP_EVERY: u64 = 128;
/// Bytes of memory that one byte of input may take at its peak.
const MEMORY_PER_BYTE: usize = 1_500;
/// Memory that any input may take.
const MEMORY: usize = 4 * 1024 * 1024;
/// Processor time for one input. A linear check takes a twentieth of it for the longest.
const TIME: Duration = Duration::from_millis(1_500);

/// Runs a check on the input, and once in a while on a long input made of it.
pub fn within_budget(data: &[u8], check: fn(&[u8])) {
    measured(data, check);
    let hash = fingerprint(data);
    if hash.is_multiple_of(PUMP_EVERY)
        && let Some(long) = pumped(data, hash / PUMP_EVERY)
    {
        measured(&long, check);
    }
}

fn measured(data: &[u8], check: fn(&[u8])) {
    cost::limit_memory(MEMORY + MEMORY_PER_BYTE * data.len());
    let before = cost::processor_time();
    check(data);
    let took = cost::processor_time().saturating_sub(before);
    cost::no_memory_limit();
    if took >= TIME {
        // The artifact holds the short input only.
        let _ = std::fs::write("artifacts/slow", data);
    }
    assert!(took < TIME, "{took:?} for {} bytes, see artifacts/slow", data.len());
}

/// FNV-1a: the same input is always treated in the same way.
fn fingerprint(data: &[u8]) -> u64 {
    data.iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The input with one or two of its stretches repeated until it is long. In a repetition the digit 7
/// becomes the number of the copy, so that names differ.
fn pumped(data: &[u8], mut choice: u64) -> Option<Vec<u8>> {
    let mut pick = |below: usize| {
        choice = choice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(choice >> 33).unwrap_or_default() % below.max(1)
    };
    if data.is_empty() {
        return None;
    }
    let stretches = 1 + pick(2);
    let mut cuts: Vec<usize> = (0..stretches * 2).map(|_| pick(data.len() + 1)).collect();
    cuts.sort_unstable();
    let mut out = Vec::with_capacity(PUMPED + data.len());
    let mut from = 0;
    for cut in cuts.chunks(2) {
        let [start, end] = cut else { return None };
        out.extend_from_slice(data.get(from..*start)?);
        let stretch = data.get(*start..*end).filter(|stretch| !stretch.is_empty())?;
        let until = out.len() + PUMPED / stretches;
        for copy in 0_usize.. {
            if out.len() >= until {
                break;
            }
            for byte in stretch {
                if *byte == b'7' {
                    out.extend_from_slice(copy.to_string().as_bytes())
                } else {
                    out.push(*byte)
                }
            }
        }
        from = *end;
    }
    out.extend_from_slice(data.get(from..)?);
    Some(out)
}
