//! The view's thread: keeps what is known as it is.
//!
//! Events are hints: with every scan of the scheduler, after events that were lost, when a message has gone, and at the
//! start, what is known is compared with a listing of the directories; a message that nobody works on any more is read again,
//! and one whose folder has changed without anybody's word. So what is known may lag by what is under way, and never drifts.
//!
//! While something is sent, here or by another scheduler, it takes a sample a second, however many events come; so, too, once
//! when somebody looks. With neither, it sleeps.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{TryRecvError, at, never, select};
use tracing::{debug, info, warn};

use super::{Model, View};
use crate::daemon::clock;
use crate::daemon::events::{Event, Happening, Subscription};
use crate::mail::{MessageId, Priority};
use crate::spool::census::{self, Message};
use crate::spool::disk::{Disk, Look};
use crate::spool::layout::MessageName;
use crate::spool::pause::{self, Paused};
use crate::spool::running::{self, Scheduler};
use crate::spool::{Result, Spool};

const TICK: Duration = Duration::from_secs(1);
/// A folder that takes long to read is read so much more rarely while others send from it.
const PATIENCE: u32 = 20;
/// A file system's clock ticks more often than that, in seconds.
const SETTLED: u64 = 2;

/// What stands where, and what is paused.
type Listed = (Vec<(Priority, Vec<MessageName>)>, Vec<Paused>);

/// See the module.
pub struct Follower {
    view: Arc<View>,
    subscription: Subscription,
    /// Opened again with each comparison: another one may be in its place. A scheduler says so when it starts on that.
    spool: Option<Spool>,
    host: String,
    /// Messages whose folders are to be read.
    unread: VecDeque<MessageId>,
    /// Those of which it is to be seen whether their folders have changed.
    unsure: VecDeque<MessageId>,
    /// When those were read that others send, and how long it took.
    read: HashMap<MessageId, (Instant, Duration)>,
    /// When the next sample is due, and when the last one was taken.
    next: Option<Instant>,
    last: Option<Instant>,
    /// An event has come since.
    is_news: bool,
    /// The directories are to be listed with the next tick.
    has_gone: bool,
    /// They have been, at least once.
    is_listed: bool,
    /// The log was told that the spool can't be read.
    is_told: bool,
}

impl Follower {
    pub fn new(view: Arc<View>, subscription: Subscription) -> Follower {
        Follower {
            view,
            subscription,
            spool: None,
            host: running::host(),
            unread: VecDeque::new(),
            unsure: VecDeque::new(),
            read: HashMap::new(),
            next: Some(Instant::now()),
            last: None,
            is_news: false,
            has_gone: false,
            is_listed: false,
            is_told: false,
        }
    }

    pub fn follow(mut self) {
        // Mail comes first.
        let _ = rustix::process::setpriority_process(None, 10);
        loop {
            let now = Instant::now();
            if self.next.is_some_and(|next| next <= now) {
                self.next = self.tick(now).then(|| now + TICK);
                self.last = Some(now);
            }
            if self.view.looked.1.try_recv().is_ok() {
                self.wake();
            }
            if self.unread.is_empty() && self.is_listed {
                self.view.model.lock().counted = true;
                // Many at the start, and never again.
                self.unread.shrink_to(64);
            }
            // Events first; folders are read while there are none; with neither, it sleeps.
            let event = match self.subscription.events.try_recv() {
                Ok(event) => Some(event),
                Err(TryRecvError::Disconnected) => return,
                Err(TryRecvError::Empty) if self.read_next() => None,
                Err(TryRecvError::Empty) => select! {
                    recv(self.subscription.events) -> event => match event {
                        Ok(event) => Some(event),
                        Err(_) => return,
                    },
                    recv(self.view.looked.1) -> _ => {
                        self.wake();
                        None
                    }
                    recv(self.next.map_or_else(never, at)) -> _ => None,
                },
            };
            if let Some(event) = event {
                self.hear(event);
                self.is_news = true;
                self.next = self.next.or_else(|| Some(Instant::now() + TICK));
            }
        }
    }

    /// Somebody looks.
    fn wake(&mut self) {
        let soon = || self.last.map_or_else(Instant::now, |last| last + TICK);
        self.next = self.next.or_else(|| Some(soon()));
    }

    fn hear(&mut self, event: Arc<Event>) {
        use Happening as H;
        let compare = matches!(event.what, H::SchedulerStarted { .. } | H::Scanned | H::PausesChanged { .. });
        let is_scan = event.what == H::Scanned;
        match event.what {
            H::Reloaded => {
                self.view.reloads.send_replace(());
            }
            // It may have been seen to go, and not where. Many go at once.
            H::Gone { .. } => self.has_gone = true,
            _ => {}
        }
        self.view.model.lock().apply(&event, &mut self.unread);
        // Nobody may be listening.
        let _ = self.view.outgoing.send(event);
        if compare || self.subscription.take_lost() > 0 {
            self.compare(is_scan);
        }
    }

