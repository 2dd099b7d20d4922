//! `sympa-dist report`: what happened to a message, after the fact, from the event log.
//!
//! It reads the log and its predecessors, of several hosts if it is given them, and needs neither spool nor scheduler. What
//! can't be read of them, or believed, is counted and named, and the rest is told. Text and JSON are of one story, and have one
//! name for each span of time.

mod tell;
mod when;

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::words::{local_time, printable};
use super::{CliError, Exit, Global, say};
use crate::daemon::clock;
use crate::mail::{MessageId, Moment};
use crate::monitor::event_log::evidence::Evidence;
use crate::monitor::event_log::line::Line;
use crate::monitor::event_log::reader::Reader;
use crate::monitor::event_log::story::{MOST_MESSAGES, Stories, Story};

/// Tells what happened to messages, from the event log
///
/// A message `waited` from its coming, or from when it might be sent, until a worker took its first packet; it `took` the time
/// from its coming to its end; somebody was `busy` sending it for so long, at that `rate` of recipients a second; while it was
/// preempted, each packet's wait `lasted` so long, all of them together `preempted_for` (in the table: `for`). What the log
/// doesn't tell is left out, or null in JSON.
#[derive(Args, Debug)]
pub struct Report {
    /// The story of this message
    #[arg(value_name = "ID", conflicts_with_all = ["list", "since", "until"])]
    id: Option<MessageId>,
    /// A line for each message of this list
    #[arg(long, value_name = "ADDRESS")]
    list: Option<String>,
    /// A line for each message to which something happened from then on: 2h (ago), 2026-12-01, 2026-12-01T18:00, a time
    /// with its zone, or unix seconds
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// The same, up to then
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// A JSON object a message and line; for an ID with all its events
    #[arg(long)]
    json: bool,
    /// An event log, with its predecessors; several: one a host [key: events.path]
    #[arg(long, value_name = "FILE")]
    events: Vec<PathBuf>,
}

#[derive(Serialize)]
struct Told<'s> {
    #[serde(flatten)]
    story: &'s Story,
    events: &'s [Line],
}

impl Report {
    pub fn run(self, global: &Global) -> Result<Exit, CliError> {
        let now = clock::epoch();
        let time = |name: &str, text: &Option<String>| {
            let parse = |text: &String| when::parse(text, now).map_err(|why| CliError::Usage(format!("{name}: {why}")));
            text.as_ref().map(parse).transpose()
        };
        let (since, until) = (time("--since", &self.since)?, time("--until", &self.until)?);
        if self.id.is_none() && self.list.is_none() && since.is_none() && until.is_none() {
            return Err(CliError::Usage("of which messages? Give an ID, --list or --since".into()));
        }
        if since.zip(until).is_some_and(|(since, until)| since > until) {
            return Err(CliError::Usage("--since is behind --until: nothing happens in between".into()));
        }
        let mut logs = self.events.clone();
        if logs.is_empty() {
            logs.extend(global.load()?.settings.events.path);
        }
        if logs.is_empty() {
            let why = "nothing is kept of what happens: set events.path, or name a log by --events";
            return Err(CliError::Usage(why.into()));
        }
        let failed = |error| CliError::TryAgain(format!("cannot read {error}"));
        let mut reader = Reader::open(&logs, now.into()).map_err(failed)?;
        let (mut stories, mut evidence) = (Stories::default(), self.id.as_ref().map(Evidence::of));
        let is_wanted = |id: &MessageId| {
            self.id.as_ref().is_none_or(|wanted| wanted == id)
                && self.list.as_deref().is_none_or(|list| id.list() == list)
        };
        while let Some(line) = reader.next() {
            stories.hear(&line, is_wanted);
            if let Some(evidence) = &mut evidence {
                evidence.hear(&line, reader.length);
            } else if let (Some(since), Some(id)) = (since, line.event.what.message()) {
                stories.forget(id, since.into());
            }
        }
        let lacks = Lacks {
            lost: stories.lost,
            more_events: evidence.as_ref().map_or(0, |evidence| evidence.more),
            more_messages: stories.is_cut,
        };
        let span = stories.span;
        let events = evidence.map_or_else(Vec::new, Evidence::tell);
        let mut told = stories.tell();
        let is_in = |story: &Story| {
            since.is_none_or(|since| story.last >= since.0 as f64)
                && until.is_none_or(|until| story.first <= until.0 as f64)
        };
        told.retain(is_in);
        let mut stdout = std::io::BufWriter::new(std::io::stdout().lock());
        if self.json {
            for story in &told {
                match &self.id {
                    Some(_) => serde_json::to_writer(&mut stdout, &Told { story, events: &events }),
                    None => serde_json::to_writer(&mut stdout, story),
                }
                .map_err(std::io::Error::from)?;
                writeln!(stdout)?;
            }
        } else if self.id.is_some() {
            told.iter().try_for_each(|story| tell::story(&mut stdout, story, &events))?;
        } else if !told.is_empty() {
            tell::table(&mut stdout, &told)?;
        }
        stdout.flush()?;
        complain(&reader, &lacks);
        if told.is_empty() {
            say(&self.nothing(span));
        }
        Ok(if told.is_empty() { Exit::Findings } else { Exit::Done })
    }

    fn nothing(&self, span: Option<(Moment, Moment)>) -> String {
        let what = match (&self.id, &self.list) {
            (Some(id), _) => format!("{id}: "),
            (None, Some(list)) => format!("{list:?}: "),
            (None, None) => String::new(),
        };
        let time = |at: Moment| local_time(at.epoch().0);
        match span {
            None => format!("{what}there are no events in the log"),
            Some((from, to)) => {
                format!("{what}nothing of it is in the log, which tells of {} to {}", time(from), time(to))
            }
        }
    }
}

/// What the answer lacks, beside what could not be read.
struct Lacks {
    lost: u64,
    more_events: u64,
    more_messages: bool,
}

fn complain(reader: &Reader, lacks: &Lacks) {
    let damage = &reader.damage;
    if damage.damaged > 0 {
        say(&format!("{} lines or files can't be read, or believed, and are not told of:", damage.damaged));
        damage.named.iter().for_each(|what| say(&format!("  {}", printable(what))));
        if damage.damaged > damage.named.len() as u64 {
            say("  …");
        }
    }
    if damage.unknown > 0 {
        say(&format!("{} lines are of a kind that this version does not know", damage.unknown));
    }
    if lacks.lost > 0 {
        say(&format!("{} events were lost before they could be written: something may be missing here", lacks.lost));
    }
    if lacks.more_events > 0 {
        say(&format!("{} events more are not told: they are too many", lacks.more_events));
    }
    if lacks.more_messages {
        say(&format!("only {MOST_MESSAGES} messages are told of: ask for less by --list, or --since"));
    }
}
