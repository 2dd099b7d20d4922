//! `sympa-dist queue --ages`: how old what waits is, after Postfix's qshape(1).
//!
//! A row a priority or list, a column an age in minutes, each twice the one before it: what stands below 20 is at least 10
//! minutes old and less than 20. A queue that drains has its figures at the left, one that is stuck at the right.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::Write;

use clap::ValueEnum;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::sort::Sort;
use crate::cli::figures::Row;
use crate::daemon::rate::time_left;

/// Minutes: each column's age is below its own and not below the one before. The last column has none.
const MINUTES: [u64; 9] = [5, 10, 20, 40, 80, 160, 320, 640, 1280];

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    Priority,
    List,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Count {
    /// Recipients that wait for their first or another try
    Recipients,
    Messages,
}

/// The table.
#[derive(Serialize)]
pub struct Ages {
    /// Unix seconds.
    time: u64,
    by: By,
    count: Count,
    minutes: [u64; MINUTES.len()],
    total: Aged,
    rows: Vec<Aged>,
}

/// A row of it.
#[derive(Serialize, Default)]
struct Aged {
    name: String,
    total: u64,
    /// A column each: below 5 minutes, below 10, …, and the rest.
    ages: [u64; MINUTES.len() + 1],
    #[serde(skip)]
    sums: Sums,
}

/// What rows can be sorted by.
#[derive(Default)]
struct Sums {
    oldest: u64,
    newest: u64,
    left: u64,
    going: u64,
    deferred: u64,
    failed: u64,
    size: u64,
    stuck: u64,
    rate: f64,
}

impl Ages {
    pub fn of(messages: &[Row], by: By, count: Count, sort: Option<Sort>, now: u64) -> Ages {
        let mut total = Aged { name: "TOTAL".into(), ..Aged::default() };
        let mut rows: BTreeMap<&str, Aged> = BTreeMap::new();
        for message in messages {
            let name = match by {
                By::Priority => &message.priority,
                By::List => &message.list,
            };
            let row = rows.entry(name).or_insert_with(|| Aged { name: name.clone(), ..Aged::default() });
            for row in [&mut total, row] {
                row.add(message, count, now);
            }
        }
        let mut rows: Vec<Aged> = rows.into_values().collect();
        // Stable: equal ones by name.
        match sort {
            None => rows.sort_by_key(|row| Reverse(row.total)),
            Some(sort) => sort_rows(&mut rows, sort),
        }
        Ages { time: now, by, count, minutes: MINUTES, total, rows }
    }

    pub fn reverse(&mut self) {
        self.rows.reverse();
    }

    pub fn print(&self, out: &mut impl Write) -> std::io::Result<()> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        let minutes = MINUTES.map(|minutes| minutes.to_string());
        let rest = format!("{}+", MINUTES[MINUTES.len() - 1]);
        table.set_header([String::new(), "T".into()].into_iter().chain(minutes).chain([rest]));
        for row in std::iter::once(&self.total).chain(&self.rows) {
            let figures = row.ages.map(|figure| figure.to_string());
            table.add_row([row.name.clone(), row.total.to_string()].into_iter().chain(figures));
        }
        for column in table.column_iter_mut() {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(out, "{table}")
    }
}

impl Aged {
    fn add(&mut self, message: &Row, count: Count, now: u64) {
        let figure = match count {
            Count::Recipients => message.recipients_left + message.deferred,
            Count::Messages => 1,
        };
        let minutes = now.saturating_sub(message.arrival_time) / 60;
        let column = MINUTES.iter().position(|&below| minutes < below).unwrap_or(MINUTES.len());
        let sums = &mut self.sums;
        let first = sums.newest == 0;
        sums.oldest = if first { message.arrival_time } else { sums.oldest.min(message.arrival_time) };
        sums.newest = sums.newest.max(message.arrival_time);
        sums.left += message.recipients_left;
        sums.going += message.going;
        sums.deferred += message.deferred;
        sums.failed += message.failed;
        sums.size += message.message_size;
        sums.stuck += u64::from(message.is_stuck);
        sums.rate += message.rate;
        self.total += figure;
        self.ages[column] += figure;
    }
}

fn sort_rows(rows: &mut [Aged], sort: Sort) {
    match sort {
        // They are in this order already.
        Sort::Priority | Sort::List | Sort::State => {}
        Sort::Age => rows.sort_by_key(|row| row.sums.oldest),
        Sort::Arrival => rows.sort_by_key(|row| Reverse(row.sums.newest)),
        Sort::Left => rows.sort_by_key(|row| Reverse(row.sums.left)),
        Sort::Deferred => rows.sort_by_key(|row| Reverse(row.sums.deferred)),
        Sort::Failed => rows.sort_by_key(|row| Reverse(row.sums.failed)),
        Sort::Stuck => rows.sort_by_key(|row| Reverse(row.sums.stuck)),
        Sort::Rate => rows.sort_by(|a, b| b.sums.rate.total_cmp(&a.sums.rate)),
        Sort::TimeLeft => {
            let never = |row: &Aged| time_left(row.sums.going, row.sums.rate).unwrap_or(f64::INFINITY);
            rows.sort_by(|a, b| never(b).total_cmp(&never(a)));
        }
        Sort::Size => rows.sort_by_key(|row| Reverse(row.sums.size)),
    }
}