    /// A sample of how things are. Whether anything goes on.
    fn tick(&mut self, now: Instant) -> bool {
        // Without a spool, or where that can't be read, nobody says anything.
        let schedulers = self.spool().and_then(running::list).unwrap_or_default();
        let is_sent_elsewhere = self.see_others(&schedulers, now);
        if std::mem::take(&mut self.has_gone) {
            self.compare(false);
        }
        let working = self.view.live.working();
        let mut model = self.view.model.lock();
        let queued = model.queued();
        model.history.sample(clock::now(), &self.view.live.tally, queued);
        // Others may take up what an event told of, and say so a second later.
        !working.is_empty() || is_sent_elsewhere || std::mem::take(&mut self.is_news)
    }

    /// Takes in what other schedulers do. Whether they do anything.
    fn see_others(&mut self, schedulers: &[Scheduler], now: Instant) -> bool {
        let mut model = self.view.model.lock();
        let Model { messages, others, .. } = &mut *model;
        let ended = others.take_in(schedulers, (&self.host, std::process::id()), now);
        for id in ended {
            self.read.remove(&id);
            self.unread.push_back(id);
        }
        for at in &others.working {
            if let Some(known) = messages.get_mut(&at.message) {
                known.packet_was_at(&at.packet, at.done);
            }
        }
        // Packets that are finished go, and retry packets come.
        let is_due = |id: &&MessageId| {
            self.read.get(*id).is_none_or(|(at, took)| now.duration_since(*at) >= TICK.max(*took * PATIENCE))
        };
        self.unsure.extend(others.messages().into_iter().filter(is_due).cloned());
        // A rate outlives the work by some seconds.
        !others.working.is_empty() || others.paces.all > 0.0
    }

    fn spool(&mut self) -> Result<&Spool> {
        match &mut self.spool {
            Some(spool) => Ok(spool),
            none => Ok(none.insert(Spool::open(&Disk::default(), &self.view.spool)?)),
        }
    }

    /// Compares with the directories' names, and with the folders' times where it `looks_closer`.
    fn compare(&mut self, looks_closer: bool) {
        self.spool = None;
        let listed = self.spool().and_then(|spool| -> Result<Listed> {
            let names = |priority| Ok((priority, spool.messages(priority)?));
            Ok((Priority::all().map(names).collect::<Result<_>>()?, pause::list(spool, clock::epoch())?))
        });
        let (present, pauses) = match listed {
            Ok(listed) => listed,
            Err(error) => {
                if !std::mem::replace(&mut self.is_told, true) {
                    warn!("{}", error.fate("what is shown over HTTP may be old; mail is not concerned"));
                }
                return;
            }
        };
        if std::mem::take(&mut self.is_told) {
            info!("the spool can be read again: what is shown over HTTP is not old any more");
        }
        self.is_listed = true;
        let mut model = self.view.model.lock();
        model.pauses = pauses;
        model.look = model.look.wrapping_add(1);
        for (priority, names) in present {
            for name in names {
                model.place(&name.id.clone(), priority, Some(name), &mut self.unread);
            }
        }
        let look = model.look;
        model.messages.retain(|known| known.look == look);
        let Model { messages, preemptions, .. } = &mut *model;
        preemptions.end_of_those_gone(clock::now(), |id| messages.get(id).is_some());
        if looks_closer && self.unsure.is_empty() {
            self.unsure = messages.values().filter(|known| known.is_read()).map(|known| known.id.clone()).collect();
        }
    }

    /// Reads the next folder that is to be read, or looks whether it is. Whether there was one.
    fn read_next(&mut self) -> bool {
        if let Some(id) = self.unread.pop_front() {
            self.read(&id, false);
        } else if let Some(id) = self.unsure.pop_front() {
            self.read(&id, true);
            if self.unsure.is_empty() {
                self.unsure.shrink_to(64);
            }
        } else {
            return false;
        }
        true
    }

    /// Reads a message's folder; `if_changed`: unless it is as it was.
    fn read(&mut self, id: &MessageId, if_changed: bool) {
        let begun = Instant::now();
        let model = self.view.model.lock();
        let Some(known) = model.messages.get(id) else { return };
        let by_others = model.others.working.iter().any(|at| at.message == *id);
        // What is being sent here tells of itself; it is read again once nobody works on it.
        if known.is_read() && !by_others && self.view.live.working().iter().any(|at| at.message == *id) {
            return;
        }
        let (priority, name) = (known.priority, MessageName::new(id.clone(), known.not_before()));
        let before = known.changed;
        drop(model);
        let message = self.spool().and_then(|spool| read(spool, priority, &name, before, if_changed));
        match message {
            Ok(Found::AsBefore) => return,
            Ok(Found::Message(message, changed)) => {
                let mut model = self.view.model.lock();
                if let Some(known) = model.messages.get_mut(id) {
                    known.take_in(*message);
                    known.changed = changed;
                }
            }
            Ok(Found::Nothing) => self.view.model.lock().messages.remove(id),
            // The scheduler says it where people look.
            Err(error) => debug!("{}", error.fate("its figures are not shown")),
        }
        if by_others {
            self.read.insert(id.clone(), (Instant::now(), begun.elapsed()));
        }
    }
}

