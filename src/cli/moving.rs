//! What requeue, hold, release and cancel share: go through the messages, say of each what became of it.

use std::io::Write;

use super::{CliError, Exit};
use crate::mail::MessageId;
use crate::spool::Result;
use crate::spool::moves::Moved;

/// Does `act` to each message; exit code 1 if none was there.
pub fn each(
    ids: &[MessageId],
    dry_run: bool,
    act: impl Fn(&MessageId) -> Result<Moved>,
) -> std::result::Result<Exit, CliError> {
    let mut stdout = std::io::stdout().lock();
    let mut matched = 0;
    for id in ids {
        if dry_run {
            matched += 1;
            writeln!(stdout, "{id}: would be moved")?;
            continue;
        }
        match act(id)? {
            Moved::Moved { from, to } => {
                matched += 1;
                writeln!(stdout, "{id}: moved from {from} to {to}")?;
            }
            Moved::AlreadyThere(at) => {
                matched += 1;
                writeln!(stdout, "{id}: is at {at} already")?;
            }
            Moved::NotFound => {
                eprintln!("sympa-dist: {id}: no such message is waiting: distributed, cancelled, or never there")
            }
        }
    }
    if ids.is_empty() {
        eprintln!("sympa-dist: no message matches");
    }
    Ok(if matched > 0 { Exit::Done } else { Exit::Findings })
}
