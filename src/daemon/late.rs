//! Messages that are too late to be useful: held, with that reason, instead of sent.
//!
//! A restored backup must not send last month's newsletter. When that is, stands in the message's head. It is looked at
//! before each packet and at each boundary, and only where something is left to be sent.

use crate::mail::{Epoch, MessageId, Priority};
use crate::render::head::{self, SpoolHead};
use crate::spool::disk::{DiskError, unless_gone};
use crate::spool::folder::Folder;
use crate::spool::moves::{self, Moved};
use crate::spool::{Result, Spool};

use super::message::OpenMessage;

impl OpenMessage {
    /// Why it must not be sent at `now`, if it is too late for that.
    pub fn is_late(&self, now: Epoch) -> Option<String> {
        let not_after = self.not_after.filter(|&not_after| not_after < now)?;
        let at = i64::try_from(not_after.0).ok().and_then(|at| jiff::Timestamp::from_second(at).ok());
        let at = at.map_or(not_after.to_string(), |at| at.to_string());
        Some(format!("too late: it was not to be sent after {at} (`release` sends it all the same)"))
    }
}

/// Lets a held message go, also one that it is too late for: whoever releases it wants it sent.
pub fn release(spool: &Spool, id: &MessageId, to: Option<Priority>, default: Priority, now: Epoch) -> Result<Moved> {
    lift(spool, id, now).map_err(|error| error.fate("the message stays held"))?;
    moves::release(spool, id, to, default)
}

/// Takes the line that makes it too late out of a held message's head.
fn lift(spool: &Spool, id: &MessageId, now: Epoch) -> std::result::Result<(), DiskError> {
    let Some((Priority::Held, name)) = spool.locate(id)? else { return Ok(()) };
    let Some(folder) = Folder::open(spool, Priority::Held, &name)? else { return Ok(()) };
    let Some(message) = unless_gone(folder.read_message())? else { return Ok(()) };
    // What can't be read is set aside once it is released.
    match head::split(&message) {
        Ok((head, rest)) if head.not_after.is_some_and(|not_after| not_after < now) => {
            let head = head::print(&SpoolHead { not_after: None, ..head });
            folder.replace_message(spool, &[&head, rest].concat())
        }
        _ => Ok(()),
    }
}
