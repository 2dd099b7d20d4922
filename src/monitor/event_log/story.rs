//! What became of a message, from its events: when it came, how long it waited, who went before it, what the relays said.
//!
//! Exact as far as the log goes. Where a process died, nobody has told that it left a packet: whoever takes the packet next
//! says how far it is, and the dead one's work counts until its last sign of life.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use super::line::{Line, Writer};
use crate::daemon::events::{Event, Happening, Why};
use crate::mail::{MessageId, Moment, Priority};
use crate::spool::layout::{self, FileName};

/// Preemptions, and replies, that are kept apart; more are counted alone.
const APART: usize = 200;

/// See the module. Times are unix seconds, durations seconds, everything else counts recipients, unless it says otherwise.
#[derive(Clone, Debug, Serialize)]
pub struct Story {
    #[serde(serialize_with = "text")]
    pub message: MessageId,
    pub list: String,
    /// Where it stood last; `z`: held.
    pub priority: Option<String>,
    /// By its id, or when it was found if that was in the same second.
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
    /// Of the whole message; where its producer didn't say so, of the packets that were taken.
    pub recipients: u64,
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
    /// Recipients of packets that are finished.
    processed: u64,
    said_recipients: Option<u64>,
    /// When somebody worked on it: disjoint, in order.
    busy: BTreeMap<u64, u64>,
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
}

impl Stories {
    /// Takes a line in; `is_wanted` says whose story is told.
    pub fn hear(&mut self, line: &Line, is_wanted: impl Fn(&MessageId) -> bool) {
        let (writer, Event { at, what }) = (line.writer(), &line.event);
        self.span = Some(self.span.map_or((*at, *at), |(from, to)| (from.min(*at), to.max(*at))));
        match what {
            Happening::Lost { lost } => self.lost = self.lost.saturating_add(*lost),
            Happening::Preempted { by, .. } if is_wanted(by) => {
                let story = self.messages.entry(by.clone()).or_insert_with(|| Story::new(by, *at));
                story.went_first += 1;
            }
            _ => {}
        }
        if let Some(id) = what.message().filter(|id| is_wanted(id)) {
            let story = self.messages.entry(id.clone()).or_insert_with(|| Story::new(id, *at));
            story.hear(*at, what, &writer, &self.heard);
        }
        self.heard.insert(writer, *at);
    }

