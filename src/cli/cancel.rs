//! `sympa-dist cancel`: whoever has not got the message doesn't get it.
//!
//! What is left of it goes to `bad/` with the reason, where it can be looked at; `--purge` deletes it. Transactions in
//! flight end.

use std::io::{BufRead, IsTerminal, Write};

use clap::Args;

use super::selection::Selection;
use super::{CliError, Exit, Global, person};
use crate::daemon::clock;
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
            eprintln!("sympa-dist: no message matches");
            return Ok(Exit::Findings);
        }
        let mut stdout = std::io::stdout().lock();
        if self.dry_run {
            for id in &ids {
                writeln!(stdout, "{id}: would be cancelled")?;
            }
            return Ok(Exit::Done);
        }
        if !self.yes && !self.is_confirmed(ids.len())? {
            eprintln!("sympa-dist: nothing was cancelled");
            return Ok(Exit::Findings);
        }
        let rest = if self.purge { Rest::Purge } else { Rest::Keep };
        let mut cancelled = 0;
        for id in &ids {
            match moves::cancel(&spool, id, clock::epoch(), &person(), &self.reason, rest)? {
                Some(from) => {
                    cancelled += 1;
                    let left = if self.purge { "the rest is deleted" } else { "the rest is in bad/" };
                    writeln!(stdout, "{id}: cancelled at {from}; {left}")?;
                }
                None => {
                    eprintln!("sympa-dist: {id}: no such message is waiting: distributed, cancelled, or never there")
                }
            }
        }
        Ok(if cancelled > 0 { Exit::Done } else { Exit::Findings })
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
