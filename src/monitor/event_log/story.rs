//! What became of a message, from its events: when it came, how long it waited, who went before it, what the relays said.
//!
//! Exact as far as the log goes. Where a process died, nobody has told that it left a packet: whoever takes the packet next
//! says how far it is, and the dead one's work counts until its last sign of life.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use super::line::{Line, TOO_LONG, Writer};
use crate::daemon::events::{Event, Happening, Why};
use crate::mail::{MessageId, Moment, Priority};
use crate::spool::layout::{self, FileName};

/// Preemptions, and replies, that are kept apart; more are counted alone.
const APART: usize = 200;
/// Messages whose stories are told.
pub const MOST_MESSAGES: usize = 200_000;
/// Packets of all of them that are under way.
const MOST_PACKETS: usize = 1_000_000;
/// Processes that are followed to their last sign of life.
const MOST_WRITERS: usize = 10_000;
/// Hosts of one message.
const MOST_HOSTS: usize = 100;
/// Times of one message when somebody was sending it, that are kept apart.
const MOST_SPANS: usize = 10_000;
/// Octets of what somebody said.
const SAID: usize = 1000;

/// See the module. Times are unix seconds, durations seconds, everything else counts recipients, unless it says otherwise.
/// What the log does not tell is `None`.
#[derive(Clone, Debug, Serialize)]
pub struct Story {
    #[serde(serialize_with = "text")]
    pub message: MessageId,
    pub list: String,
    /// Where it stood last; `z`: held.
    pub priority: Option<String>,
    /// By its id, or when it was found if that was in the same second, or if its id can't be right.
    pub came: f64,
    /// When a scheduler saw it first. `None`: the log does not begin before it.
    pub found: Option<f64>,
    /// It was not to be sent before.
    pub not_before: Option<f64>,
    /// When a worker took the first packet.
    pub started: Option<f64>,
    /// From its coming, or from when it might be sent, to the start.
    pub waited: Option<f64>,
    pub ended: Option<f64>,
    /// From its coming to its end.
    pub took: Option<f64>,
    pub end: End,
    /// Of the whole message. `None`: its producer didn't say, and not all packets were taken, or seen.
    pub recipients: Option<u64>,
    pub sent: u64,
    /// Each time that somebody was deferred counts.
    pub deferred: u64,
    pub failed: u64,
    /// Nobody knows whether they got it.
    pub uncertain: u64,
    /// How long somebody was sending it.
    pub busy: f64,
    /// Recipients a second, while somebody was.
    pub rate: Option<f64>,
    /// Times.
    pub preempted: u64,
    /// How long its packets were left for others, together.
    pub preempted_for: f64,
    pub preemptions: Vec<Preemption>,
    /// Times that another message gave way to it.
    pub went_first: u64,
    pub deferrals: Vec<Refusal>,
    pub failures: Vec<Refusal>,
    pub hosts: BTreeSet<String>,
    /// When the log tells of it first and last.
    pub first: f64,
    pub last: f64,
    #[serde(skip)]
    work: Work,
}

/// How it ended, or where it stands as far as the log goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "state", content = "why", rename_all = "kebab-case")]
pub enum End {
    #[default]
    Waiting,
    Active,
    /// All that is left waits for another try.
    Deferred,
    /// By whom and why, where that is known.
    Held(Option<String>),
    /// Everybody has an outcome.
    Done,
    SetAside(String),
    /// Cancelled, by whom and why; or finished by a process that keeps no log.
    Gone(Option<String>),
}

/// A worker gave way.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Preemption {
    pub at: f64,
    pub packet: String,
    pub host: String,
    pub worker: usize,
    #[serde(serialize_with = "text")]
    pub by: MessageId,
    #[serde(serialize_with = "text")]
    pub by_priority: Priority,
    /// Until the packet was sent on. `None`: it was not, as far as the log goes.
    pub lasted: Option<f64>,
}

/// What a relay said.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Refusal {
    pub relay: String,
    pub reply: String,
    pub recipients: u64,
    pub first: f64,
    pub last: f64,
    /// Of those that were deferred last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

