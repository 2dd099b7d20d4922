//! The messages that wait or are being sent, in the order in which their packets are handed out.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::mail::{Epoch, Level, Moment};

use super::ageing::Ageing;
use super::entries::{Entries, Entry, Rest};
use super::fairness::{Accounts, Candidate, Candidates, Class, Order};
use super::key::Key;
use super::limits::{Group, Limits};

/// What is said of a message that was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrival {
    pub level: Level,
    /// Orders messages within their level; those of one second go in the order in which they were found.
    pub arrived: Epoch,
    /// Not before that time.
    pub due: Option<Epoch>,
    /// When it was found: what "how long it waited" counts from.
    pub seen: Moment,
    /// With which others it shares a limit of workers.
    pub group: Option<Group>,
}

/// Answer to a worker at a boundary.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Boundary {
    Continue,
    /// Give way. The other packet is reserved for this worker, which still holds its own until it gives it back.
    Yield(Preemption),
    /// The message was requeued beyond what this worker takes: give it back.
    TooFar,
    /// The message was forgotten: let go of it.
    Gone,
}

/// Who gives way to whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Preemption {
    pub to: Key,
    /// Since the other message was found, or came due.
    pub waited: Duration,
    /// The levels at which the two are chosen: with ageing, as they are lifted. Equal ones: by fairness inside the level.
    pub from: Level,
    pub to_level: Level,
}

/// How it is chosen, beyond the levels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    pub order: Order,
    pub ageing: Option<Ageing>,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy { order: Order::Fair(Default::default()), ageing: None }
    }
}

/// A place in the order of a level's class: first arrival first.
type Place = (Epoch, Key);

/// See the module. One entry is about 110 octets, its place in the order included.
pub struct Backlog {
    policy: Policy,
    entries: Entries,
    /// By level, as lifted, and class: messages with a ready packet.
    ready: [[BTreeSet<Place>; Class::COUNT]; Level::COUNT],
    /// Which classes of a level have one: bits.
    occupied: [u32; Level::COUNT],
    accounts: Accounts,
    limits: Limits,
    /// Messages that are not due yet, soonest first.
    asleep: BTreeSet<(Epoch, Key)>,
    /// With ageing: when the others are lifted next.
    lifts: BTreeSet<(Moment, Key)>,
}

impl Default for Backlog {
    fn default() -> Backlog {
        Backlog::with(Policy::default())
    }
}

impl Backlog {
    pub fn new() -> Backlog {
        Backlog::default()
    }

    pub fn with(policy: Policy) -> Backlog {
        Backlog {
            policy,
            entries: Entries::default(),
            ready: Default::default(),
            occupied: [0; Level::COUNT],
            accounts: Accounts::new(policy.order),
            limits: Limits::default(),
            asleep: BTreeSet::new(),
            lifts: BTreeSet::new(),
        }
    }

    /// From now on it is chosen like this. Whoever has passed whom is forgotten.
    pub fn set_policy(&mut self, policy: Policy, now: Moment) {
        if policy == self.policy {
            return;
        }
        self.policy = policy;
        self.accounts = Accounts::new(policy.order);
        self.limits.empty();
        (self.ready, self.occupied) = Default::default();
        (self.asleep, self.lifts) = Default::default();
        for key in self.entries.keys() {
            let entry = self.entries.get_mut(key).expect("just listed");
            entry.lifted = entry.level;
            self.place(key);
        }
        self.lift(now);
    }

    /// How many workers the group's messages may have together, from now on; none: any number.
    pub fn set_limit(&mut self, group: Group, most: Option<std::num::NonZero<u32>>) {
        self.limits.set(group, most);
        self.offer(group);
    }

    /// The message shares the limit of another group from now on.
    pub fn regroup(&mut self, key: Key, group: Option<Group>) {
        let Some(&Entry { group: before, working, .. }) = self.entries.get(key) else { return };
        if before == group {
            return;
        }
        self.displace(key);
        self.entries.get_mut(key).expect("just seen").group = group;
        self.count_workers(before, -i64::from(working));
        self.count_workers(group, working.into());
        self.place(key);
    }

