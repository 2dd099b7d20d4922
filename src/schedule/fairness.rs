//! Fairness inside a level: a small message slips past a big one, and the big one's end comes at most a quarter later.
//!
//! # The rule
//!
//! Work is counted in transactions: each decision hands out one. A message's class is the power of two below its number
//! of transactions; of a message that nobody has opened nothing is known, and it counts as of the smallest class (to open
//! it costs little; found big, it goes behind). A level has an account for each class. Let `s` be `max_slowdown - 1`.
//!
//! - A transaction handed to the eldest message of class `c` pays `s/2` into account `c`, which holds at most
//!   `s/2 · 2^c` and begins full.
//! - A transaction handed to a message X costs 1 from the account of each class that has an elder message than X with a
//!   packet to hand out. Where one of them can't pay, X may not go.
//! - Of those that may go, the smallest class goes first, then the eldest. The eldest of all costs nobody anything, so
//!   somebody may always go.
//! - X passes elders of larger classes. From 128 transactions on it passes the eldest of its own class as well, if that
//!   account is three quarters full (and until it is half empty): so two big ones share, and what small ones pass by is
//!   not used up. It never passes smaller elders.
//!
//! # The bound
//!
//! Let B be a message of W transactions, of class `c`, so `2^c ≤ W`. Let F be the transactions that go before its end in
//! order of arrival: what its elders have left when it comes, and its own W. With one worker, B's end comes after the F
//! and after O, the transactions of younger messages while B waits; the elders' work is the same in both orders, since
//! nobody idles. Each of O was paid from account `c`: the eldest of class `c` is B or B's elder. The account held at most
//! `s/2 · 2^c ≤ s/2 · W` when B came, and what was paid in since came from B or its elders of that class, so from
//! transactions among the F: at most `s/2 · F`. An account is never overdrawn, so `O ≤ s/2 · W + s/2 · F ≤ s · F`: B ends
//! at most `max_slowdown` times as late as in order of arrival.
//!
//! With n workers the same holds of the work handed out while B had a packet to hand out. Where a message turns out
//! smaller than was thought when it was opened, the bound is of what was thought. A message that comes to another level,
//! requeued or lifted by ageing, comes to that level's accounts: there the bound holds of its time at that level.
//!
//! (Postfix's slots have the same bound. They are earned by each job, and a job preempts as a whole; here an account is a
//! class's, so a decision looks at 21 numbers however many messages wait, and a message may pass for as long as it is
//! paid for.)

use std::cmp::Ordering;

use crate::mail::{Epoch, Level};

use super::key::Key;

/// How big a message is: the power of two below its transactions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Class(u8);

impl Class {
    pub const COUNT: usize = 21;
    pub const SMALLEST: Class = Class(0);

    pub fn of(transactions: u32) -> Class {
        Class((transactions.max(1).ilog2() as u8).min(Class::COUNT as u8 - 1))
    }

    pub fn index(self) -> usize {
        self.0.into()
    }
}

/// How messages of one level follow each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// By arrival.
    Fifo,
    Fair(Slowdown),
}

/// By how much, at most, a message's end may come later for those that pass it: thousandths on top of its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slowdown(u32);

impl Slowdown {
    /// From 1 (nobody is passed) to 10; `None` beyond.
    pub fn new(most: f64) -> Option<Slowdown> {
        (1.0..=10.0).contains(&most).then(|| Slowdown(((most - 1.0) * 1000.0).round() as u32))
    }

    pub fn most(self) -> f64 {
        1.0 + f64::from(self.0) / 1000.0
    }
}

impl Default for Slowdown {
    fn default() -> Slowdown {
        Slowdown(250)
    }
}

/// One transaction, in an account's money.
const TRANSACTION: i64 = 2000;
/// To begin to pass, a message's first transactions must be paid for, up to so many: each change of message costs the
/// worker the opening of a packet.
const BEGINNING: u32 = 8;
/// From this class on two messages share; below, one after the other is sooner for the first and no later for the second.
const BIG: Class = Class(7);

/// Whoever could be handed the next transaction of a level.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Candidate {
    pub arrived: Epoch,
    pub key: Key,
    pub class: Class,
    pub left: u32,
    /// The worker that asks has its packet.
    pub current: bool,
}

/// The candidates of one level: of each class the eldest, and the second.
pub(super) type Candidates = [[Option<Candidate>; 2]; Class::COUNT];

/// See the module.
pub(super) struct Accounts {
    /// Thousandths of a transaction that each transaction of a class's eldest pays in, twice over; `None`: nobody is passed.
    rate: Option<i64>,
    accounts: [[i64; Class::COUNT]; Level::COUNT],
}

impl Accounts {
    pub fn new(order: Order) -> Accounts {
        let rate = match order {
            Order::Fifo => None,
            Order::Fair(Slowdown(thousandths)) => Some(i64::from(thousandths)),
        };
        let full = std::array::from_fn(|class| rate.unwrap_or(0) << class);
        Accounts { rate, accounts: [full; Level::COUNT] }
    }

    /// Who gets the next transaction at `level`; books it.
    pub fn hand_out(&mut self, level: Level, candidates: &Candidates) -> Option<Candidate> {
        let chosen = self.choose(level, candidates)?;
        if let Some(rate) = self.rate {
            let accounts = &mut self.accounts[level.index()];
            for (class, eldest) in candidates.iter().enumerate() {
                let Some(eldest) = eldest[0] else { continue };
                if is_elder(&eldest, &chosen) {
                    accounts[class] -= TRANSACTION;
                    debug_assert!(accounts[class] >= 0, "nobody passes whom they can't pay");
                } else if eldest.key == chosen.key {
                    accounts[class] = (accounts[class] + rate).min(rate << class);
                }
            }
        }
        Some(chosen)
    }

    fn choose(&self, level: Level, candidates: &Candidates) -> Option<Candidate> {
        let eldests = || candidates.iter().filter_map(|class| class[0]);
        let eldest = eldests().min()?;
        let Some(rate) = self.rate else {
            // Whoever has begun goes on.
            return Some(candidates.iter().flatten().flatten().find(|own| own.current).copied().unwrap_or(eldest));
        };
        let accounts = &self.accounts[level.index()];
        let may_go = |x: &Candidate| {
            eldests().filter(|elder| is_elder(elder, x)).all(|elder| {
                let account = accounts[elder.class.index()];
                let full = rate << elder.class.index();
                let needed = match x.class.cmp(&elder.class) {
                    Ordering::Equal if x.class < BIG => return false,
                    Ordering::Less if x.current => TRANSACTION,
                    Ordering::Less => TRANSACTION * i64::from(x.left.clamp(1, BEGINNING)),
                    Ordering::Equal if x.current => full / 2,
                    Ordering::Equal => full / 4 * 3,
                    Ordering::Greater => return false,
                };
                account >= needed.max(TRANSACTION)
            })
        };
        for [first, second] in candidates {
            // The second first: it goes only where the first can afford it.
            if let Some(chosen) = [second, first].into_iter().flatten().find(|x| may_go(x)) {
                return Some(*chosen);
            }
        }
        Some(eldest)
    }
}

fn is_elder(a: &Candidate, b: &Candidate) -> bool {
    (a.arrived, a.key) < (b.arrived, b.key)
}
