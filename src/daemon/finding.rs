//! Finding messages: what the hints and the directories say goes to the board, and is told to whoever listens.
//!
//! The scheduler's thread does it. A name that is looked at and has gone was a hint too many; a directory that can't be listed
//! is listed again by the next scan. Flat drops that are found are adopted here. A crash in here loses nothing: the next start
//! scans.

use std::collections::HashMap;
use std::ffi::OsStr;

use tracing::{error, info, warn};

use crate::claim;
use crate::mail::{MessageId, Priority};
use crate::spool::adopt::{self, Adoption};
use crate::spool::disk::{DiskError, Kind, Look};
use crate::spool::layout::{self, Entry, MessageName};

use super::board::{Found, Missing};
use super::clock;
use super::events::Happening;
use super::hints::Hints;
use super::scheduler::Scheduler;

/// Leftovers of producers that died are cleared when they are this old.
const LEFTOVERS: u64 = 24 * 60 * 60;

/// What a name in a priority's directory is.
enum Looked {
    Message(MessageName),
    /// A message file of the flat form.
    Drop,
    /// It has gone.
    Nothing(MessageName),
    Strange,
}

/// Messages that have come to a place, by id.
type Come = HashMap<MessageId, (Priority, MessageName, Found)>;

impl Scheduler {
    /// Names that may have come or gone.
    pub(super) fn follow(&mut self, hints: Hints) {
        let mut adopt = [false; Priority::COUNT];
        // Who has come first: what is urgent waits for nothing, and what has only moved is not forgotten in between.
        let (mut come, mut absent) = (HashMap::new(), Vec::new());
        for (priority, name) in &hints.names {
            if hints.rescan[priority.index()] {
                continue;
            }
            match self.look_at(*priority, name) {
                Ok(Looked::Message(name)) => {
                    let known = self.found(*priority, name.clone());
                    // Of what is held nothing is known here: that it went there was told when it left.
                    let is_told = *priority == Priority::Held && self.shared.board.is_told_held(&name);
                    if known != Found::Known && !is_told {
                        come.insert(name.id.clone(), (*priority, name, known));
                    }
                }
                Ok(Looked::Drop) => adopt[priority.index()] = true,
                Ok(Looked::Nothing(name)) => absent.push((*priority, name)),
                Ok(Looked::Strange) => {}
                Err(error) => error!("{}", error.fate("it is looked at again by the next scan")),
            }
        }
        let missing = |(from, name): (Priority, MessageName)| {
            let missing = from.level().map_or(Missing::Unknown, |level| self.shared.board.missing(&name, level));
            (from, name, missing)
        };
        let mut absent: Vec<(Priority, MessageName, Missing)> = absent.into_iter().map(missing).collect();
        // Of one that moved twice in between it is told from where it was believed to be.
        absent.sort_by_key(|(_, _, missing)| *missing == Missing::Unknown);
        for (from, name, missing) in absent {
            if from == Priority::Held {
                self.shared.board.not_held(&name);
            }
            // The kernel tells of a rename's two sides one after the other, and the second may not have come yet.
            if (missing != Missing::Unknown || from == Priority::Held)
                && !come.contains_key(&name.id)
                && let Some(to) = self.whereabouts(&name)
            {
                let known = self.found(to, name.clone());
                // It is back, or a worker has followed it and told so.
                if known == Found::Known || to == from && known == Found::New {
                    continue;
                }
                come.insert(name.id.clone(), (to, name.clone(), known));
            }
            self.tell_absence(from, name, missing, &mut come);
        }
        for (priority, name, known) in come.into_values() {
            self.tell_presence(priority, name, known);
        }
        for priority in Priority::all() {
            if hints.rescan[priority.index()] {
                self.scan(priority);
            } else if adopt[priority.index()] {
                self.adopt(priority);
            }
        }
    }

    /// One name in a priority's directory.
    fn look_at(&mut self, priority: Priority, name: &OsStr) -> Result<Looked, DiskError> {
        let name = match layout::parse(name) {
            Ok(Entry::Message(name)) => name,
            Ok(Entry::FlatPart(..)) => return Ok(Looked::Strange),
            Err(error) => {
                self.tell_stranger(priority, name, &error.reason);
                return Ok(Looked::Strange);
            }
        };
        Ok(match self.shared.spool.at(priority).look(&name.to_string())? {
            Some(look) if look.kind == Kind::Directory => Looked::Message(name),
            Some(_) => Looked::Drop,
            None => Looked::Nothing(name),
        })
    }

    fn found(&self, priority: Priority, name: MessageName) -> Found {
        // What is held is nobody's work: the board doesn't even hear of it.
        let Priority::At(level) = priority else { return Found::New };
        let id = name.id.clone();
        self.shared.board.not_held(&name);
        let found = self.shared.board.found(name, level, clock::now());
        if found == Found::New {
            info!(message_id = %id, priority = %level, "message has arrived");
        }
        found
    }

    /// At which priority a folder of that name is now.
    fn whereabouts(&self, name: &MessageName) -> Option<Priority> {
        let text = name.to_string();
        let is_there = |look: Option<Look>| look.is_some_and(|look| look.kind == Kind::Directory);
        Priority::all().find(|priority| self.shared.spool.at(*priority).look(&text).is_ok_and(is_there))
    }

