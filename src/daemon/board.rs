//! Where workers and the scheduler thread meet: the backlog behind one lock, and the messages that are held open.
//!
//! The lock is held for a decision (well under a microsecond with a million messages) and never across a file, a socket
//! or a log line. Decisions themselves are [`crate::schedule`]'s; this adds the names, the waiting and the waking.

mod held;
mod paused;
#[cfg(test)]
mod tests;
mod told;

use std::collections::{HashMap, HashSet, VecDeque};
use std::num::NonZero;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::mail::{Epoch, Level, MessageId, Moment, Priority};
use crate::schedule::{Arrival, Backlog, Boundary, Group, Key, Policy};
use crate::spool::layout::MessageName;

use self::held::Held;
use super::clock;
use super::crew::Crew;
use super::hints::Spot;
use super::message::OpenMessage;
use super::pauses::InForce;
use super::register::{Away, Register};

/// See the module.
pub struct Board {
    inner: Mutex<Inner>,
    /// Workers without work wait here, each crew by itself.
    work: [Condvar; Crew::COUNT],
    /// Workers that can't work wait here: a packet's arrival is nothing to them.
    relief: Condvar,
}

struct Inner {
    backlog: Backlog,
    known: Register,
    /// Those that sleep since they are paused, or outside their list's windows.
    paused: HashSet<Key>,
    pauses: Arc<InForce>,
    waiting: [Waiting; Crew::COUNT],
    held: Held,
    /// Messages that a worker was to open and did not find where they were believed to be.
    strays: Vec<(Level, MessageName)>,
    /// Messages that workers told of before the scheduler's thread did: see [`told`].
    told: HashSet<MessageId>,
    /// Counts looks at directories.
    look: u32,
    list_limit: ListLimit,
    /// Lists that have, or had, a limit.
    groups: HashMap<Box<str>, Group>,
    /// Counts calls of [`Board::wake`].
    wakes: u64,
    stopping: bool,
}

/// How many workers a list's messages may have together; `None`: any number.
pub type ListLimit = Box<dyn Fn(&str) -> Option<NonZero<u32>> + Send>;

/// Workers of a crew that wait for work.
struct Waiting {
    crew: Crew,
    idle: usize,
    /// Packets reserved for them, which they have not fetched yet: at most one each.
    handed: VecDeque<Key>,
}

/// One packet of this message is reserved for the worker that got this.
pub struct Assignment {
    pub key: Key,
    pub name: MessageName,
    pub level: Level,
    /// `None`: nobody has opened it yet; the worker does, and says so with [`Board::opened`].
    pub open: Option<Arc<OpenMessage>>,
}

/// What a message that was found is to the board.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    New,
    Known,
    /// It was believed, and told, to be there.
    From(Priority),
}

/// What a message that is not at a level any more was to the board.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Missing {
    /// It was not believed to be there.
    Unknown,
    /// Somebody has a packet of it, or has just removed it.
    Busy,
    Forgotten,
}

/// What a worker without work gets.
pub enum Next {
    Work(Assignment),
    /// The wait it asked for is over.
    Waited,
    /// By [`Board::wake`]: the settings may be others.
    Woken,
    Stop,
}

/// What a worker does at a boundary.
pub enum Decision {
    GoOn,
    /// Give way: the assignment is reserved for this worker.
    Yield {
        to: Assignment,
        /// Since the other message was seen.
        waited: Duration,
        /// At which level this worker's own message is chosen, and the other one.
        from: Level,
        to_level: Level,
    },
    /// The message was requeued beyond what this worker takes.
    GiveBack,
    /// The message was forgotten (held, cancelled, moved away).
    Gone,
    Stop,
}

impl Board {
    pub fn new(policy: Policy, list_limit: ListLimit) -> Board {
        let waiting = |crew| Waiting { crew, idle: 0, handed: VecDeque::new() };
        let inner = Inner {
            backlog: Backlog::with(policy),
            known: Register::default(),
            paused: HashSet::new(),
            held: Held::default(),
            strays: Vec::new(),
            told: HashSet::new(),
            pauses: Arc::default(),
            waiting: [waiting(Crew::Any), waiting(Crew::UpTo(Level::FIRST))],
            look: 0,
            list_limit,
            groups: HashMap::new(),
            wakes: 0,
            stopping: false,
        };
        Board { inner: Mutex::new(inner), work: Default::default(), relief: Condvar::new() }
    }

    /// From now on it is chosen like this.
    pub fn set_policy(&self, policy: Policy, list_limit: ListLimit) {
        let mut inner = self.inner.lock();
        inner.backlog.set_policy(policy, clock::now());
        inner.list_limit = list_limit;
        inner.limit_lists();
        self.hand_out(&mut inner);
    }

