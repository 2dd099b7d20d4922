//! Who is next: the real core, and models of two peers.

use std::collections::{BTreeSet, HashMap, VecDeque};

use sympa_dist::mail::{Epoch, Level, Moment};
use sympa_dist::schedule::{Arrival, Backlog, Boundary, Key, Policy};

use super::workload::Post;

/// Posts are numbered. Whoever is handed one sends one of its packets.
pub trait Discipline {
    fn arrive(&mut self, post: usize, what: Post, now: u64);
    fn take(&mut self, worker: usize, now: u64) -> Option<usize>;
    fn boundary(&mut self, worker: usize, post: usize, now: u64) -> Next;
    /// The first packet is in a worker's hands, and so many wait beside it. Said again with each packet.
    fn opened(&mut self, _post: usize, _waiting: u32, _transactions: u32) {}
    /// A packet of it is sent; `last`: all of it.
    fn done(&mut self, post: usize, last: bool);
}

pub enum Next {
    GoOn,
    Switch { to: usize, by_level: bool },
}

/// This program's.
pub struct Scheduler {
    backlog: Backlog,
    posts: HashMap<Key, usize>,
    keys: HashMap<usize, (Key, bool)>,
}

impl Scheduler {
    pub fn new(policy: Policy) -> Scheduler {
        Scheduler { backlog: Backlog::with(policy), posts: HashMap::new(), keys: HashMap::new() }
    }
}

/// Virtual time begins in 2001.
fn moment(now: u64) -> Moment {
    Moment(1_000_000_000_000_000 + now)
}

impl Discipline for Scheduler {
    fn arrive(&mut self, post: usize, what: Post, now: u64) {
        let arrived: Epoch = moment(now).epoch();
        let level = Level::new(what.level).expect("a level");
        let key = self.backlog.arrive(Arrival { level, arrived, due: None, seen: moment(now), group: None });
        self.posts.insert(key, post);
        self.keys.insert(post, (key, false));
    }

    fn take(&mut self, _: usize, now: u64) -> Option<usize> {
        self.backlog.take(moment(now)).map(|key| self.posts[&key])
    }

    fn boundary(&mut self, _: usize, post: usize, now: u64) -> Next {
        let (key, _) = self.keys[&post];
        match self.backlog.boundary(key, moment(now)) {
            Boundary::Continue => Next::GoOn,
            Boundary::Yield(preemption) => {
                self.backlog.give_back(key);
                Next::Switch { to: self.posts[&preemption.to], by_level: preemption.to_level < preemption.from }
            }
            other => unreachable!("{other:?}"),
        }
    }

    fn opened(&mut self, post: usize, waiting: u32, transactions: u32) {
        let (key, opened) = self.keys.get_mut(&post).expect("it has come");
        if !std::mem::replace(opened, true) {
            self.backlog.opened(*key, waiting, transactions);
        }
    }

    fn done(&mut self, post: usize, last: bool) {
        let (key, _) = self.keys[&post];
        self.backlog.done(key);
        if last {
            self.backlog.gone(key);
            self.keys.remove(&post);
            self.posts.remove(&key);
        }
    }
}

/// Sympa's bulk.pl: the spool is listed and sorted once, by priority and date, and the list is consumed to its end before
/// the next look; a packet that was begun is finished. (With several processes each has a list of its own, of the same
/// time or so; here they share one.)
#[derive(Default)]
pub struct Snapshot {
    list: VecDeque<usize>,
    /// By level and arrival: posts, and packets that nobody has.
    spool: BTreeSet<(u8, usize)>,
    packets: HashMap<usize, u32>,
}

impl Discipline for Snapshot {
    fn arrive(&mut self, post: usize, what: Post, _: u64) {
        self.spool.insert((what.level, post));
        self.packets.insert(post, what.transactions.div_ceil(super::workload::PACKET));
    }

