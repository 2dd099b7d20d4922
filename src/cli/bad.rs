//! `sympa-dist bad`: what was set aside, why, and putting it back once it is mended.

use std::io::Write;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::words::{local_time, printable};
use super::{CliError, Exit, Global, say};
use crate::daemon::clock;
use crate::daemon::mended::{self, KNOWLEDGE, Stays};
use crate::mail::Priority;
use crate::spool::Spool;
use crate::spool::bad::{self, Entry, EntryName};
use crate::spool::failures::{self, Failure};
use crate::spool::layout::{BadName, packet_file};
use crate::spool::note::Note;
use crate::spool::progress::{Progress, Sync, Unusable};

/// Lists what was set aside in bad/ and why; shows one; puts one back
#[derive(Args, Debug)]
pub struct Bad {
    #[command(subcommand)]
    action: Option<Action>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Lists them (without a command as well)
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Shows what is in one, and what keeps it from being put back
    Show {
        /// As listed
        #[arg(value_name = "ID")]
        name: String,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Puts them back into the queue, after checks; whoever has got the message doesn't get it again
    Retry {
        /// As listed
        #[arg(value_name = "ID", required = true)]
        names: Vec<String>,
        /// Not back to where they were, but there
        #[arg(long, value_name = "P")]
        to: Option<Priority>,
        /// Only say what would be put back
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    #[serde(flatten)]
    note: Option<&'a Note>,
}

#[derive(Serialize)]
struct Shown {
    name: String,
    #[serde(flatten)]
    note: Option<Note>,
    packets: Vec<ShownPacket>,
    /// Recipients that failed for good.
    failures: Vec<Failure>,
    /// What keeps it from being put back.
    obstacles: Vec<String>,
}

#[derive(Serialize)]
struct ShownPacket {
    name: String,
    /// `null`: it can't be read.
    recipients: Option<usize>,
    done: Option<usize>,
}

impl Bad {
    pub fn run(self, global: &Global) -> Result<Exit, CliError> {
        let spool = global.open_spool()?;
        match self.action {
            None => list(&spool, self.json),
            Some(Action::List { json }) => list(&spool, json || self.json),
            Some(Action::Show { name, json }) => show(&spool, &name, json || self.json),
            Some(Action::Retry { names, to, dry_run }) => {
                let default = global.load()?.settings.inject.priority;
                retry(&spool, &names, to, default, dry_run)
            }
        }
    }
}

fn list(spool: &Spool, json: bool) -> Result<Exit, CliError> {
    let mut stdout = std::io::stdout().lock();
    for Entry { name, note } in bad::list(spool)? {
        if json {
            let listed = Listed { name: &name, note: note.as_ref() };
            serde_json::to_writer(&mut stdout, &listed).map_err(std::io::Error::from)?;
            writeln!(stdout)?;
        } else {
            writeln!(stdout, "{name}\n  {}", told(note.as_ref()))?;
        }
    }
    Ok(Exit::Done)
}

fn told(note: Option<&Note>) -> String {
    match note {
        Some(Note { since, by, why, from }) => {
            format!("{}, from {}, by {}: {}", local_time(*since), printable(from), printable(by), printable(why))
        }
        None => "its reason can't be read".to_owned(),
    }
}

fn named(entry: &str) -> Result<EntryName, CliError> {
    entry.parse().map_err(|error: BadName| CliError::Usage(error.to_string()))
}

fn say_gone(entry: &str) {
    say(&format!("{entry}: there is no such message in bad/"));
}

fn show(spool: &Spool, entry: &str, json: bool) -> Result<Exit, CliError> {
    let Some(folder) = bad::open(spool, &named(entry)?)? else {
        say_gone(entry);
        return Ok(Exit::Findings);
    };
    let mut packets = Vec::new();
    for packet in folder.contents()?.packets {
        let name = packet_file(&packet);
        let file = folder.dir().open_read(&name)?;
        let (recipients, done) = match Progress::open(&folder, &packet, &file, Sync::None) {
            Ok(progress) => (Some(progress.packet().len()), Some(progress.next())),
            Err(Unusable::Bad(_)) => (None, None),
            Err(Unusable::Disk(error)) => return Err(error.into()),
        };
        packets.push(ShownPacket { name, recipients, done });
    }
    let shown = Shown {
        name: entry.to_owned(),
        note: Note::read(folder.dir(), crate::spool::layout::REASON),
        packets,
        failures: failures::read(folder.dir())?,
        obstacles: bad::obstacles(spool, &folder, &KNOWLEDGE, clock::epoch())?,
    };
    let mut stdout = std::io::stdout().lock();
    if json {
        serde_json::to_writer(&mut stdout, &shown).map_err(std::io::Error::from)?;
        writeln!(stdout)?;
        return Ok(Exit::Done);
    }
    writeln!(stdout, "{entry}\n  {}", told(shown.note.as_ref()))?;
    for ShownPacket { name, recipients, done } in &shown.packets {
        match (recipients, done) {
            (Some(recipients), Some(done)) => writeln!(stdout, "  {name}: {recipients} recipients, {done} done")?,
            _ => writeln!(stdout, "  {name}: can't be read")?,
        }
    }
    for Failure { recipient, code, text, relay, .. } in &shown.failures {
        writeln!(stdout, "  failed: {recipient}: {code} {} ({relay})", printable(text))?;
    }
    for obstacle in &shown.obstacles {
        writeln!(stdout, "  to be mended: {obstacle}")?;
    }
    if shown.obstacles.is_empty() {
        writeln!(stdout, "  can be put back: sympa-dist bad retry {entry}")?;
    }
    Ok(Exit::Done)
}

fn retry(
    spool: &Spool,
    entries: &[String],
    to: Option<Priority>,
    default: Priority,
    dry_run: bool,
) -> Result<Exit, CliError> {
    let mut stdout = std::io::stdout().lock();
    // Whether anybody reads what became of them has no say in what becomes of them.
    let mut told = Ok(());
    let mut exit = Exit::Done;
    for entry in entries {
        let name = named(entry)?;
        let (what, result) = match mended::look(spool, &name, to, default, clock::epoch())? {
            Ok(mended) if dry_run => ("would be put back", Ok(mended.to)),
            Ok(mended) => ("put back", mended.put_back(spool)?),
            Err(stays) => ("", Err(stays)),
        };
        match result {
            Ok(to) => told = told.and_then(|()| writeln!(stdout, "{entry}: {what} to {to}")),
            Err(stays) => {
                exit = Exit::Findings;
                match stays {
                    Stays::Gone => say_gone(entry),
                    Stays::Broken(obstacles) => {
                        obstacles.iter().for_each(|obstacle| say(&format!("{entry}: {obstacle}")));
                        say(&format!("{entry}: stays in bad/"));
                    }
                }
            }
        }
    }
    told?;
    Ok(exit)
}
