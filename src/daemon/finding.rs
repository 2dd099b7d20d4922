//! Finding messages: what the hints and the directories say goes to the board, and is told to whoever listens.
//!
//! The scheduler's thread does it. A name that is looked at and has gone was a hint too many; a directory that can't be listed
//! is listed again by the next scan. Flat drops that are found are adopted here. A crash in here loses nothing: the next start
//! scans.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use crate::claim;
use crate::mail::{MessageId, Priority};
use crate::schedule::Key;
use crate::spool::adopt::{self, Adoption};
use crate::spool::disk::{DiskError, Kind, Look};
use crate::spool::layout::{self, Entry, MessageName};

use super::board::{Found, Missing};
use super::clock;
use super::hints::{Hints, Spot};
use super::register::Away;
use super::scheduler::Scheduler;
use super::shared::Shared;
use super::way::Ways;

#[cfg(test)]
mod tests;

/// Leftovers of producers that died are cleared when they are this old.
const LEFTOVERS: u64 = 24 * 60 * 60;
/// How long the other half of a rename is waited for before a message is said to have gone. The kernel tells of both
/// one right behind the other.
const HALF: Duration = Duration::from_secs(1);
/// The same where directories are polled, and the halves are seen by one look and the next.
const LONGEST_HALF: Duration = Duration::from_secs(600);
/// Messages that are not where they were, and are looked for elsewhere, at a time: eleven looks each.
const MOST_LOOKED_FOR: usize = 100;

/// What a name in a priority's directory is.
enum Looked {
    Message(MessageName),
    /// A message file of the flat form.
    Drop,
    /// It has gone.
    Nothing(MessageName),
    Strange,
}

/// What one look around has found.
#[derive(Default)]
struct Seen {
    ways: Ways,
    /// Messages that are somewhere else than they were told to be, and those of which the kernel told a way.
    come: HashMap<MessageId, Came>,
    /// Messages that are not where they were believed to be.
    left: Vec<Left>,
    /// There was none before it: whatever is not known has come.
    is_first: bool,
    /// Directories in which a message file of the flat form was seen.
    drops: [bool; Priority::COUNT],
}

struct Came {
    /// Where it was told to be. `None`: nowhere, under this name.
    from: Option<Spot>,
    to: Spot,
}

struct Left {
    from: Spot,
    /// A worker is on it, and tells at its boundary where it went if nobody else has.
    is_in_hands: bool,
}

impl Seen {
    fn has_come(&mut self, found: Found, to: Spot) {
        use std::collections::hash_map::Entry;

        match self.come.entry(to.name.id.clone()) {
            // It has moved on while this look around went on.
            Entry::Occupied(mut came) => came.get_mut().to = to,
            Entry::Vacant(place) => {
                let from = match found {
                    Found::New => None,
                    Found::Known => Some(to.clone()),
                    Found::From(priority) => Some(Spot { priority, ..to.clone() }),
                };
                place.insert(Came { from, to });
            }
        }
    }
}

