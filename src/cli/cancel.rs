//! `sympa-dist cancel`: whoever has not got the message doesn't get it.
//!
//! What is left of it goes to `bad/` with the reason, where it can be looked at; `--purge` deletes it. Transactions in
//! flight end.

use std::io::{BufRead, IsTerminal, Write};

use clap::Args;

use super::selection::Selection;
use super::{CliError, Exit, Global, person, say};
use crate::daemon::clock;
use crate::mail::MessageId;
use crate::spool::Spool;
use crate::spool::moves::{self, Rest};

/// Cancels messages: whoever has not got them doesn't
#[derive(Args, Debug)]
pub struct Cancel {
    #[command(flatten)]
    messages: Selection,
    /// For whoever finds the rest in bad/
    #[arg(long, value_name = "TEXT", default_value = "cancelled by hand")]
    reason: String,
    /// Don't ask
    #[arg(long)]
    yes: bool,
    /// Delete what is left, instead of keeping it in bad/
    #[arg(long)]
    purge: bool,
    /// Only say what would be cancelled
    #[arg(long)]
    dry_run: bool,
}

impl Cancel {
    pub fn run(self, global: &Global) -> Result<Exit, CliError> {
        let spool = global.open_spool()?;
        let ids = self.messages.of(&spool)?;
        if ids.is_empty() {
            say("no message matches");
            return Ok(Exit::Findings);
        }
        if !self.dry_run && !self.yes && !self.is_confirmed(ids.len())? {
            say("nothing was cancelled");
            return Ok(Exit::Findings);
        }
        let mut stdout = std::io::stdout().lock();
        // Whether anybody reads what became of them has no say in what becomes of them.
        let mut told = Ok(());
        let mut matched = 0;
        for id in &ids {
            match self.cancel(&spool, id)? {
                Some(what) => {
                    matched += 1;
                    told = told.and_then(|()| writeln!(stdout, "{id}: {what}"));
                }
                None => say(&format!("{id}: no such message is waiting: distributed, cancelled, or never there")),
            }
        }
        told?;
        Ok(if matched > 0 { Exit::Done } else { Exit::Findings })
    }

    /// Says what became of it, or would; `None`: it is not there.
    fn cancel(&self, spool: &Spool, id: &MessageId) -> Result<Option<String>, CliError> {
        if self.dry_run {
            return Ok(spool.locate(id)?.map(|_| "would be cancelled".into()));
        }
        let (rest, left) = match self.purge {
            true => (Rest::Purge, "the rest is deleted"),
            false => (Rest::Keep, "the rest is in bad/"),
        };
        let cancelled = moves::cancel(spool, id, clock::epoch(), &person(), &self.reason, rest)?;
        Ok(cancelled.map(|cancelled| format!("cancelled at {}; {left}", cancelled.from)))
    }

    fn is_confirmed(&self, count: usize) -> Result<bool, CliError> {
        if !std::io::stdin().is_terminal() {
            return Err(CliError::Usage(
                "there is no terminal to ask on: --yes says that it is meant; nothing was cancelled".into(),
            ));
        }
        let what = if self.purge { "and delete what is left of them" } else { "and keep what is left of them in bad/" };
        let mut stderr = std::io::stderr().lock();
        write!(stderr, "cancel {count} message{} {what}? [y/N] ", if count == 1 { "" } else { "s" })?;
        stderr.flush()?;
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer)?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
    }
}
