//! What operators do by keys: the commands' moves, and their way back.

use super::super::person;
use super::super::words;
use crate::daemon::mended::{self, Stays};
use crate::daemon::settings::Settings;
use crate::daemon::{clock, late};
use crate::mail::{Epoch, MessageId, Priority};
use crate::spool::bad::EntryName;
use crate::spool::disk::{Disk, DiskError};
use crate::spool::layout::{HELD, PauseName};
use crate::spool::moves::{self, Cancelled, Moved, Rest};
use crate::spool::note::Note;
use crate::spool::pause::{self, Pause};
use crate::spool::{Spool, bad, running};

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Act {
    Requeue(MessageId, Priority),
    Hold(MessageId, String),
    Release(MessageId),
    Cancel(MessageId, String),
    Pause(PauseName, String),
    Resume(PauseName),
    Undo,
}

/// What became of it, for people; the error is what keeps it from being done.
pub type Told = Result<String, String>;

/// Does it, and remembers how it is undone.
pub struct Hands {
    settings: Settings,
    done: Vec<Way>,
}

/// The way back.
enum Way {
    /// It stands at `to`, where it was brought from `from`; it may have been held there.
    Moved {
        id: MessageId,
        from: Priority,
        to: Priority,
        note: Option<Note>,
    },
    Cancelled {
        id: MessageId,
        from: Priority,
        since: Epoch,
        by: String,
        why: String,
    },
    Paused(PauseName, Option<Pause>),
    Resumed(PauseName, Pause),
}

impl Hands {
    pub fn new(settings: Settings) -> Hands {
        Hands { settings, done: Vec::new() }
    }

    pub fn act(&mut self, act: Act) -> Told {
        self.try_to(act).unwrap_or_else(|error| Err(error.to_string()))
    }

    /// As each command does, it opens the spool anew: it may be another one by now.
    fn spool(&self) -> Result<Spool, DiskError> {
        Spool::open(&Disk::default(), &self.settings.spool)
    }

    fn try_to(&mut self, act: Act) -> Result<Told, DiskError> {
        let (spool, now, by) = (self.spool()?, clock::epoch(), person());
        Ok(match act {
            Act::Requeue(id, to) => {
                let note = note(&spool, &id)?;
                self.moved(id.clone(), note, moves::requeue(&spool, &id, to)?)
            }
            Act::Hold(id, why) => self.moved(id.clone(), None, moves::hold(&spool, &id, now, &by, &why)?),
            Act::Release(id) => {
                let note = note(&spool, &id)?;
                let default = self.settings.inject.priority;
                self.moved(id.clone(), note, late::release(&spool, &id, None, default, now)?)
            }
            Act::Cancel(id, why) => match moves::cancel(&spool, &id, now, &by, &why, Rest::Keep)? {
                None => Err(gone(&id)),
                Some(Cancelled { from, .. }) => {
                    let told = format!("{id}: cancelled at {from}; the rest is in bad/");
                    self.done.push(Way::Cancelled { id, from, since: now, by, why });
                    Ok(told)
                }
            },
            Act::Pause(name, why) => {
                let before = paused(&spool, &name, now)?;
                let by = format!("{by}@{}", running::host());
                pause::pause(&spool, &name, &Pause { since: now.0, by, why, until: None })?;
                let text = format!("{} is paused until it is resumed", words::paused(&name));
                self.done.push(Way::Paused(name, before));
                Ok(text)
            }
            Act::Resume(name) => {
                let before = paused(&spool, &name, now)?;
                if !pause::resume(&spool, &name)? {
                    return Ok(Err(format!("{} is not paused", words::paused(&name))));
                }
                let text = format!("{} is resumed", words::paused(&name));
                self.done.extend(before.map(|before| Way::Resumed(name, before)));
                Ok(text)
            }
            Act::Undo => match self.done.pop() {
                None => Err("nothing is left to undo".into()),
                Some(way) => undo(&spool, way, now, &by)?.map(|told| format!("undone: {told}")),
            },
        })
    }

    fn moved(&mut self, id: MessageId, note: Option<Note>, moved: Moved) -> Told {
        match moved {
            Moved::Moved { from, to } => {
                let told = format!("{id}: moved from {from} to {to}");
                self.done.push(Way::Moved { id, from, to, note });
                Ok(told)
            }
            Moved::AlreadyThere(at) => Err(format!("{id}: is at {at} already")),
            Moved::NotFound => Err(gone(&id)),
        }
    }
}

fn gone(id: &MessageId) -> String {
    format!("{id}: no such message is waiting: distributed, cancelled, or never there")
}

/// Why it is held, if it is.
fn note(spool: &Spool, id: &MessageId) -> Result<Option<Note>, DiskError> {
    let Some((Priority::Held, name)) = spool.locate(id)? else { return Ok(None) };
    Ok(spool.at(Priority::Held).open_dir(&name.to_string()).ok().and_then(|dir| Note::read(&dir, HELD)))
}

fn paused(spool: &Spool, name: &PauseName, now: Epoch) -> Result<Option<Pause>, DiskError> {
    Ok(pause::list(spool, now)?.into_iter().find(|paused| paused.name == *name).and_then(|paused| paused.pause))
}