impl Scheduler {
    /// Names that may have come or gone, and directories to be listed.
    pub(super) fn follow(&mut self, hints: Hints) {
        let lists = hints.rescan.contains(&true);
        let is_first = !std::mem::replace(&mut self.has_looked, true);
        let mut seen = Seen { is_first, ..Seen::default() };
        if lists {
            self.shared.board.begin_look();
        }
        // Who has come first: what is urgent waits for nothing, and what has only moved is not forgotten in between.
        let (mut present, mut absent) = (Vec::new(), Vec::new());
        for (priority, name) in &hints.names {
            if hints.rescan[priority.index()] {
                continue;
            }
            match self.look_at(*priority, name) {
                Ok(Looked::Message(name)) => {
                    let to = Spot { priority: *priority, name };
                    present.push((self.shared.found(&to), to));
                }
                Ok(Looked::Drop) => seen.drops[priority.index()] = true,
                Ok(Looked::Nothing(name)) => absent.push(Spot { priority: *priority, name }),
                Ok(Looked::Strange) => {}
                Err(error) => error!("{}", error.fate("it is looked at again by the next scan")),
            }
        }
        seen.ways = Ways::of(hints.steps);
        present.into_iter().for_each(|(found, to)| self.note(found, to, &mut seen));
        let rescan = Priority::all().filter(|priority| hints.rescan[priority.index()]);
        let listed: Vec<Priority> = rescan.filter(|priority| self.list(*priority, &mut seen)).collect();
        for from in absent {
            let is_in_hands = match from.priority {
                Priority::At(level) => match self.shared.board.missing(&from.name, level) {
                    Missing::Unknown => continue,
                    Missing::Busy => true,
                    Missing::Forgotten => false,
                },
                Priority::Held if self.shared.board.missing_held(&from.name) => false,
                Priority::Held => continue,
            };
            seen.left.push(Left { from, is_in_hands });
        }
        for priority in listed {
            let unseen = match priority {
                Priority::At(level) => self.shared.board.end_look(level),
                Priority::Held => self.shared.board.end_look_at_held(),
            };
            seen.left.extend(unseen.into_iter().map(|name| Left { from: Spot { priority, name }, is_in_hands: false }));
        }
        let strays = self.shared.board.take_strays().into_iter();
        let stray = |(level, name)| Left { from: Spot { priority: Priority::At(level), name }, is_in_hands: false };
        seen.left.extend(strays.map(stray));
        let drops = seen.drops;
        self.tell_of(seen);
        for priority in Priority::all().filter(|priority| drops[priority.index()]) {
            self.adopt(priority);
        }
    }

    /// All directories: what is found, and what is found no more.
    pub(super) fn scan(&mut self) {
        let mut hints = Hints::default();
        hints.everything();
        self.follow(hints);
    }

    /// Takes down what is to be told of a message that was found.
    fn note(&self, found: Found, to: Spot, seen: &mut Seen) {
        if seen.is_first && found == Found::New {
            // There may be a million.
            return self.shared.tell_way(vec![(None, to)]);
        }
        let id = &to.name.id;
        if found != Found::Known || seen.ways.has(id) || self.missed.has(id) {
            seen.has_come(found, to);
        }
    }

    /// Tells the ways of all that have moved.
    fn tell_of(&mut self, mut seen: Seen) {
        let mut before = HashMap::new();
        let (mut gone, mut looked_for) = (Vec::new(), 0);
        for Left { from, is_in_hands } in std::mem::take(&mut seen.left) {
            let id = from.name.id.clone();
            if !seen.come.contains_key(&id) && looked_for < MOST_LOOKED_FOR {
                looked_for += 1;
                if let Some(to) = self.whereabouts(&from.name) {
                    seen.has_come(self.shared.found(&to), to);
                }
            }
            match seen.come.get(&id) {
                Some(came) => {
                    if is_in_hands && came.to.name != from.name {
                        self.shared.board.renamed(&from);
                    }
                    before.insert(id, from);
                }
                None if !is_in_hands => gone.push(from),
                None => {}
            }
        }
        let Seen { mut ways, come, .. } = seen;
        for (id, Came { from, to }) in come {
            let missed = self.missed.remove(&id);
            let from = from.or(before.remove(&id)).or(missed).or_else(|| self.renamed(&to.name));
            let legs = ways.take(&id, from, Some(to.clone()));
            self.shared.tell_way(legs);
            // Also of one that is where it was.
            self.shared.board.came(&to.name, || ());
        }
        // What was missed before may have gone on.
        gone.extend(ways.ids().filter_map(|id| self.missed.remove(id)));
        let due = Instant::now() + self.half();
        for from in gone {
            let legs = ways.take(&from.name.id, Some(from.clone()), None);
            let last = legs.last().map_or(from, |(_, to)| to.clone());
            self.shared.tell_way(legs);
            self.missed.insert(last, due);
        }
    }

    /// How long a message is missed before it is said to have gone.
    fn half(&self) -> Duration {
        let current = self.shared.current();
        let look = current.settings.watch.interval.min(current.settings.run.rescan);
        let poll = self.poll.as_ref().map(|_| look.saturating_mul(2).min(LONGEST_HALF));
        HALF + poll.unwrap_or_default()
    }

