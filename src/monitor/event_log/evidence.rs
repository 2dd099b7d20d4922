//! The lines that tell one message's story: what happened to it, what gave way to it, and what stopped it.
//!
//! A pause or a relay's trouble stops many messages, and most of them are others. Of pauses those are kept that stopped this
//! one: of everything, its list, a level at which it stood meanwhile, a relay that it used; of relays those that it used. What
//! was so already when it came is kept as well. Where the log doesn't say which relays it used, any may have been one of them.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::line::{Line, Writer};
use crate::daemon::events::Happening;
use crate::mail::{MessageId, Priority};
use crate::spool::layout::PauseName;

/// Lines that are kept.
const MOST: usize = 100_000;
/// And their octets.
const MOST_OCTETS: usize = 64 << 20;
/// Lines that are kept of what was so before the message came.
const MOST_BEFORE: usize = 1000;

/// See the module.
pub struct Evidence {
    message: MessageId,
    lines: Vec<Line>,
    octets: usize,
    /// Lines that there was no room for.
    pub more: u64,
    /// Before it came: the last word of each scheduler on pauses, and on each relay that is down.
    before: Vec<(Line, usize)>,
    has_come: bool,
    has_ended: bool,
    is_done: bool,
    /// Where it stands.
    priority: Option<Priority>,
    /// The last line of each scheduler on pauses.
    in_force: HashMap<Writer, usize>,
    /// What of each line on pauses stopped the message, by the line's index.
    stopped: HashMap<usize, BTreeSet<String>>,
    relays: HashSet<String>,
    /// It was sent over relays that nobody has named.
    used_others: bool,
}

impl Evidence {
    pub fn of(message: &MessageId) -> Evidence {
        Evidence {
            message: message.clone(),
            lines: Vec::new(),
            octets: 0,
            more: 0,
            before: Vec::new(),
            has_come: false,
            has_ended: false,
            is_done: false,
            priority: None,
            in_force: HashMap::new(),
            stopped: HashMap::new(),
            relays: HashSet::new(),
            used_others: false,
        }
    }

    /// Takes a line in, of so many octets.
    pub fn hear(&mut self, line: &Line, length: usize) {
        use Happening as H;
        let what = &line.event.what;
        if what.message() == Some(&self.message) {
            self.begin();
            self.keep(line, length);
            self.follow(what);
            return;
        }
        match what {
            H::Preempted { by, .. } if *by == self.message => self.keep(line, length),
            H::PausesChanged { .. } | H::RelayDown { .. } | H::RelayUp { .. } if !self.has_come => {
                self.note_before(line, length);
            }
            H::SchedulerStarted { .. } | H::SchedulerStopped { .. } if !self.has_come => {
                self.before.retain(|(before, _)| before.writer() != line.writer());
            }
            H::SchedulerStarted { .. }
            | H::SchedulerStopped { .. }
            | H::PausesChanged { .. }
            | H::Lost { .. }
            | H::RelayDown { .. }
            | H::RelayUp { .. }
                if self.has_come && !self.has_ended =>
            {
                self.keep(line, length)
            }
            _ => {}
        }
    }

    fn note_before(&mut self, line: &Line, length: usize) {
        use Happening as H;
        let is_same = |before: &Line| match (&before.event.what, &line.event.what) {
            (H::PausesChanged { .. }, H::PausesChanged { .. }) => true,
            (H::RelayDown { relay, .. }, H::RelayDown { relay: now, .. } | H::RelayUp { relay: now }) => relay == now,
            _ => false,
        };
        self.before.retain(|(before, _)| !is_same(before) || before.writer() != line.writer());
        let is_over = match &line.event.what {
            H::PausesChanged { paused } => paused.is_empty(),
            what => matches!(what, H::RelayUp { .. }),
        };
        let octets: usize = self.before.iter().map(|(_, length)| length).sum();
        if !is_over && self.before.len() < MOST_BEFORE && octets + length <= MOST_OCTETS {
            self.before.push((line.clone(), length));
        }
    }

    fn begin(&mut self) {
        if !std::mem::replace(&mut self.has_come, true) {
            for (line, length) in std::mem::take(&mut self.before) {
                self.keep(&line, length);
            }
        }
    }

    fn keep(&mut self, line: &Line, length: usize) {
        if self.lines.len() >= MOST || self.octets + length > MOST_OCTETS {
            self.more += 1;
            return;
        }
        self.octets += length;
        if matches!(line.event.what, Happening::PausesChanged { .. }) {
            let index = self.lines.len();
            self.in_force.insert(line.writer(), index);
            self.stopped.insert(index, self.stopping(line));
        }
        self.lines.push(line.clone());
    }