/// What is under way.
#[derive(Clone, Debug, Default)]
struct Work {
    /// Of packets that somebody has taken once.
    packets: HashMap<String, Packet>,
    /// Of packets of recipients that nobody had tried before.
    fresh: u64,
    /// Packets that somebody has taken once.
    taken: usize,
    /// That there were when it was opened, at most.
    ready: usize,
    /// There was no room for all packets.
    is_cut: bool,
    /// Recipients of packets that are finished.
    processed: u64,
    said_recipients: Option<u64>,
    /// When somebody worked on it: disjoint, in order.
    busy: BTreeMap<u64, u64>,
    /// The same of earlier times: how long, and until when.
    busy_before: (u64, u64),
    is_held: bool,
    held_by: Option<String>,
}

#[derive(Clone, Debug, Default)]
struct Packet {
    done: u64,
    /// Its recipients are among the fresh ones, or are none.
    is_counted: bool,
    /// Who has it, since when.
    taken: Option<(Writer, Moment)>,
    /// Which of the preemptions has not ended, and since when.
    preempted: Option<(Option<usize>, Moment)>,
}

/// Stories of the messages that are wanted, told line by line.
#[derive(Default)]
pub struct Stories {
    pub messages: HashMap<MessageId, Story>,
    /// When each process was heard of last.
    heard: HashMap<Writer, Moment>,
    /// Events that the logs themselves say are missing.
    pub lost: u64,
    /// The span that the logs cover.
    pub span: Option<(Moment, Moment)>,
    /// There was no room for more of them.
    pub is_cut: bool,
    packets: usize,
}

impl Stories {
    /// Takes a line in; `is_wanted` says whose story is told.
    pub fn hear(&mut self, line: &Line, is_wanted: impl Fn(&MessageId) -> bool) {
        let (writer, Event { at, what }) = (line.writer(), &line.event);
        self.span = Some(self.span.map_or((*at, *at), |(from, to)| (from.min(*at), to.max(*at))));
        match what {
            Happening::Lost { lost } => self.lost = self.lost.saturating_add(*lost),
            Happening::Preempted { by, .. } if is_wanted(by) => {
                if let Some(story) = self.story(by, *at) {
                    story.went_first += 1;
                }
            }
            _ => {}
        }
        if let Some(id) = what.message().filter(|id| is_wanted(id))
            && self.story(id, *at).is_some()
        {
            let Stories { messages, heard, packets, .. } = self;
            let story = messages.get_mut(id).expect("just found");
            let before = story.work.packets.len();
            story.hear(*at, what, &writer, heard, MOST_PACKETS.saturating_sub(*packets));
            *packets = *packets - before + story.work.packets.len();
        }
        self.heard.insert(writer, *at);
        if self.heard.len() > 2 * MOST_WRITERS {
            let mut last: Vec<Moment> = self.heard.values().copied().collect();
            let (_, oldest, _) = last.select_nth_unstable(MOST_WRITERS);
            let oldest = *oldest;
            self.heard.retain(|_, heard| *heard > oldest);
        }
    }

    fn story(&mut self, id: &MessageId, at: Moment) -> Option<&mut Story> {
        if self.messages.len() >= MOST_MESSAGES && !self.messages.contains_key(id) {
            self.is_cut = true;
            return None;
        }
        Some(self.messages.entry(id.clone()).or_insert_with(|| Story::new(id, at)))
    }

    /// Forgets it if it ended before then.
    pub fn forget(&mut self, id: &MessageId, before: Moment) {
        if self.messages.get(id).is_some_and(|story| story.ended.is_some_and(|ended| ended < before.seconds())) {
            self.packets -= self.messages.remove(id).map_or(0, |story| story.work.packets.len());
        }
    }

    /// All of them, as they came.
    pub fn tell(self) -> Vec<Story> {
        let heard = self.heard;
        let mut stories: Vec<Story> = self.messages.into_values().map(|story| story.finish(&heard)).collect();
        // Of one second, as they were found.
        let found = |story: &Story| (story.came.floor(), story.found.unwrap_or(story.came));
        stories.sort_by(|a, b| {
            let ((a_came, a_found), (b_came, b_found)) = (found(a), found(b));
            a_came.total_cmp(&b_came).then(a_found.total_cmp(&b_found)).then_with(|| a.message.cmp(&b.message))
        });
        stories
    }
}

