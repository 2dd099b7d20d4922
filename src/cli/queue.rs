//! `sympa-dist queue`: what waits, read from disk, correct while workers run.

mod ages;
mod sort;
mod watch;

use std::collections::HashMap;
use std::io::Write;
use std::time::Duration;

use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::figures::{PauseRow, Recipient, Row, Surroundings};
use super::holders::Holders;
use super::words::{age, local_time, printable};
use super::{CliError, Exit, Global, say};
use crate::daemon::clock;
use crate::daemon::rate::time_left;
use crate::daemon::settings::Settings;
use crate::mail::{Level, MessageId, Priority};
use crate::monitor::paces::Paces;
use crate::spool::Spool;
use crate::spool::census::{self, Census, Message};
use crate::spool::layout::MessageName;
use crate::spool::pause::{self, Paused};
use crate::spool::running::{self, Scheduler};
use ages::{Ages, By, Count};
use sort::Sort;
use watch::Frame;

/// Shows what waits, and how far it is
#[derive(Args, Debug)]
pub struct Queue {
    /// A JSON object a message and line, with postqueue -j's names where they fit
    #[arg(long)]
    json: bool,
    /// With --json: the recipients that have no final outcome, too
    #[arg(long, requires = "json")]
    recipients: bool,
    /// The relays of the schedulers that run, instead of messages
    #[arg(long, conflicts_with_all = ["recipients", "list", "priority"])]
    relays: bool,
    /// What is paused, instead of messages
    #[arg(long, conflicts_with_all = ["relays", "recipients", "list", "priority"])]
    pauses: bool,
    /// Only this list's messages
    #[arg(long, value_name = "ADDRESS")]
    list: Option<String>,
    /// Only messages at this priority
    #[arg(long, value_name = "P")]
    priority: Option<Priority>,
    /// How old what waits is: a row a priority, a column twice the minutes of the one before it
    #[arg(long, conflicts_with_all = ["relays", "pauses", "recipients"])]
    ages: bool,
    /// With --ages: what has a row [default: priority]
    #[arg(long, value_name = "WHAT", requires = "ages")]
    by: Option<By>,
    /// With --ages: what is counted [default: recipients]
    #[arg(long, value_name = "WHAT", requires = "ages")]
    count: Option<Count>,
    /// In which order [default: most urgent first, then as they came; with --ages: most first]
    #[arg(long, value_name = "KEY", conflicts_with_all = ["relays", "pauses"])]
    sort: Option<Sort>,
    /// The other way round
    #[arg(long, requires = "sort")]
    reverse: bool,
    /// Again and again, every so many seconds [default: 2], until INT
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = watch::interval)]
    watch: Option<Duration>,
}

impl Queue {
    pub fn run(self, global: &Global) -> Result<Exit, CliError> {
        let (spool, settings) = global.open_spool_and_settings()?;
        if let Some(interval) = self.watch {
            let every = format!("every {}s", interval.as_secs_f64());
            return watch::watch(interval, &format!("sympa-dist queue, {every}"), || {
                let (mut text, mut complaints) = (Vec::new(), Vec::new());
                if !self.json {
                    writeln!(text, "{}", local_time(clock::epoch().0))?;
                }
                self.look(&spool, &settings, &mut text, &mut complaints)?;
                Ok(Frame { text, complaints })
            });
        }
        // One write a screenful: a million messages are a million lines.
        let mut stdout = std::io::BufWriter::new(std::io::stdout().lock());
        let mut complaints = Vec::new();
        let exit = self.look(&spool, &settings, &mut stdout, &mut complaints)?;
        stdout.flush()?;
        complaints.iter().for_each(|complaint| say(complaint));
        Ok(exit)
    }

