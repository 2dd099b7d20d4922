//! A site in virtual time: messages come, workers send packet by packet, a transaction takes as long as the relay likes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use super::discipline::{Discipline, Next};
use super::workload::{PACKET, Post, Random, Workload};

pub struct Site<'w> {
    workload: &'w Workload,
    discipline: Box<dyn Discipline>,
    /// By post: packets that nobody has, by the transactions that are left of each.
    packets: Vec<Vec<u32>>,
    /// By post: transactions that are not done.
    left: Vec<u32>,
    history: History,
}

/// When what happened.
pub struct History {
    /// By post, microseconds: its first transaction's begin, its last one's end.
    begun: Vec<u64>,
    ended: Vec<u64>,
    pub preemptions: u64,
    pub passings: u64,
    pub decisions: u64,
    /// All decisions together, by the real clock.
    pub cost: Duration,
}

impl History {
    /// Seconds.
    pub fn wait(&self, post: usize, posts: &[Post]) -> f64 {
        (self.begun[post] - posts[post].comes) as f64 / 1e6
    }

    /// Seconds.
    pub fn took(&self, post: usize, posts: &[Post]) -> f64 {
        (self.ended[post] - posts[post].comes) as f64 / 1e6
    }

    /// Seconds.
    pub fn end(&self) -> f64 {
        self.ended.iter().copied().max().unwrap_or(0) as f64 / 1e6
    }
}

impl<'w> Site<'w> {
    pub fn new(workload: &'w Workload, discipline: Box<dyn Discipline>) -> Site<'w> {
        let posts = &workload.posts;
        let packets = posts.iter().map(|post| {
            (0..post.transactions).step_by(PACKET as usize).map(|from| PACKET.min(post.transactions - from)).collect()
        });
        let history = History {
            begun: vec![u64::MAX; posts.len()],
            ended: vec![0; posts.len()],
            preemptions: 0,
            passings: 0,
            decisions: 0,
            cost: Duration::ZERO,
        };
        let left = posts.iter().map(|post| post.transactions).collect();
        Site { workload, discipline, packets: packets.collect(), left, history }
    }

    /// Until all is sent.
    pub fn run(mut self) -> History {
        let Workload { posts, workers, .. } = self.workload;
        let mut random = Random(7);
        let mut coming = 0;
        let mut idle: Vec<usize> = (0..*workers).collect();
        // What each worker has: a post, and what is left of its packet.
        let mut busy: Vec<Option<(usize, u32)>> = vec![None; *workers];
        let mut ends: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
        loop {
            let arrival = posts.get(coming).map(|post| post.comes);
            let end = ends.peek().map(|Reverse((at, _))| *at);
            let now = match (arrival, end) {
                (None, None) => break,
                (Some(arrival), end) if end.is_none_or(|end| arrival <= end) => {
                    self.timed(|discipline| discipline.arrive(coming, posts[coming], arrival));
                    coming += 1;
                    if posts.get(coming).is_some_and(|next| next.comes == arrival) {
                        continue;
                    }
                    arrival
                }
                _ => {
                    let Reverse((now, worker)) = ends.pop().expect("just seen");
                    match self.end_of_transaction(&mut busy[worker], worker, now) {
                        true => self.begin(worker, now, &busy, &mut ends, &mut random),
                        false => idle.push(worker),
                    }
                    now
                }
            };
            while let Some(&worker) = idle.last() {
                let Some(post) = self.decide(|discipline| discipline.take(worker, now)) else { break };
                idle.pop();
                busy[worker] = Some((post, self.deal(post)));
                self.begin(worker, now, &busy, &mut ends, &mut random);
            }
        }
        assert!(self.left.iter().all(|&left| left == 0), "something was never sent");
        self.history
    }

    /// `true`: the worker goes on, with what is in its hands now.
    fn end_of_transaction(&mut self, hands: &mut Option<(usize, u32)>, worker: usize, now: u64) -> bool {
        let (post, left) = hands.as_mut().expect("it was sending");
        *left -= 1;
        let (post, left) = (*post, *left);
        self.left[post] -= 1;
        if self.left[post] == 0 {
            self.history.ended[post] = now;
        }
        if left == 0 {
            *hands = None;
            let is_last = self.left[post] == 0;
            self.timed(|discipline| discipline.done(post, is_last));
            return false;
        }
        match self.decide(|discipline| discipline.boundary(worker, post, now)) {
            Next::GoOn => {}
            Next::Switch { to, by_level } => {
                self.packets[post].push(left);
                match by_level {
                    true => self.history.preemptions += 1,
                    false => self.history.passings += 1,
                }
                *hands = Some((to, self.deal(to)));
            }
        }
        true
    }

    fn deal(&mut self, post: usize) -> u32 {
        let packet = self.packets[post].pop().expect("what is handed out is there");
        let (waiting, transactions) = (self.packets[post].len() as u32, self.workload.posts[post].transactions);
        self.timed(|discipline| discipline.opened(post, waiting, transactions));
        packet
    }

    fn begin(
        &mut self,
        worker: usize,
        now: u64,
        busy: &[Option<(usize, u32)>],
        ends: &mut BinaryHeap<Reverse<(u64, usize)>>,
        random: &mut Random,
    ) {
        let (post, _) = busy[worker].expect("it has something to send");
        let down = self.workload.outages.iter().find(|(from, until)| (*from..*until).contains(&now));
        let begin = down.map_or(now, |(_, until)| *until);
        self.history.begun[post] = self.history.begun[post].min(begin);
        let (median, spread) = self.workload.latency;
        let takes = (median * (spread * random.normal()).exp()) as u64;
        ends.push(Reverse((begin + takes.max(1), worker)));
    }

    fn decide<T>(&mut self, ask: impl FnOnce(&mut dyn Discipline) -> T) -> T {
        self.history.decisions += 1;
        self.timed(ask)
    }

    fn timed<T>(&mut self, ask: impl FnOnce(&mut dyn Discipline) -> T) -> T {
        let started = Instant::now();
        let answer = ask(&mut *self.discipline);
        self.history.cost += started.elapsed();
        answer
    }
}
