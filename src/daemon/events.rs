//! What happens, as it happens, for whoever watches: the page, the event log, metrics.
//!
//! Events are a hint and the spool is the truth, as with the watch. A subscriber has room for so many; one that reads too
//! slowly loses the newest, is told how many, and looks at the spool again. Nobody here ever waits for a subscriber, and
//! without one an event costs a look at one number.
//!
//! Where a message is, a scheduler tells from what it knew and what it finds: it has arrived, was requeued (to `z`: held; from
//! `z`: released), rescheduled, or both, or has gone. So it is whether the kernel, another host, a poll or the slow scan made it
//! look, and also where a worker saw it first. Where the kernel told of renames in between, each is told: a message that was held
//! and released before anybody looked was held, and released. Where it did not (it is a poll, or too much happened at once), what
//! lies between two looks is not known, and only the outcome is told: of such a hold, nothing. A message that is not where it was
//! is said to have gone a second later (with a poll, two rounds later) unless it is found by then, since a rename is told in halves.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::mail::{MessageId, Moment, Priority};

use super::clock;

/// Something that happened, and when.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Unix seconds, to the microsecond.
    #[serde(with = "seconds")]
    pub at: Moment,
    #[serde(flatten)]
    pub what: Happening,
}

/// Durations are in seconds; `packet` is the packet's file name, `worker` the worker's number, `recipients` a count.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Happening {
    /// A scheduler has found what waits, and begins.
    SchedulerStarted {
        host: String,
        pid: u32,
        workers: usize,
    },
    SchedulerStopped {
        host: String,
        pid: u32,
    },
    /// Another configuration is in force.
    Reloaded,
    /// Something was paused or resumed.
    PausesChanged {
        /// All that is paused now, by whom and why.
        #[serde(default)]
        paused: Vec<String>,
    },
    /// All directories were listed: what was not told of any more has gone.
    Scanned,
    /// A message was found that was not known. After a start that is every message.
    Arrived {
        #[serde(with = "text")]
        message: MessageId,
        #[serde(with = "text")]
        priority: Priority,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_before: Option<u64>,
    },
    /// It was moved; to `z`: held; from `z`: released. See the module for moves that nobody saw.
    Requeued {
        #[serde(with = "text")]
        message: MessageId,
        #[serde(with = "text")]
        from: Priority,
        #[serde(with = "text")]
        to: Priority,
        /// Who has held it, and why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// Its time was changed.
    Rescheduled {
        #[serde(with = "text")]
        message: MessageId,
        #[serde(with = "text")]
        priority: Priority,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_before: Option<u64>,
    },
    /// A worker has opened it.
    Started {
        #[serde(with = "text")]
        message: MessageId,
        #[serde(with = "text")]
        priority: Priority,
        /// That can be sent now.
        packets: usize,
        /// Of the whole message, where its producer said so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recipients: Option<u64>,
    },
    PacketTaken {
        #[serde(with = "text")]
        message: MessageId,
        packet: String,
        worker: usize,
        recipients: usize,
        /// Behind the checkpoint.
        done: usize,
        /// Over which it goes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        relay: Option<String>,
    },
    PacketLeft {
        #[serde(with = "text")]
        message: MessageId,
        packet: String,
        worker: usize,
        recipients: usize,
        done: usize,
        /// How long the worker had it.
        #[serde(default)]
        claimed_for: f64,
        #[serde(default)]
        why: Why,
        /// Over which it went last, where the connection is still there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        relay: Option<String>,
    },
    /// A worker gives way to a more urgent message.
    Preempted {
        #[serde(with = "text")]
        message: MessageId,
        #[serde(with = "text")]
        priority: Priority,
        packet: String,
        worker: usize,
        #[serde(with = "text")]
        by: MessageId,
        #[serde(with = "text")]
        by_priority: Priority,
        /// From when the more urgent one was seen to this.
        latency: f64,
    },
    /// A packet that was left for a more urgent message is sent on.
    Resumed {
        #[serde(with = "text")]
        message: MessageId,
        #[serde(with = "text")]
        priority: Priority,
        packet: String,
        worker: usize,
        /// How long it was left.
        lasted: f64,
    },
    Deferred {
        #[serde(with = "text")]
        message: MessageId,
        packet: String,
        recipients: usize,
        relay: String,
        /// One of the relay's replies.
        reply: String,
        /// Unix seconds.
        until: u64,
    },
    Failed {
        #[serde(with = "text")]
        message: MessageId,
        packet: String,
        recipients: usize,
        relay: String,
        reply: String,
    },
    /// Nobody knows whether these recipients got it.
    Uncertain {
        #[serde(with = "text")]
        message: MessageId,
        packet: String,
        recipients: usize,
        why: String,
    },
    /// This program has held it.
    Held {
        #[serde(with = "text")]
        message: MessageId,
        #[serde(with = "text")]
        from: Priority,
        why: String,
    },
    /// It, or a packet of it, can't be read and is in `bad/`.
    SetAside {
        #[serde(with = "text")]
        message: MessageId,
        why: String,
    },
    /// It is not where it was, and was not found elsewhere for a while: cancelled, or finished by another process.
    Gone {
        #[serde(with = "text")]
        message: MessageId,
        /// Who has cancelled it, and why, where that is so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// It is distributed: everybody has an outcome, its folder is removed.
    Done {
        #[serde(with = "text")]
        message: MessageId,
        #[serde(with = "text")]
        priority: Priority,
    },
    RelayDown {
        relay: String,
        why: String,
        /// How long it is left alone.
        pause: f64,
    },
    RelayUp {
        relay: String,
    },
    /// So many events there was no room for. Told by whoever has written the others down, and by nobody here.
    Lost {
        lost: u64,
    },
}

/// Why a worker has a packet no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// All its recipients have an outcome.
    Finished,
    Preempted,
    /// The relay, or the connection to it, is in trouble.
    Relay,
    Paused,
    /// Its list's window has closed.
    WindowClosed,
    Reloaded,
    /// Requeued to a level that is not the worker's.
    NotItsOwn,
    /// The scheduler stops.
    Stopped,
    Held,
    /// Everything was refused, and it is not clear yet whether that is a mistake.
    Doubtful,
    /// The message is not where it was.
    Gone,
    /// Its time has not come: rescheduled, or by a clock that was set back.
    NotDue,
    /// Another process has the packet, or it is not certain whose it is.
    NotHeld,
    /// One that this version does not know.
    #[default]
    #[serde(other)]
    Other,
}