    /// A message was found at `level`.
    pub fn found(&self, name: MessageName, level: Level, seen: Moment) -> Found {
        self.found_by(&mut self.inner.lock(), name, level, seen)
    }

    fn found_by(&self, inner: &mut Inner, name: MessageName, level: Level, seen: Moment) -> Found {
        let look = inner.look;
        let was_held = inner.held.remove(&name);
        if let Some(key) = inner.known.find(&name) {
            let known = inner.known.get_mut(key).expect("just found");
            (known.seen_again, known.look) = (true, look);
            let away = known.away.take();
            let from = std::mem::replace(&mut known.level, level);
            if from != level {
                inner.backlog.requeued(key, level);
                inner.look_again(key);
                self.hand_out(inner);
            }
            return match away {
                Some(Away::Held) => Found::From(Priority::Held),
                Some(Away::Gone) => Found::New,
                None if was_held => Found::From(Priority::Held),
                None if from == level => Found::Known,
                None => Found::From(Priority::At(from)),
            };
        }
        let is_paused = inner.pauses.stops(name.id.list(), level);
        let due = name.not_before();
        let group = inner.group(name.id.list());
        let key = inner.backlog.arrive(Arrival { level, arrived: name.id.arrival(), due, seen, group });
        inner.known.insert(key, name, level, look);
        inner.known.get_mut(key).expect("just inserted").is_told = was_held;
        if is_paused {
            inner.backlog.put_off(key, paused::FOREVER);
            inner.paused.insert(key);
        }
        match due.filter(|&due| Moment::from(due) > seen) {
            None => self.hand_out(inner),
            // All, since each worker that waits has to wait for the new time.
            Some(_) => self.wake_the_idle(),
        }
        if was_held { Found::From(Priority::Held) } else { Found::New }
    }

    /// A message was found to be held.
    pub fn found_held(&self, name: &MessageName) -> Found {
        let mut inner = self.inner.lock();
        let found = inner.found_held(name);
        // Whoever works on it lets go of it at the next boundary.
        if let Some(key) = inner.known.find(name)
            && !inner.is_in_hands(key)
        {
            inner.forget(key);
        }
        found
    }

    /// A message is no longer at `level`. If somebody works on it, that worker sees it by itself at its next boundary, or
    /// has just removed it, and knows better where it went.
    pub fn missing(&self, name: &MessageName, level: Level) -> Missing {
        let mut inner = self.inner.lock();
        let Some(key) = inner.known.find(name) else { return Missing::Unknown };
        match inner.forget_missing(key, level) {
            Some(_) => Missing::Forgotten,
            None if inner.known.get(key).is_some_and(|known| known.level == level) => Missing::Busy,
            None => Missing::Unknown,
        }
    }

    /// A message that was there has another name, and is another one to the board. If somebody works on it under the old
    /// one, nobody tells that this one has gone.
    pub fn renamed(&self, was: &Spot) {
        let mut inner = self.inner.lock();
        let Some(level) = was.priority.level() else {
            inner.held.remove(&was.name);
            return;
        };
        let Some(key) = inner.known.find(&was.name) else { return };
        inner.forget_missing(key, level);
        if let Some(known) = inner.known.get_mut(key) {
            known.away = Some(Away::Gone);
        }
    }

    /// A message is no longer held. `true`: it was told to be.
    pub fn missing_held(&self, name: &MessageName) -> bool {
        self.inner.lock().held.remove(name)
    }

    /// The message of that id under another name, and where it is believed to be.
    pub fn other(&self, name: &MessageName) -> Option<Spot> {
        let inner = self.inner.lock();
        let known = inner.known.find_other(name).and_then(|key| inner.known.get(key));
        let known = known.filter(|known| known.away != Some(Away::Gone));
        let known = known.map(|known| Spot { priority: Priority::At(known.level), name: known.name() });
        known.or_else(|| Some(Spot { priority: Priority::Held, name: inner.held.find_other(name)? }))
    }

    /// Messages that workers did not find where they were believed to be, since the last call.
    pub fn take_strays(&self) -> Vec<(Level, MessageName)> {
        let mut inner = self.inner.lock();
        let strays = std::mem::take(&mut inner.strays);
        let known = |name: &MessageName| inner.known.find(name).and_then(|key| inner.known.get(key));
        strays.into_iter().filter(|(_, name)| known(name).is_none_or(|known| known.away.is_some())).collect()
    }