impl Story {
    fn new(id: &MessageId, at: Moment) -> Story {
        Story {
            message: id.clone(),
            list: id.list().to_owned(),
            priority: None,
            came: id.arrival().0 as f64,
            found: None,
            not_before: None,
            started: None,
            waited: None,
            ended: None,
            took: None,
            end: End::Waiting,
            recipients: None,
            sent: 0,
            deferred: 0,
            failed: 0,
            uncertain: 0,
            busy: 0.0,
            rate: None,
            preempted: 0,
            preempted_for: 0.0,
            preemptions: Vec::new(),
            went_first: 0,
            deferrals: Vec::new(),
            failures: Vec::new(),
            hosts: BTreeSet::new(),
            first: at.seconds(),
            last: at.seconds(),
            work: Work::default(),
        }
    }

    /// `room`: for so many packets more.
    fn hear(&mut self, at: Moment, what: &Happening, writer: &Writer, heard: &HashMap<Writer, Moment>, room: usize) {
        use Happening as H;
        let now = at.seconds();
        self.last = self.last.max(now);
        match what {
            H::Arrived { priority, not_before, .. } => {
                // Each scheduler finds it for itself. A worker may be faster in taking it than the finder in telling.
                if self.found.is_none() && now <= self.first + 1.0 {
                    self.found = Some(now);
                }
                self.stands(*priority);
                self.not_before = not_before.map(|at| at as f64).or(self.not_before);
                self.revive();
            }
            H::Requeued { to, why, .. } => {
                self.stands(*to);
                self.revive();
                self.work.held_by = why.as_deref().map(said);
            }
            H::Rescheduled { priority, not_before, .. } => {
                self.stands(*priority);
                self.not_before = not_before.map(|at| at as f64);
                self.revive();
            }
            H::Started { priority, recipients, packets, .. } => {
                self.stands(*priority);
                self.work.said_recipients = recipients.or(self.work.said_recipients);
                self.work.ready = self.work.ready.max(*packets);
                self.is_on(writer);
            }
            H::PacketTaken { packet, recipients, done, .. } => {
                self.revive();
                self.started.get_or_insert(now);
                self.is_on(writer);
                self.resume(packet, at.seconds(), None);
                let Some(known) = self.packet(packet, *recipients, room) else { return };
                known.done = known.done.max(*done as u64);
                let before = known.taken.replace((writer.clone(), at));
                if let Some((dead, since)) = before {
                    self.worked(since, heard.get(&dead).copied().unwrap_or(since).min(at));
                }
            }
            H::PacketLeft { packet, recipients, done, why, .. } => {
                let Some(known) = self.packet(packet, *recipients, room) else { return };
                known.done = known.done.max(*done as u64);
                let taken = known.taken.take();
                if *why == Why::Finished {
                    let done = known.done;
                    self.work.packets.remove(packet);
                    self.work.processed = self.work.processed.saturating_add(done);
                }
                if let Some((_, since)) = taken {
                    self.worked(since, at);
                }
            }
            H::Preempted { packet, worker, by, by_priority, .. } => {
                self.preempted += 1;
                let index = (self.preemptions.len() < APART).then_some(self.preemptions.len());
                if index.is_some() {
                    self.preemptions.push(Preemption {
                        at: now,
                        packet: packet.clone(),
                        host: said(&writer.host),
                        worker: *worker,
                        by: by.clone(),
                        by_priority: *by_priority,
                        lasted: None,
                    });
                }
                if let Some(known) = self.packet(packet, 0, room) {
                    known.preempted = Some((index, at));
                }
            }
            H::Resumed { packet, lasted, .. } => self.resume(packet, now, Some(*lasted)),
            H::Deferred { recipients, relay, reply, until, .. } => {
                self.deferred = self.deferred.saturating_add(*recipients as u64);
                let refusal = refusal(&mut self.deferrals, relay, reply, *recipients, now);
                refusal.until = Some(*until);
            }
            H::Failed { recipients, relay, reply, .. } => {
                self.failed = self.failed.saturating_add(*recipients as u64);
                refusal(&mut self.failures, relay, reply, *recipients, now);
            }
            H::Uncertain { recipients, .. } => self.uncertain = self.uncertain.saturating_add(*recipients as u64),
            H::Held { why, .. } => {
                self.stands(Priority::Held);
                self.revive();
                self.work.held_by = Some(said(why));
            }
            H::SetAside { why, .. } => {
                self.end = End::SetAside(said(why));
                self.ended = Some(now);
            }
            H::Gone { why, .. } => {
                // It is also told of what goes to another place without being seen to come there.
                if self.ended.is_none() {
                    self.end = End::Gone(why.as_deref().map(said));
                    self.ended = Some(now);
                }
            }
            H::Done { priority, .. } => {
                self.stands(*priority);
                self.end = End::Done;
                self.ended = Some(now);
            }
            H::SchedulerStarted { .. } | H::SchedulerStopped { .. } | H::Reloaded | H::PausesChanged { .. } => {}
            H::Scanned | H::RelayDown { .. } | H::RelayUp { .. } | H::Lost { .. } => {}
        }
    }

