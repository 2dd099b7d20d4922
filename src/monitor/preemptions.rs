//! The last preemptions: which message gave way to which, when, and for how long.
//!
//! One entry for a message that gave way to one other, however many workers did. It lasts until every packet that was left
//! is sent on, or the message has gone. So many are kept, the newest ones; memory is bounded, whatever happens.

use std::collections::VecDeque;

use serde::Serialize;

use crate::daemon::events::{Event, Happening};
use crate::mail::{MessageId, Moment, Priority};

/// Entries.
const KEPT: usize = 50;
/// Packets of an entry whose way on is followed; more are counted alone.
const FOLLOWED: usize = 64;

/// See the module.
pub struct Preemptions {
    /// All from then on are here.
    since: Moment,
    /// Oldest first.
    entries: VecDeque<Preemption>,
}

struct Preemption {
    at: Moment,
    message: MessageId,
    priority: Priority,
    by: MessageId,
    by_priority: Priority,
    packets: u64,
    /// Seconds.
    latency: f64,
    /// Of a packet that is sent on; seconds.
    longest: f64,
    /// Packets that are not sent on yet, and since when.
    waiting: Vec<(String, Moment)>,
}

/// All of them.
#[derive(Debug, PartialEq, Serialize)]
pub struct Told {
    /// All from then on are here; Unix seconds.
    pub since: f64,
    /// Newest first.
    pub preemptions: Vec<PreemptionRow>,
}

#[derive(Debug, PartialEq, Serialize)]
pub struct PreemptionRow {
    /// Unix seconds.
    pub at: f64,
    pub message: String,
    pub priority: String,
    pub by: String,
    pub by_priority: String,
    /// How many were left for it.
    pub packets: u64,
    /// From when the more urgent message was seen to when a worker gave way, at most; seconds.
    pub latency: f64,
    /// Until the last packet was sent on; seconds. None: it lasts.
    pub lasted: Option<f64>,
    /// Packets that are not sent on yet.
    pub waiting: Vec<String>,
}

impl Preemptions {
    pub fn begin(now: Moment) -> Preemptions {
        Preemptions { since: now, entries: VecDeque::new() }
    }

    /// Takes down what concerns them.
    pub fn hear(&mut self, event: &Event) {
        use Happening as H;
        match &event.what {
            H::Preempted { message, priority, packet, by, by_priority, latency, .. } => {
                let same = |one: &&mut Preemption| one.message == *message && one.by == *by && !one.waiting.is_empty();
                let one = match self.entries.iter_mut().rev().find(same) {
                    Some(one) => one,
                    None => self.add(Preemption {
                        at: event.at,
                        message: message.clone(),
                        priority: *priority,
                        by: by.clone(),
                        by_priority: *by_priority,
                        packets: 0,
                        latency: 0.0,
                        longest: 0.0,
                        waiting: Vec::new(),
                    }),
                };
                one.packets += 1;
                one.latency = one.latency.max(*latency);
                if one.waiting.len() < FOLLOWED {
                    one.waiting.push((packet.clone(), event.at));
                }
            }
            H::Resumed { message, packet, .. } | H::PacketTaken { message, packet, .. } => {
                self.end(event.at, |one, waiting| one == message && waiting == packet);
            }
            H::Done { message, .. }
            | H::Gone { message, .. }
            | H::Held { message, .. }
            | H::Requeued { message, .. }
            | H::SetAside { message, .. } => self.end(event.at, |one, _| one == message),
            _ => {}
        }
    }

    fn add(&mut self, one: Preemption) -> &mut Preemption {
        if self.entries.len() == KEPT {
            self.entries.pop_front();
            self.since = self.entries.front().map_or(one.at, |oldest| oldest.at);
        }
        self.entries.push_back(one);
        self.entries.back_mut().expect("it has just been added")
    }

    /// What was not told of has gone as well.
    pub fn end_of_those_gone(&mut self, now: Moment, is_there: impl Fn(&MessageId) -> bool) {
        self.end(now, |message, _| !is_there(message));
    }

    fn end(&mut self, at: Moment, is_over: impl Fn(&MessageId, &str) -> bool) {
        for one in self.entries.iter_mut().filter(|one| !one.waiting.is_empty()) {
            let Preemption { message, waiting, longest, .. } = one;
            waiting.retain(|(packet, since)| {
                let over = is_over(message, packet);
                if over {
                    *longest = longest.max(at.since(*since).as_secs_f64());
                }
                !over
            });
        }
    }