/// What is in a message's folder.
enum Found {
    Nothing,
    /// When it was changed last was `before`.
    AsBefore,
    /// And when it was changed last.
    Message(Box<Message>, u64),
}

fn read(spool: &Spool, priority: Priority, name: &MessageName, before: u64, if_changed: bool) -> Result<Found> {
    let look = |priority: Priority, name: &MessageName| spool.at(priority).look(&name.to_string());
    // Where it is thought to be first: elsewhere, it has to be looked for in whole directories.
    let (priority, name, seen) = match look(priority, name)? {
        Some(seen) => (priority, name.clone(), seen),
        None => {
            let Some((priority, name)) = spool.locate(&name.id)? else { return Ok(Found::Nothing) };
            let Some(seen) = look(priority, &name)? else { return Ok(Found::Nothing) };
            (priority, name, seen)
        }
    };
    // Before it is read: a change meanwhile is one that is seen next time.
    let changed = time_of(&seen);
    if if_changed && changed == before && before != 0 {
        return Ok(Found::AsBefore);
    }
    let message = census::figures(spool, priority, &name)?;
    Ok(message.map_or(Found::Nothing, |message| Found::Message(Box::new(message), changed)))
}

/// When a folder was changed last, in nanoseconds. 0: so lately that another change may have the same time.
fn time_of(look: &Look) -> u64 {
    if look.modified + SETTLED >= clock::epoch().0 {
        return 0;
    }
    look.modified.saturating_mul(1_000_000_000).saturating_add(look.modified_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::live::Live;

    #[test]
    fn samples_are_taken_while_events_come_without_a_pause() {
        let dir = tempfile::tempdir().unwrap();
        Spool::create(&Disk::default(), dir.path()).unwrap();
        let live = Arc::new(Live::default());
        let view = View::start(live.clone(), dir.path()).unwrap();
        let sampled = || view.model.lock().history.minutes().iter().map(|minute| minute.deferred).sum::<u64>();
        for round in 1..=3 {
            live.tally.levels[5].deferred.inc_by(7);
            // Ten a second.
            let mut events = 0;
            while sampled() < 7 * round {
                assert!(events < 300, "nothing was sampled while {events} events came");
                live.events.tell(|| Happening::RelayUp { relay: "smtp://relay".into() });
                events += 1;
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }

    #[test]
    fn nothing_is_counted_before_the_directories_were_listed() {
        let dir = tempfile::tempdir().unwrap();
        Spool::create(&Disk::default(), dir.path()).unwrap();
        std::fs::create_dir(dir.path().join("distribute/5/l@x.org.1.1")).unwrap();
        let live = Arc::new(Live::default());
        let view = View::start(live.clone(), dir.path()).unwrap();
        // The first sample is taken at once, and after that nothing is left to do.
        let sampled = || !view.model.lock().history.minutes().is_empty();
        let wait_for = |done: &dyn Fn() -> bool| {
            (0..300).any(|_| {
                done() || {
                    std::thread::sleep(Duration::from_millis(10));
                    false
                }
            })
        };
        assert!(wait_for(&sampled));
        std::thread::sleep(Duration::from_millis(50));
        assert!(!view.summary().counted);
        live.events.tell(|| Happening::Scanned);
        assert!(wait_for(&|| view.summary().counted));
    }

    #[test]
    fn a_message_is_read_where_it_is_known_to_be_and_looked_for_only_if_it_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::create(&Disk::default(), dir.path()).unwrap();
        let put = |place: &str, recipients: &str| {
            let place = dir.path().join("distribute").join(place);
            std::fs::create_dir(&place).unwrap();
            std::fs::write(place.join("recipients.mail.0001"), recipients).unwrap();
            std::fs::write(place.join("message"), "Subject: a\n\n").unwrap();
        };
        let found = |priority: &str, name: &str| {
            let found = read(&spool, priority.parse().unwrap(), &name.parse().unwrap(), 0, false).unwrap();
            match found {
                Found::Message(message, _) => Some((message.priority.to_string(), message.left())),
                _ => None,
            }
        };
        put("5/l@x.org.1.1:at4000000000", "a@x.org\nb@x.org\n");
        // Whoever looks for the id finds the plain name first.
        put("3/l@x.org.1.1", "a@x.org\n");
        assert_eq!(found("5", "l@x.org.1.1:at4000000000"), Some(("5".into(), 2)));
        assert_eq!(found("5", "l@x.org.1.1:at4000000007"), Some(("3".into(), 1)));
        assert_eq!(found("5", "l@x.org.1.2"), None);
        let name: MessageName = "l@x.org.1.1".parse().unwrap();
        let changed = spool.at("3".parse().unwrap()).look("l@x.org.1.1").unwrap().unwrap();
        let before = changed.modified * 1_000_000_000 + changed.modified_nanos;
        let again = |before| read(&spool, "3".parse().unwrap(), &name, before, true).unwrap();
        assert!(matches!(again(before), Found::Message(_, 0)), "it was changed a moment ago, and may be so again");
        assert!(matches!(again(0), Found::Message(..)));
    }
}