    /// A message was found. How many packets it has is not known until a worker has opened it: until then it counts as
    /// one.
    pub fn arrive(&mut self, arrival: Arrival) -> Key {
        let Arrival { level, arrived, due, seen, group } = arrival;
        let mut entry = Entry::new(level, arrived, seen);
        entry.group = group;
        if let Some(due) = due {
            entry.due = due;
            entry.rest = Rest::Asleep;
            entry.waits_since = arrived.max(due);
        }
        let key = self.entries.insert(entry);
        self.place(key);
        key
    }

    /// The worker that was handed the message first has opened it: beside its own packet, `ready` are there to be taken,
    /// and all of them are about so many transactions.
    pub fn opened(&mut self, key: Key, ready: u32, transactions: u32) {
        self.change(key, |entry| {
            entry.ready = ready;
            entry.left = transactions.max(1);
            entry.class = Class::of(transactions);
        });
    }

    /// The message was moved to another level. Workers that are on it learn so at their next boundary.
    pub fn requeued(&mut self, key: Key, level: Level) {
        self.change(key, |entry| (entry.level, entry.lifted) = (level, level));
    }

    /// Forget the message: it is distributed, held, cancelled. Workers still on it may say so later; that changes nothing.
    pub fn gone(&mut self, key: Key) {
        let Some(&Entry { group, working, .. }) = self.entries.get(key) else { return };
        self.displace(key);
        self.entries.remove(key);
        self.count_workers(group, -i64::from(working));
    }

    /// Nothing of the message is due before `until`; then it is as if it had just been found, and waits since then.
    pub fn sleep(&mut self, key: Key, until: Epoch) {
        self.lay_to_rest(key, Rest::Asleep, until);
    }

    /// The same for a reason that is not the message's own: its relay, its list's window, a pause. It goes on waiting.
    pub fn put_off(&mut self, key: Key, until: Epoch) {
        self.lay_to_rest(key, Rest::PutOff, until);
    }

    fn lay_to_rest(&mut self, key: Key, rest: Rest, until: Epoch) {
        self.change(key, |entry| {
            (entry.rest, entry.due) = (rest, until);
            if rest == Rest::Asleep {
                entry.waits_since = entry.arrived.max(until);
            }
            entry.ready = 1;
            entry.class = Class::SMALLEST;
        });
    }

    /// The clock was set, and says `now`: what it had made due or had lifted is so no more where it was set back, and whiles
    /// that were counted on it are over, but for those of which `stays` says that they have an end of their own.
    pub fn clock_was_set(&mut self, now: Moment, stays: impl Fn(Key) -> bool) {
        for key in self.entries.keys() {
            self.change(key, |entry| match entry.rest {
                Rest::Awake if Moment::from(entry.due) > now => entry.rest = Rest::Asleep,
                Rest::PutOff if !stays(key) => entry.due = entry.due.min(now.epoch()),
                _ => {}
            });
        }
        self.wake(now);
        let Some(ageing) = self.policy.ageing else { return };
        for key in self.entries.keys() {
            self.change(key, |entry| {
                entry.lifted = match entry.rest {
                    Rest::Awake => ageing.lifted(entry.level, entry.waits_since, now.epoch()),
                    _ => entry.level,
                }
            });
        }
    }

    /// A worker without work asks: one packet of the most urgent message that has one ready is reserved for it.
    pub fn take(&mut self, now: Moment) -> Option<Key> {
        self.take_up_to(Level::LAST, now)
    }

    /// The same for a worker that takes nothing less urgent than `last`.
    pub fn take_up_to(&mut self, last: Level, now: Moment) -> Option<Key> {
        self.wake(now);
        let level = self.first_level().filter(|&level| level <= last)?;
        let chosen = self.accounts.hand_out(level, &self.candidates(level, None))?;
        self.reserve(chosen.key);
        Some(chosen.key)
    }

    /// A worker on `current` has ended a transaction and asks whether to go on.
    pub fn boundary(&mut self, current: Key, now: Moment) -> Boundary {
        self.boundary_up_to(Level::LAST, current, now)
    }

    /// The same for a worker that takes nothing less urgent than `last`.
    pub fn boundary_up_to(&mut self, last: Level, current: Key, now: Moment) -> Boundary {
        self.wake(now);
        let Some(&Entry { group, lifted: from, .. }) = self.entries.get(current) else { return Boundary::Gone };
        // Its own place among its list's workers is the one that it would give way with.
        self.count_workers(group, -1);
        let answer = self.weigh(last, current, from, now);
        self.count_workers(group, 1);
        if let Boundary::Yield(preemption) = answer {
            self.reserve(preemption.to);
        }
        answer
    }

