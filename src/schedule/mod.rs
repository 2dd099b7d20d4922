//! STUB
use crate::mail::*;
use std::time::Duration;
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Key(u64);
pub struct Arrival {
    pub level: Level,
    pub arrived: Epoch,
    pub due: Option<Epoch>,
    pub seen: Moment,
}
pub struct Preemption {
    pub to: Key,
    pub waited: Duration,
    pub from: Level,
    pub to_level: Level,
}
pub enum Boundary {
    Continue,
    Yield(Preemption),
    Gone,
}
struct E {
    key: Key,
    a: Arrival,
    ready: u32,
    working: u32,
}
#[derive(Default)]
pub struct Backlog {
    n: u64,
    v: Vec<E>,
}
impl Backlog {
    pub fn new() -> Self {
        Self::default()
    }
    pub fn arrive(&mut self, a: Arrival) -> Key {
        self.n += 1;
        let key = Key(self.n);
        self.v.push(E { key, a, ready: 1, working: 0 });
        key
    }
    fn e(&mut self, k: Key) -> Option<&mut E> {
        self.v.iter_mut().find(|e| e.key == k)
    }
    pub fn opened(&mut self, k: Key, r: u32) {
        if let Some(e) = self.e(k) {
            e.ready = r
        }
    }
    pub fn requeued(&mut self, k: Key, l: Level) {
        if let Some(e) = self.e(k) {
            e.a.level = l
        }
    }
    pub fn gone(&mut self, k: Key) {
        self.v.retain(|e| e.key != k)
    }
    fn best(&mut self, now: Moment) -> Option<&mut E> {
        self.v
            .iter_mut()
            .filter(|e| e.ready > 0 && e.a.due.is_none_or(|d| Moment::from(d) <= now))
            .min_by_key(|e| (e.a.level, e.a.arrived, e.key))
    }
    pub fn take(&mut self, now: Moment) -> Option<Key> {
        let e = self.best(now)?;
        e.ready -= 1;
        e.working += 1;
        Some(e.key)
    }
    pub fn boundary(&mut self, k: Key, now: Moment) -> Boundary {
        let Some(me) = self.e(k) else { return Boundary::Gone };
        let from = me.a.level;
        match self.best(now) {
            Some(e) if e.a.level < from => {
                e.ready -= 1;
                e.working += 1;
                Boundary::Yield(Preemption { to: e.key, waited: now.since(e.a.seen), from, to_level: e.a.level })
            }
            _ => Boundary::Continue,
        }
    }
    pub fn give_back(&mut self, k: Key) {
        if let Some(e) = self.e(k) {
            e.ready += 1;
            e.working -= 1
        }
    }
    pub fn done(&mut self, k: Key) {
        if let Some(e) = self.e(k) {
            e.working -= 1
        }
    }
    pub fn sleep(&mut self, k: Key, u: Epoch) {
        if let Some(e) = self.e(k) {
            e.ready = 1;
            e.a.due = Some(u)
        }
    }
    pub fn is_working(&self, k: Key) -> bool {
        self.v.iter().any(|e| e.key == k && e.working > 0)
    }
    pub fn is_idle(&self, k: Key) -> bool {
        self.v.iter().any(|e| e.key == k && e.working == 0 && e.ready == 0)
    }
    pub fn next_due(&self) -> Option<Epoch> {
        self.v.iter().filter(|e| e.ready > 0 && e.working == 0).filter_map(|e| e.a.due).min()
    }
}