    /// Writes what is asked for, as it is now.
    fn look(
        &self,
        spool: &Spool,
        settings: &Settings,
        out: &mut impl Write,
        complaints: &mut Vec<String>,
    ) -> Result<Exit, CliError> {
        let (ageing, now) = (settings.ageing(), clock::epoch());
        let holders = match Holders::ask(settings) {
            None => Holders::default(),
            Some(Ok(holders)) => holders,
            Some(Err(error)) => {
                complaints.push(format!("{error}; who works on what is not known"));
                Holders::default()
            }
        };
        let schedulers = running::heard(holders.schedulers(spool)?, now);
        if self.relays {
            return self.print_relays(out, &schedulers);
        }
        let pauses = pause::list(spool, now)?;
        if self.pauses {
            return self.print_pauses(out, &pauses);
        }
        let Census { mut messages, mut damaged } = census::take(spool)?;
        let is_wanted = |at: Priority, name: &MessageName| {
            self.priority.is_none_or(|priority| at == priority)
                && self.list.as_deref().is_none_or(|list| name.id.list() == list)
        };
        messages.retain(|message| is_wanted(message.priority, &message.name));
        damaged.retain(|(priority, name, _)| is_wanted(*priority, name));
        let held: HashMap<MessageId, Vec<String>> =
            messages.iter_mut().map(|message| (message.name.id.clone(), holders.note(message))).collect();
        let around = Surroundings::new(spool, now, &schedulers, &pauses, &settings.lists);
        let row = |message: &Message| -> Result<Row, CliError> {
            let mut row = Row::of(message, ageing, now).in_its_surroundings(message, &around);
            row.holders = held.get(&message.name.id).cloned().unwrap_or_default();
            if self.recipients {
                row.recipients = Some(Recipient::all(spool, message)?);
            }
            Ok(row)
        };
        if self.json && self.sort.is_none() && !self.ages {
            // One at a time: a million messages with their recipients are more than there is memory for.
            for message in &messages {
                print_json(out, &row(message)?)?;
            }
        } else {
            let mut rows: Vec<Row> = messages.iter().map(row).collect::<Result<_, _>>()?;
            if let Some(sort) = self.sort {
                sort.messages(&mut rows);
                if self.reverse {
                    rows.reverse();
                }
            }
            if self.ages {
                self.print_ages(out, &rows, now.0)?;
            } else if self.json {
                rows.iter().try_for_each(|row| print_json(out, row))?;
            } else {
                // Of one list, only its messages' rates are known.
                let levels = self.list.is_none().then(|| Paces::of(&schedulers).levels);
                print(out, &rows, now.0, levels)?;
            }
            if !self.json {
                for paused in &pauses {
                    writeln!(out, "-- {}", PauseRow::of(paused))?;
                }
                if !messages.is_empty() {
                    print_troubles(out, &schedulers)?;
                }
            }
        }
        for (priority, name, error) in &damaged {
            complaints.push(format!("{name} at {priority} is not shown: {error}"));
        }
        Ok(if damaged.is_empty() { Exit::Done } else { Exit::Findings })
    }

    fn print_ages(&self, out: &mut impl Write, rows: &[Row], now: u64) -> std::io::Result<()> {
        let (by, count) = (self.by.unwrap_or(By::Priority), self.count.unwrap_or(Count::Recipients));
        let mut ages = Ages::of(rows, by, count, self.sort, now);
        if self.reverse {
            ages.reverse();
        }
        if self.json { print_json(out, &ages) } else { ages.print(out) }
    }

    fn print_pauses(&self, out: &mut impl Write, pauses: &[Paused]) -> Result<Exit, CliError> {
        for row in pauses.iter().map(PauseRow::of) {
            if self.json {
                print_json(out, &row)?;
            } else {
                writeln!(out, "{row}")?;
            }
        }
        Ok(if pauses.is_empty() { Exit::Findings } else { Exit::Done })
    }

    fn print_relays(&self, out: &mut impl Write, schedulers: &[Scheduler]) -> Result<Exit, CliError> {
        for scheduler in schedulers {
            if self.json {
                print_json(out, scheduler)?;
                continue;
            }
            let Scheduler { host, pid, workers, since, .. } = scheduler;
            if scheduler.is_unknown() {
                writeln!(out, "{host} {pid}: it runs, and could not say how it is")?;
                continue;
            }
            writeln!(out, "{host} {pid}: {workers} workers, since {}", local_time(*since))?;
            if let Some(seconds) = scheduler.silent {
                writeln!(out, "  has said nothing for {}: what follows is old", age(seconds))?;
            }
            for relay in &scheduler.relays {
                writeln!(out, "  {}", told(relay))?;
            }
        }
        match schedulers.is_empty() {
            true => Ok(Exit::Findings),
            false => Ok(Exit::Done),
        }
    }
}

fn print_json(out: &mut impl Write, value: &impl Serialize) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    writeln!(out)
}

/// Why nothing, or less, is sent.
fn print_troubles(out: &mut impl Write, schedulers: &[Scheduler]) -> std::io::Result<()> {
    if schedulers.is_empty() {
        writeln!(out, "-- no scheduler runs on this spool")?;
    }
    for scheduler in schedulers {
        if let Some(seconds) = scheduler.silent {
            let (who, pid) = (&scheduler.host, scheduler.pid);
            writeln!(out, "-- {who} {pid} has said nothing for {}: it hangs, or its machine does", age(seconds))?;
        }
        for relay in scheduler.relays.iter().filter(|relay| relay.state != "closed") {
            writeln!(out, "-- {} {}: {}", scheduler.host, scheduler.pid, told(relay))?;
        }
    }
    Ok(())
}

