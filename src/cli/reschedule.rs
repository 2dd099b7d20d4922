//! `sympa-dist reschedule`: gives messages another time, by one rename each, also while they are being sent.

use std::io::Write;

use clap::Args;

use super::inject::when;
use super::selection::Selection;
use super::words::local_time;
use super::{CliError, Exit, Global, say};
use crate::daemon::clock;
use crate::spool::moves::{self, Rescheduled};

/// Gives messages another time, before which they are not sent
#[derive(Args, Debug)]
pub struct Reschedule {
    #[command(flatten)]
    messages: Selection,
    /// Not to be sent before: unix seconds, 2026-12-01T18:00[Europe/Paris], RFC 3339, or +2h
    #[arg(long, value_name = "WHEN", required_unless_present = "now")]
    at: Option<String>,
    /// To be sent at once
    #[arg(long, conflicts_with = "at")]
    now: bool,
    /// Only say what would be changed
    #[arg(long)]
    dry_run: bool,
}

impl Reschedule {
    pub fn run(self, global: &Global) -> Result<Exit, CliError> {
        let at = self.at.as_deref().map(|at| when::parse(at, clock::epoch())).transpose();
        let at = at.map_err(|why| CliError::Usage(format!("--at: {why}; nothing was changed")))?;
        let spool = global.open_spool()?;
        let ids = self.messages.of(&spool)?;
        let mut stdout = std::io::stdout().lock();
        // Whether anybody reads what became of them has no say in what becomes of them.
        let mut told = Ok(());
        let mut matched = 0;
        let then = at.map_or("sent at once".into(), |at| format!("not sent before {}", local_time(at.0)));
        for id in &ids {
            let done = match self.dry_run {
                true => {
                    spool.locate(id)?.map_or(Rescheduled::NotFound, |(_, name)| Rescheduled::From(name.not_before()))
                }
                false => moves::reschedule(&spool, id, at)?,
            };
            let what = match done {
                Rescheduled::NotFound => {
                    say(&format!("{id}: no such message is waiting: distributed, cancelled, or never there"));
                    continue;
                }
                Rescheduled::AlreadyThen => format!("is {then} already"),
                Rescheduled::From(_) if self.dry_run => format!("would be {then}"),
                Rescheduled::From(Some(before)) => format!("is {then} (it was: not before {})", local_time(before.0)),
                Rescheduled::From(None) => format!("is {then}"),
            };
            matched += 1;
            told = told.and_then(|()| writeln!(stdout, "{id}: {what}"));
        }
        if ids.is_empty() {
            say("no message matches");
        }
        told?;
        Ok(if matched > 0 { Exit::Done } else { Exit::Findings })
    }
}
