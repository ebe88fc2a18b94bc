//! The picture: a model and a size in, cells out. Never decides anything.

mod theme;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

pub use theme::Theme;

use super::layout::{Column, columns};
use super::model::{Entry, Mode, Model, Trend};
use super::tree::{Light, Row, What, key};
use crate::figures::{self, Node, Watcher};
use crate::render::table::plain;
use crate::render::{self, units};

/// The whole screen.
pub fn draw(model: &Model, theme: &Theme, buffer: &mut Buffer) {
    let mut areas = model.areas();
    // A screen that has just become smaller is drawn as far as it is there.
    for part in [&mut areas.head, &mut areas.titles, &mut areas.table, &mut areas.log, &mut areas.foot] {
        *part = part.intersection(buffer.area);
    }
    let canvas = Canvas { model, theme };
    canvas.head(areas.head, buffer);
    canvas.titles(areas.titles, buffer);
    canvas.table(areas.table, buffer);
    canvas.log(areas.log, buffer);
    canvas.foot(areas.foot, buffer);
    match &model.mode {
        Mode::Table | Mode::Search => {}
        Mode::Ask(plan) => {
            let mut lines = vec![format!("{}?", plan.text), String::new()];
            lines.extend(plan.deeds.iter().map(|deed| format!("$ {}", deed.command)));
            lines.extend([String::new(), "y: do it    any other key: do not".to_owned()]);
            canvas.window("confirm", &lines, 0, buffer);
        }
        Mode::Text { title, lines, from } => canvas.window(title, lines, *from, buffer),
    }
}

struct Canvas<'a> {
    model: &'a Model,
    theme: &'a Theme,
}

