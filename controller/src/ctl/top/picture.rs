//! The board as lines of text, as circus-top shows it. Pure.

use super::board::{Board, Figures, Group};

/// Processes shown of a watcher.
const MOST: usize = 10;
/// The watchers that only serve circus itself.
const HIDDEN: [&str; 2] = ["circusd-stats", "circushttpd"];
/// Where the headings stand; figures stand one further.
const COLUMNS: [usize; 3] = [28, 44, 60];
/// Where a pid or an address stands, and the heading above it.
const FIRST: usize = 2;

/// As many lines as fit, none longer than `width`.
pub(super) fn lines(board: &Board, width: usize, height: usize) -> Vec<String> {
    let mut lines = Vec::new();
    if board.is_empty() {
        lines.extend(["".to_owned(), "*** Waiting for data ***".to_owned()]);
        lines.extend(board.trouble.clone());
    } else {
        let rule = "-".repeat(width);
        lines.extend(["Circus Top".to_owned(), rule.clone()]);
        lines.extend(board.trouble.clone());
        let shown = board.groups().filter(|(name, _)| !HIDDEN.contains(name));
        for (name, group) in shown {
            watcher(&mut lines, name, group);
        }
        sockets(&mut lines, board);
        lines.push(rule);
    }
    lines.truncate(height);
    lines
        .into_iter()
        .map(|line| line.chars().filter(|char| !char.is_control()).take(width).collect())
        .collect()
}

fn watcher(lines: &mut Vec<String>, name: &str, group: &Group) {
    let [cpu, mem, age] = COLUMNS;
    lines.push(name.to_owned());
    lines.push(row(&[(FIRST + 1, "PID"), (cpu, "CPU (%)"), (mem, "MEMORY (%)"), (age, "AGE (s)")]));
    for process in group.busiest(MOST) {
        let pid = match &process.name {
            Some(name) => format!("{} ({name})", process.pid),
            None => process.pid.to_string(),
        };
        lines.push(figures(&pid, &process.figures, ["", "", ""]));
    }
    if let Some(total) = &group.total {
        lines.push(figures("", total, [" (avg)", " (sum)", " (older)"]));
    }
    lines.push(String::new());
}

fn figures(first: &str, figures: &Figures, notes: [&str; 3]) -> String {
    let [cpu, mem, age] = COLUMNS;
    let [about_cpu, about_mem, about_age] = notes;
    let shown = |figure: Option<f64>, note: &str| {
        figure.map_or_else(|| format!("N/A{note}"), |figure| format!("{figure:.2}{note}"))
    };
    row(&[
        (FIRST, first),
        (cpu + 1, &shown(figures.cpu, about_cpu)),
        (mem + 1, &shown(figures.mem, about_mem)),
        (age + 1, &shown(figures.age, about_age)),
    ])
}

fn sockets(lines: &mut Vec<String>, board: &Board) {
    let sockets = board.sockets();
    if sockets.is_empty() {
        return;
    }
    let [hits, ..] = COLUMNS;
    lines.push("sockets".to_owned());
    lines.push(row(&[(FIRST + 1, "ADDRESS"), (hits, "HITS")]));
    for socket in sockets {
        lines.push(row(&[(FIRST, &socket.address), (hits + 1, &format!("{:3}", socket.hits))]));
    }
    lines.push(row(&[(hits + 1, &format!("{:3} (sum)", board.hits))]));
    lines.push(String::new());
}

/// Texts at columns; what is too long pushes the rest to the right instead of being overwritten.
fn row(parts: &[(usize, &str)]) -> String {
    let mut line = String::new();
    let mut at = 0;
    for (column, text) in parts {
        let gap = column.saturating_sub(at).max(usize::from(at > 0));
        line.extend(std::iter::repeat_n(' ', gap));
        line.push_str(text);
        at += gap + text.chars().count();
    }
    line
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::board::tests::{process, stat};
    use super::*;

    #[test]
    fn looks_like_circus_top() {
        let mut board = Board::new(Duration::from_secs(3));
        assert_eq!(lines(&board, 80, 24), ["", "*** Waiting for data ***"]);
        for (topic, payload) in [
            ("stat.web.12", process(12, "92.4", "null")),
            ("stat.web", r#"{"pid": [12], "cpu": 92.4, "mem": 0.007, "age": 2.851}"#.to_owned()),
            ("stat.circusd-stats.5", process(5, "1.0", "null")),
            ("stat.circus.7", process(7, "\"N/A\"", "\"circusd\"")),
            ("stat.idle", r#"{"pid": [], "cpu": 0.0, "mem": 0, "age": "N/A"}"#.to_owned()),
            (
                "stat.sockets.7",
                r#"{"fd": 7, "subtopic": 7, "reads": 3, "address": "127.0.0.1:80"}"#.to_owned(),
            ),
            ("stat.sockets", r#"{"addresses": ["127.0.0.1:80"], "reads": 3}"#.to_owned()),
        ] {
            board.note(stat(topic, &payload), Duration::ZERO);
        }
        insta::assert_snapshot!(lines(&board, 80, 40).join("\n"));
        let small = lines(&board, 10, 3);
        assert_eq!(small, ["Circus Top", "----------", "circus"]);
    }

    #[test]
    fn long_texts_push() {
        assert_eq!(row(&[(2, "a"), (4, "bcd"), (6, "e")]), "  a bcd e");
        assert_eq!(row(&[(0, "abcdef"), (2, "x")]), "abcdef x");
    }
}