    /// A worker has seen, at its boundary, that the message has left its level. `true`: nobody has told so yet, and the
    /// caller does.
    pub fn left(&self, key: Key, to: Away) -> bool {
        let mut inner = self.inner.lock();
        // Whoever had it forgotten has told why.
        let Some(known) = inner.known.get_mut(key) else { return false };
        match to {
            Away::Held => {
                let name = known.name();
                inner.found_held(&name) != Found::Known
            }
            Away::Gone => known.away.replace(Away::Gone) != Some(Away::Gone),
        }
    }

    /// A directory is about to be listed, and each message in it said to be found.
    pub fn begin_look(&self) {
        let mut inner = self.inner.lock();
        inner.look = inner.look.wrapping_add(1);
    }

    /// All that is at `level` was found since [`Board::begin_look`]: what was not is missing. Says what is forgotten.
    pub fn end_look(&self, level: Level) -> Vec<MessageName> {
        let mut inner = self.inner.lock();
        let look = inner.look;
        let unseen = inner.known.iter().filter(|(_, known)| known.level == level && known.look != look);
        let unseen: Vec<Key> = unseen.map(|(key, _)| key).collect();
        unseen.into_iter().filter_map(|key| inner.forget_missing(key, level)).collect()
    }

    /// All that is held was found since [`Board::begin_look`]. Says what was not.
    pub fn end_look_at_held(&self) -> Vec<MessageName> {
        let mut inner = self.inner.lock();
        let mut unseen = inner.held.unseen(inner.look);
        // A worker says that it holds a message before it does.
        unseen.retain(|name| inner.known.find(name).is_none_or(|key| !inner.is_in_hands(key)));
        for name in &unseen {
            inner.held.remove(name);
        }
        unseen
    }

    /// Waits for work that `crew` takes; at most until `until`.
    pub fn next(&self, crew: Crew, until: Option<Instant>) -> Next {
        let mut inner = self.inner.lock();
        let wakes = inner.wakes;
        let mut is_over = false;
        loop {
            if inner.stopping {
                return Next::Stop;
            }
            // Before all else: what was handed to a waiting worker is nobody else's any more.
            let now = clock::now();
            if let Some(assignment) = inner.next_handed(crew).or_else(|| inner.take(crew, now)) {
                return Next::Work(assignment);
            }
            if inner.wakes != wakes {
                return Next::Woken;
            }
            if is_over {
                return Next::Waited;
            }
            // Whoever waits, waits for the next message that becomes due by the clock as well.
            let due = inner.backlog.next_due().map(Moment::from);
            // Any other worker takes what waits as it stands.
            let lift = inner.backlog.next_lift().filter(|_| crew != Crew::Any);
            let due = [due, lift].into_iter().flatten().min().map(|due| Instant::now() + due.since(now));
            let (waiting, work) = (crew.index(), &self.work[crew.index()]);
            inner.waiting[waiting].crew = crew;
            inner.waiting[waiting].idle += 1;
            match [until, due].into_iter().flatten().min() {
                None => work.wait(&mut inner),
                Some(soonest) => {
                    let timed_out = work.wait_until(&mut inner, soonest).timed_out();
                    is_over = timed_out && Some(soonest) == until;
                }
            }
            inner.waiting[waiting].idle -= 1;
        }
    }

    /// Waits until `until`, a wake or a stop. For workers that can do nothing with work: without a relay, or a disk. `true`:
    /// a stop.
    pub fn pause(&self, until: Instant) -> bool {
        let mut inner = self.inner.lock();
        if !inner.stopping {
            self.relief.wait_until(&mut inner, until);
        }
        inner.stopping
    }

    /// The worker that was assigned an unopened message has opened it; beside its own, `ready` packets wait, and all of
    /// them are about so many transactions.
    pub fn opened(&self, key: Key, open: &Arc<OpenMessage>, ready: u32, transactions: u32) {
        let mut inner = self.inner.lock();
        let Some(known) = inner.known.get_mut(key) else { return };
        known.open = Some(open.clone());
        // It is there, evidently.
        known.away.take_if(|away| *away == Away::Gone);
        inner.paused.remove(&key);
        inner.backlog.opened(key, ready, transactions);
        self.hand_out(&mut inner);
    }

    /// A hold that was to be told failed.
    pub fn stays(&self, key: Key) {
        let mut inner = self.inner.lock();
        let Some(known) = inner.known.get_mut(key) else { return };
        known.away = None;
        let name = known.name();
        inner.held.remove(&name);
    }

