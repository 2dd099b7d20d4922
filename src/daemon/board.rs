//! Where workers and the scheduler thread meet: the backlog behind one lock, and the messages that are held open.
//!
//! The lock is held for a decision (well under a microsecond with a million messages) and never across a file, a socket
//! or a log line. Decisions themselves are [`crate::schedule`]'s; this adds the names, the waiting and the waking.

mod paused;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::mail::{Epoch, Level, Moment};
use crate::schedule::{Arrival, Backlog, Boundary, Key};
use crate::spool::layout::MessageName;

use super::clock;
use super::message::OpenMessage;
use super::pauses::InForce;

/// See the module.
pub struct Board {
    inner: Mutex<Inner>,
    /// Workers without work wait here.
    work: Condvar,
    /// Workers that can't work wait here: a packet's arrival is nothing to them.
    relief: Condvar,
}

struct Inner {
    backlog: Backlog,
    keys: HashMap<Arc<MessageName>, Key>,
    known: HashMap<Key, Known>,
    /// Those that sleep since they are paused, or outside their list's windows.
    paused: HashSet<Key>,
    pauses: Arc<InForce>,
    /// Workers that wait for work.
    idle: usize,
    /// Packets reserved for them, which they have not fetched yet: at most one each.
    handed: VecDeque<Key>,
    /// Counts calls of [`Board::wake`].
    wakes: u64,
    stopping: bool,
}

struct Known {
    name: Arc<MessageName>,
    level: Level,
    open: Option<Arc<OpenMessage>>,
    /// A watch or a scan has seen it since it is known.
    seen_again: bool,
}

/// One packet of this message is reserved for the worker that got this.
pub struct Assignment {
    pub key: Key,
    pub name: Arc<MessageName>,
    pub level: Level,
    /// `None`: nobody has opened it yet; the worker does, and says so with [`Board::opened`].
    pub open: Option<Arc<OpenMessage>>,
}

/// What a message that was found is to the board.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    New,
    Known,
    /// It was believed to be at this level.
    From(Level),
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
        /// Since the urgent message was seen.
        waited: Duration,
        /// At which level this worker's own message stands.
        from: Level,
    },
    /// The message was forgotten (held, cancelled, moved away).
    Gone,
    Stop,
}

impl Board {
    pub fn new() -> Board {
        let (backlog, keys, known) = (Backlog::new(), HashMap::new(), HashMap::new());
        let (paused, pauses) = (HashSet::new(), Arc::default());
        let (handed, idle, wakes) = (VecDeque::new(), 0, 0);
        let inner = Inner { backlog, keys, known, paused, pauses, idle, handed, wakes, stopping: false };
        Board { inner: Mutex::new(inner), work: Condvar::new(), relief: Condvar::new() }
    }

    /// A message was found at `level`. `None` if it was known to be there; else where it was known to be before.
    pub fn found(&self, name: MessageName, level: Level, seen: Moment) -> Found {
        let mut inner = self.inner.lock();
        if let Some(&key) = inner.keys.get(&name) {
            let known = inner.known.get_mut(&key).expect("keys and known go together");
            known.seen_again = true;
            if known.level == level {
                return Found::Known;
            }
            let from = std::mem::replace(&mut known.level, level);
            inner.backlog.requeued(key, level);
            inner.look_again(key);
            self.hand_out(&mut inner);
            return Found::From(from);
        }
        let is_paused = inner.pauses.stops(name.id.list(), level);
        let due = if is_paused { Some(paused::FOREVER) } else { name.not_before() };
        let due = due.filter(|&due| Moment::from(due) > seen);
        let key = inner.backlog.arrive(Arrival { level, arrived: name.id.arrival(), due, seen });
        let name = Arc::new(name);
        inner.keys.insert(name.clone(), key);
        inner.known.insert(key, Known { name, level, open: None, seen_again: false });
        if is_paused {
            inner.paused.insert(key);
        }
        match due {
            None => self.hand_out(&mut inner),
            // All, since each worker that waits has to wait for the new time.
            Some(_) => drop(self.work.notify_all()),
        }
        Found::New
    }

    /// A message is no longer at `level`. If somebody works on it, that worker sees it by itself at its next boundary,
    /// and knows better where it went. `true`: it is forgotten.
    pub fn missing(&self, name: &MessageName, level: Level) -> bool {
        let mut inner = self.inner.lock();
        if let Some(&key) = inner.keys.get(name)
            && inner.known[&key].level == level
            && !inner.backlog.is_working(key)
        {
            inner.forget(key);
            return true;
        }
        false
    }

    /// The names known at `level`.
    pub fn names_at(&self, level: Level) -> Vec<Arc<MessageName>> {
        let inner = self.inner.lock();
        inner.known.values().filter(|known| known.level == level).map(|known| known.name.clone()).collect()
    }

