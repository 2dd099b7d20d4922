//! `sympa-dist show`: one message, packet by packet.

use std::io::Write;

use clap::Args;
use serde::Serialize;

use super::figures::{Row, Surroundings};
use super::words::{local_time, printable};
use super::{CliError, Exit, Global, say};
use crate::daemon::clock;
use crate::mail::MessageId;
use crate::spool::census::{self, Message};
use crate::spool::failures::{self, Failure};
use crate::spool::folder::Folder;
use crate::spool::layout::packet_file;
use crate::spool::{Spool, pause, running};

/// Shows one message, packet by packet
#[derive(Args, Debug)]
pub struct Show {
    /// As `queue` lists it
    #[arg(value_name = "ID")]
    id: MessageId,
    /// One JSON object
    #[arg(long)]
    json: bool,
    /// Who failed for good, with the relay's answers
    #[arg(long)]
    failures: bool,
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    row: Row,
    packets: Vec<ShownPacket>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failures: Option<Vec<Failure>>,
}

#[derive(Serialize)]
struct ShownPacket {
    name: String,
    recipients: u64,
    /// `null`: the checkpoint can't be read.
    done: Option<u64>,
    active: bool,
    /// Unix seconds.
    due: Option<u64>,
}

impl Show {
    pub fn run(self, global: &Global) -> Result<Exit, CliError> {
        let (spool, settings) = global.open_spool_and_settings()?;
        let now = clock::epoch();
        let mut stdout = std::io::stdout().lock();
        let found = match spool.locate(&self.id)? {
            Some((priority, name)) => census::of(&spool, priority, &name)?,
            None => None,
        };
        let Some(message) = found else {
            let aside = spool.bad().look(self.id.as_str())?.is_some();
            let place = if aside {
                "it was set aside: see `sympa-dist bad show`"
            } else {
                "distributed, cancelled, or never there"
            };
            say(&format!("{}: no such message is waiting: {place}", self.id));
            return Ok(Exit::Findings);
        };
        let failures = self.failures.then(|| self.failures_of(&spool, &message)).transpose()?;
        let (schedulers, pauses) = (running::heard(running::list(&spool)?, now), pause::list(&spool, now)?);
        let around = Surroundings::new(&spool, now, &schedulers, &pauses, &settings.lists);
        let shown = Shown {
            row: Row::of(&message, settings.ageing(), now).in_its_surroundings(&message, &around),
            packets: message
                .packets
                .iter()
                .map(|packet| ShownPacket {
                    name: packet_file(&packet.name),
                    recipients: packet.recipients,
                    done: packet.done,
                    active: packet.is_active(now),
                    due: packet.name.due().map(|due| due.0),
                })
                .collect(),
            failures,
        };
        if self.json {
            serde_json::to_writer(&mut stdout, &shown).map_err(std::io::Error::from)?;
            writeln!(stdout)?;
        } else {
            shown.print(&mut stdout)?;
        }
        Ok(Exit::Done)
    }

    fn failures_of(&self, spool: &Spool, message: &Message) -> Result<Vec<Failure>, CliError> {
        match Folder::open(spool, message.priority, &message.name)? {
            Some(folder) => Ok(failures::read(folder.dir())?),
            None => Ok(Vec::new()),
        }
    }
}

impl Shown {
    fn print(&self, out: &mut impl Write) -> std::io::Result<()> {
        let row = &self.row;
        writeln!(out, "{}: {} at {}", row.queue_id, row.state, row.priority)?;
        writeln!(out, "  list        {}", row.list)?;
        writeln!(out, "  sender      <{}>", row.sender)?;
        writeln!(out, "  arrived     {}", local_time(row.arrival_time))?;
        writeln!(out, "  size        {} octets", row.message_size)?;
        if let Some(at) = row.not_before {
            writeln!(out, "  not before  {}", local_time(at))?;
        }
        if let Some(at) = row.not_after {
            writeln!(out, "  not after   {}", local_time(at))?;
        }
        if let Some(note) = &row.held {
            writeln!(
                out,
                "  held        by {} since {}, from {}: {}",
                printable(&note.by),
                local_time(note.since),
                note.from,
                printable(&note.why)
            )?;
        }
        if let Some(paused) = &row.paused {
            writeln!(out, "  paused      {paused}")?;
        }
        let (done, total) = (row.recipients_done, row.recipients_total);
        writeln!(out, "  recipients  {done} of {total} done, {} deferred, {} failed", row.deferred, row.failed)?;
        if let Some(pace) = row.pace() {
            writeln!(out, "  speed       {pace}")?;
        }
        if let Some(why) = row.stuck_beside() {
            writeln!(out, "  {}  {why}", if row.is_stuck { "stuck     " } else { "waits     " })?;
        }
        for packet in &self.packets {
            let done = packet.done.map_or("its checkpoint can't be read".into(), |done| format!("{done} done"));
            let active = if packet.active { ", being sent" } else { "" };
            let due = packet.due.map_or(String::new(), |due| format!(", due {}", local_time(due)));
            writeln!(out, "  {}: {} recipients, {done}{active}{due}", packet.name, packet.recipients)?;
        }
        for failure in self.failures.iter().flatten() {
            writeln!(out, "  failed: {}: {} {} ({})", failure.recipient, failure.code, failure.text, failure.relay)?;
        }
        Ok(())
    }
}