    /// Nothing was heard of some messages any more: looks once more, and tells.
    pub(super) fn give_up_missed(&mut self) {
        let now = Instant::now();
        for _ in 0..MOST_LOOKED_FOR {
            let Some(last) = self.missed.take_due(now) else { return };
            match self.whereabouts(&last.name) {
                Some(to) => {
                    let from = match self.shared.found(&to) {
                        Found::From(priority) => Spot { priority, ..to.clone() },
                        Found::New | Found::Known => last,
                    };
                    self.shared.tell_way(Ways::default().take(&to.name.id.clone(), Some(from), Some(to.clone())));
                    self.shared.board.came(&to.name, || ());
                }
                None => self.shared.tell_gone(&last.name),
            }
        }
    }

    /// Where the message of that name was under another one, if it is not there any more.
    fn renamed(&self, name: &MessageName) -> Option<Spot> {
        let was = self.shared.board.other(name)?;
        if self.shared.spool.at(was.priority).look(&was.name.to_string()).map_or(true, |look| look.is_some()) {
            return None;
        }
        self.shared.board.renamed(&was);
        Some(was)
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

    /// Where a folder of that name is now.
    fn whereabouts(&self, name: &MessageName) -> Option<Spot> {
        let text = name.to_string();
        let is_there = |look: Option<Look>| look.is_some_and(|look| look.kind == Kind::Directory);
        let found = Priority::all().find(|priority| self.shared.spool.at(*priority).look(&text).is_ok_and(is_there));
        found.map(|priority| Spot { priority, name: name.clone() })
    }

    /// Lists one directory. `false`: it can't be listed.
    fn list(&mut self, priority: Priority, seen: &mut Seen) -> bool {
        let entries = match self.shared.spool.at(priority).list() {
            Ok(entries) => entries,
            Err(error) => {
                error!("{}", error.fate("its messages wait until it can be listed"));
                return false;
            }
        };
        let mut found = Vec::new();
        for (name, kind) in entries {
            match layout::parse(&name) {
                Ok(Entry::Message(name)) if kind == Kind::Directory => found.push(name),
                Ok(Entry::Message(_)) => seen.drops[priority.index()] = true,
                Ok(Entry::FlatPart(..)) => {}
                Err(error) => self.tell_stranger(priority, &name, &error.reason),
            }
        }
        // A directory lists in no order; messages of one second go by their ids then, the same at every start.
        found.sort_unstable_by(|a, b| (a.id.arrival(), &a.id).cmp(&(b.id.arrival(), &b.id)));
        for name in found {
            let to = Spot { priority, name };
            self.note(self.shared.found(&to), to, seen);
        }
        true
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
                self.shared.tell_way(match self.shared.found(&Spot { priority, name: name.clone() }) {
                    Found::New => vec![(None, Spot { priority, name })],
                    Found::Known | Found::From(_) => Vec::new(),
                });
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

impl Shared {
    /// Says to the board where a message is.
    fn found(&self, at: &Spot) -> Found {
        // What is held is nobody's work.
        let Priority::At(level) = at.priority else { return self.board.found_held(&at.name) };
        let found = self.board.found(at.name.clone(), level, clock::now());
        let id = &at.name.id;
        match found {
            Found::New => info!(message_id = %id, priority = %level, "message has arrived"),
            Found::From(Priority::Held) => info!(message_id = %id, priority = %level, "message is released"),
            Found::From(Priority::At(_)) | Found::Known => {}
        }
        found
    }

    /// The message that a worker is on has another name, and perhaps another place: to the board it is another message
    /// from now on. Tells so, if nobody has.
    pub(super) fn met_elsewhere(&self, key: Key, was: Spot, is: Spot) {
        let is_news = self.found(&is) == Found::New;
        // Whoever else works on it has nothing to tell of its going.
        self.board.left(key, Away::Gone);
        if is_news {
            self.tell_way(vec![(Some(was), is)]);
        }
    }
}