impl Happening {
    /// The message that it happened to.
    pub fn message(&self) -> Option<&MessageId> {
        use Happening::*;
        match self {
            SchedulerStarted { .. } | SchedulerStopped { .. } | Reloaded | PausesChanged { .. } | Scanned => None,
            RelayDown { .. } | RelayUp { .. } | Lost { .. } => None,
            Arrived { message, .. } | Requeued { message, .. } | Rescheduled { message, .. } => Some(message),
            Started { message, .. } => Some(message),
            PacketTaken { message, .. } | PacketLeft { message, .. } => Some(message),
            Preempted { message, .. } | Resumed { message, .. } => Some(message),
            Deferred { message, .. } | Failed { message, .. } | Uncertain { message, .. } => Some(message),
            Held { message, .. } | SetAside { message, .. } => Some(message),
            Gone { message, .. } | Done { message, .. } => Some(message),
        }
    }
}

/// Where events are told.
#[derive(Default)]
pub struct Events {
    subscribers: Mutex<Vec<Subscriber>>,
    /// How many there are, to be looked at without the lock.
    count: AtomicUsize,
}

struct Subscriber {
    events: Sender<Arc<Event>>,
    lost: Weak<AtomicU64>,
}

/// One that listens, until it is dropped.
pub struct Subscription {
    pub events: Receiver<Arc<Event>>,
    lost: Arc<AtomicU64>,
}

impl Subscription {
    /// Events that there was no room for, since this was asked last.
    pub fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }
}

impl Events {
    /// Listens from now on; `room`: events that may wait to be read.
    pub fn subscribe(&self, room: usize) -> Subscription {
        let (sender, events) = bounded(room);
        let lost = Arc::new(AtomicU64::new(0));
        let mut subscribers = self.subscribers.lock();
        subscribers.push(Subscriber { events: sender, lost: Arc::downgrade(&lost) });
        self.count.store(subscribers.len(), Ordering::Relaxed);
        Subscription { events, lost }
    }

    /// Tells all subscribers what `what` makes; it is made only if there are any.
    pub fn tell(&self, what: impl FnOnce() -> Happening) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let event = Arc::new(Event { at: clock::now(), what: what() });
        let mut subscribers = self.subscribers.lock();
        subscribers.retain(|subscriber| match subscriber.events.try_send(event.clone()) {
            Ok(()) => true,
            Err(TrySendError::Disconnected(_)) => false,
            Err(TrySendError::Full(_)) => {
                if let Some(lost) = subscriber.lost.upgrade() {
                    lost.fetch_add(1, Ordering::Relaxed);
                }
                true
            }
        });
        self.count.store(subscribers.len(), Ordering::Relaxed);
    }
}

/// Values that have a text of their own.
mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub fn deserialize<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(deserializer: D) -> Result<T, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

mod seconds {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::mail::Moment;

    pub fn serialize<S: Serializer>(at: &Moment, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(at.seconds())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Moment, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        // The end of the year 9999.
        if !(0.0..253_402_300_800.0).contains(&seconds) {
            return Err(D::Error::custom(format!("{seconds:e} is no time")));
        }
        Ok(Moment((seconds * 1e6).round() as u64))
    }
}

/// Somebody's words, no longer than a line of a log may be.
pub(super) fn shortened(mut text: String) -> String {
    const LONGEST: usize = 500;
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone(n: u64) -> Happening {
        Happening::Gone { message: format!("l@d.{n}.1").parse().unwrap(), why: None }
    }

    #[test]
    fn an_event_is_made_only_if_somebody_listens() {
        let events = Events::default();
        events.tell(|| unreachable!("nobody listens"));
        let subscription = events.subscribe(1);
        events.tell(|| gone(1));
        assert_eq!(subscription.events.recv().unwrap().what, gone(1));
        drop(subscription);
        events.tell(|| gone(2));
        events.tell(|| unreachable!("nobody listens any more"));
    }

    #[test]
    fn a_slow_reader_is_not_waited_for_and_learns_how_many_it_has_lost() {
        let events = Events::default();
        let (slow, fast) = (events.subscribe(2), events.subscribe(10));
        (0..5).for_each(|n| events.tell(|| gone(n)));
        assert_eq!((slow.events.len(), slow.take_lost(), slow.take_lost()), (2, 3, 0));
        assert_eq!((fast.events.len(), fast.take_lost()), (5, 0));
    }

    #[test]
    fn an_event_reads_back_from_its_line() {
        let what = Happening::Requeued {
            message: "my-list@my.dom.1192613090.972".parse().unwrap(),
            from: "5".parse().unwrap(),
            to: "z".parse().unwrap(),
            why: None,
        };
        let event = Event { at: Moment(1_192_613_090_123_456), what };
        let line = serde_json::to_string(&event).unwrap();
        let expected = r#"{"at":1192613090.123456,"event":"requeued","message":"my-list@my.dom.1192613090.972","from":"5","to":"z"}"#;
        assert_eq!(line, expected);
        assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event);
    }
}