    fn stands(&mut self, priority: Priority) {
        self.priority = Some(priority.to_string());
        self.work.is_held = priority == Priority::Held;
    }

    /// It was not the end.
    fn revive(&mut self) {
        if self.end != End::Done {
            (self.end, self.ended) = (End::Waiting, None);
        }
    }

    fn is_on(&mut self, writer: &Writer) {
        if self.hosts.len() < MOST_HOSTS && !self.hosts.contains(&writer.host) {
            self.hosts.insert(writer.host.clone());
        }
    }

    /// `recipients`: 0 where that is not told. `None`: there is no room for it.
    fn packet(&mut self, name: &str, recipients: usize, room: usize) -> Option<&mut Packet> {
        if room == 0 && !self.work.packets.contains_key(name) {
            self.work.is_cut = true;
            return None;
        }
        let packet = self.work.packets.entry(name.to_owned()).or_default();
        let is_retry =
            || matches!(layout::parse(name.as_ref()), Ok(FileName::Packet(packet)) if packet.retry.is_some());
        if recipients > 0 && !std::mem::replace(&mut packet.is_counted, true) {
            self.work.taken += 1;
            if !is_retry() {
                self.work.fresh = self.work.fresh.saturating_add(recipients as u64);
            }
        }
        Some(packet)
    }

    /// Whoever was preempted is sent on.
    fn resume(&mut self, packet: &str, now: f64, lasted: Option<f64>) {
        let Some(known) = self.work.packets.get_mut(packet) else { return };
        let Some((index, since)) = known.preempted.take() else { return };
        let lasted = lasted.unwrap_or_else(|| to_the_microsecond((now - since.seconds()).max(0.0)));
        self.preempted_for += lasted;
        if let Some(preemption) = index.and_then(|index| self.preemptions.get_mut(index)) {
            preemption.lasted = Some(lasted);
        }
    }

    /// Somebody worked on it from then to then.
    fn worked(&mut self, from: Moment, to: Moment) {
        let (mut from, mut to) = (from.0.max(self.work.busy_before.1), to.0.max(from.0));
        if from > to {
            return;
        }
        let busy = &mut self.work.busy;
        while let Some((&start, &end)) = busy.range(..=to).next_back().filter(|(_, end)| **end >= from) {
            busy.remove(&start);
            (from, to) = (from.min(start), to.max(end));
        }
        busy.insert(from, to);
        if busy.len() > MOST_SPANS
            && let Some((from, to)) = busy.pop_first()
        {
            self.work.busy_before = (self.work.busy_before.0 + (to - from), to);
        }
    }