    pub fn told(&self) -> Told {
        let row = |one: &Preemption| PreemptionRow {
            at: one.at.seconds(),
            message: one.message.to_string(),
            priority: one.priority.to_string(),
            by: one.by.to_string(),
            by_priority: one.by_priority.to_string(),
            packets: one.packets,
            latency: one.latency,
            lasted: one.waiting.is_empty().then_some(one.longest),
            waiting: one.waiting.iter().map(|(packet, _)| packet.clone()).collect(),
        };
        Told { since: self.since.seconds(), preemptions: self.entries.iter().rev().map(row).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Epoch;

    fn id(name: &str) -> MessageId {
        format!("{name}@x.org.1700000000.1").parse().unwrap()
    }

    fn at(second: u64, what: Happening) -> Event {
        Event { at: Epoch(second).into(), what }
    }

    fn preempted(second: u64, message: &str, packet: usize, by: &str) -> Event {
        let (message, by, packet) = (id(message), id(by), format!("recipients.mail.{packet}"));
        let (priority, by_priority) = ("5".parse().unwrap(), "0".parse().unwrap());
        at(second, Happening::Preempted { message, priority, packet, worker: 0, by, by_priority, latency: 0.5 })
    }

    fn resumed(second: u64, message: &str, packet: usize) -> Event {
        let (message, packet) = (id(message), format!("recipients.mail.{packet}"));
        at(second, Happening::Resumed { message, priority: "5".parse().unwrap(), packet, worker: 0, lasted: 1.0 })
    }

    fn heard(events: &[Event]) -> Told {
        let mut preemptions = Preemptions::begin(Epoch(1).into());
        events.iter().for_each(|event| preemptions.hear(event));
        preemptions.told()
    }

    #[test]
    fn one_lasts_until_its_last_packet_is_sent_on() {
        let events = [preempted(10, "a", 1, "u"), preempted(12, "a", 2, "u"), resumed(15, "a", 1), resumed(20, "a", 2)];
        let told = heard(&events[..3]);
        let one = &told.preemptions[0];
        assert_eq!((told.preemptions.len(), told.since, one.at, one.packets), (1, 1.0, 10.0, 2));
        assert_eq!((one.lasted, &one.waiting[..]), (None, &["recipients.mail.2".to_owned()][..]));
        assert_eq!(heard(&events).preemptions[0].lasted, Some(8.0));
        // The next time is another one.
        let again = heard(&[&events[..], &[preempted(30, "a", 1, "u")]].concat());
        assert_eq!(again.preemptions.iter().map(|one| one.at).collect::<Vec<_>>(), [30.0, 10.0]);
    }

    #[test]
    fn one_ends_with_its_message_also_when_nobody_tells() {
        let gone = at(14, Happening::Gone { message: id("a"), why: None });
        let events = [preempted(10, "a", 1, "u"), preempted(10, "b", 1, "u"), gone];
        let lasted = |told: Told| told.preemptions.iter().map(|one| one.lasted).collect::<Vec<_>>();
        assert_eq!(lasted(heard(&events)), [None, Some(4.0)]);
        let mut preemptions = Preemptions::begin(Epoch(1).into());
        preemptions.hear(&events[1]);
        preemptions.end_of_those_gone(Epoch(11).into(), |_| true);
        assert_eq!(lasted(preemptions.told()), [None]);
        preemptions.end_of_those_gone(Epoch(11).into(), |message| *message != id("b"));
        assert_eq!(lasted(preemptions.told()), [Some(1.0)]);
    }

    #[test]
    fn only_so_many_are_kept_and_it_is_said_from_when_on() {
        let many: Vec<Event> = (0..1000).map(|n| preempted(10 + n, &format!("a{n}"), 1, "u")).collect();
        let told = heard(&many);
        assert_eq!(told.preemptions.len(), KEPT);
        assert_eq!((told.preemptions[0].at, told.since), (1009.0, told.preemptions[KEPT - 1].at));
        let workers: Vec<Event> = (0..1000).map(|n| preempted(10, "a", n, "u")).collect();
        let told = heard(&workers);
        assert_eq!((told.preemptions[0].packets, told.preemptions[0].waiting.len()), (1000, FOLLOWED));
    }
}
