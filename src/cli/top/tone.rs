//! How text looks, by what it is; and that it is text.
//!
//! No meaning is in a colour alone, nothing that others wrote reaches the terminal but as letters.

use crate::cli::words::is_unprintable;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use super::terminal::Look;

/// What a piece of text is, for the eye.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Plain,
    /// Titles.
    Title,
    Chosen,
    Active,
    /// Held, paused, deferred.
    Waiting,
    /// Something is wrong.
    Alarm,
    Faint,
}

impl Look {
    pub fn style(self, tone: Tone) -> Style {
        let style = Style::new();
        let colour = |style: Style, colour| if self.colour { style.fg(colour) } else { style };
        let with = |modifier| if self.attributes { style.add_modifier(modifier) } else { style };
        match tone {
            Tone::Plain => style,
            Tone::Title => with(Modifier::BOLD),
            Tone::Chosen => with(Modifier::REVERSED),
            Tone::Active => colour(style, Color::Green),
            Tone::Waiting => colour(style, Color::Yellow),
            Tone::Alarm => colour(with(Modifier::BOLD), Color::Red),
            Tone::Faint => colour(style, Color::DarkGray),
        }
    }

    /// Letters, and nothing that a terminal would obey, or that would turn the line around.
    pub fn clean(self, text: &str) -> String {
        let letter = |c: char| {
            if is_unprintable(c) || (!self.unicode && !c.is_ascii()) { '?' } else { c }
        };
        text.chars().map(letter).collect()
    }

    pub fn span(self, text: impl AsRef<str>, tone: Tone) -> Span<'static> {
        Span::styled(self.clean(text.as_ref()), self.style(tone))
    }

    pub fn line(self, text: impl AsRef<str>, tone: Tone) -> Line<'static> {
        Line::from(self.span(text, tone))
    }
}
