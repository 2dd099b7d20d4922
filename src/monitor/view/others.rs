//! What other schedulers on the same spool do, by what they say of themselves in `running/`.
//!
//! As of a second ago, as long as somebody looks or anything is sent: their workers, how far those are, and how fast it goes.
//! Whoever sends writes that down once a second. One that says that it sends and has written nothing for a while is not
//! believed: it has died on a host whose locks are not seen here, or it hangs.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::daemon::live::Working;
use crate::mail::{Epoch, MessageId, Priority};
use crate::monitor::paces::Paces;
use crate::spool::layout::{self, FileName};
use crate::spool::running::{Scheduler, Work};

/// How long a scheduler that sends may say nothing new.
const PATIENCE: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Default)]
pub struct Others {
    pub working: Vec<Working>,
    pub paces: Paces,
    /// By host and process: when it said something last by its clock, and when that was seen here.
    said: HashMap<(String, u32), (u64, Instant)>,
}

impl Others {
    /// Takes in what all but this process say. Gives the messages that nobody of them is on any more.
    pub fn take_in(&mut self, schedulers: &[Scheduler], me: (&str, u32), now: Instant) -> Vec<MessageId> {
        let others = || schedulers.iter().filter(|other| (other.host.as_str(), other.pid) != me);
        let said = others().map(|other| {
            let of = (other.host.clone(), other.pid);
            let before = self.said.get(&of).filter(|(at, _)| *at == other.written);
            let seen = before.map_or(now, |(_, seen)| *seen);
            (of, (other.written, seen))
        });
        self.said = said.collect();
        let is_believed = |other: &&Scheduler| {
            let said = self.said.get(&(other.host.clone(), other.pid));
            said.is_some_and(|(_, seen)| now.duration_since(*seen) < PATIENCE)
        };
        let believed: Vec<&Scheduler> = others().filter(is_believed).collect();
        self.paces = Paces::of(believed.iter().copied());
        let working: Vec<Working> = believed.iter().flat_map(|other| &other.work).filter_map(working).collect();
        let before = std::mem::replace(&mut self.working, working);
        let still: HashSet<&MessageId> = self.messages();
        let ended = before.into_iter().map(|at| at.message).filter(|id| !still.contains(id));
        ended.collect::<HashSet<_>>().into_iter().collect()
    }

    pub fn messages(&self) -> HashSet<&MessageId> {
        self.working.iter().map(|at| &at.message).collect()
    }
}

/// What another process has written may be anything.
fn working(work: &Work) -> Option<Working> {
    let Ok(FileName::Packet(packet)) = layout::parse(work.packet.as_ref()) else { return None };
    Some(Working {
        worker: work.worker,
        message: work.message.parse().ok()?,
        level: work.priority.parse::<Priority>().ok()?.level()?,
        packet,
        recipients: usize::try_from(work.recipients).ok()?,
        done: usize::try_from(work.done).ok()?,
        since: Epoch(work.since).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::running::Pace;

    fn other(pid: u32, at: u64, messages: &[&str]) -> Scheduler {
        let work = |message: &&str| Work {
            worker: 0,
            message: (*message).to_owned(),
            packet: "recipients.mail.0001".into(),
            priority: "5".into(),
            recipients: 10,
            done: 3,
            since: 1,
        };
        Scheduler {
            host: "h".into(),
            pid,
            since: 0,
            version: "1".into(),
            workers: 1,
            relays: vec![],
            work: messages.iter().map(work).collect(),
            rates: messages.iter().map(|message| ((*message).to_owned(), 5.0)).collect(),
            sent: [0; _],
            pace: Pace { rate: 5.0, ..Pace::default() },
            written: at,
            silent: None,
        }
    }

    #[test]
    fn what_others_are_on_is_known_until_they_leave_it_and_this_process_is_no_other() {
        const ONE: &str = "l@x.org.1.1";
        const TWO: &str = "l@x.org.1.2";
        let (mut others, begun) = (Others::default(), Instant::now());
        let mut say = |schedulers: &[Scheduler], second: u64| {
            let ended = others.take_in(schedulers, ("h", 1), begun + Duration::from_secs(second));
            let ended: Vec<String> = ended.iter().map(ToString::to_string).collect();
            let on = others.working.iter().map(|at| (at.message.to_string(), at.done)).collect::<Vec<_>>();
            (on, others.paces.all, ended)
        };
        let on = |id: &str| vec![(id.to_owned(), 3)];
        let all = [other(1, 5, &[TWO]), other(2, 5, &[ONE, "no id"])];
        assert_eq!(say(&all, 0), (on(ONE), 5.0, vec![]));
        assert_eq!(say(&[other(2, 6, &[TWO])], 1), (on(TWO), 5.0, vec![ONE.to_owned()]));
        assert_eq!(say(&[other(2, 6, &[TWO])], 30), (on(TWO), 5.0, vec![]));
        assert_eq!(say(&[other(2, 6, &[TWO])], 31), (vec![], 0.0, vec![TWO.to_owned()]), "it says nothing new");
        assert_eq!(say(&[other(2, 7, &[TWO])], 32), (on(TWO), 5.0, vec![]));
        assert_eq!(say(&[], 33), (vec![], 0.0, vec![TWO.to_owned()]), "it has ended");
    }
}