    fn take(&mut self, _: usize, _: u64) -> Option<usize> {
        if self.list.is_empty() {
            for (_, post) in std::mem::take(&mut self.spool) {
                let packets = self.packets.remove(&post).expect("it has come");
                self.list.extend(std::iter::repeat_n(post, packets as usize));
            }
        }
        self.list.pop_front()
    }

    fn boundary(&mut self, _: usize, _: usize, _: u64) -> Next {
        Next::GoOn
    }

    fn done(&mut self, _: usize, _: bool) {}
}

/// Postfix's queue manager for one destination, by its SCHEDULER_README: by arrival, no priorities; for each 5 deliveries a
/// job has a slot, and a smaller one may go first if half of it fits the slots (with a loan of 3). It keeps no packets, so
/// each transaction is a decision. Candidates are the smallest first here, where Postfix weighs size against waiting.
#[derive(Default)]
pub struct SizeSlots {
    jobs: HashMap<usize, Job>,
    /// By arrival, and by size: those with a transaction that nobody has.
    in_order: BTreeSet<usize>,
    by_size: BTreeSet<(u32, usize)>,
    /// Who goes first; the last was let in by the one before.
    stack: Vec<usize>,
    packets: HashMap<usize, u32>,
}

struct Job {
    size: u32,
    delivered: u32,
    slots_used: u32,
}

impl SizeSlots {
    const SLOT_COST: u32 = 5;
    const LOAN: u32 = 3;

    /// The first of those that have something to hand out. `own`: what the worker that asks has in its hands.
    fn first(&mut self, own: Option<usize>) -> Option<usize> {
        while let Some(top) = self.stack.last() {
            match self.in_order.contains(top) || own == Some(*top) {
                true => break,
                false => drop(self.stack.pop()),
            }
        }
        if self.stack.is_empty() {
            let first = [self.in_order.first().copied(), own].into_iter().flatten().min()?;
            self.stack.push(first);
        }
        let top = *self.stack.last().expect("just pushed");
        let job = self.jobs.get_mut(&top)?;
        let slots = (job.delivered / Self::SLOT_COST).saturating_sub(job.slots_used);
        if let Some(&(size, small)) = self.by_size.first()
            && !self.stack.contains(&small)
            && size < job.size
            && job.delivered >= Self::SLOT_COST
            && size.div_ceil(2) <= slots + Self::LOAN.min(slots)
        {
            job.slots_used += size;
            self.stack.push(small);
            return Some(small);
        }
        Some(top)
    }

    fn reserve(&mut self, post: usize) {
        let packets = self.packets.get_mut(&post).expect("it has some");
        *packets -= 1;
        if *packets == 0 {
            self.in_order.remove(&post);
            self.by_size.remove(&(self.jobs[&post].size, post));
        }
    }
}

impl Discipline for SizeSlots {
    fn arrive(&mut self, post: usize, what: Post, _: u64) {
        let size = what.transactions;
        self.jobs.insert(post, Job { size, delivered: 0, slots_used: 0 });
        self.packets.insert(post, size.div_ceil(super::workload::PACKET));
        self.in_order.insert(post);
        self.by_size.insert((size, post));
    }

    fn take(&mut self, _: usize, _: u64) -> Option<usize> {
        let post = self.first(None)?;
        self.reserve(post);
        Some(post)
    }

    fn boundary(&mut self, _: usize, post: usize, _: u64) -> Next {
        self.jobs.get_mut(&post).expect("it is being sent").delivered += 1;
        match self.first(Some(post)) {
            Some(to) if to != post && self.in_order.contains(&to) => {
                self.reserve(to);
                *self.packets.get_mut(&post).expect("it had some") += 1;
                self.in_order.insert(post);
                self.by_size.insert((self.jobs[&post].size, post));
                Next::Switch { to, by_level: false }
            }
            _ => Next::GoOn,
        }
    }

    fn done(&mut self, post: usize, last: bool) {
        self.jobs.get_mut(&post).expect("it is being sent").delivered += 1;
        if last {
            self.jobs.remove(&post);
            self.packets.remove(&post);
            self.stack.retain(|&other| other != post);
        }
    }
}
