//! What the last minutes of a process' figures say, for people and for programs.
//!
//! It draws no conclusions; whoever reads them does.

use circus_protocol::json::float;
use serde_json::{Value, json};

use super::span;
use crate::arbiter::input::Figures;

/// For programs: the oldest first.
pub(super) fn told(figures: &[Figures]) -> Value {
    let one = |figures: &Figures| {
        json!({
            "time": float(figures.at),
            "cpu": float(figures.cpu),
            "memory": figures.memory,
            "processes": figures.processes,
        })
    };
    figures.iter().map(one).collect()
}

/// For people: from which memory to which, and how busy it was; empty where nobody looked.
pub(super) fn sentence(figures: &[Figures], died: f64) -> String {
    let (Some(first), Some(last)) = (figures.first(), figures.last()) else { return String::new() };
    let mib = |figures: &Figures| figures.memory / 1024 / 1024;
    let most = figures.iter().map(mib).max().unwrap_or_default();
    let mean = figures.iter().map(|figures| figures.cpu).sum::<f64>() / figures.len() as f64;
    let many = match last.processes {
        1 => String::new(),
        count => format!(" in {count} processes"),
    };
    if figures.len() == 1 {
        let (ago, memory, cpu) = (span(died - last.at), mib(last), last.cpu);
        return format!(" {ago} before, it had {memory} MiB{many} and used {cpu:.0} % of a processor.");
    }
    format!(
        " In the last {} its memory went from {} to {} MiB{many} (most {most}) and used {mean:.0} % of a processor, {:.0} % at the end.",
        span(died - first.at),
        mib(first),
        mib(last),
        last.cpu
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leak_can_be_read() {
        let figures: Vec<Figures> = (0..31)
            .map(|round| Figures {
                at: 10.0 * f64::from(round),
                cpu: if round == 30 { 98.0 } else { 8.0 },
                memory: u64::from(100 + 10 * round.min(28_u32)) << 20,
                processes: 2,
            })
            .collect();
        assert_eq!(
            sentence(&figures, 305.0),
            " In the last 5 min its memory went from 100 to 380 MiB in 2 processes (most 380) and used 11 % of a \
             processor, 98 % at the end."
        );
        assert_eq!(sentence(&[], 305.0), "");
        assert_eq!(
            sentence(figures.get(..1).unwrap(), 4.0),
            " 4 s before, it had 100 MiB in 2 processes and used 8 % of a processor."
        );
        assert_eq!(told(&figures)[30]["memory"], 380 << 20);
    }
}
