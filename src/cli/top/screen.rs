//! What is on the screen, but for how it is drawn: which messages, in which order, which one is chosen, what is asked.

use std::cmp::{Ordering, Reverse};

use super::acting::Told;
use super::prompt::Prompt;
use super::terminal::Look;
use crate::mail::MessageId;
use crate::monitor::survey::{Line, Picture};

/// See the module.
pub struct Screen {
    pub look: Look,
    /// Where the spool is.
    pub spool: String,
    /// `None`: nobody has looked yet.
    pub picture: Option<Picture>,
    /// Indices of the picture's lines that pass the filter, in order.
    shown: Vec<usize>,
    /// Where the chosen one stands in `shown`.
    cursor: usize,
    /// `None`: whichever is first.
    chosen: Option<MessageId>,
    /// Of `shown`, what is drawn first, and how many there is room for.
    pub offset: usize,
    pub rows: usize,
    pub filter: String,
    pub sort: Sort,
    pub panel: Panel,
    pub prompt: Option<Prompt>,
    /// What became of the last move.
    pub told: Option<Told>,
    pub helps: bool,
}

/// In which order messages are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sort {
    /// As they are sent, about: by priority, then arrival.
    Priority,
    Age,
    Left,
    Rate,
    TimeLeft,
}

impl Sort {
    pub fn next(self) -> Sort {
        match self {
            Sort::Priority => Sort::Age,
            Sort::Age => Sort::Left,
            Sort::Left => Sort::Rate,
            Sort::Rate => Sort::TimeLeft,
            Sort::TimeLeft => Sort::Priority,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Sort::Priority => "priority",
            Sort::Age => "age",
            Sort::Left => "left",
            Sort::Rate => "rate",
            Sort::TimeLeft => "time left",
        }
    }

    fn order(self, a: &Line, b: &Line) -> Ordering {
        match self {
            // They come like that.
            Sort::Priority => Ordering::Equal,
            Sort::Age => a.id.arrival().cmp(&b.id.arrival()),
            Sort::Left => Reverse(a.left).cmp(&Reverse(b.left)),
            Sort::Rate => b.rate.total_cmp(&a.rate),
            // Those without an end in sight come last.
            Sort::TimeLeft => {
                let time = |line: &Line| line.time_left().unwrap_or(f64::INFINITY);
                time(a).total_cmp(&time(b))
            }
        }
    }
}

/// What is shown below the messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Panel {
    Workers,
    Relays,
    Pauses,
}

impl Panel {
    pub const ALL: [Panel; 3] = [Panel::Workers, Panel::Relays, Panel::Pauses];

    pub fn next(self) -> Panel {
        match self {
            Panel::Workers => Panel::Relays,
            Panel::Relays => Panel::Pauses,
            Panel::Pauses => Panel::Workers,
        }
    }
}

impl Screen {
    pub fn new(look: Look, spool: String) -> Screen {
        Screen {
            look,
            spool,
            picture: None,
            shown: Vec::new(),
            cursor: 0,
            chosen: None,
            offset: 0,
            rows: 1,
            filter: String::new(),
            sort: Sort::Priority,
            panel: Panel::Workers,
            prompt: None,
            told: None,
            helps: false,
        }
    }

    pub fn show(&mut self, picture: Picture) {
        self.picture = Some(picture);
        self.arrange();
    }

    pub fn tell(&mut self, told: Told) {
        self.told = Some(told);
    }

    /// After another picture, filter or order.
    pub fn arrange(&mut self) {
        let Some(picture) = &self.picture else { return };
        let words: Vec<String> = self.filter.split_whitespace().map(str::to_lowercase).collect();
        let lines = &picture.lines;
        self.shown = (0..lines.len()).filter(|&at| words.iter().all(|word| has(&lines[at], word))).collect();
        self.shown.sort_by(|&a, &b| self.sort.order(&lines[a], &lines[b]));
        self.cursor = match &self.chosen {
            None => 0,
            Some(chosen) => match self.shown.iter().position(|&at| lines[at].id == *chosen) {
                Some(at) => at,
                // It has gone: its neighbour is next.
                None => self.cursor.min(self.shown.len().saturating_sub(1)),
            },
        };
        if self.chosen.is_some() {
            self.chosen = self.chosen().map(|line| line.id.clone());
        }
        self.scroll();
    }

    /// Moves the choice; to the first one: it stays there, whatever comes.
    pub fn choose(&mut self, by: isize) {
        let last = self.shown.len().saturating_sub(1);
        self.cursor = self.cursor.saturating_add_signed(by).min(last);
        self.chosen = if self.cursor == 0 { None } else { self.chosen().map(|line| line.id.clone()) };
        self.scroll();
    }

    /// Brings the chosen one into view.
    fn scroll(&mut self) {
        let rows = self.rows.max(1);
        self.offset = self.offset.min(self.cursor).max((self.cursor + 1).saturating_sub(rows));
        self.offset = self.offset.min(self.shown.len().saturating_sub(rows));
    }

    /// There is room for so many messages.
    pub fn set_rows(&mut self, rows: usize) {
        self.rows = rows;
        self.scroll();
    }

    pub fn chosen(&self) -> Option<&Line> {
        self.picture.as_ref()?.lines.get(*self.shown.get(self.cursor)?)
    }

    /// How many pass the filter.
    pub fn count(&self) -> usize {
        self.shown.len()
    }

    /// Those that there is room for, and whether it is the chosen one.
    pub fn window(&self) -> impl Iterator<Item = (&Line, bool)> {
        let shown = self.shown.iter().enumerate().skip(self.offset).take(self.rows);
        let lines = self.picture.as_ref().map_or(&[][..], |picture| &picture.lines);
        shown.map(|(at, &line)| (&lines[line], at == self.cursor))
    }
}

/// Whether a message has that word: in its id, its sender or its state; or it is a `priority:<p>` that is its own.
fn has(line: &Line, word: &str) -> bool {
    if let Some(priority) = word.strip_prefix("priority:") {
        return line.priority.dir_name() == priority;
    }
    let contains = |text: &str| text.to_lowercase().contains(word);
    line.state.as_str().contains(word)
        || contains(line.id.as_str())
        || line.details.as_ref().is_some_and(|details| contains(&details.sender))
}