    /// Tells that a message is not at `from` any more: where it went, if that was seen in the same look around.
    fn tell_absence(&self, from: Priority, name: MessageName, missing: Missing, come: &mut Come) {
        let message = name.id.clone();
        let there = come.remove(&message);
        let from = match there {
            Some((_, _, Found::From(told))) => told,
            _ => from,
        };
        match there {
            Some((Priority::Held, now, _)) if from != Priority::Held => {
                // A worker that is on it may have seen it at its boundary.
                let is_news = self.shared.board.held(&now);
                if is_news {
                    self.shared.tell_requeued(&now, from, Priority::Held);
                }
            }
            Some((to, now, _)) if to != from => self.shared.tell_requeued(&now, from, to),
            Some((priority, now, _)) => {
                let not_before = now.not_before().map(|at| at.0);
                self.shared.tell(|| Happening::Rescheduled { message, priority, not_before });
            }
            None if missing == Missing::Forgotten || from == Priority::Held => self.shared.tell_gone(&name),
            // A worker is on it, and tells at its boundary.
            None => {}
        }
    }

    fn tell_presence(&self, priority: Priority, name: MessageName, known: Found) {
        let (message, not_before) = (name.id.clone(), name.not_before().map(|at| at.0));
        match known {
            Found::New => self.shared.tell(|| Happening::Arrived { message, priority, not_before }),
            Found::From(from) => {
                self.shared.tell_requeued(&name, from, priority);
            }
            Found::Known => {}
        }
    }

    /// Lists one directory.
    pub(super) fn scan(&mut self, priority: Priority) {
        let entries = match self.shared.spool.at(priority).list() {
            Ok(entries) => entries,
            Err(error) => {
                error!("{}", error.fate("its messages wait until it can be listed"));
                return;
            }
        };
        self.shared.board.begin_look();
        let mut found = Vec::new();
        let mut drops = false;
        for (name, kind) in entries {
            match layout::parse(&name) {
                Ok(Entry::Message(name)) if kind == Kind::Directory => found.push(name),
                Ok(Entry::Message(_)) => drops = true,
                Ok(Entry::FlatPart(..)) => {}
                Err(error) => self.tell_stranger(priority, &name, &error.reason),
            }
        }
        // A directory lists in no order; messages of one second go by their ids then, the same at every start.
        found.sort_unstable_by(|a, b| (a.id.arrival(), &a.id).cmp(&(b.id.arrival(), &b.id)));
        for name in found {
            let known = self.found(priority, name.clone());
            // Those that are held are not known here; who wants to know them lists them.
            if priority != Priority::Held {
                self.tell_presence(priority, name, known);
            }
        }
        if let Priority::At(level) = priority {
            for name in self.shared.board.end_look(level) {
                self.shared.tell_gone(&name);
            }
        }
        if drops {
            self.adopt(priority);
        }
    }

    pub(super) fn scan_drops(&mut self) {
        for priority in Priority::all() {
            if std::mem::take(&mut self.scan_again[priority.index()]) {
                self.adopt(priority);
            }
        }
    }

    fn adopt(&mut self, priority: Priority) {
        let Ok(Some(_turn)) = self.shared.claims.try_turn(&claim::Shared::Incoming) else {
            // Another host is at it, or nobody can be asked.
            self.scan_again[priority.index()] = true;
            return;
        };
        match adopt::adopt(&self.shared.spool, priority, clock::epoch()) {
            Ok(None) => self.scan_again[priority.index()] = true,
            Ok(Some(adoptions)) => {
                for adoption in adoptions {
                    self.adopted(priority, adoption);
                }
            }
            Err(error) => error!("{}", error.fate("flat drops wait where they are for the next scan")),
        }
    }

    fn adopted(&mut self, place: Priority, adoption: Adoption) {
        match adoption {
            Adoption::Adopted(priority, name) => {
                info!(message_id = %name.id, %priority, "flat drop is adopted");
                let known = self.found(priority, name.clone());
                self.tell_presence(priority, name, known);
            }
            Adoption::SetAside(id, why) => warn!(message_id = %id, "flat drop is set aside in bad/: {why}"),
            Adoption::NotYet(_) => self.scan_again[place.index()] = true,
        }
    }

    pub(super) fn tidy(&mut self) {
        // Mostly there is nothing, and nobody need be asked for a turn at it.
        if self.shared.spool.incoming().list().is_ok_and(|left| left.is_empty()) {
            return;
        }
        let Ok(Some(_turn)) = self.shared.claims.try_turn(&claim::Shared::Incoming) else { return };
        match adopt::tidy(&self.shared.spool, clock::epoch(), LEFTOVERS) {
            Ok(adoptions) => {
                for adoption in adoptions {
                    self.adopted(Priority::Held, adoption);
                }
            }
            Err(error) => error!("{}", error.fate("what crashes left under incoming/ stays there until the next scan")),
        }
    }

    /// A name that is none of the grammar's is left alone: it may be a producer's work in progress.
    fn tell_stranger(&mut self, priority: Priority, name: &OsStr, why: &str) {
        // Names that begin with a dot are how producers hide what is not finished.
        if name.as_encoded_bytes().starts_with(b".") || self.told.len() > 1000 {
            return;
        }
        if self.told.insert((priority, name.to_owned())) {
            let name = name.display();
            warn!("distribute/{priority}/{name} is left where it is and not sent: {why}");
        }
    }
}
