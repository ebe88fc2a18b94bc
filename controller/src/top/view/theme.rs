//! Signs and colours. Every state has a sign of its own, so that colours say nothing alone; they are
//! chosen so that nobody has to tell red from green, and there are none when `NO_COLOR` is set.

use ratatui::style::{Color, Modifier, Style};

use crate::top::tree::Light;

/// What the terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Theme {
    /// Colours.
    pub colour: bool,
    /// Letters beyond ASCII.
    pub unicode: bool,
}

impl Theme {
    /// From the environment, asked by name.
    #[must_use]
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let language = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG"));
        let unicode = language.is_some_and(|language| {
            let language = language.to_ascii_lowercase();
            language.contains("utf-8") || language.contains("utf8")
        });
        let plain = variable("TERM").is_some_and(|term| term == "dumb" || term.starts_with("vt"));
        Self { colour: set("NO_COLOR").is_none() && !plain, unicode }
    }

    pub(super) fn glyph(self, light: Light) -> &'static str {
        let (sign, plain) = match light {
            Light::Good => ("●", "*"),
            Light::Absent => ("·", "."),
            Light::Unknown => ("?", "?"),
            Light::Stopped => ("○", "o"),
            Light::Starting => ("▲", "^"),
            Light::Stopping => ("▼", "v"),
            Light::Partly => ("◐", "%"),
            Light::Down => ("✖", "X"),
        };
        if self.unicode { sign } else { plain }
    }

    pub(super) fn style(self, light: Light) -> Style {
        let style = Style::new();
        let (colour, modifier) = match light {
            Light::Good => (Some(Color::Cyan), Modifier::empty()),
            Light::Absent | Light::Unknown | Light::Stopped => (None, Modifier::DIM),
            Light::Starting | Light::Stopping | Light::Partly => (Some(Color::Yellow), Modifier::empty()),
            Light::Down => (Some(Color::LightRed), Modifier::BOLD),
        };
        let style = style.add_modifier(modifier);
        match colour.filter(|_| self.colour) {
            Some(colour) => style.fg(colour),
            None => style,
        }
    }

    /// One value of a curve, from 0 to 1.
    pub(super) fn bar(self, share: f32) -> char {
        const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        const PLAIN: [char; 8] = ['_', '.', '-', '~', '=', '+', '*', '#'];
        let bars = if self.unicode { BLOCKS } else { PLAIN };
        let at = (share.clamp(0.0, 1.0) * 7.0).round() as usize;
        bars.get(at).copied().unwrap_or(' ')
    }

    fn pick(self, sign: &'static str, plain: &'static str) -> &'static str {
        if self.unicode { sign } else { plain }
    }

    pub(super) fn open(self) -> &'static str {
        self.pick("▾", "-")
    }

    pub(super) fn closed(self) -> &'static str {
        self.pick("▸", "+")
    }

    pub(super) fn mark(self) -> &'static str {
        self.pick("▌", ">")
    }

    pub(super) fn down(self) -> &'static str {
        self.pick("↓", "!")
    }

    pub(super) fn line(self) -> &'static str {
        self.pick("─", "-")
    }

    pub(super) fn caret(self) -> &'static str {
        self.pick("▏", "_")
    }

    /// Corner, line, side.
    pub(super) fn frame(self) -> [&'static str; 3] {
        if self.unicode { ["+", "─", "│"] } else { ["+", "-", "|"] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_decides() {
        let theme = |pairs: &[(&str, &str)]| {
            let find =
                |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            let Theme { colour, unicode } = Theme::of(find);
            (colour, unicode)
        };
        assert_eq!(theme(&[]), (true, false));
        assert_eq!(theme(&[("LANG", "de_DE.UTF-8"), ("NO_COLOR", "")]), (true, true));
        assert_eq!(theme(&[("LANG", "C.utf8"), ("NO_COLOR", "1")]), (false, true));
        assert_eq!(theme(&[("LC_ALL", "C"), ("LANG", "C.UTF-8"), ("TERM", "vt100")]), (false, false));
    }

    #[test]
    fn every_state_has_its_own_sign() {
        let lights = [
            Light::Good,
            Light::Absent,
            Light::Unknown,
            Light::Stopped,
            Light::Starting,
            Light::Stopping,
            Light::Partly,
            Light::Down,
        ];
        for unicode in [false, true] {
            let theme = Theme { colour: false, unicode };
            let signs: std::collections::HashSet<&str> =
                lights.iter().map(|light| theme.glyph(*light)).collect();
            assert_eq!(signs.len(), lights.len());
            assert_eq!((theme.bar(-1.0), theme.bar(f32::NAN)), (theme.bar(0.0), theme.bar(0.0)));
        }
    }
}