    /// The message was found elsewhere by the worker that is on it. Where it was told to be before, if that is news.
    pub fn moved(&self, key: Key, level: Level) -> Option<Priority> {
        let mut inner = self.inner.lock();
        let known = inner.known.get_mut(key).filter(|known| known.level != level)?;
        let from = match known.away.take() {
            Some(_) => Priority::Held,
            None => Priority::At(known.level),
        };
        known.level = level;
        let name = known.name();
        inner.held.remove(&name);
        inner.backlog.requeued(key, level);
        inner.look_again(key);
        Some(from)
    }

    /// Gives packets to the workers that wait, right now: a packet that an idle worker is about to take must not make a busy
    /// one give way as well.
    fn hand_out(&self, inner: &mut Inner) {
        let now = clock::now();
        let Inner { backlog, waiting, .. } = inner;
        // Those that take anything first: the others are kept for when these have no time.
        for (Waiting { crew, idle, handed }, work) in waiting.iter_mut().zip(&self.work) {
            while handed.len() < *idle
                && let Some(key) = backlog.take_up_to(crew.last(), now)
            {
                handed.push_back(key);
                work.notify_one();
            }
        }
    }

    fn wake_the_idle(&self) {
        for work in &self.work {
            work.notify_all();
        }
    }

    /// Where the message is believed to be; `None` once it is forgotten.
    pub fn level(&self, key: Key) -> Option<Level> {
        self.inner.lock().known.get(key).map(|known| known.level)
    }

    /// A transaction of this message has ended: what now?
    pub fn boundary(&self, crew: Crew, key: Key) -> Decision {
        let mut inner = self.inner.lock();
        if inner.stopping {
            return Decision::Stop;
        }
        match inner.backlog.boundary_up_to(crew.last(), key, clock::now()) {
            Boundary::Continue => Decision::GoOn,
            Boundary::TooFar => Decision::GiveBack,
            Boundary::Gone => Decision::Gone,
            Boundary::Yield(preemption) => {
                let to = inner.assignment(preemption.to).expect("what the backlog hands out is known");
                Decision::Yield { to, waited: preemption.waited, from: preemption.from, to_level: preemption.to_level }
            }
        }
    }

    /// The worker's packet is not finished and may be taken by anybody.
    pub fn give_back(&self, key: Key) {
        let mut inner = self.inner.lock();
        inner.backlog.give_back(key);
        self.hand_out(&mut inner);
    }

    /// The worker's packet has ended here. `true`: it was the last that anybody works on or waits for, so the caller
    /// settles the message (looks what is left of it).
    pub fn done(&self, key: Key) -> bool {
        let mut inner = self.inner.lock();
        inner.backlog.done(key);
        inner.backlog.is_idle(key)
    }

    /// The worker that was assigned a packet of the message can't do anything with it now; nor could another one before
    /// `until`.
    pub fn put_off(&self, key: Key, until: Epoch) {
        self.inner.lock().backlog.done(key);
        self.put_to_rest(key, until, Backlog::put_off);
    }

    /// The same of a message that the caller has no packet of any more.
    pub fn leave_alone(&self, key: Key, until: Epoch) {
        self.put_to_rest(key, until, Backlog::put_off);
    }

    /// Nothing that is left of the message is due before `until`. The caller has no packet of it any more.
    pub fn sleep(&self, key: Key, until: Epoch) {
        self.put_to_rest(key, until, Backlog::sleep);
    }

    fn put_to_rest(&self, key: Key, until: Epoch, rest: fn(&mut Backlog, Key, Epoch)) {
        let mut inner = self.inner.lock();
        if let Some(known) = inner.known.get_mut(key) {
            known.open = None;
            rest(&mut inner.backlog, key, until);
            drop(inner);
            self.wake_the_idle();
        }
    }

    /// Somebody has set the clock: what was put off for some seconds must not wait for hours, nor go early what is not due
    /// any more.
    pub fn clock_was_set(&self) {
        let mut inner = self.inner.lock();
        let Inner { backlog, known, pauses, paused, .. } = &mut *inner;
        // What waits for a window may have another one now; what is paused is so by any clock.
        paused.retain(|key| known.get(*key).is_some_and(|known| pauses.stops(known.list(), known.level)));
        backlog.clock_was_set(clock::now(), |key| paused.contains(&key));
        self.hand_out(&mut inner);
        drop(inner);
        self.wake_the_idle();
    }

    /// The message is distributed or set aside, and that was told.
    pub fn gone(&self, key: Key) {
        self.ended(key, &mut self.inner.lock(), |_| Some(Away::Gone));
    }

    /// The message has left its level while somebody worked on it, or is held, and that was told.
    pub fn let_go(&self, key: Key) {
        self.ended(key, &mut self.inner.lock(), |away| away);
    }

