//! What requeue, hold, release and cancel share: go through the messages, say of each what became of it.

use std::io::Write;

use super::{CliError, Exit, say};
use crate::mail::MessageId;
use crate::spool::moves::Moved;
use crate::spool::{Result, Spool};

/// Does `act` to each message; exit code 1 if none was there.
pub fn each(
    spool: &Spool,
    ids: &[MessageId],
    dry_run: bool,
    act: impl Fn(&MessageId) -> Result<Moved>,
) -> std::result::Result<Exit, CliError> {
    let mut stdout = std::io::stdout().lock();
    // Whether anybody reads what became of them has no say in what becomes of them.
    let mut told = Ok(());
    let mut matched = 0;
    for id in ids {
        if dry_run && spool.locate(id)?.is_some() {
            matched += 1;
            told = told.and_then(|()| writeln!(stdout, "{id}: would be moved"));
            continue;
        }
        match if dry_run { Moved::NotFound } else { act(id)? } {
            Moved::Moved { from, to } => {
                matched += 1;
                told = told.and_then(|()| writeln!(stdout, "{id}: moved from {from} to {to}"));
            }
            Moved::AlreadyThere(at) => {
                matched += 1;
                told = told.and_then(|()| writeln!(stdout, "{id}: is at {at} already"));
            }
            Moved::NotFound => {
                say(&format!("{id}: no such message is waiting: distributed, cancelled, or never there"));
            }
        }
    }
    if ids.is_empty() {
        say("no message matches");
    }
    told?;
    Ok(if matched > 0 { Exit::Done } else { Exit::Findings })
}