    /// Forgets it if it ended before then.
    pub fn forget(&mut self, id: &MessageId, before: Moment) {
        if self.messages.get(id).is_some_and(|story| story.ended.is_some_and(|ended| ended < before.seconds())) {
            self.messages.remove(id);
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
            recipients: 0,
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

    fn hear(&mut self, at: Moment, what: &Happening, writer: &Writer, heard: &HashMap<Writer, Moment>) {
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
                self.work.held_by.clone_from(why);
            }
            H::Rescheduled { priority, not_before, .. } => {
                self.stands(*priority);
                self.not_before = not_before.map(|at| at as f64);
                self.revive();
            }
            H::Started { priority, recipients, .. } => {
                self.stands(*priority);
                self.work.said_recipients = recipients.or(self.work.said_recipients);
                self.hosts.insert(writer.host.clone());
            }
            H::PacketTaken { packet, recipients, done, .. } => {
                self.revive();
                self.started.get_or_insert(now);
                self.hosts.insert(writer.host.clone());
                self.resume(packet, at);
                let known = self.packet(packet, *recipients);
                known.done = known.done.max(*done as u64);
                let before = known.taken.replace((writer.clone(), at));
                if let Some((dead, since)) = before {
                    self.worked(since, heard.get(&dead).copied().unwrap_or(since).min(at));
                }
            }
            H::PacketLeft { packet, recipients, done, why, .. } => {
                let known = self.packet(packet, *recipients);
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
                        host: writer.host.clone(),
                        worker: *worker,
                        by: by.clone(),
                        by_priority: *by_priority,
                        lasted: None,
                    });
                }
                self.work.packets.entry(packet.clone()).or_default().preempted = Some((index, at));
            }
            H::Resumed { packet, .. } => self.resume(packet, at),
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
                self.end = End::Held(Some(why.clone()));
            }
            H::SetAside { why, .. } => {
                self.end = End::SetAside(why.clone());
                self.ended = Some(now);
            }
            H::Gone { why, .. } => {
                // It is also told of what goes to another place without being seen to come there.
                if self.ended.is_none() {
                    self.end = End::Gone(why.clone());
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

    fn packet(&mut self, name: &str, recipients: usize) -> &mut Packet {
        let packet = self.work.packets.entry(name.to_owned()).or_default();
        let is_retry =
            || matches!(layout::parse(name.as_ref()), Ok(FileName::Packet(packet)) if packet.retry.is_some());
        if !std::mem::replace(&mut packet.is_counted, true) && !is_retry() {
            self.work.fresh = self.work.fresh.saturating_add(recipients as u64);
        }
        packet
    }

    /// Whoever was preempted is sent on.
    fn resume(&mut self, packet: &str, at: Moment) {
        let Some(known) = self.work.packets.get_mut(packet) else { return };
        let Some((index, since)) = known.preempted.take() else { return };
        let lasted = at.since(since).as_secs_f64();
        self.preempted_for += lasted;
        if let Some(preemption) = index.and_then(|index| self.preemptions.get_mut(index)) {
            preemption.lasted = Some(lasted);
        }
    }

    /// Somebody worked on it from then to then.
    fn worked(&mut self, from: Moment, to: Moment) {
        let (mut from, mut to) = (from.0, to.0.max(from.0));
        let busy = &mut self.work.busy;
        while let Some((&start, &end)) = busy.range(..=to).next_back().filter(|(_, end)| **end >= from) {
            busy.remove(&start);
            (from, to) = (from.min(start), to.max(end));
        }
        busy.insert(from, to);
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
        self.recipients = self.work.said_recipients.unwrap_or(self.work.fresh);
        self.sent = processed.saturating_sub(self.deferred).saturating_sub(self.failed);
        self.busy = self.work.busy.iter().map(|(from, to)| to - from).sum::<u64>() as f64 / 1e6;
        self.rate = (self.busy > 0.0 && processed > 0).then(|| processed as f64 / self.busy);
        // An id has whole seconds.
        if let Some(found) = self.found.filter(|found| (0.0..1.0).contains(&(found - self.came))) {
            self.came = found;
        }
        let from = self.came.max(self.not_before.unwrap_or(0.0));
        let since = |from: f64, to: f64| ((to - from).max(0.0) * 1e6).round() / 1e6;
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
    let is_it = |refusal: &Refusal| refusal.relay == relay && refusal.reply == reply;
    let index = refusals.iter().position(is_it).unwrap_or_else(|| {
        if refusals.len() > APART {
            return APART;
        }
        let (relay, reply) = match refusals.len() {
            APART => ("", "other replies"),
            _ => (relay, reply),
        };
        let (relay, reply) = (relay.to_owned(), reply.to_owned());
        refusals.push(Refusal { relay, reply, recipients: 0, first: now, last: now, until: None });
        refusals.len() - 1
    });
    let refusal = &mut refusals[index];
    refusal.recipients = refusal.recipients.saturating_add(recipients as u64);
    refusal.last = refusal.last.max(now);
    refusal
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
            let line = Line::read(line.as_bytes()).unwrap_or_else(|error| panic!("{line}: {error:?}"));
            stories.hear(&line, |id| id.as_str() == ID);
        }
        stories.tell().remove(0)
    }

    fn line(at: f64, host: &str, event: &str, more: &str) -> String {
        format!(r#"{{"at":{at},"event":"{event}","message":"{ID}",{more}"host":"{host}","pid":1}}"#)
    }

    fn taken(at: f64, host: &str, packet: u32, done: u32) -> String {
        let more = format!(r#""packet":"recipients.mail.{packet}","worker":0,"recipients":100,"done":{done},"#);
        line(at, host, "packet-taken", &more)
    }

    fn left(at: f64, host: &str, packet: u32, done: u32, why: &str) -> String {
        let more = format!(
            r#""packet":"recipients.mail.{packet}","worker":0,"recipients":100,"done":{done},"took":1.0,"why":"{why}","#
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
            line(1006.0, "a", "uncertain", r#""packet":"recipients.mail.1","recipients":5,"why":"cut off","#),
            // Killed here. Another one takes the packet where the checkpoint stands.
            taken(1106.0, "b", 1, 50),
            left(1108.0, "b", 1, 100, "finished"),
            line(1108.0, "b", "done", r#""priority":"5","took":108.0,"#),
        ]);
        assert_eq!((story.found, story.started, story.waited), (Some(1001.0), Some(1002.0), Some(2.0)));
        assert_eq!((story.recipients, story.sent, story.uncertain), (200, 200, 5));
        assert_eq!((story.busy, story.rate), (6.0, Some(200.0 / 6.0)));
        assert_eq!((story.end, story.took), (End::Done, Some(108.0)));
        assert_eq!(story.hosts.into_iter().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn a_preemption_lasts_until_somebody_sends_the_packet_on() {
        let preempted = |at: f64| {
            let by = r#""by":"u@my.dom.5.1","by_priority":"0","waited":0.1,"#;
            line(at, "a", "preempted", &format!(r#""priority":"5","packet":"recipients.mail.1","worker":3,{by}"#))
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
    fn absurd_figures_are_no_end() {
        let max = u64::MAX;
        let deferred = format!(r#""packet":"x","recipients":{max},"relay":"r","reply":"no","until":{max},"#);
        let story = told(&[
            line(1e300, "a", "deferred", &deferred),
            line(-5.0, "a", "deferred", &deferred),
            line(0.0, "a", "failed", &deferred),
            line(
                0.0,
                "a",
                "packet-left",
                &format!(r#""packet":"y","worker":{max},"recipients":{max},"done":{max},"took":-1e308,"#),
            ),
        ]);
        assert_eq!((story.deferred, story.failed, story.sent), (max, max, 0));
    }
}
