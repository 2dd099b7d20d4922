//! Why nothing of a message is sent now, in the same words wherever it is asked: the page, the interface, `queue`, `show`.
//!
//! What is held, scheduled or deferred says so in its state. What waits though its time has come, and for something else
//! than its turn behind more urgent ones, is stuck: it is counted as that, and nobody is promised a time for it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;

use crate::daemon::lists::Lists;
use crate::mail::{Epoch, MessageId, Priority};
use crate::monitor::age::age;
use crate::spool::census::State;
use crate::spool::layout::PauseName;
use crate::spool::note::Note;
use crate::spool::pause::{Pause, Paused};
use crate::spool::running::{Relay, Scheduler};

/// What is in the way. Times are unix seconds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stuck {
    /// `None`: the pause can't be read.
    Paused(Option<Pause>),
    /// `None`: nobody says why.
    Held(Option<Note>),
    NotBefore(u64),
    NoScheduler,
    /// The scheduler that would send it, or does, has said nothing for so many seconds.
    Silent {
        who: String,
        seconds: u64,
    },
    /// Nobody is left who was not tried yet.
    Deferred {
        until: u64,
    },
    /// Outside its list's windows.
    WindowClosed {
        until: u64,
    },
    /// None that may have it is in use.
    NoRelay {
        why: String,
        next_try: Option<u64>,
    },
    RelayPaused(String),
    /// What would be sent now could not be recorded.
    NoRoom,
}

/// The same in a word, for programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    Paused,
    Held,
    NotBefore,
    NoScheduler,
    Silent,
    Deferred,
    WindowClosed,
    NoRelay,
    RelayPaused,
    NoRoom,
}

impl Reason {
    /// Those that keep a message from being sent which is due, where a scheduler runs.
    pub const IN_THE_WAY: [Reason; 5] =
        [Reason::Paused, Reason::WindowClosed, Reason::NoRelay, Reason::RelayPaused, Reason::NoRoom];

    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Paused => "paused",
            Reason::Held => "held",
            Reason::NotBefore => "not_before",
            Reason::NoScheduler => "no_scheduler",
            Reason::Silent => "silent",
            Reason::Deferred => "deferred",
            Reason::WindowClosed => "window_closed",
            Reason::NoRelay => "no_relay",
            Reason::RelayPaused => "relay_paused",
            Reason::NoRoom => "no_room",
        }
    }
}

/// Whether a message is stuck, and not only in a state that has its own time.
pub fn is_stuck(state: State, reason: Option<Reason>) -> bool {
    match state {
        State::Waiting => reason.is_some(),
        // Whoever has it waits for the disk, or hangs.
        State::Active => matches!(reason, Some(Reason::NoRoom | Reason::Silent)),
        State::Held | State::Scheduled | State::Deferred => false,
    }
}

/// How many of a message's recipients are sent to as things are: what a time left can be promised for.
pub fn going(left: u64, reason: Option<Reason>) -> u64 {
    if reason.is_none() { left } else { 0 }
}

impl Stuck {
    pub fn reason(&self) -> Reason {
        match self {
            Stuck::Paused(_) => Reason::Paused,
            Stuck::Held(_) => Reason::Held,
            Stuck::NotBefore(_) => Reason::NotBefore,
            Stuck::NoScheduler => Reason::NoScheduler,
            Stuck::Silent { .. } => Reason::Silent,
            Stuck::Deferred { .. } => Reason::Deferred,
            Stuck::WindowClosed { .. } => Reason::WindowClosed,
            Stuck::NoRelay { .. } => Reason::NoRelay,
            Stuck::RelayPaused(_) => Reason::RelayPaused,
            Stuck::NoRoom => Reason::NoRoom,
        }
    }

    /// In words; `time` says how a time is written.
    pub fn told(&self, time: impl Fn(u64) -> String) -> String {
        match self {
            Stuck::Paused(None) => "paused; its file can't be read".into(),
            Stuck::Paused(Some(pause)) => format!("paused by {}: {}", pause.by, pause.why),
            Stuck::Held(None) => "held".into(),
            Stuck::Held(Some(note)) => format!("held by {}: {}", note.by, note.why),
            Stuck::NotBefore(at) => format!("not before {}", time(*at)),
            Stuck::NoScheduler => "no scheduler runs on this spool".into(),
            Stuck::Silent { who, seconds } => format!("{who} has said nothing for {}", age(*seconds)),
            Stuck::Deferred { until } => format!("all that is left is deferred until {}", time(*until)),
            Stuck::WindowClosed { until } => format!("its list's window is closed until {}", time(*until)),
            Stuck::NoRelay { why, next_try } => {
                let next = next_try.map_or(String::new(), |at| format!("; next try {}", time(at)));
                format!("no relay: {why}{next}")
            }
            Stuck::RelayPaused(relay) => format!("no relay: {relay} is paused"),
            Stuck::NoRoom => "the spool's disk takes no writes: what is sent could not be recorded".into(),
        }
    }
}

