//! `sympa-dist report`: what happened to a message, after the fact, from the event log.
//!
//! It reads the log and its predecessors, of several hosts if it is given them, and needs neither spool nor scheduler. What
//! can't be read of them is counted and named, and the rest is told.

mod tell;
mod when;

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::words::{local_time, printable};
use super::{CliError, Exit, Global, say};
use crate::daemon::clock;
use crate::daemon::events::Happening;
use crate::mail::{MessageId, Moment};
use crate::monitor::event_log::line::Line;
use crate::monitor::event_log::reader::Reader;
use crate::monitor::event_log::story::{Stories, Story};

/// Tells what happened to messages, from the event log
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

/// Events of one message that are kept for its story.
const MOST_EVENTS: usize = 100_000;

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
        let mut reader = Reader::open(&logs).map_err(|error| CliError::TryAgain(format!("cannot read {error}")))?;
        let (mut stories, mut events) = (Stories::default(), Vec::new());
        let is_wanted = |id: &MessageId| {
            self.id.as_ref().is_none_or(|wanted| wanted == id)
                && self.list.as_deref().is_none_or(|list| id.list() == list)
        };
        for line in reader.by_ref() {
            stories.hear(&line, is_wanted);
            if let Some(id) = &self.id {
                if events.len() < MOST_EVENTS && concerns(&line, id, &stories) {
                    events.push(line);
                }
            } else if let (Some(since), Some(id)) = (since, line.event.what.message()) {
                stories.forget(id, since.into());
            }
        }
        let (lost, span) = (stories.lost, stories.span);
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
        self.complain(&reader, lost);
        if told.is_empty() {
            say(&self.nothing(span));
        }
        Ok(if told.is_empty() { Exit::Findings } else { Exit::Done })
    }

    /// What the answer lacks.
    fn complain(&self, reader: &Reader, lost: u64) {
        let damage = &reader.damage;
        if damage.damaged > 0 {
            say(&format!("{} lines or files can't be read and are not told of:", damage.damaged));
            damage.named.iter().for_each(|what| say(&format!("  {}", printable(what))));
            if damage.damaged > damage.named.len() as u64 {
                say("  …");
            }
        }
        if damage.unknown > 0 {
            say(&format!("{} lines are of a kind that this version does not know", damage.unknown));
        }
        if lost > 0 {
            say(&format!("{lost} events were lost before they could be written: something may be missing here"));
        }
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

/// Whether the line belongs to the message's story: it happened to it, it gave way to it, or it explains its waiting.
fn concerns(line: &Line, id: &MessageId, stories: &Stories) -> bool {
    use Happening as H;
    match &line.event.what {
        H::Preempted { message, by, .. } => message == id || by == id,
        H::SchedulerStarted { .. } | H::SchedulerStopped { .. } | H::PausesChanged { .. } | H::Lost { .. } => {
            stories.messages.get(id).is_some_and(|story| story.ended.is_none())
        }
        H::RelayDown { .. } | H::RelayUp { .. } => stories.messages.get(id).is_some_and(|story| story.ended.is_none()),
        what => what.message() == Some(id),
    }
}
