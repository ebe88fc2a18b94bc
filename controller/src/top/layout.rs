//! Where everything stands on a screen of a given size; the same for drawing and for the mouse.

use ratatui::layout::Rect;

use super::tree::Sort;

/// How much of the log is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogSize {
    /// Nothing.
    None,
    /// The last few lines.
    #[default]
    Small,
    /// Half of the screen.
    Half,
}

impl LogSize {
    /// The next one.
    #[must_use]
    pub fn next(self) -> Self {
        match self {
            Self::None => Self::Small,
            Self::Small => Self::Half,
            Self::Half => Self::None,
        }
    }

    fn lines(self, height: u16) -> u16 {
        match self {
            Self::None => 0,
            Self::Small => 5.min(height / 4),
            Self::Half => height / 2,
        }
    }
}

/// The parts of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Areas {
    /// The cluster in one line.
    pub head: Rect,
    /// What the columns are.
    pub titles: Rect,
    /// The rows.
    pub table: Rect,
    /// A title and the log; no height when it is not shown.
    pub log: Rect,
    /// What keys there are, or what is asked.
    pub foot: Rect,
}

/// The parts of a screen of so many columns and lines.
#[must_use]
pub fn areas((width, height): (u16, u16), log: LogSize) -> Areas {
    let mut top = 0;
    let mut part = |lines: u16| {
        let lines = lines.min(height - top);
        let area = Rect { x: 0, y: top, width, height: lines };
        top += lines;
        area
    };
    let log = log.lines(height);
    let table = height.saturating_sub(3 + log);
    Areas { head: part(1), titles: part(1), table: part(table), log: part(log), foot: part(1) }
}

/// A column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// What it is; takes the room that is left.
    Name,
    /// How it stands.
    State,
    /// Processes of it.
    Processes,
    /// Percent of one CPU.
    Cpu,
    /// The last readings of it.
    CpuTrend,
    /// Resident bytes.
    Memory,
    /// The last readings of it.
    MemoryTrend,
    /// Of the oldest.
    Age,
    /// How often processes were replaced.
    Restarts,
}

impl Column {
    /// Above it.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Name => "NODE / WATCHER",
            Self::State => "STATE",
            Self::Processes => "PROC",
            Self::Cpu => "CPU %",
            Self::CpuTrend | Self::MemoryTrend => "",
            Self::Memory => "MEM",
            Self::Age => "AGE",
            Self::Restarts => "RST",
        }
    }

    /// Whether its cells end at the same column.
    #[must_use]
    pub fn is_right(self) -> bool {
        match self {
            Self::Name | Self::State | Self::CpuTrend | Self::MemoryTrend => false,
            Self::Processes | Self::Cpu | Self::Memory | Self::Age | Self::Restarts => true,
        }
    }

    /// What a click on its title sorts by.
    #[must_use]
    pub fn sort(self) -> Option<Sort> {
        match self {
            Self::Name => Some(Sort::Name),
            Self::State => Some(Sort::State),
            Self::Processes => None,
            Self::Cpu | Self::CpuTrend => Some(Sort::Cpu),
            Self::Memory | Self::MemoryTrend => Some(Sort::Memory),
            Self::Age => Some(Sort::Age),
            Self::Restarts => Some(Sort::Restarts),
        }
    }
}

/// The columns of a table so wide, each with its first cell and its width.
#[must_use]
pub fn columns(width: u16) -> Vec<(Column, u16, u16)> {
    let wide = width >= 110;
    let trend = if wide { 16 } else { 8 };
    let mut fixed =
        vec![(Column::State, 11), (Column::Processes, 5), (Column::Cpu, 7), (Column::CpuTrend, trend)];
    fixed.push((Column::Memory, 8));
    if wide {
        fixed.push((Column::MemoryTrend, trend));
    }
    fixed.extend([(Column::Age, 7), (Column::Restarts, 4)]);
    // On a narrow screen what matters least goes first.
    for drop in [Column::CpuTrend, Column::Restarts, Column::Age, Column::Processes, Column::Memory] {
        let used: u16 = fixed.iter().map(|(_, width)| width + 1).sum();
        if used + 20 > width {
            fixed.retain(|(column, _)| *column != drop);
        }
    }
    let used: u16 = fixed.iter().map(|(_, width)| width + 1).sum();
    let mut at = width.saturating_sub(used);
    let mut columns = vec![(Column::Name, 0, at)];
    for (column, size) in fixed {
        columns.push((column, at + 1, size));
        at += size + 1;
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_fits_on_any_screen() {
        for width in 0..200 {
            for height in 0..60 {
                for log in [LogSize::None, LogSize::Small, LogSize::Half] {
                    let areas = areas((width, height), log);
                    let parts = [areas.head, areas.titles, areas.table, areas.log, areas.foot];
                    let lines: u16 = parts.iter().map(|part| part.height).sum();
                    assert!(lines <= height && parts.iter().all(|part| part.bottom() <= height));
                }
            }
            if width >= 32 {
                let columns = columns(width);
                let (_, at, size) = columns[columns.len() - 1];
                assert!(at + size <= width, "{width}: {columns:?}");
            }
        }
    }

    #[test]
    fn a_plain_terminal_shows_all_figures() {
        let areas = areas((80, 24), LogSize::Small);
        assert_eq!((areas.table.height, areas.log.height), (16, 5));
        let columns: Vec<Column> = columns(80).into_iter().map(|(column, ..)| column).collect();
        let expected = [
            Column::Name,
            Column::State,
            Column::Processes,
            Column::Cpu,
            Column::CpuTrend,
            Column::Memory,
            Column::Age,
            Column::Restarts,
        ];
        assert_eq!(columns, expected);
    }
}
