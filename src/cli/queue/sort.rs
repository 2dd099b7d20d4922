//! In which order `queue` shows what it shows.

use std::cmp::{Ordering, Reverse};

use clap::ValueEnum;

use crate::cli::figures::Row;

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Sort {
    /// Most urgent first, then as they came
    Priority,
    /// Oldest first
    Age,
    /// Newest first
    Arrival,
    /// Most recipients that nobody has tried to send to first
    Left,
    /// Most deferred recipients first
    Deferred,
    /// Most failed recipients first
    Failed,
    /// By the list's address
    List,
    /// Biggest first
    Size,
    /// By state
    State,
    /// Those that don't go on first
    Stuck,
    /// Fastest first
    Rate,
    /// Those that will be sent last first; where nothing moves, it is never
    TimeLeft,
}

impl Sort {
    pub fn messages(self, rows: &mut [Row]) {
        // Stable: what is equal stays as it was, most urgent first and then as it came.
        rows.sort_by(|a, b| self.compare(a, b));
    }

    fn compare(self, a: &Row, b: &Row) -> Ordering {
        let most = |figure: fn(&Row) -> u64| Reverse(figure(a)).cmp(&Reverse(figure(b)));
        match self {
            Sort::Priority => a.priority.cmp(&b.priority),
            Sort::Age => a.arrival_time.cmp(&b.arrival_time),
            Sort::Arrival => most(|row| row.arrival_time),
            Sort::Left => most(|row| row.recipients_left),
            Sort::Deferred => most(|row| row.deferred),
            Sort::Failed => most(|row| row.failed),
            Sort::List => a.list.cmp(&b.list),
            Sort::Size => most(|row| row.message_size),
            Sort::State => a.state.cmp(b.state),
            Sort::Stuck => b.is_stuck.cmp(&a.is_stuck),
            Sort::Rate => b.rate.total_cmp(&a.rate),
            Sort::TimeLeft => {
                let never = |row: &Row| row.time_left.unwrap_or(f64::INFINITY);
                never(b).total_cmp(&never(a))
            }
        }
    }
}
