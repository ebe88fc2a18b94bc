//! Columns of text, aligned; nothing else.

/// A cell wider than this widens nothing; its own row is out of line instead of all the others.
const MAX_WIDTH: usize = 60;

/// Rows of cells; rows may have different lengths.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
    right: Vec<usize>,
}

impl Table {
    /// One more row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells.into_iter().map(|cell| plain(&cell)).collect());
    }

    /// This column is aligned to the right: a number.
    pub fn right(&mut self, column: usize) {
        self.right.push(column);
    }

    /// Two blanks between columns, none at a line's end.
    #[must_use]
    pub fn print(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        // A row's last cell is free text in rows that are shorter than the others: it widens nothing.
        let width = |column: usize| {
            let cells = self.rows.iter().filter(|row| row.len() == columns || column + 1 < row.len());
            let counts = cells.filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            counts.filter(|count| *count <= MAX_WIDTH).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let width = widths.get(column).copied().unwrap_or(0);
                let gap = if column == 0 { "" } else { "  " };
                line.push_str(gap);
                if self.right.contains(&column) {
                    line.push_str(&format!("{cell:>width$}"));
                } else {
                    line.push_str(&format!("{cell:width$}"));
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// What a node says is printed on one line and can neither move the cursor nor ring the bell.
#[must_use]
pub fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// The same for text of several lines, whose line ends and tabs stay.
#[must_use]
pub fn plain_lines(text: &str) -> String {
    let keep = |letter: char| !letter.is_control() || letter == '\n' || letter == '\t';
    text.chars().map(|letter| if keep(letter) { letter } else { ' ' }).collect()
}