    /// Waits for work; at most until `until`.
    pub fn next(&self, until: Option<Instant>) -> Next {
        let mut inner = self.inner.lock();
        let wakes = inner.wakes;
        let mut is_over = false;
        loop {
            if inner.stopping {
                return Next::Stop;
            }
            // Before all else: what was handed to a waiting worker is nobody else's any more.
            let now = clock::now();
            if let Some(assignment) = inner.next_handed().or_else(|| inner.take(now)) {
                return Next::Work(assignment);
            }
            if inner.wakes != wakes {
                return Next::Woken;
            }
            if is_over {
                return Next::Waited;
            }
            // Whoever waits, waits for the next message that becomes due by the clock as well.
            let due = inner.backlog.next_due().map(|due| Instant::now() + Moment::from(due).since(now));
            inner.idle += 1;
            match [until, due].into_iter().flatten().min() {
                None => self.work.wait(&mut inner),
                Some(soonest) => {
                    let timed_out = self.work.wait_until(&mut inner, soonest).timed_out();
                    is_over = timed_out && Some(soonest) == until;
                }
            }
            inner.idle -= 1;
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

    /// The worker that was assigned an unopened message has opened it; beside its own, `ready` packets wait.
    pub fn opened(&self, key: Key, open: &Arc<OpenMessage>, ready: u32) {
        let mut inner = self.inner.lock();
        let Some(known) = inner.known.get_mut(&key) else { return };
        known.open = Some(open.clone());
        inner.paused.remove(&key);
        inner.backlog.opened(key, ready);
        self.hand_out(&mut inner);
    }

    /// The message was found elsewhere by the worker that is on it. `true` if that is news.
    pub fn moved(&self, key: Key, level: Level) -> bool {
        let mut inner = self.inner.lock();
        if let Some(known) = inner.known.get_mut(&key)
            && known.level != level
        {
            known.level = level;
            inner.backlog.requeued(key, level);
            inner.look_again(key);
            return true;
        }
        false
    }

    /// Gives packets to the workers that wait, right now: a packet that an idle worker is about to take must not make a busy
    /// one give way as well.
    fn hand_out(&self, inner: &mut Inner) {
        let now = clock::now();
        while inner.handed.len() < inner.idle
            && let Some(key) = inner.backlog.take(now)
        {
            inner.handed.push_back(key);
            self.work.notify_one();
        }
    }

    /// Where the message is believed to be; `None` once it is forgotten.
    pub fn level(&self, key: Key) -> Option<Level> {
        self.inner.lock().known.get(&key).map(|known| known.level)
    }

    /// A transaction of this message has ended: what now?
    pub fn boundary(&self, key: Key) -> Decision {
        let mut inner = self.inner.lock();
        if inner.stopping {
            return Decision::Stop;
        }
        match inner.backlog.boundary(key, clock::now()) {
            Boundary::Continue => Decision::GoOn,
            Boundary::Gone => Decision::Gone,
            Boundary::Yield(preemption) => {
                let to = inner.assignment(preemption.to).expect("what the backlog hands out is known");
                Decision::Yield { to, waited: preemption.waited, from: preemption.from }
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
        self.sleep(key, until);
    }

    /// Nothing of the message can be sent before `until`. Nobody who was assigned a packet of it says so: see
    /// [`Board::put_off`].
    pub fn sleep(&self, key: Key, until: Epoch) {
        let mut inner = self.inner.lock();
        if let Some(known) = inner.known.get_mut(&key) {
            known.open = None;
            inner.backlog.sleep(key, until);
            drop(inner);
            self.work.notify_all();
        }
    }

    /// The message is distributed, held, cancelled or set aside.
    pub fn gone(&self, key: Key) {
        let mut inner = self.inner.lock();
        let known = inner.known.get(&key).filter(|known| known.seen_again);
        let again = known.map(|known| (MessageName::clone(&known.name), known.level));
        inner.forget(key);
        drop(inner);
        if let Some((name, level)) = again {
            // It may have come back since the worker looked.
            self.found(name, level, super::clock::now());
        }
    }

    /// Wakes all workers that wait: a relay is back, the settings or perhaps the clock have changed.
    pub fn wake(&self) {
        self.inner.lock().wakes += 1;
        self.work.notify_all();
        self.relief.notify_all();
    }

    /// Nobody gets work any more.
    pub fn stop(&self) {
        self.inner.lock().stopping = true;
        self.work.notify_all();
        self.relief.notify_all();
    }
}

impl Inner {
    fn take(&mut self, now: Moment) -> Option<Assignment> {
        let key = self.backlog.take(now)?;
        self.assignment(key)
    }

    fn next_handed(&mut self) -> Option<Assignment> {
        // A message may be forgotten between being handed out and being fetched.
        while let Some(key) = self.handed.pop_front() {
            if let Some(assignment) = self.assignment(key) {
                return Some(assignment);
            }
        }
        None
    }

    /// `None` if the message was forgotten.
    fn assignment(&self, key: Key) -> Option<Assignment> {
        let known = self.known.get(&key)?;
        Some(Assignment { key, name: known.name.clone(), level: known.level, open: known.open.clone() })
    }

    fn forget(&mut self, key: Key) {
        if let Some(known) = self.known.remove(&key) {
            self.keys.remove(&known.name);
            self.paused.remove(&key);
            self.backlog.gone(key);
        }
    }
}
