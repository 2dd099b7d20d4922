//! What a person sees while recipients are taken in: a progress bar on a terminal, and the lines that are none.

use std::io::Write;

use indicatif::{ProgressBar, ProgressStyle};

use super::input::Stop;
use crate::spool::recipients::{BadLine, Observer, Progress};

/// So many bad lines are shown; whoever mends a file starts at its first ones.
const SHOWN: u64 = 100;

/// See the module.
pub struct Report<'s> {
    stop: &'s Stop,
    /// Bad lines are skipped, so each must be told: nobody will see them again.
    skip: bool,
    source: String,
    bad: u64,
    bar: ProgressBar,
    /// The length of the source is known.
    measured: bool,
}

impl<'s> Report<'s> {
    pub fn new(stop: &'s Stop, skip: bool) -> Report<'s> {
        Report { stop, skip, source: String::new(), bad: 0, bar: ProgressBar::hidden(), measured: false }
    }

    /// What is read from now on, and its length in octets, if that is known.
    pub fn source(&mut self, source: String, length: Option<u64>) {
        self.bar.finish_and_clear();
        self.measured = length.is_some();
        // Draws to standard error, and nowhere if that is no terminal.
        self.bar = match length {
            Some(length) => ProgressBar::new(length).with_style(style("{msg} {bar:40} {percent}% {eta} left")),
            None => ProgressBar::new_spinner().with_style(style("{spinner} {msg} {human_pos} lines")),
        };
        self.bar.set_message(format!("reading {source}"));
        self.source = source;
    }

    /// Packets are written from now on.
    pub fn writing(&mut self, recipients: u64) {
        self.bar.finish_and_clear();
        self.measured = true;
        self.bar = ProgressBar::new(recipients).with_style(style("{msg} {bar:40} {percent}%"));
        self.bar.set_message("writing packets");
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    pub fn bad_lines(&self) -> u64 {
        self.bad
    }

    /// How many bad lines were not shown.
    pub fn unshown(&self) -> u64 {
        if self.skip { 0 } else { self.bad.saturating_sub(SHOWN) }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("a template of this program's own")
}

impl Observer for Report<'_> {
    fn bad_line(&mut self, line: BadLine) {
        self.bad += 1;
        if !self.skip && self.bad > SHOWN {
            return;
        }
        let what = if self.skip { "skipped " } else { "" };
        self.bar.suspend(|| {
            // Nobody is left to be told that nobody can be told.
            let _ = writeln!(std::io::stderr(), "sympa-dist: {what}{}: {line}", self.source);
        });
    }

    fn goes_on(&mut self, progress: Progress) -> bool {
        self.bar.set_position(match progress {
            Progress::Read { octets, .. } if self.measured => octets,
            Progress::Read { lines, .. } => lines,
            Progress::Written { recipients, .. } => recipients,
        });
        !self.stop.is_set()
    }
}