    fn finish(mut self, heard: &HashMap<Writer, Moment>) -> Story {
        let under_way: Vec<(Writer, Moment)> = self.work.packets.values_mut().filter_map(|p| p.taken.take()).collect();
        let is_active = !under_way.is_empty() && self.ended.is_none();
        for (writer, since) in under_way {
            let until = heard.get(&writer).copied().unwrap_or(since);
            self.worked(since, until);
        }
        let open: u64 = self.work.packets.values().fold(0, |sum, packet| sum.saturating_add(packet.done));
        let processed = self.work.processed.saturating_add(open);
        // All that there were when it was opened first, if that is in the log.
        let all_taken = self.work.taken > 0 && (self.end == End::Done || self.work.taken >= self.work.ready.max(1));
        let is_counted = self.found.is_some() && !self.work.is_cut && all_taken;
        self.recipients = self.work.said_recipients.or(is_counted.then_some(self.work.fresh));
        self.sent = processed.saturating_sub(self.deferred).saturating_sub(self.failed);
        let spans = self.work.busy.iter().map(|(from, to)| to - from);
        self.busy = spans.fold(self.work.busy_before.0, u64::saturating_add) as f64 / 1e6;
        self.rate = (self.busy > 0.0 && processed > 0).then(|| processed as f64 / self.busy);
        let seen = self.found.unwrap_or(self.first);
        // An id has whole seconds; and a producer may give it any.
        if self.found.is_some() && (0.0..1.0).contains(&(seen - self.came))
            || !(0.0..TOO_LONG).contains(&(seen - self.came))
        {
            self.came = seen;
        }
        let from = self.came.max(self.not_before.unwrap_or(0.0));
        let since = |from: f64, to: f64| to_the_microsecond((to - from).max(0.0));
        self.waited = self.started.map(|started| since(from, started));
        self.took = self.ended.map(|ended| since(self.came, ended));
        if self.end == End::Waiting {
            self.end = if self.work.is_held {
                End::Held(self.work.held_by.take())
            } else if is_active {
                End::Active
            } else if self.deferred > 0 && self.work.packets.is_empty() {
                End::Deferred
            } else {
                End::Waiting
            };
        }
        self
    }
}

/// The one with that reply of that relay, with so many recipients more.
fn refusal<'r>(
    refusals: &'r mut Vec<Refusal>,
    relay: &str,
    reply: &str,
    recipients: usize,
    now: f64,
) -> &'r mut Refusal {
    let reply = said(reply);
    let is_it = |refusal: &Refusal| refusal.relay == relay && refusal.reply == reply;
    let index = refusals.iter().position(is_it).unwrap_or_else(|| {
        if refusals.len() > APART {
            return APART;
        }
        let (relay, reply) = match refusals.len() {
            APART => (String::new(), "other replies".to_owned()),
            _ => (relay.to_owned(), reply.clone()),
        };
        refusals.push(Refusal { relay, reply, recipients: 0, first: now, last: now, until: None });
        refusals.len() - 1
    });
    let refusal = &mut refusals[index];
    refusal.recipients = refusal.recipients.saturating_add(recipients as u64);
    refusal.last = refusal.last.max(now);
    refusal
}

fn to_the_microsecond(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}

fn said(text: &str) -> String {
    cut(text, SAID)
}

/// No more of a text than so many octets.
pub(super) fn cut(text: &str, most: usize) -> String {
    match text.len() > most {
        true => format!("{}…", &text[..text.floor_char_boundary(most)]),
        false => text.to_owned(),
    }
}