    /// What happened to it changes what stops it.
    fn follow(&mut self, what: &Happening) {
        use Happening as H;
        let (priority, relay) = match what {
            H::Arrived { priority, .. } | H::Rescheduled { priority, .. } | H::Started { priority, .. } => {
                (Some(*priority), None)
            }
            H::Requeued { to, .. } => (Some(*to), None),
            H::Held { .. } => (Some(Priority::Held), None),
            H::PacketTaken { relay, .. } => {
                self.used_others |= relay.is_none();
                (None, relay.as_ref())
            }
            H::PacketLeft { relay, .. } => (None, relay.as_ref()),
            H::Deferred { relay, .. } | H::Failed { relay, .. } => (None, Some(relay)),
            H::Gone { .. } | H::SetAside { .. } | H::Done { .. } => {
                self.has_ended = true;
                self.is_done |= matches!(what, H::Done { .. });
                return;
            }
            _ => return,
        };
        // It was not the end.
        if priority.is_some() || matches!(what, H::PacketTaken { .. }) {
            self.has_ended = self.is_done;
        }
        if let Some(relay) = relay {
            self.relays.insert(relay.clone());
        }
        if priority.is_some() && priority != self.priority {
            self.priority = priority;
            let in_force: Vec<usize> = self.in_force.values().copied().collect();
            for index in in_force {
                let more = self.stopping(&self.lines[index]);
                self.stopped.entry(index).or_default().extend(more);
            }
        }
    }

    /// The pauses that stop it where it stands. Of relays all: which it uses may not be known yet.
    fn stopping(&self, line: &Line) -> BTreeSet<String> {
        let Happening::PausesChanged { paused } = &line.event.what else { return BTreeSet::new() };
        let everything = Some(PauseName::Everything.plain());
        let level = self.priority.and_then(Priority::level).map(|level| PauseName::Level(level).plain());
        let list = Some(PauseName::List(self.message.list().to_owned()).plain());
        let names: Vec<String> = [everything, level, list].into_iter().flatten().collect();
        let stops = |pause: &&String| is_of_a_relay(pause) || names.iter().any(|name| is_of(pause, name));
        paused.iter().filter(stops).cloned().collect()
    }

    /// All of them, in order; of pauses what stopped it, as often as that changed.
    pub fn tell(self) -> Vec<Line> {
        let Evidence { lines, stopped, relays, used_others, .. } = self;
        let any_relay = used_others || relays.is_empty();
        let pauses: Vec<String> = relays.iter().map(|relay| PauseName::Relay(relay.clone()).plain()).collect();
        let stops = |pause: &String| any_relay || !is_of_a_relay(pause) || pauses.iter().any(|name| is_of(pause, name));
        let mut told: HashMap<Writer, BTreeSet<String>> = HashMap::new();
        let tell = |(index, mut line): (usize, Line)| {
            let writer = line.writer();
            match &mut line.event.what {
                Happening::PausesChanged { paused } => {
                    let stopped = stopped.get(&index).into_iter().flatten().filter(|pause| stops(pause));
                    let stopped: BTreeSet<String> = stopped.cloned().collect();
                    paused.retain(|pause| stopped.contains(pause));
                    (told.insert(writer, stopped.clone()).unwrap_or_default() != stopped).then_some(line)
                }
                Happening::RelayDown { relay, .. } | Happening::RelayUp { relay } => {
                    (any_relay || relays.contains(relay)).then_some(line)
                }
                _ => Some(line),
            }
        };
        lines.into_iter().enumerate().filter_map(tell).collect()
    }
}

/// Whether a pause, as events tell of it, is of what has that name.
fn is_of(pause: &str, name: &str) -> bool {
    pause.strip_prefix(name).is_some_and(|rest| rest.starts_with(" by ") || rest.starts_with(": "))
}