fn undo(spool: &Spool, way: Way, now: Epoch, by: &str) -> Result<Told, DiskError> {
    Ok(match way {
        Way::Moved { id, from, to, note } => {
            match spool.locate(&id)? {
                None => return Ok(Err(gone(&id))),
                Some((at, _)) if at != to => return Ok(Err(format!("{id}: not undone, it is at {at} by now"))),
                Some(_) => {}
            }
            let moved = match (from, note) {
                (Priority::Held, Some(note)) => moves::hold(spool, &id, Epoch(note.since), &note.by, &note.why)?,
                (Priority::Held, None) => moves::hold(spool, &id, now, by, "held again")?,
                (from, _) => moves::requeue(spool, &id, from)?,
            };
            match moved {
                Moved::Moved { from, to } => Ok(format!("{id}: moved from {from} to {to}")),
                Moved::AlreadyThere(at) => Err(format!("{id}: is at {at} already")),
                Moved::NotFound => Err(gone(&id)),
            }
        }
        Way::Cancelled { id, from, since, by, why } => {
            let it = |entry: bad::Entry| {
                let name: EntryName = entry.name.parse().ok()?;
                let note = entry.note?;
                (*name.id() == id && note.since == since.0 && note.by == by && note.why == why).then_some(name)
            };
            let result = match bad::list(spool)?.into_iter().find_map(it) {
                Some(entry) => mended::retry(spool, &entry, Some(from), from, now)?,
                None => Err(Stays::Gone),
            };
            match result {
                Ok(to) => Ok(format!("{id}: put back to {to}")),
                Err(Stays::Gone) => Err(format!("{id}: not undone, it is not in bad/ any more")),
                Err(Stays::Broken(obstacles)) => Err(format!("{id}: stays in bad/: {}", obstacles.join("; "))),
            }
        }
        Way::Paused(name, before) => {
            match &before {
                Some(before) => pause::pause(spool, &name, before)?,
                None => drop(pause::resume(spool, &name)?),
            }
            Ok(format!("{} is {}", words::paused(&name), if before.is_some() { "paused as before" } else { "resumed" }))
        }
        Way::Resumed(name, before) => {
            pause::pause(spool, &name, &before)?;
            Ok(format!("{} is paused again", words::paused(&name)))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "l@x.org.1700000000.1";

    fn hands() -> (tempfile::TempDir, Hands, impl Fn() -> Option<String>) {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::create(&Disk::default(), dir.path()).unwrap();
        let place = dir.path().join("distribute/5").join(ID);
        std::fs::create_dir(&place).unwrap();
        std::fs::write(place.join("message"), "Subject: a\n\n").unwrap();
        std::fs::write(place.join("recipients.mail.0001"), "a@x.org\n").unwrap();
        let hands = Hands::new(Settings { spool: dir.path().to_owned(), ..Settings::default() });
        let at = move || Some(spool.locate(&ID.parse().unwrap()).unwrap()?.0.to_string());
        (dir, hands, at)
    }

    #[test]
    fn each_move_is_undone_and_the_last_one_first() {
        let (dir, mut hands, at) = hands();
        let id: MessageId = ID.parse().unwrap();
        let (list, level) = (PauseName::List("l@x.org".into()), "2".parse().unwrap());
        let steps = [
            (Act::Requeue(id.clone(), level), Some("2"), false),
            (Act::Hold(id.clone(), "ask the dean".into()), Some("z"), false),
            (Act::Release(id.clone()), Some("2"), false),
            (Act::Pause(list.clone(), "a test".into()), Some("2"), true),
            (Act::Resume(list), Some("2"), false),
            (Act::Cancel(id, "a mistake".into()), None, false),
        ];
        let paused = || dir.path().join("paused/list:l@x.org").exists();
        let mut states = vec![(at(), paused())];
        for (act, stands, is_paused) in steps {
            hands.act(act).unwrap();
            states.push((at(), paused()));
            assert_eq!(states.last().unwrap(), &(stands.map(str::to_owned), is_paused));
        }
        states.pop();
        while let Some(before) = states.pop() {
            assert!(hands.act(Act::Undo).unwrap().starts_with("undone: "));
            assert_eq!((at(), paused()), before);
            if before.0.as_deref() == Some("z") {
                let held = std::fs::read_to_string(dir.path().join("distribute/z").join(ID).join("held")).unwrap();
                assert!(held.contains("ask the dean"), "{held}");
            }
        }
        assert!(hands.act(Act::Undo).is_err());
    }

    #[test]
    fn what_has_moved_since_is_left_where_it_is() {
        let (_keep, mut hands, at) = hands();
        let id: MessageId = ID.parse().unwrap();
        hands.act(Act::Requeue(id.clone(), "2".parse().unwrap())).unwrap();
        moves::requeue(&hands.spool().unwrap(), &id, "7".parse().unwrap()).unwrap();
        assert!(hands.act(Act::Undo).unwrap_err().contains("it is at 7 by now"));
        assert_eq!(at().as_deref(), Some("7"));
        assert!(
            hands.act(Act::Hold("m@x.org.1.1".parse().unwrap(), "x".into())).unwrap_err().contains("no such message")
        );
    }
}