impl Canvas<'_> {
    fn head(&self, area: Rect, buffer: &mut Buffer) {
        if area.is_empty() {
            return;
        }
        let (model, theme) = (self.model, self.theme);
        let up = model.nodes.iter().filter(|node| node.is_up()).count();
        let total = figures::total(&model.nodes);
        let count = |light: Light| {
            let watchers = model.nodes.iter().filter(|node| node.is_up()).flat_map(|node| &node.watchers);
            watchers.filter(|watcher| Light::of(watcher) == light).count()
        };
        let down = model.nodes.iter().filter(|node| super::tree::of_node(node) == Light::Down).count();
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let mut spans = vec![
            Span::styled(format!(" {} ", plain(&model.cluster)), bold.add_modifier(Modifier::REVERSED)),
            Span::raw(format!("  {up}/{} up ", model.nodes.len())),
        ];
        let watchers = [Light::Good, Light::Partly, Light::Starting, Light::Stopping, Light::Stopped];
        for (light, number) in
            watchers.map(|light| (light, count(light))).into_iter().chain([(Light::Down, down)])
        {
            if number > 0 {
                spans.push(Span::raw(" "));
                spans.push(Span::styled(format!("{}{number}", theme.glyph(light)), theme.style(light)));
            }
        }
        let (cpu, memory) = (render::figures::cpu(total.cpu), render::figures::memory(total.memory));
        spans.push(Span::raw(format!("   cpu {cpu}  mem {memory}")));
        if model.running > 0 {
            spans.push(Span::styled(format!("   {} under way", model.running), bold));
        }
        if model.paused {
            spans.push(Span::styled("   paused", bold));
        }
        buffer.set_line(area.x, area.y, &Line::from(spans), area.width);
        let time = if model.seen {
            units::date(model.at).get(11..).unwrap_or_default().to_owned()
        } else {
            "asking ...".to_owned()
        };
        right(buffer, area, &time, Style::new());
    }

    fn titles(&self, area: Rect, buffer: &mut Buffer) {
        if area.is_empty() {
            return;
        }
        let style = Style::new().add_modifier(Modifier::UNDERLINED);
        buffer.set_style(area, style);
        for (column, at, width) in columns(area.width) {
            let title = column.title();
            let sorted = column.sort() == Some(self.model.sort) && !title.is_empty();
            let text = if sorted { format!("{title}{}", self.theme.down()) } else { title.to_owned() };
            let style = if sorted { style.add_modifier(Modifier::BOLD) } else { style };
            cell(buffer, area, at, width, &text, column.is_right(), style);
        }
    }

    fn table(&self, area: Rect, buffer: &mut Buffer) {
        let model = self.model;
        if model.rows.is_empty() && area.height > 0 {
            let text =
                if model.filter.is_empty() { "no nodes" } else { "nothing matches; Esc ends the search" };
            buffer.set_stringn(area.x + 2, area.y, text, usize::from(area.width), Style::new());
        }
        let rows = model.rows.iter().enumerate().skip(model.from);
        for (line, (at, row)) in (area.y..area.bottom()).zip(rows) {
            self.row(Rect { y: line, height: 1, ..area }, row, at == model.cursor, buffer);
        }
    }

    fn row(&self, area: Rect, row: &Row, pointed: bool, buffer: &mut Buffer) {
        let (model, theme) = (self.model, self.theme);
        let marked = key(&model.nodes, row).is_some_and(|key| model.marks.contains(&key));
        let sign = match row.open {
            Some(true) => theme.open(),
            Some(false) => theme.closed(),
            None => " ",
        };
        let mark = if marked { theme.mark() } else { " " };
        let light = theme.style(row.light);
        let reason = self.reason(row);
        for (column, at, width) in columns(area.width) {
            let (text, style) = match column {
                Column::Name => {
                    let name = self.name(row);
                    let indent = "  ".repeat(row.depth);
                    let style =
                        if row.depth == 0 { Style::new().add_modifier(Modifier::BOLD) } else { Style::new() };
                    (format!("{mark}{indent}{sign} {} {name}", theme.glyph(row.light)), style)
                }
                Column::State => (self.state(row), light),
                Column::Processes => (self.processes(row), Style::new()),
                Column::Cpu => (number(row.sum.cpu), Style::new()),
                Column::Memory => (row.sum.memory.map(units::bytes).unwrap_or_default(), Style::new()),
                Column::Age => (row.sum.age.map(age).unwrap_or_default(), Style::new()),
                Column::Restarts => {
                    (row.sum.restarts.map(|n| n.to_string()).unwrap_or_default(), Style::new())
                }
                Column::CpuTrend if reason.is_none() => {
                    (self.curve(row, width, 5.0, |trend| &trend.cpu), light)
                }
                Column::MemoryTrend if reason.is_none() => {
                    (self.curve(row, width, 1.0, |trend| &trend.memory), light)
                }
                Column::CpuTrend | Column::MemoryTrend => continue,
            };
            cell(buffer, area, at, width, &text, column.is_right(), style);
        }
        if let Some(reason) = reason {
            // There are no figures, so there is room for why.
            let at = columns(area.width).get(2).map_or(0, |(_, at, _)| *at);
            cell(buffer, area, at, area.width.saturating_sub(at), &plain(reason), false, Style::new());
        }
        // The glyph keeps its colour whatever the row looks like.
        let glyph = u16::try_from(3 + 2 * row.depth).unwrap_or(0);
        if glyph < area.width {
            buffer.set_style(Rect { x: area.x + glyph, width: 1, ..area }, light);
        }
        if pointed {
            buffer.set_style(area, Style::new().add_modifier(Modifier::REVERSED));
        }
    }

    fn node(&self, at: usize) -> Option<&Node> {
        self.model.nodes.get(at)
    }

    fn name(&self, row: &Row) -> String {
        let process = |node: usize, watcher: usize, process: usize| {
            self.node(node)?.watchers.get(watcher)?.processes.get(process)
        };
        let by_name = self.model.rows.first().is_some_and(|row| matches!(row.what, What::Name(..)));
        let name = match &row.what {
            What::Node(at) => self.node(*at).map(|node| node.name.clone()),
            What::Name(name, _) => Some(name.clone()),
            What::Watcher(at, _) if by_name => self.node(*at).map(|node| node.name.clone()),
            What::Watcher(at, watcher) => self
                .node(*at)
                .and_then(|node| node.watchers.get(*watcher))
                .map(|watcher| watcher.name.clone()),
            What::Process(node, watcher, at) => {
                process(*node, *watcher, *at).map(|process| format!("{} {}", process.pid, process.command))
            }
            What::Child(node, watcher, at, child) => process(*node, *watcher, *at)
                .and_then(|process| process.children.get(*child))
                .map(|child| format!("{} {}", child.pid, child.command)),
        };
        plain(&name.unwrap_or_default())
    }

    fn state(&self, row: &Row) -> String {
        match &row.what {
            What::Node(at) => self.node(*at).map_or(String::new(), |node| {
                if self.model.seen { render::up(node.state).to_owned() } else { "?".to_owned() }
            }),
            What::Name(_, members) => {
                let active = |(node, watcher): &&(usize, usize)| {
                    let watcher = self.node(*node).and_then(|node| node.watchers.get(*watcher));
                    watcher.is_some_and(|watcher| watcher.state.as_deref() == Some("active"))
                };
                format!("{}/{} act", members.iter().filter(active).count(), members.len())
            }
            What::Watcher(at, watcher) => {
                let watcher = self.node(*at).and_then(|node| node.watchers.get(*watcher));
                plain(watcher.and_then(|watcher| watcher.state.as_deref()).unwrap_or("?"))
            }
            What::Process(..) | What::Child(..) => String::new(),
        }
    }

    fn processes(&self, row: &Row) -> String {
        match &row.what {
            What::Watcher(at, watcher) => {
                let watcher = self.node(*at).and_then(|node| node.watchers.get(*watcher));
                match watcher.and_then(Watcher::expected) {
                    Some(wanted) if wanted != row.sum.processes as u64 => {
                        format!("{}/{wanted}", row.sum.processes)
                    }
                    Some(_) | None => row.sum.processes.to_string(),
                }
            }
            What::Node(at) if self.node(*at).is_some_and(Node::is_up) => row.sum.processes.to_string(),
            What::Name(..) => row.sum.processes.to_string(),
            What::Node(_) | What::Process(..) | What::Child(..) => String::new(),
        }
    }

    /// Why a node has no figures.
    fn reason(&self, row: &Row) -> Option<&str> {
        let What::Node(at) = row.what else { return None };
        let node = self.node(at).filter(|node| !node.is_up())?;
        (!node.reason.is_empty()).then_some(node.reason.as_str())
    }

    fn curve(
        &self,
        row: &Row,
        width: u16,
        floor: f32,
        of: fn(&Trend) -> &std::collections::VecDeque<f32>,
    ) -> String {
        let Some(values) = self.model.trend(row).map(of) else { return String::new() };
        let top = values.iter().copied().fold(floor, f32::max);
        let shown = values.iter().skip(values.len().saturating_sub(usize::from(width)));
        let curve: String = shown.map(|value| self.theme.bar(value / top)).collect();
        // The last reading stands at the right end, as time goes.
        format!("{curve:>width$}", width = usize::from(width))
    }

    fn log(&self, area: Rect, buffer: &mut Buffer) {
        if area.is_empty() {
            return;
        }
        let (model, theme) = (self.model, self.theme);
        let title = format!("{} events ", theme.line());
        let rule: String = theme.line().repeat(usize::from(area.width));
        buffer.set_stringn(area.x, area.y, rule, usize::from(area.width), Style::new());
        buffer.set_stringn(area.x, area.y, title, usize::from(area.width), Style::new());
        let lines = usize::from(area.height) - 1;
        let shown = model.log.iter().skip(model.log.len().saturating_sub(lines));
        for (line, Entry { at, text, bad }) in (area.y + 1..area.bottom()).zip(shown) {
            let time = units::date(*at).get(11..19).unwrap_or("        ").to_owned();
            let style = if *bad { theme.style(Light::Down) } else { Style::new() };
            let sign = if *bad { theme.glyph(Light::Down) } else { " " };
            let text = format!("{time} {sign} {text}");
            buffer.set_stringn(area.x, line, text, usize::from(area.width), style);
        }
    }

    fn foot(&self, area: Rect, buffer: &mut Buffer) {
        if area.is_empty() {
            return;
        }
        let model = self.model;
        if model.mode == Mode::Search {
            let text = format!("/{}{}", plain(&model.filter), self.theme.caret());
            buffer.set_stringn(
                area.x,
                area.y,
                text,
                usize::from(area.width),
                Style::new().add_modifier(Modifier::BOLD),
            );
            right(buffer, area, "Enter: keep  Esc: end", Style::new());
            return;
        }
        let mut spans = Vec::new();
        let keys = [
            ("?", "help"),
            ("/", "search"),
            ("Space", "mark"),
            ("s", "start"),
            ("x", "stop"),
            ("r", "restart"),
            ("R", "reload"),
            ("g", "group"),
            ("o", "order"),
            ("q", "quit"),
        ];
        for (name, does) in keys {
            spans.push(Span::styled(name, Style::new().add_modifier(Modifier::REVERSED)));
            spans.push(Span::raw(format!("{does} ")));
        }
        let mut notes = Vec::new();
        if !model.filter.is_empty() {
            notes.push(format!("/{}", plain(&model.filter)));
        }
        if !model.marks.is_empty() {
            notes.push(format!("{} marked", model.marks.len()));
        }
        let notes = notes.join(" ");
        let taken = u16::try_from(notes.chars().count()).unwrap_or(area.width);
        buffer.set_line(area.x, area.y, &Line::from(spans), area.width.saturating_sub(taken));
        right(buffer, area, &notes, Style::new().add_modifier(Modifier::BOLD));
    }

    /// A text over the middle of everything.
    fn window(&self, title: &str, lines: &[String], from: usize, buffer: &mut Buffer) {
        let Rect { width, height, .. } = buffer.area;
        if width == 0 || height == 0 {
            return;
        }
        let inner = width.saturating_sub(4).max(1);
        let lines: Vec<String> =
            lines.iter().flat_map(|line| wrapped(&plain(line), usize::from(inner))).collect();
        let widest = lines
            .iter()
            .map(|line| line.chars().count())
            .chain([title.chars().count() + 2])
            .max()
            .unwrap_or(0);
        let box_width = u16::try_from(widest).unwrap_or(inner).min(inner) + 4;
        let rows = u16::try_from(lines.len()).unwrap_or(u16::MAX).min(height.saturating_sub(4).max(1));
        let (box_width, box_height) = (box_width.min(width), (rows + 2).min(height));
        let area = Rect {
            x: (width - box_width) / 2,
            y: (height - box_height) / 2,
            width: box_width,
            height: box_height,
        };
        let blank = " ".repeat(usize::from(area.width));
        for line in area.y..area.bottom() {
            buffer.set_stringn(area.x, line, &blank, usize::from(area.width), Style::reset());
            buffer.set_style(Rect { y: line, height: 1, ..area }, Style::reset());
        }
        self.frame(area, title, buffer);
        let from = from.min(lines.len().saturating_sub(usize::from(rows)));
        for (line, text) in (area.y + 1..area.bottom().saturating_sub(1)).zip(lines.iter().skip(from)) {
            let room = usize::from(area.width.saturating_sub(4));
            buffer.set_stringn(area.x + 2.min(area.width), line, text, room, Style::new());
        }
        let below = lines.len().saturating_sub(from + usize::from(rows));
        if below > 0 {
            let note = format!(" {below} more ");
            let last = Rect { y: area.bottom() - 1, height: 1, ..area };
            right(buffer, last, &note, Style::new());
        }
    }

    fn frame(&self, area: Rect, title: &str, buffer: &mut Buffer) {
        let [corner, line, side] = self.theme.frame();
        let rule = line.repeat(usize::from(area.width));
        for y in [area.y, area.bottom().saturating_sub(1)] {
            buffer.set_stringn(area.x, y, &rule, usize::from(area.width), Style::new());
        }
        for y in area.y..area.bottom() {
            let sign = if y == area.y || y + 1 == area.bottom() { corner } else { side };
            for x in [area.x, area.right().saturating_sub(1)] {
                buffer.set_stringn(x, y, sign, 1, Style::new());
            }
        }
        let title = format!(" {} ", plain(title));
        let room = usize::from(area.width.saturating_sub(4));
        buffer.set_stringn(
            area.x + 2.min(area.width),
            area.y,
            title,
            room,
            Style::new().add_modifier(Modifier::BOLD),
        );
    }
}