    fn weigh(&mut self, last: Level, current: Key, from: Level, now: Moment) -> Boundary {
        let first = self.first_level().filter(|&level| level <= last.min(from));
        if first.is_none() && from > last {
            return Boundary::TooFar;
        }
        let level = first.unwrap_or(from);
        let own = (level == from).then_some(current);
        let chosen = self.accounts.hand_out(level, &self.candidates(level, own));
        match chosen {
            Some(Candidate { key, .. }) if key != current => {
                let waited = now.since(self.entries[key].seen);
                Boundary::Yield(Preemption { to: key, waited, from, to_level: level })
            }
            _ => {
                self.works(current);
                Boundary::Continue
            }
        }
    }

    /// A worker's packet of the message is not finished, and anybody may take it.
    pub fn give_back(&mut self, key: Key) {
        self.release(key, 1);
    }

    /// A worker's packet of the message has ended: finished, or not ours to send.
    pub fn done(&mut self, key: Key) {
        self.release(key, 0);
    }

    /// Whether some worker has a packet of the message.
    pub fn is_working(&self, key: Key) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.working > 0)
    }

    /// Whether nobody works on the message and none of its packets is to be taken: somebody has to look what is left.
    pub fn is_idle(&self, key: Key) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.working == 0 && entry.ready == 0)
    }

    /// When the next message that sleeps becomes due. Perhaps in the past, if nobody has asked for work since.
    pub fn next_due(&self) -> Option<Epoch> {
        self.asleep.first().map(|(due, _)| *due)
    }

    /// When waiting makes a message more urgent next.
    pub fn next_lift(&self) -> Option<Moment> {
        self.lifts.first().map(|(when, _)| *when)
    }

    /// At which level the message is chosen: its own, or as it was lifted.
    pub fn chosen_at(&self, key: Key) -> Option<Level> {
        self.entries.get(key).map(|entry| entry.lifted)
    }

    /// Messages known.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn first_level(&self) -> Option<Level> {
        Level::all().find(|level| self.occupied[level.index()] != 0)
    }

    /// Who could be handed the next transaction at `level`: by a worker that has a packet of `current`, if that is of it.
    fn candidates(&self, level: Level, current: Option<Key>) -> Candidates {
        let mut candidates = Candidates::default();
        let candidate = |key: Key, current: bool| {
            let entry = &self.entries[key];
            Candidate { arrived: entry.arrived, key, class: entry.class, left: entry.left, current }
        };
        let mut occupied = self.occupied[level.index()];
        while occupied != 0 {
            let class = occupied.trailing_zeros() as usize;
            occupied &= occupied - 1;
            let mut places = self.ready[level.index()][class].iter();
            let others = places.by_ref().filter(|(_, key)| Some(*key) != current);
            for (place, (_, key)) in candidates[class].iter_mut().zip(others) {
                *place = Some(candidate(*key, false));
            }
        }
        if let Some(current) = current {
            let own = candidate(current, true);
            let [first, second] = &mut candidates[own.class.index()];
            match first {
                // It is in the middle of its packet: nobody behind its place in the order comes before it as the second.
                Some(elder) if *elder < own => *second = Some(own),
                _ => (*second, *first) = (*first, Some(own)),
            }
        }
        candidates
    }

    fn reserve(&mut self, key: Key) {
        self.change(key, |entry| {
            entry.ready -= 1;
            entry.working += 1;
        });
        self.works(key);
        self.count_workers(self.entries[key].group, 1);
    }

    /// A transaction more is handed out.
    fn works(&mut self, key: Key) {
        let entry = self.entries.get_mut(key).expect("whoever is chosen is there");
        entry.left = entry.left.saturating_sub(1).max(1);
    }

    fn release(&mut self, key: Key, ready: u32) {
        let Some(&Entry { group, .. }) = self.entries.get(key) else { return };
        self.change(key, |entry| {
            entry.working -= 1;
            entry.ready += ready;
        });
        self.count_workers(group, -1);
    }

    fn count_workers(&mut self, group: Option<Group>, change: i64) {
        if let Some(group) = group {
            let working = &mut self.limits.of(group).working;
            *working = working.checked_add_signed(change as i32).expect("a worker ends once");
            self.offer(group);
        }
    }

    /// Messages whose time has come are ready, never early: their second must have begun. Those that have waited long
    /// enough are lifted.
    fn wake(&mut self, now: Moment) {
        while let Some(&(due, key)) = self.asleep.first()
            && Moment::from(due) <= now
        {
            self.change(key, |entry| {
                if entry.rest == Rest::PutOff {
                    entry.due = entry.own_due();
                }
                entry.rest = if Moment::from(entry.due) <= now { Rest::Awake } else { Rest::Asleep };
                // It has waited since it came due; when it was found, it was not to be sent.
                entry.seen = entry.seen.max(due.into());
                entry.lifted = entry.level;
            });
        }
        self.lift(now);
    }

    fn lift(&mut self, now: Moment) {
        let Some(ageing) = self.policy.ageing else { return };
        while let Some(&(when, key)) = self.lifts.first()
            && when <= now
        {
            self.change(key, |entry| entry.lifted = ageing.lifted(entry.level, entry.waits_since, now.epoch()));
        }
    }

    /// Changes an entry, and its place among the others with it. Nothing, if the message was forgotten.
    fn change(&mut self, key: Key, change: impl FnOnce(&mut Entry)) {
        let Some(&before) = self.entries.get(key) else { return };
        let mut after = before;
        change(&mut after);
        let place =
            |entry: &Entry| (entry.due, entry.is_awake(), entry.ready > 0, entry.level, entry.lifted, entry.class);
        let moves = place(&before) != place(&after);
        if moves {
            self.displace(key);
        }
        *self.entries.get_mut(key).expect("just seen") = after;
        if moves {
            self.place(key);
        }
    }

    fn place(&mut self, key: Key) {
        let entry = self.entries[key];
        if !entry.is_awake() {
            self.asleep.insert((entry.due, key));
            return;
        }
        self.lifts.extend(self.lift_of(&entry).map(|when| (when, key)));
        if entry.ready == 0 {
            return;
        }
        match entry.group {
            None => self.show(key),
            Some(group) => {
                self.limits.of(group).insert(entry.lifted, entry.arrived, key);
                self.offer(group);
            }
        }
    }

    fn displace(&mut self, key: Key) {
        let Some(&entry) = self.entries.get(key) else { return };
        if !entry.is_awake() {
            self.asleep.remove(&(entry.due, key));
            return;
        }
        if let Some(when) = self.lift_of(&entry) {
            self.lifts.remove(&(when, key));
        }
        if entry.ready == 0 {
            return;
        }
        match entry.group {
            None => self.hide(key),
            Some(group) => {
                let limit = self.limits.of(group);
                limit.remove(entry.lifted, entry.arrived, key);
                if limit.offered == Some(key) {
                    limit.offered = None;
                    self.hide(key);
                }
                self.offer(group);
            }
        }
    }

    /// When the message leaves the level that it is chosen at now.
    fn lift_of(&self, entry: &Entry) -> Option<Moment> {
        let ageing = self.policy.ageing?;
        let steps = (entry.level.index() - entry.lifted.index()) as u64;
        let at = entry.waits_since.plus(ageing.0.get().saturating_mul(steps));
        ageing.next_lift(entry.level, entry.waits_since, at)
    }

    /// Sees to it that of a limited group the first is in the order, as long as it may have another worker.
    fn offer(&mut self, group: Group) {
        let limit = self.limits.of(group);
        let (offered, candidate) = (limit.offered, limit.candidate());
        if offered == candidate {
            return;
        }
        limit.offered = candidate;
        if let Some(key) = offered {
            self.hide(key);
        }
        if let Some(key) = candidate {
            self.show(key);
        }
    }

    fn show(&mut self, key: Key) {
        let Entry { lifted, class, arrived, .. } = self.entries[key];
        self.ready[lifted.index()][class.index()].insert((arrived, key));
        self.occupied[lifted.index()] |= 1 << class.index();
    }

    fn hide(&mut self, key: Key) {
        let Entry { lifted, class, arrived, .. } = self.entries[key];
        let places = &mut self.ready[lifted.index()][class.index()];
        places.remove(&(arrived, key));
        if places.is_empty() {
            self.occupied[lifted.index()] &= !(1 << class.index());
        }
    }
}