fn is_of_a_relay(pause: &str) -> bool {
    pause.starts_with(&PauseName::Relay(String::new()).plain())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Moment;

    const ID: &str = "news@my.dom.1000.1";

    /// What is told of `lines`, each an event's members, at one second after the other, of a scheduler.
    #[track_caller]
    fn check(lines: &[&str], expected: &[&str]) {
        let mut evidence = Evidence::of(&ID.parse().unwrap());
        for (n, line) in lines.iter().enumerate() {
            let own = if line.contains("\"pid\"") { "" } else { r#","pid":1"# };
            let text = format!(r#"{{"at":{},{},"host":"h"{own}}}"#, 1000 + n, line.replace("ID", ID));
            let line = Line::read(text.as_bytes(), &(Moment(0)..=Moment(u64::MAX)))
                .unwrap_or_else(|error| panic!("{text}: {error:?}"));
            evidence.hear(&line, text.len());
        }
        let told = |line: &Line| {
            let value = serde_json::to_value(line).unwrap();
            let more = ["paused", "relay"].iter().map(|name| &value[*name]).find(|value| !value.is_null());
            format!("{}{}", value["event"].as_str().unwrap(), more.map_or(String::new(), |more| format!(" {more}")))
        };
        assert_eq!(evidence.tell().iter().map(told).collect::<Vec<_>>(), expected);
    }

    const ARRIVED: &str = r#""event":"arrived","message":"ID","priority":"5""#;
    const TAKEN: &str = r#""event":"packet-taken","message":"ID","packet":"recipients.mail.0001","worker":0,"recipients":9,"done":0,"relay":"smtp://a""#;
    const DONE: &str = r#""event":"done","message":"ID","priority":"5""#;

    fn paused(what: &str) -> String {
        let all: Vec<String> = what.split_whitespace().map(|what| format!("\"{what} by pat: why\"")).collect();
        format!(r#""event":"pauses-changed","paused":[{}]"#, all.join(","))
    }

    #[test]
    fn a_pause_is_told_if_it_stops_the_message_and_once() {
        let all = "list:news@my.dom list:news@my.dom.org list:new@my.dom priority:5 priority:6 everything";
        let both =
            r#"pauses-changed ["list:news@my.dom by pat: why","priority:5 by pat: why","everything by pat: why"]"#;
        let list = r#"pauses-changed ["list:news@my.dom by pat: why"]"#;
        let (none, arrived) = ("pauses-changed []", "arrived");
        check(&[ARRIVED, &paused(all), DONE, &paused("")], &[arrived, both, "done"]);
        check(&[ARRIVED, &paused("list:other@my.dom priority:6"), &paused("")], &[arrived]);
        let steps = ["list:news@my.dom", "list:news@my.dom list:other@my.dom", "list:other@my.dom", ""].map(paused);
        check(&[ARRIVED, &steps[0], &steps[1], &steps[2], &steps[3]], &[arrived, list, none]);
        // It was so before it came.
        check(&[&steps[0], &steps[1], ARRIVED, &steps[3]], &[list, arrived, none]);
        check(&[&steps[0], &steps[3], ARRIVED], &[arrived]);
        check(&[&steps[0], r#""event":"scheduler-stopped","pid":1"#, ARRIVED], &[arrived]);
    }

    #[test]
    fn a_levels_pause_is_told_of_what_stood_there_meanwhile() {
        let requeued = |to: &str| format!(r#""event":"requeued","message":"ID","from":"5","to":"{to}""#);
        let seven = r#"pauses-changed ["priority:7 by pat: why"]"#;
        check(&[ARRIVED, &paused("priority:7"), &requeued("6"), &paused("")], &["arrived", "requeued"]);
        check(
            &[ARRIVED, &paused("priority:7"), &requeued("7"), &requeued("6"), &paused("")],
            &["arrived", seven, "requeued", "requeued", "pauses-changed []"],
        );
        check(&[ARRIVED, &paused("priority:7"), &paused(""), &requeued("7")], &["arrived", "requeued"]);
    }

    #[test]
    fn of_relays_those_are_told_that_it_used_and_all_if_it_used_none_that_is_known() {
        let down = |relay: &str| format!(r#""event":"relay-down","relay":"smtp://{relay}","why":"x","pause":1.0"#);
        let up = |relay: &str| format!(r#""event":"relay-up","relay":"smtp://{relay}""#);
        let (a, b) = (r#"relay-down "smtp://a""#, r#"relay-down "smtp://b""#);
        let pauses = paused("relay:smtp://a relay:smtp://ab relay:smtp://b");
        check(&[ARRIVED, &down("a"), &down("b")], &["arrived", a, b]);
        let (taken, pause) = (r#"packet-taken "smtp://a""#, r#"pauses-changed ["relay:smtp://a by pat: why"]"#);
        check(
            &[ARRIVED, &down("a"), &down("b"), &up("a"), &pauses, TAKEN, &up("b")],
            &["arrived", a, r#"relay-up "smtp://a""#, pause, taken],
        );
        check(&[&down("b"), &down("a"), &up("b"), ARRIVED], &[a, "arrived"]);
        let unnamed = TAKEN.replace(r#","relay":"smtp://a""#, "");
        check(&[ARRIVED, &down("b"), &unnamed, TAKEN], &["arrived", b, "packet-taken", taken]);
    }

    #[test]
    fn what_gave_way_to_it_and_what_was_lost_meanwhile_is_told_until_it_has_ended() {
        let preempted = r#""event":"preempted","message":"big@my.dom.9.9","priority":"7","packet":"recipients.mail.0001","worker":0,"by":"ID","by_priority":"5","latency":0.1"#;
        let (lost, gone) = (r#""event":"lost","lost":5"#, r#""event":"gone","message":"ID""#);
        let other = r#""event":"gone","message":"news@my.dom.1000.2""#;
        check(&[lost, ARRIVED, preempted, other, lost, DONE, lost], &["arrived", "preempted", "lost", "done"]);
        check(&[ARRIVED, gone, lost, ARRIVED, lost], &["arrived", "gone", "arrived", "lost"]);
        check(&[DONE, lost, ARRIVED, lost], &["done", "arrived"]);
    }

    #[test]
    fn so_many_lines_are_kept_and_the_others_are_counted() {
        let line = Line::read(
            format!(r#"{{"at":1,{},"host":"h","pid":1}}"#, ARRIVED.replace("ID", ID)).as_bytes(),
            &(Moment(0)..=Moment(u64::MAX)),
        );
        let line = line.unwrap();
        let mut evidence = Evidence::of(&ID.parse().unwrap());
        for _ in 0..100 {
            evidence.hear(&line, 1 << 20);
        }
        assert_eq!((evidence.more, evidence.tell().len()), (36, 64));
    }
}