/// Text in a cell of the table; what does not fit is cut.
fn cell(buffer: &mut Buffer, area: Rect, at: u16, width: u16, text: &str, is_right: bool, style: Style) {
    if at >= area.width || area.height == 0 {
        return;
    }
    let room = usize::from(width.min(area.width - at));
    let length = text.chars().count();
    let shift = if is_right { room.saturating_sub(length) } else { 0 };
    let shift = u16::try_from(shift).unwrap_or(0);
    buffer.set_stringn(area.x + at + shift, area.y, text, room, style);
}

/// Text at the right end, with a blank before it.
fn right(buffer: &mut Buffer, area: Rect, text: &str, style: Style) {
    let length = u16::try_from(text.chars().count() + 1).unwrap_or(u16::MAX);
    if area.height > 0 && length <= area.width && !text.is_empty() {
        let text = format!(" {text}");
        buffer.set_stringn(area.right() - length, area.y, text, usize::from(length), style);
    }
}

fn wrapped(line: &str, width: usize) -> Vec<String> {
    let letters: Vec<char> = line.chars().collect();
    if letters.is_empty() {
        return vec![String::new()];
    }
    letters.chunks(width.max(1)).map(|part| part.iter().collect()).collect()
}

fn number(value: Option<f64>) -> String {
    match value {
        Some(value) if value >= 1000.0 => format!("{value:.0}"),
        Some(value) => format!("{value:.1}"),
        None => String::new(),
    }
}

/// `59s`, `12m05s`, `3h04m`, `5d01h`.
fn age(seconds: f64) -> String {
    let whole = if seconds.is_finite() { seconds.clamp(0.0, 1e12) as u64 } else { 0 };
    match whole {
        0..=59 => format!("{whole}s"),
        60..=3599 => format!("{}m{:02}s", whole / 60, whole % 60),
        3600..=86_399 => format!("{}h{:02}m", whole / 3600, whole / 60 % 60),
        _ => format!("{}d{:02}h", whole / 86_400, whole / 3600 % 24),
    }
}
