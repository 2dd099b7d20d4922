//! What operators do to messages: requeue, reschedule, hold, release, cancel. Each is one rename(2) of the folder, atomic and of
//! constant cost, whether or not a scheduler is running and also while workers send from it: they see it at the next
//! boundary.
//!
//! A crash before the rename has changed nothing but a note; after it, all is done.

use crate::mail::{Epoch, MessageId, Priority};

use super::disk::{DiskError, Result, unless_gone};
use super::layout::{self, MessageName};
use super::note::Note;
use super::{Spool, draft, set_aside};

/// What became of a move.
#[derive(Debug, PartialEq, Eq)]
pub enum Moved {
    Moved {
        from: Priority,
        to: Priority,
    },
    AlreadyThere(Priority),
    /// No message of that id is below `distribute/`: distributed, cancelled, or never there.
    NotFound,
}

/// Moves a message to another priority. To hold one, use [`hold`]: it keeps the reason.
pub fn requeue(spool: &Spool, id: &MessageId, to: Priority) -> Result<Moved> {
    relocate(spool, id, |_, _| Ok(Some(to)))
}

/// Holds a message: it stays in `z` until it is released. `note.from` is filled in.
pub fn hold(spool: &Spool, id: &MessageId, now: Epoch, by: &str, why: &str) -> Result<Moved> {
    relocate(spool, id, |from, name| {
        if from != Priority::Held {
            let Some(dir) = unless_gone(spool.at(from).open_dir(&name.to_string()))? else { return Ok(None) };
            Note::new(now, by, why, from).write(&dir, layout::HELD)?;
        }
        Ok(Some(Priority::Held))
    })
}

/// Lets a held message go: to `to`, else to where it was before, else to `default`.
pub fn release(spool: &Spool, id: &MessageId, to: Option<Priority>, default: Priority) -> Result<Moved> {
    relocate(spool, id, |from, name| {
        if from != Priority::Held {
            return Ok(Some(from));
        }
        let Some(dir) = unless_gone(spool.at(from).open_dir(&name.to_string()))? else { return Ok(None) };
        let before = Note::read(&dir, layout::HELD).and_then(|note| note.from_priority());
        Ok(Some(to.or(before.filter(|&before| before != Priority::Held)).unwrap_or(default)))
    })
}

/// Moves the message to where `decide` says, once it is found; `None` from `decide`: it moved meanwhile, look again.
fn relocate(
    spool: &Spool,
    id: &MessageId,
    decide: impl Fn(Priority, &MessageName) -> Result<Option<Priority>>,
) -> Result<Moved> {
    const FATE: &str = "the message stays where it is";
    // Losing a race against another move is an ordinary answer; each turn needs one more of them.
    loop {
        let Some((from, name)) = spool.locate(id)? else { return Ok(Moved::NotFound) };
        let Some(to) = decide(from, &name).map_err(|error| error.fate(FATE))? else { continue };
        if to == from {
            return Ok(Moved::AlreadyThere(to));
        }
        let text = name.to_string();
        if unless_gone(spool.at(from).rename(&text, spool.at(to), &text)).map_err(|error| error.fate(FATE))?.is_none() {
            continue;
        }
        // What was held is not any more; a note left by a crash here is overwritten by the next hold.
        if from == Priority::Held
            && let Some(dir) = unless_gone(spool.at(to).open_dir(&text))?
        {
            unless_gone(dir.remove(layout::HELD))?;
        }
        let unsure = |error: DiskError| error.fate("the message has been moved, but a power loss now may undo that");
        spool.at(to).sync().map_err(unsure)?;
        return Ok(Moved::Moved { from, to });
    }
}

/// What became of a message's time.
#[derive(Debug, PartialEq, Eq)]
pub enum Rescheduled {
    /// It was not to be sent before that time; none: it was to be sent at once.
    From(Option<Epoch>),
    /// It has that time already.
    AlreadyThen,
    NotFound,
}

/// Gives a message another time, before which it is not sent; `None`: it is sent at once. One rename within its priority,
/// also of one that is being sent: what is left of it waits.
pub fn reschedule(spool: &Spool, id: &MessageId, not_before: Option<Epoch>) -> Result<Rescheduled> {
    const FATE: &str = "the message keeps its time";
    loop {
        let Some((at, name)) = spool.locate(id)? else { return Ok(Rescheduled::NotFound) };
        if name.not_before() == not_before {
            return Ok(Rescheduled::AlreadyThen);
        }
        let (from, to) = (name.to_string(), MessageName::new(id.clone(), not_before).to_string());
        let place = spool.at(at);
        if unless_gone(place.rename(&from, place, &to)).map_err(|error| error.fate(FATE))?.is_none() {
            continue;
        }
        let unsure = "the message has its new time, but a power loss now may undo that";
        place.sync().map_err(|error| error.fate(unsure))?;
        return Ok(Rescheduled::From(name.not_before()));
    }
}

/// What becomes of a cancelled message's undelivered rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rest {
    /// It goes to `bad/` with the reason.
    Keep,
    /// It is deleted.
    Purge,
}

/// What became of a message that was cancelled.
#[derive(Debug, PartialEq, Eq)]
pub struct Cancelled {
    /// Where it stood.
    pub from: Priority,
    /// What its rest is called in `bad/`, where it is kept.
    pub entry: Option<String>,
}

/// Cancels a message: whoever has not got it doesn't get it, but for transactions in flight. `None`: it is not below
/// `distribute/`.
pub fn cancel(spool: &Spool, id: &MessageId, now: Epoch, by: &str, why: &str, rest: Rest) -> Result<Option<Cancelled>> {
    loop {
        let Some((from, name)) = spool.locate(id)? else { return Ok(None) };
        let Some(entry) = set_aside::message(spool, from, &name, &Note::new(now, by, why, from))? else { continue };
        if rest == Rest::Purge {
            let purge = || draft::discard(spool.bad(), &entry);
            // A worker in flight may add a retry packet between listing and removal; its next write finds no folder.
            purge()
                .or_else(|_| purge())
                .map_err(|error| error.fate("the message is cancelled; what is left of it lies in bad/"))?;
        }
        return Ok(Some(Cancelled { from, entry: (rest == Rest::Keep).then_some(entry) }));
    }
}