fn told(relay: &running::Relay) -> String {
    let state = match relay.state.as_str() {
        "closed" => "in use",
        "half-open" => "out of use, being tried",
        _ => "out of use",
    };
    let at = |what: &str, at: Option<u64>| at.map_or(String::new(), |at| format!("; {what} {}", local_time(at)));
    let why = relay.why.as_ref().map_or(String::new(), |why| format!("; {why}"));
    let told = format!("{}: {state}{}{}{why}", relay.relay, at("since", relay.since), at("next try", relay.next_try));
    // It may be another version's, or anybody's.
    printable(&told)
}

fn print(out: &mut impl Write, rows: &[Row], now: u64, levels: Option<[f64; Level::COUNT]>) -> std::io::Result<()> {
    if rows.is_empty() {
        return writeln!(out, "Mail queue is empty");
    }
    writeln!(out, "-P- -Queue ID- (* active, ! held)  --Size--  -----Arrival-----  -Sender-")?;
    for row in rows {
        let id = format!("{}{}", row.queue_id, row.mark());
        let arrival = local_time(row.arrival_time);
        writeln!(out, " {}  {id}  {}  {arrival}  {}", row.priority, row.message_size, row.sender)?;
        let mut said = vec![
            format!("{} of {} recipients done", row.recipients_done, row.recipients_total),
            format!("{} of {} packets", row.packets_done, row.packets_total),
        ];
        if row.workers > 0 {
            said.push(format!("{} workers", row.workers));
            said.extend(row.holders.iter().map(|holder| printable(holder)));
        }
        said.extend(row.pace());
        if row.deferred > 0 {
            let next = row.next_try.map_or(String::new(), |at| format!(", next try {}", local_time(at)));
            said.push(format!("{} deferred{next}", row.deferred));
        }
        if row.failed > 0 {
            said.push(format!("{} failed", row.failed));
        }
        if let Some(chosen) = row.chosen_priority.as_ref().filter(|&chosen| *chosen != row.priority) {
            said.push(format!("waits long, chosen as {chosen}"));
        }
        if let Some(at) = row.not_before.filter(|&at| at > now) {
            said.push(format!("not before {}", local_time(at)));
        }
        said.extend(row.not_after.map(|at| format!("not after {}", local_time(at))));
        if let Some(note) = &row.held {
            said.push(format!(
                "held by {} since {}: {}",
                printable(&note.by),
                local_time(note.since),
                printable(&note.why)
            ));
        }
        said.extend(row.paused.as_ref().map(ToString::to_string));
        said.extend(row.stuck_beside().map(|why| if row.is_stuck { format!("stuck: {why}") } else { why }));
        writeln!(out, "        {}", said.join("; "))?;
    }
    writeln!(out, "\n{}\n", depth(rows, now, levels))?;
    let kilobytes: u64 = rows.iter().map(|row| row.message_size).sum::<u64>().div_ceil(1024);
    writeln!(out, "-- {kilobytes} Kbytes in {} Request{}.", rows.len(), if rows.len() == 1 { "" } else { "s" })
}

/// By priority: how much, how far, how old, how fast, and how much of it does not go on.
fn depth(rows: &[Row], now: u64, levels: Option<[f64; Level::COUNT]>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "P",
        "messages",
        "packets",
        "left",
        "deferred",
        "failed",
        "done",
        "oldest",
        "stuck",
        "a second",
        "time left",
    ]);
    for priority in Priority::all() {
        let known = levels.zip(priority.level()).map(|(levels, level)| levels[level.index()]);
        let priority = priority.to_string();
        let at: Vec<&Row> = rows.iter().filter(|row| row.priority == priority).collect();
        let Some(oldest) = at.iter().map(|row| row.arrival_time).min() else { continue };
        let total = |figure: fn(&Row) -> u64| at.iter().map(|row| figure(row)).sum::<u64>();
        let sum = |figure| total(figure).to_string();
        let rate = known.unwrap_or_else(|| at.iter().map(|row| row.rate).sum());
        let none = || "-".to_owned();
        table.add_row([
            priority,
            at.len().to_string(),
            sum(|row| row.packets_total - row.packets_done),
            sum(|row| row.recipients_left),
            sum(|row| row.deferred),
            sum(|row| row.failed),
            sum(|row| row.recipients_done),
            age(now.saturating_sub(oldest)),
            sum(|row| row.is_stuck.into()),
            if rate > 0.0 { format!("{rate:.1}") } else { none() },
            time_left(total(|row| row.going), rate).map_or_else(none, |left| age(left as u64)),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