fn text<S: serde::Serializer>(value: &impl std::fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "big@my.dom.1000.1";

    /// Lines as they stand in a log.
    fn told(lines: &[String]) -> Story {
        let mut stories = Stories::default();
        for line in lines {
            let line = Line::read(line.as_bytes(), &(Moment(0)..=Moment(u64::MAX)))
                .unwrap_or_else(|error| panic!("{line}: {error:?}"));
            stories.hear(&line, |id| id.as_str() == ID);
        }
        stories.tell().remove(0)
    }

    fn line(at: f64, host: &str, event: &str, more: &str) -> String {
        format!(r#"{{"at":{at},"event":"{event}","message":"{ID}",{more}"host":"{host}","pid":1}}"#)
    }

    fn taken(at: f64, host: &str, packet: u32, done: u32) -> String {
        let more = format!(r#""packet":"recipients.mail.000{packet}","worker":0,"recipients":100,"done":{done},"#);
        line(at, host, "packet-taken", &more)
    }

    fn left(at: f64, host: &str, packet: u32, done: u32, why: &str) -> String {
        let more = format!(
            r#""packet":"recipients.mail.000{packet}","worker":0,"recipients":100,"done":{done},"claimed_for":1.0,"why":"{why}","#
        );
        line(at, host, "packet-left", &more)
    }

    #[test]
    fn who_works_at_the_same_time_counts_once_and_a_dead_one_until_its_last_sign() {
        let story = told(&[
            line(1001.0, "a", "arrived", r#""priority":"5","#),
            taken(1002.0, "a", 1, 0),
            taken(1003.0, "b", 2, 0),
            left(1004.0, "b", 2, 100, "finished"),
            line(1006.0, "a", "uncertain", r#""packet":"recipients.mail.0001","recipients":5,"why":"cut off","#),
            // Killed here. Another one takes the packet where the checkpoint stands.
            taken(1106.0, "b", 1, 50),
            left(1108.0, "b", 1, 100, "finished"),
            line(1108.0, "b", "done", r#""priority":"5","#),
        ]);
        assert_eq!((story.found, story.started, story.waited), (Some(1001.0), Some(1002.0), Some(2.0)));
        assert_eq!((story.recipients, story.sent, story.uncertain), (Some(200), 200, 5));
        assert_eq!((story.busy, story.rate), (6.0, Some(200.0 / 6.0)));
        assert_eq!((story.end, story.took), (End::Done, Some(108.0)));
        assert_eq!(story.hosts.into_iter().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn a_preemption_lasts_until_somebody_sends_the_packet_on() {
        let preempted = |at: f64| {
            let by = r#""by":"u@my.dom.5.1","by_priority":"0","latency":0.1,"#;
            line(at, "a", "preempted", &format!(r#""priority":"5","packet":"recipients.mail.0001","worker":3,{by}"#))
        };
        let story = told(&[
            taken(1002.0, "a", 1, 0),
            preempted(1003.0),
            left(1003.0, "a", 1, 10, "preempted"),
            taken(1013.0, "b", 1, 10),
            preempted(1014.0),
            left(1014.0, "b", 1, 20, "preempted"),
        ]);
        assert_eq!((story.preempted, story.preempted_for), (2, 10.0));
        let each: Vec<_> = story.preemptions.iter().map(|one| (one.by.as_str(), one.worker, one.lasted)).collect();
        assert_eq!(each, [("u@my.dom.5.1", 3, Some(10.0)), ("u@my.dom.5.1", 3, None)]);
        assert_eq!((story.found, story.sent, story.end), (None, 20, End::Waiting));
    }

    #[test]
    fn how_many_recipients_there_are_is_not_known_before_all_packets_were_seen() {
        let arrived = || line(1001.0, "a", "arrived", r#""priority":"5","#);
        let started = |more: &str| line(1002.0, "a", "started", &format!(r#""priority":"5","packets":2,{more}"#));
        let gone = || line(1009.0, "a", "gone", "");
        let done = || line(1009.0, "a", "done", r#""priority":"5","#);
        for (lines, expected) in [
            (vec![arrived()], None),
            (vec![arrived(), gone()], None),
            (vec![arrived(), started("")], None),
            (vec![arrived(), started(r#""recipients":150,"#)], Some(150)),
            (vec![arrived(), started(""), taken(1003.0, "a", 1, 0)], None),
            (vec![arrived(), started(""), taken(1003.0, "a", 1, 0), taken(1004.0, "a", 1, 0)], None),
            (vec![arrived(), started(""), taken(1003.0, "a", 1, 0), taken(1003.0, "b", 2, 0)], Some(200)),
            (vec![arrived(), taken(1003.0, "a", 1, 0), left(1004.0, "a", 1, 100, "finished"), done()], Some(100)),
            // The log begins in the middle.
            (vec![taken(1003.0, "a", 1, 0), left(1004.0, "a", 1, 100, "finished"), done()], None),
            (vec![done()], None),
        ] {
            assert_eq!(told(&lines).recipients, expected, "{lines:#?}");
        }
    }

    #[test]
    fn an_id_with_a_time_that_cannot_be_makes_no_absurd_duration() {
        let line = |at: f64, event: &str| line(at, "a", event, r#""priority":"5","#);
        let ancient = told(&[line(1_700_000_000.25, "arrived"), line(1_700_000_003.25, "done")]);
        assert_eq!((ancient.came, ancient.took), (1_700_000_000.25, Some(3.0)));
        // Its producer's clock is ahead.
        let early = told(&[line(990.0, "arrived"), line(993.0, "done")]);
        assert_eq!((early.came, early.took), (990.0, Some(3.0)));
        let unseen = told(&[line(1_700_000_003.25, "done")]);
        assert_eq!((unseen.came, unseen.took), (1_700_000_003.25, Some(0.0)));
    }

    #[test]
    fn what_was_held_by_somebody_is_so_after_a_restart_as_well() {
        let held = line(1002.0, "a", "held", r#""from":"5","why":"no such relay","#);
        let found = line(1005.0, "b", "arrived", r#""priority":"z","#);
        let expected = End::Held(Some("no such relay".into()));
        assert_eq!(told(&[held.clone(), found.clone()]).end, expected);
        assert_eq!(told(&[held, found, line(1006.0, "b", "arrived", r#""priority":"5","#)]).end, End::Waiting);
    }

    #[test]
    fn the_greatest_figures_that_are_believed_are_no_end() {
        let (most, last) = (999_999_999, 999_999_999_999_999_u64);
        let packet = r#""packet":"recipients.mail.0001","#;
        let refused = format!(r#"{packet}"recipients":{most},"relay":"r","reply":"no","until":{last},"#);
        let all = format!(r#"{packet}"worker":9,"recipients":{most},"done":{most},"claimed_for":3e8,"#);
        let lines: Vec<String> = (0..5).map(|n| line(2e11 - n as f64, "a", "deferred", &refused)).collect();
        let story =
            told(&[&lines[..], &[line(0.0, "a", "failed", &refused), line(0.0, "a", "packet-left", &all)]].concat());
        assert_eq!((story.deferred, story.failed, story.sent), (5 * most, most, 0));
        let (waited, took, rate) = (story.waited, story.took, story.rate);
        assert_eq!((waited, took, rate, story.busy, story.not_before), (None, None, None, 0.0, None));
    }

    #[test]
    fn however_much_a_log_tells_only_so_much_is_kept() {
        let mut stories = Stories::default();
        let mut hear = |text: String| {
            stories.hear(&Line::read(text.as_bytes(), &(Moment(0)..=Moment(u64::MAX))).unwrap(), |_| true)
        };
        let long = "x".repeat(100_000);
        for n in 0..30_000_u64 {
            let more = format!(r#""packet":"recipients.mail.{n:04}","recipients":1,"relay":"r","reply":"{n} {long}","#);
            if n < 300 {
                hear(line(1e9 + n as f64, "a", "failed", &more));
            }
            let taken = r#""packet":"recipients.mail.0001","worker":0,"recipients":9,"done":0,"#;
            hear(line(1e9 + 2.0 * n as f64, &format!("h{n}"), "packet-taken", taken));
            let left = format!(r#"{taken}"claimed_for":1.0,"why":"relay","#);
            hear(line(1e9 + 2.0 * n as f64 + 1.0, &format!("h{n}"), "packet-left", &left));
        }
        assert!(stories.heard.len() <= 2 * MOST_WRITERS);
        let story = stories.tell().remove(0);
        assert_eq!((story.busy, story.hosts.len(), story.failures.len()), (30_000.0, MOST_HOSTS, APART + 1));
        assert!(story.failures.iter().map(|refusal| refusal.reply.len()).sum::<usize>() < 300 * APART * 5);
        assert!(story.work.busy.len() <= MOST_SPANS);
    }
}