/// A message, as far as it matters here.
pub struct Asked<'m> {
    pub id: &'m MessageId,
    pub priority: Priority,
    pub state: State,
    pub not_before: Option<Epoch>,
    pub next_try: Option<Epoch>,
    pub held: Option<&'m Note>,
}

/// What all messages have in common. Made for one look: it remembers what it was asked of a list.
pub struct Circumstances<'c> {
    now: Epoch,
    pauses: &'c [Paused],
    /// As they are seen from the spool.
    schedulers: &'c [Scheduler],
    /// Of all schedulers on this spool that are heard of. `None`: none runs.
    relays: Option<Vec<&'c Relay>>,
    lists: Option<&'c Lists>,
    has_room: bool,
    /// What is in the way of each list's messages; where no list has settings of its own, of every list's, as `""`.
    known: RefCell<HashMap<String, Option<Arc<Stuck>>>>,
}

impl<'c> Circumstances<'c> {
    /// As a scheduler sees them.
    pub fn inside(now: Epoch, pauses: &'c [Paused], relays: Vec<&'c Relay>, lists: Option<&'c Lists>) -> Self {
        let (schedulers, has_room) = (&[][..], true);
        Circumstances { now, pauses, schedulers, relays: Some(relays), lists, has_room, known: RefCell::default() }
    }

    /// As they are seen from the spool; `lists`: of this host's configuration.
    pub fn outside(now: Epoch, pauses: &'c [Paused], schedulers: &'c [Scheduler], lists: &'c Lists) -> Self {
        let heard = || schedulers.iter().filter(|scheduler| scheduler.silent.is_none());
        let relays = || heard().flat_map(|scheduler| &scheduler.relays).collect();
        let relays = (!schedulers.is_empty()).then(relays);
        let (lists, has_room) = (Some(lists), true);
        Circumstances { now, pauses, schedulers, relays, lists, has_room, known: RefCell::default() }
    }

    /// Whether what is sent could be recorded.
    pub fn with_room(self, has_room: bool) -> Self {
        Circumstances { has_room, ..self }
    }

    /// What is in the way of the message, if anything is.
    pub fn of(&self, asked: &Asked<'_>) -> Option<Arc<Stuck>> {
        let list = asked.id.list();
        if let Some(level) = asked.priority.level()
            && let Some(paused) = self.pauses.iter().find(|paused| paused.stops(list, level))
        {
            return Some(Arc::new(Stuck::Paused(paused.pause.clone())));
        }
        let stuck = match asked.state {
            State::Active | State::Waiting if !self.has_room && self.relays.is_some() => Stuck::NoRoom,
            State::Active => self.silent_on(asked.id)?,
            State::Held => Stuck::Held(asked.held.cloned()),
            State::Scheduled => Stuck::NotBefore(asked.not_before?.0),
            _ if self.relays.is_none() => Stuck::NoScheduler,
            State::Deferred => Stuck::Deferred { until: asked.next_try?.0 },
            State::Waiting => {
                let list = if self.lists.is_none_or(|lists| lists.0.is_empty()) { "" } else { list };
                if let Some(known) = self.known.borrow().get(list) {
                    return known.clone();
                }
                let stuck = self.of_list(list).map(Arc::new);
                self.known.borrow_mut().insert(list.to_owned(), stuck.clone());
                return stuck;
            }
        };
        Some(Arc::new(stuck))
    }

    /// Those who work on it have all fallen silent.
    fn silent_on(&self, id: &MessageId) -> Option<Stuck> {
        let works = |at: &&Scheduler| at.work.iter().any(|work| work.message == id.as_str());
        if self.schedulers.iter().all(|at| at.silent.is_none()) {
            return None;
        }
        silent(self.schedulers.iter().filter(works))
    }

    /// What is in the way of all messages of that list.
    fn of_list(&self, list: &str) -> Option<Stuck> {
        let windows = self.lists.and_then(|lists| lists.deliver(list));
        if let Some(windows) = windows.filter(|windows| !windows.is_open(self.now)) {
            return Some(Stuck::WindowClosed { until: windows.next_opening(self.now).0 });
        }
        if let Some(silent) = silent(self.schedulers.iter()) {
            return Some(silent);
        }
        let only: Option<Arc<[String]>> = self.lists.and_then(|lists| lists.relays(list));
        let may_have_it = |relay: &&&Relay| only.as_ref().is_none_or(|only| only.contains(&relay.relay));
        let is_paused = |relay: &Relay| self.pauses.iter().any(|at| at.name == PauseName::Relay(relay.relay.clone()));
        let mut first = None;
        for relay in self.relays.iter().flatten().filter(may_have_it) {
            let stuck = match relay.state.as_str() {
                _ if is_paused(relay) => Stuck::RelayPaused(relay.relay.clone()),
                "open" => {
                    let why = relay.why.clone().unwrap_or_else(|| "out of use".into());
                    Stuck::NoRelay { why, next_try: relay.next_try }
                }
                _ => return None,
            };
            first.get_or_insert(stuck);
        }
        first
    }
}