    /// The message is not where it is believed to be, and the worker that saw it doesn't know where it went.
    pub fn lost(&self, key: Key) {
        let mut inner = self.inner.lock();
        let known = inner.known.get(key).filter(|known| known.away.is_none());
        let stray = known.map(|known| (known.level, known.name()));
        inner.strays.extend(stray);
        self.ended(key, &mut inner, |_| Some(Away::Gone));
    }

    /// `told`: what was told of its being away, if it was found again since it is known.
    fn ended(&self, key: Key, inner: &mut Inner, told: impl FnOnce(Option<Away>) -> Option<Away>) {
        let known = inner.known.get(key).filter(|known| known.seen_again && !inner.held.contains(&known.name()));
        let again = known.map(|known| (known.name(), known.level, told(known.away)));
        inner.forget(key);
        if let Some((name, level, away)) = again {
            // It may have come back since the worker looked.
            self.found_by(inner, name.clone(), level, clock::now());
            if let Some(known) = inner.known.find(&name).and_then(|key| inner.known.get_mut(key)) {
                (known.away, known.is_told) = (away, true);
            }
        }
    }

    /// Wakes all workers that wait: a relay is back, the settings or perhaps the clock have changed.
    pub fn wake(&self) {
        self.inner.lock().wakes += 1;
        self.wake_the_idle();
        self.relief.notify_all();
    }

    /// Nobody gets work any more.
    pub fn stop(&self) {
        self.inner.lock().stopping = true;
        self.wake_the_idle();
        self.relief.notify_all();
    }
}

impl Inner {
    fn take(&mut self, crew: Crew, now: Moment) -> Option<Assignment> {
        let key = self.backlog.take_up_to(crew.last(), now)?;
        self.assignment(key)
    }

    fn next_handed(&mut self, crew: Crew) -> Option<Assignment> {
        // A message may be forgotten between being handed out and being fetched.
        while let Some(key) = self.waiting[crew.index()].handed.pop_front() {
            if let Some(assignment) = self.assignment(key) {
                return Some(assignment);
            }
        }
        None
    }

    /// `None` if the message was forgotten.
    fn assignment(&self, key: Key) -> Option<Assignment> {
        let known = self.known.get(key)?;
        Some(Assignment { key, name: known.name(), level: known.level, open: known.open.clone() })
    }

    fn found_held(&mut self, name: &MessageName) -> Found {
        let look = self.look;
        if !self.held.insert(name, look) {
            return Found::Known;
        }
        match self.known.find(name).and_then(|key| self.known.get_mut(key)) {
            None => Found::New,
            Some(known) => match known.away.replace(Away::Held) {
                None => Found::From(Priority::At(known.level)),
                Some(Away::Held) => Found::Known,
                Some(Away::Gone) => Found::New,
            },
        }
    }

    /// Whether somebody has a packet of it. Of an idle one, the worker that had its last packet is looking what is left, and
    /// may have removed it itself.
    fn is_in_hands(&self, key: Key) -> bool {
        self.backlog.is_working(key) || self.backlog.is_idle(key)
    }

    fn forget_missing(&mut self, key: Key, level: Level) -> Option<MessageName> {
        let known = self.known.get(key).filter(|known| known.level == level)?;
        if self.is_in_hands(key) {
            return None;
        }
        // That it has gone was told.
        let is_news = known.away != Some(Away::Gone);
        let name = is_news.then(|| known.name());
        self.forget(key);
        name
    }

    fn forget(&mut self, key: Key) {
        if self.known.remove(key).is_some() {
            self.paused.remove(&key);
            self.backlog.gone(key);
        }
    }

    /// With which others a list's messages share a limit.
    fn group(&mut self, list: &str) -> Option<Group> {
        if let Some(&group) = self.groups.get(list) {
            return Some(group);
        }
        let most = (self.list_limit)(list)?;
        let group = Group(NonZero::new(self.groups.len() as u32 + 1).expect("not zero"));
        self.groups.insert(list.into(), group);
        self.backlog.set_limit(group, Some(most));
        Some(group)
    }

    /// The limits are others: for all lists, and all messages that are known.
    fn limit_lists(&mut self) {
        for (list, &group) in &self.groups {
            self.backlog.set_limit(group, (self.list_limit)(list));
        }
        let known: Vec<(Key, String)> = self.known.iter().map(|(key, known)| (key, known.list().to_owned())).collect();
        for (key, list) in known {
            let group = self.group(&list);
            self.backlog.regroup(key, group);
        }
    }
}