/// Of these, none is heard of.
fn silent<'s>(mut schedulers: impl Iterator<Item = &'s Scheduler>) -> Option<Stuck> {
    let first = schedulers.next()?;
    let seconds = first.silent?;
    let who = format!("{} {}", first.host, first.pid);
    schedulers.all(|at| at.silent.is_some()).then_some(Stuck::Silent { who, seconds })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::lists::{ListSettings, Pattern};
    use crate::schedule::Windows;

    fn relay(name: &str, state: &str) -> Relay {
        let why = (state == "open").then(|| "refused".to_owned());
        Relay { relay: name.into(), state: state.into(), since: None, next_try: Some(9), why }
    }

    fn asked(id: &MessageId, state: State) -> Asked<'_> {
        let at = Some(Epoch(7));
        Asked { id, priority: "5".parse().unwrap(), state, not_before: at, next_try: at, held: None }
    }

    fn lists() -> Lists {
        let mut news = ListSettings::new(Pattern::new("news@my.dom").unwrap());
        news.relays = Some(["smtp://bulk".to_owned()].into());
        let mut night = ListSettings::new(Pattern::new("night@my.dom").unwrap());
        let windows = Windows::parse(["00:00..00:01"], |_| Ok(jiff::tz::TimeZone::UTC));
        night.deliver = Some(Arc::new(windows.unwrap()));
        Lists(vec![news, night])
    }

    #[test]
    fn what_is_in_the_way_is_told_and_what_waits_its_turn_is_not_stuck() {
        let (news, night, other): (MessageId, MessageId, MessageId) = (
            "news@my.dom.1.1".parse().unwrap(),
            "night@my.dom.1.1".parse().unwrap(),
            "other@my.dom.1.1".parse().unwrap(),
        );
        let lists = lists();
        let (up, down) = (relay("smtp://first", "closed"), relay("smtp://bulk", "open"));
        let told = |circumstances: &Circumstances<'_>, id, state| {
            circumstances.of(&asked(id, state)).map(|stuck| stuck.told(|at| at.to_string()))
        };
        let now = Epoch(1_700_000_000);
        let both = Circumstances::inside(now, &[], vec![&up, &down], Some(&lists));
        assert_eq!(told(&both, &other, State::Waiting), None);
        assert_eq!(told(&both, &news, State::Waiting).as_deref(), Some("no relay: refused; next try 9"));
        assert_eq!(told(&both, &news, State::Active), None);
        assert_eq!(
            told(&both, &night, State::Waiting).as_deref(),
            Some("its list's window is closed until 1700006400")
        );
        assert_eq!(told(&both, &other, State::Deferred).as_deref(), Some("all that is left is deferred until 7"));
        assert_eq!(told(&both, &other, State::Scheduled).as_deref(), Some("not before 7"));
        let one = Circumstances::inside(now, &[], vec![&down], None);
        assert_eq!(told(&one, &other, State::Waiting).as_deref(), Some("no relay: refused; next try 9"));
        let none = Circumstances::outside(now, &[], &[], &lists);
        assert_eq!(told(&none, &other, State::Waiting).as_deref(), Some("no scheduler runs on this spool"));
        assert_eq!(told(&none, &other, State::Held).as_deref(), Some("held"));
        let pause = |name| Paused {
            name,
            pause: Some(Pause { since: 1, by: "pat".into(), why: "a look".into(), until: None }),
        };
        let pauses = [pause(PauseName::List("other@my.dom".into())), pause(PauseName::Relay("smtp://first".into()))];
        let full = Circumstances::inside(now, &[], vec![&up], None).with_room(false);
        for state in [State::Waiting, State::Active] {
            let why = full.of(&asked(&other, state)).unwrap();
            assert!(why.reason() == Reason::NoRoom && is_stuck(state, Some(Reason::NoRoom)), "{why:?}");
        }
        assert_eq!(told(&full, &other, State::Held).as_deref(), Some("held"));
        let paused = Circumstances::inside(now, &pauses, vec![&up], None);
        assert_eq!(told(&paused, &other, State::Waiting).as_deref(), Some("paused by pat: a look"));
        assert_eq!(told(&paused, &news, State::Waiting).as_deref(), Some("no relay: smtp://first is paused"));
    }
}
