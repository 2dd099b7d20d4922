//! One worker: a thread with at most one relay connection.
//!
//! It reads from top to bottom: wait for work, connect, open the message, claim a packet, then transaction by
//! transaction: deliver, put deferred and failed recipients on disk, checkpoint, look at the truth, ask the board, go on
//! or give way. What has been sent but can't be recorded (disk full) is recorded later, not sent again: the worker keeps
//! its claim and waits for the disk.
//!
//! A crash anywhere in here leaves the recipients of one transaction uncertain, and the packet at its checkpoint.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tracing::{debug, error, info, warn};

use crate::claim::{Claim, ClaimError, NotHeld};
use crate::deliver::{Connection, Trouble};
use crate::mail::{Body, Epoch, Level, Outcome, PacketName, Priority, Reply};
use crate::schedule::{Key, Windows};
use crate::spool::disk::DiskError;
use crate::spool::layout::{FileName, packet_file};

use super::board::{Assignment, Next};
use super::boundary::early;
use super::clock;
use super::crew::Crew;
use super::events::Happening;
use super::holding::CLAIM_PAUSE;
use super::message::{NoBody, OpenMessage, Unopened};
use super::pauses::InForce;
use super::possession::{self, Possession, Taking};
use super::relays::{self, Admission, Good, Pick, Slot};
use super::settings::OnUncertain;
use super::shared::{Current, MAX_WORKERS, Shared};
use super::transaction::Suspected;

/// A connection that nobody used for so long is given up: relays close it at about that age themselves.
const IDLE_CONNECTION: Duration = Duration::from_secs(60);
/// When a message's last packets are somebody else's, how long until we look whether that somebody still lives; and when
/// its recipients were refused, until they are asked for again.
pub(super) const RECHECK: u64 = 2;
/// How long a worker waits for a disk that has no room, or that fails.
pub(super) const DISK_PAUSE: Duration = Duration::from_secs(2);

/// How soon, in seconds, the relays that a list has for itself are asked again.
const LIST_RELAY: u64 = 5;

/// A relay that has refused one connection too many is not asked for another one at once.
pub(super) const AFTER_REFUSAL: Duration = Duration::from_millis(100);

/// See the module.
pub struct Worker {
    pub(super) index: usize,
    pub(super) shared: Arc<Shared>,
    pub(super) current: Arc<Current>,
    pub(super) connection: Option<Open>,
    /// The only relays for the list that is worked on.
    only: Option<Arc<[String]>>,
    /// When that list's messages may be sent.
    pub(super) windows: Option<Arc<Windows>>,
    /// Kept from transaction to transaction for its memory.
    pub(super) outcomes: Vec<Outcome>,
    /// Where its message stands.
    pub(super) level: Level,
}

/// The worker's connection.
pub(super) struct Open {
    pub(super) connection: Box<dyn Connection>,
    /// Which of the relays; dropped with the connection.
    slot: Slot,
    /// Transactions that ended well.
    pub(super) transactions: u64,
    /// What it took to open it; told with its first transaction.
    pub(super) setup: Duration,
}

impl Open {
    /// Which of the relays.
    pub(super) fn relay(&self) -> usize {
        self.slot.index()
    }
}

/// How a worker's work on a packet ended.
pub(super) enum End {
    /// All recipients have an outcome.
    Finished,
    /// A message that goes first is reserved for this worker.
    Yield(Assignment),
    /// The relay's connection is lost. Who has an outcome is behind the checkpoint.
    Relay,
    /// It is paused, by one of these.
    Paused(Arc<InForce>),
    /// Its list's window has closed, and the next one opens then; or the message itself is not due before.
    Closed(Epoch),
    /// The packet is one of deferred recipients, and they are not due any more.
    NotDue,
    /// The configuration was reloaded: what comes next is sent by the new one.
    Reloaded,
    /// It was requeued to a level that is not this worker's.
    NotItsOwn,
    Stopped,
    /// The relay can't carry the message, or refuses everything: it is held, for that reason.
    Hold(String),
    /// Its recipients were refused, and it is not clear yet whether that is a mistake.
    Later,
    /// The message is not the backlog's any more: held, cancelled, moved away.
    Gone,
    /// The packet is not, or not certainly, this worker's any more.
    NotHeld(NotHeld),
}

impl Worker {
    pub fn new(index: usize, shared: Arc<Shared>) -> Worker {
        let current = shared.current();
        let (connection, outcomes, level) = (None, Vec::new(), Level::LAST);
        Worker { index, shared, current, connection, only: None, windows: None, outcomes, level }
    }

    /// Works until it is told to stop, or until the configuration has fewer workers.
    pub fn run(mut self) {
        let mut reserved = None;
        while let Some(assignment) = reserved.take().or_else(|| self.wait_for_work()) {
            // It may have waited long.
            self.take_settings();
            if self.is_surplus() {
                self.shared.board.give_back(assignment.key);
                break;
            }
            reserved = self.work_on(assignment);
        }
        self.hang_up();
        debug!(worker = self.index, "worker ends");
    }

    /// After a reload: the new settings, and with them a new connection.
    fn take_settings(&mut self) {
        if self.has_new_settings() {
            self.hang_up();
            self.current = self.shared.current();
        }
    }

    pub(super) fn has_new_settings(&self) -> bool {
        !Arc::ptr_eq(&self.shared.current(), &self.current)
    }

    fn is_surplus(&self) -> bool {
        let run = &self.current.settings.run;
        match self.index.checked_sub(MAX_WORKERS) {
            None => self.index >= run.workers.get(),
            Some(index) => index >= run.express_workers,
        }
    }

    pub(super) fn crew(&self) -> Crew {
        match self.index {
            0..MAX_WORKERS => Crew::Any,
            _ => Crew::UpTo(self.current.settings.run.express_up_to),
        }
    }

    fn wait_for_work(&mut self) -> Option<Assignment> {
        loop {
            self.take_settings();
            if self.is_surplus() {
                return None;
            }
            // A packet is no use to a worker that the relay has no connection for: another one may have one.
            if self.connection.is_none()
                && let Err(until) = self.current.may_connect(self.crew(), Instant::now())
            {
                if self.shared.board.pause(until) {
                    return None;
                }
                continue;
            }
            let until = self.connection.is_some().then(|| Instant::now() + IDLE_CONNECTION);
            match self.shared.board.next(self.crew(), until) {
                Next::Work(assignment) => return Some(assignment),
                Next::Waited => self.hang_up(),
                Next::Woken => {}
                Next::Stop => return None,
            }
        }
    }

    fn hang_up(&mut self) {
        if let Some(open) = self.connection.take() {
            open.connection.close();
        }
    }

    /// Sees to it that there is a connection; else says until when there is no point in trying.
    fn connect(&mut self) -> Result<(), Instant> {
        if self.connection.as_mut().is_some_and(|open| open.connection.is_stale()) {
            self.connection = None;
        }
        let is_used_up = |open: &Open| {
            let most = self.current.relays.limits(open.relay()).transactions_per_connection;
            most.is_some_and(|most| open.transactions >= most.get())
        };
        if self.connection.as_ref().is_some_and(is_used_up) {
            self.hang_up();
        }
        let relays = &self.current.relays;
        if self.connection.as_ref().is_some_and(|open| !relays.is_among(open.relay(), self.only.as_deref())) {
            self.hang_up();
        }
        while self.connection.is_none() {
            let started = Instant::now();
            let slot = match self.current.relays.pick(self.crew(), self.only.as_deref(), started) {
                Pick::Use(slot) => slot,
                Pick::Wait(until) => return Err(until),
            };
            match self.current.relays.get(slot.index()).connect(&self.shared.interrupt) {
                Ok(connection) => {
                    let setup = started.elapsed();
                    self.connection = Some(Open { connection, slot, transactions: 0, setup });
                }
                Err(Trouble::Interrupted { .. }) => return Err(Instant::now()),
                // What the others' connections show to be up has said that they are enough.
                Err(trouble) if self.relay_is_busy(slot.index(), &trouble) => return Err(started + AFTER_REFUSAL),
                Err(trouble) => self.relay_fails(slot.index(), &trouble),
            }
        }
        Ok(())
    }

    pub(super) fn relay_fails(&self, index: usize, trouble: &Trouble) {
        if let Some(pause) = self.current.relays.fails(index, Instant::now(), &trouble.to_string()) {
            let relay = self.current.relays.get(index).name();
            warn!(relay, "relay is out of use: {trouble}; its recipients stay where they are; next try in {pause:.1?}");
            self.shared.tell(|| Happening::RelayDown {
                relay: relay.to_owned(),
                why: trouble.to_string(),
                pause: pause.as_secs_f64(),
            });
        }
        self.shared.publish();
    }

    /// Whether the trouble is no more than that the relay wants fewer connections than it has.
    pub(super) fn relay_is_busy(&self, index: usize, trouble: &Trouble) -> bool {
        let Trouble::Unavailable { reply: Some(reply), .. } = trouble else { return false };
        if !relays::asks_for_less(reply) {
            return false;
        }
        self.relay_asks_for_less(index, true, reply);
        self.current.relays.is_shared(index)
    }

    pub(super) fn relay_asks_for_less(&self, index: usize, all: bool, reply: &Reply) {
        if let Some(connections) = self.current.relays.asks_for_less(index, all, Instant::now()) {
            let relay = self.current.relays.get(index).name();
            warn!(
                relay,
                connections, "relay asks for less: {reply}; it gets fewer connections until it takes mail again"
            );
        }
    }

    pub(super) fn relay_works(&self, index: usize) {
        if self.current.relays.works(index) {
            self.relay_is_back(index);
        }
    }

    pub(super) fn relay_takes_mail(&self, index: usize) {
        let Good { back, wider } = self.current.relays.takes_mail(index);
        if back {
            self.relay_is_back(index);
        } else if wider {
            self.shared.board.wake();
        }
    }

    fn relay_is_back(&self, index: usize) {
        let relay = self.current.relays.get(index).name();
        info!(relay, "relay is back");
        self.shared.tell(|| Happening::RelayUp { relay: relay.to_owned() });
        self.shared.publish();
        self.shared.board.wake();
    }

    /// Takes one packet of the message as far as it goes. Gives what is reserved for this worker next, if it gave way.
    fn work_on(&mut self, assignment: Assignment) -> Option<Assignment> {
        let key = assignment.key;
        if let Some(pauses) = self.paused(assignment.name.id.list(), assignment.level) {
            self.shared.board.lay_down(key, &pauses);
            return None;
        }
        let lists = &self.current.settings.lists;
        self.only = lists.relays(assignment.name.id.list());
        self.windows = lists.deliver(assignment.name.id.list());
        // It was due when it was chosen, by a clock that was set back since.
        if let Some(opens) = early(assignment.name.not_before()).or_else(|| self.opens_later()) {
            self.shared.board.close(key, opens);
            return None;
        }
        if let Err(until) = self.connect() {
            if self.only.is_some() {
                // Messages of other lists have other relays.
                let wait = until.saturating_duration_since(Instant::now()).as_secs().clamp(1, LIST_RELAY);
                self.shared.board.put_off(key, clock::epoch().plus(wait));
                return None;
            }
            self.shared.board.give_back(key);
            self.shared.board.pause(until);
            return None;
        }
        let next = self.send_packet_of(assignment);
        // A probe that found nothing to send has found a relay that greets.
        if let Some(open) = self.connection.as_ref().filter(|open| open.transactions == 0) {
            self.relay_works(open.relay());
        }
        next
    }

    fn send_packet_of(&mut self, assignment: Assignment) -> Option<Assignment> {
        let Assignment { key, mut level, .. } = assignment;
        let message = self.open(assignment)?;
        // Of a message that is done with, nothing is too late.
        if let Some(why) = message.is_late(clock::epoch()).filter(|_| message.waiting() > 0) {
            self.hold(key, &message, &why);
            return None;
        }
        let (packet, mut possession, body) = self.possess(key, level, &message)?;
        let taken = self.tell_taken(level, &message, &possession);
        let end = self.drain(key, &mut level, &message, &mut possession, &body);
        self.tell_left(&message, &possession, &end, taken);
        // The claim goes before the packet is offered again: else its next worker would find it taken.
        drop(possession);
        match end {
            End::Finished => self.end_of_packet(key, &message),
            End::Yield(to) => {
                self.give_back(key, &message, packet);
                return Some(to);
            }
            End::Relay | End::Reloaded | End::NotItsOwn => self.give_back(key, &message, packet),
            End::Hold(why) => self.hold(key, &message, &why),
            End::Paused(pauses) => self.shared.board.lay_down(key, &pauses),
            End::Closed(opens) => self.shared.board.close(key, opens),
            // Whoever has the last of the other packets sees when it is due.
            End::NotDue => self.end_of_packet(key, &message),
            End::Later => self.shared.board.put_off(key, clock::epoch().plus(RECHECK)),
            End::Gone => self.shared.board.let_go(key),
            End::NotHeld(why) => {
                info!(
                    message_id = %message.folder.id(), packet = %packet_file(&packet),
                    "stops at this boundary: {why}"
                );
                message.is_elsewhere(packet);
                self.end_of_packet(key, &message);
            }
            End::Stopped => {}
        }
        None
    }

    fn give_back(&self, key: Key, message: &OpenMessage, packet: PacketName) {
        message.put_back(packet);
        self.shared.board.give_back(key);
    }

    /// The message's folder, open. `None`: there is nothing to do with it, and that has been seen to.
    fn open(&self, assignment: Assignment) -> Option<Arc<OpenMessage>> {
        let Assignment { key, name, level, open } = assignment;
        if open.is_some() {
            return open;
        }
        let now = clock::epoch();
        let why = match OpenMessage::open(&self.shared.spool, Priority::At(level), &name, now) {
            Ok(message) => {
                let message = Arc::new(message);
                message.begin_at(self.shared.claims.start_at(message.waiting()));
                let ready = message.waiting().saturating_sub(1);
                let each = self.current.settings.run.recipients_per_transaction.get() as u64;
                let transactions = message.recipients.div_ceil(each).try_into().unwrap_or(u32::MAX);
                // Before anybody else may take of it, so that what is told of it is told in order.
                self.tell_begun(key, &name, level);
                self.shared.tell(|| Happening::Started {
                    message: name.id.clone(),
                    priority: Priority::At(level),
                    packets: ready + 1,
                    recipients: message.recipients_total,
                });
                self.shared.board.opened(key, &message, ready as u32, transactions);
                return Some(message);
            }
            Err(why) => why,
        };
        match why {
            // Held, cancelled, requeued or finished since it was found; where it is now, the watch or the scan finds it.
            Unopened::Gone => self.shared.board.lost(key),
            Unopened::Empty(folder) => {
                if let Err(error) = folder.remove_empty(&self.shared.spool, Priority::At(level)) {
                    warn!("{}", error.fate("the folder is empty: no mail is in it"));
                }
                self.shared.board.gone(key);
            }
            Unopened::Bad { folder, why } => self.set_message_aside(key, &folder, level, &why),
            Unopened::Disk(error) => {
                self.shared.tell_trouble(&name.id, error.fate("the message waits"));
                self.shared.board.put_off(key, now.plus(DISK_PAUSE.as_secs()));
            }
        }
        None
    }

    /// The claim of one of the message's packets, where it stands, and what its recipients get. `None`: there is nothing
    /// to send of it now, and that has been seen to.
    fn possess(
        &self,
        key: Key,
        level: Level,
        message: &OpenMessage,
    ) -> Option<(PacketName, Box<Possession>, Arc<Body>)> {
        match self.has_room(message) {
            Ok(true) => {}
            Ok(false) => {
                self.shared.board.give_back(key);
                self.shared.board.pause(Instant::now() + DISK_PAUSE);
                return None;
            }
            // Another host has moved it, or taken it away: the watch or the scan finds where to.
            Err(_) => {
                self.shared.board.gone(key);
                return None;
            }
        }
        let Some(packet) = message.deal() else {
            self.end_of_packet(key, message);
            return None;
        };
        if early(packet.due()).is_some() {
            self.end_of_packet(key, message);
            return None;
        }
        let sync = self.current.settings.run.checkpoint_sync;
        let taken = possession::take(&*self.shared.claims, &self.shared.spool, message, &packet, sync, clock::epoch());
        // Until what can't be read is set aside: else somebody takes what is there of it.
        let mut kept: (Option<Claim>, Option<Box<Possession>>) = (None, None);
        let trouble = match taken {
            Ok(Taking::Got(mut possession)) => match message.body(&packet.mode) {
                Ok(body) => match self.settle_in_flight(message, &mut possession) {
                    Ok(()) => {
                        self.shared.is_well(message.folder.id());
                        self.tell_start(message, &possession, &body);
                        return Some((packet, possession, body));
                    }
                    Err(error) => Err(error),
                },
                Err(NoBody::Bad(why)) => {
                    kept.1 = Some(possession);
                    Ok(why)
                }
                Err(NoBody::Disk(error)) => Err(error),
            },
            // The log was told; whatever waits for another claim would wait for the same.
            Err(ClaimError::Away(_)) => {
                self.give_back(key, message, packet);
                self.shared.board.pause(Instant::now() + CLAIM_PAUSE);
                return None;
            }
            Ok(Taking::Bad(claim, why)) => {
                kept.0 = Some(claim);
                Ok(why)
            }
            Ok(Taking::Elsewhere) => {
                message.is_elsewhere(packet);
                self.end_of_packet(key, message);
                return None;
            }
            Ok(Taking::Gone) => {
                self.end_of_packet(key, message);
                return None;
            }
            Err(ClaimError::Disk(error)) => Err(error),
        };
        match trouble {
            Ok(why) => {
                self.set_packet_aside(message, &packet, level, &why);
                drop(kept);
                self.end_of_packet(key, message);
            }
            Err(error) if error.is_gone() => self.shared.board.gone(key),
            Err(error) if error.is_of_the_disk() => {
                error!(message_id = %message.folder.id(), "{}", error.fate("the packet waits"));
                self.give_back(key, message, packet);
                self.shared.board.pause(Instant::now() + DISK_PAUSE);
            }
            // This packet alone: what else waits goes on.
            Err(error) => {
                self.shared.tell_trouble(message.folder.id(), error.fate("the packet waits"));
                message.is_elsewhere(packet);
                self.end_of_packet(key, message);
            }
        }
        None
    }

    /// Whether what would be sent now could be recorded. Says so once when it can't, and once when it can again. An error:
    /// the folder has gone.
    fn has_room(&self, message: &OpenMessage) -> Result<bool, DiskError> {
        let told = &self.shared.has_no_room;
        match message.folder.dir().require_room() {
            Ok(()) => {
                if told.load(Ordering::Relaxed) && told.swap(false, Ordering::Relaxed) {
                    info!("the spool can be written to again: goes on");
                }
                Ok(true)
            }
            Err(error) if error.is_gone() => Err(error),
            Err(error) => {
                if !told.swap(true, Ordering::Relaxed) {
                    error!("{}", error.fate("nothing is sent until it could be recorded"));
                }
                Ok(false)
            }
        }
    }

    /// Decides about recipients that were in a transaction when the packet's last worker died.
    fn settle_in_flight(&self, message: &OpenMessage, possession: &mut Possession) -> Result<(), DiskError> {
        let progress = &mut possession.progress;
        let (next, count) = (progress.next(), progress.in_flight());
        if count == 0 {
            return Ok(());
        }
        let recipients: Vec<&str> = (next..next + count).map(|index| progress.packet().address(index)).collect();
        let recipients = recipients.join(" ");
        let fate = match self.current.settings.run.on_uncertain {
            OnUncertain::Resend => "they are sent to again",
            OnUncertain::Skip => "they count as sent",
        };
        self.shared.uncertain_recipients.fetch_add(count as u64, Ordering::Relaxed);
        warn!(
            message_id = %message.folder.id(), packet = %packet_file(progress.name()), recipients,
            "uncertain: the packet's last worker died in the middle of a transaction; {fate}"
        );
        match self.current.settings.run.on_uncertain {
            OnUncertain::Resend => progress.take_back_intent(),
            OnUncertain::Skip => progress.advance(&message.folder, next + count),
        }
    }

    fn tell_start(&self, message: &OpenMessage, possession: &Possession, body: &Body) {
        let progress = &possession.progress;
        let packet = FileName::Packet(progress.name().clone());
        if progress.next() > 0 && progress.remaining() > 0 {
            let after = progress.packet().address(progress.next() - 1);
            info!(message_id = %message.folder.id(), %packet, after, "packet is resumed");
        }
        if let Some((line, octets)) = body.long_line {
            debug!(
                message_id = %message.folder.id(), %packet, line, octets,
                "a line is longer than 998 octets; it is sent as it is, since breaking it would break a signature"
            );
        }
    }

    /// Sends transaction after transaction, until the packet or the permission ends.
    fn drain(
        &mut self,
        key: Key,
        level: &mut Level,
        message: &Arc<OpenMessage>,
        possession: &mut Possession,
        body: &Body,
    ) -> End {
        let mut suspected = Suspected::default();
        let mut step = |worker: &mut Worker| {
            worker.be_admitted(key, level, message, possession.progress.name())?;
            possession.keep().map_err(End::NotHeld)?;
            worker.level = *level;
            worker.transact(message, possession, body, &mut suspected)?;
            match possession.progress.remaining() {
                0 => Ok(true),
                _ => worker.boundary(key, level, message, possession.progress.name()).map(|()| false),
            }
        };
        loop {
            match step(self) {
                Ok(false) => {}
                Ok(true) => break,
                Err(end) => return end,
            }
        }
        let finished = self.until_held(message, possession);
        match finished.and_then(|()| self.until_recorded(message, || possession.finish(message))) {
            Ok(()) => End::Finished,
            Err(end) => end,
        }
    }

    /// Sees to it that there is a connection on which a transaction may begin now.
    fn be_admitted(
        &mut self,
        key: Key,
        level: &mut Level,
        message: &OpenMessage,
        packet: &PacketName,
    ) -> Result<(), End> {
        let mut _turn = None;
        loop {
            // Relays limit the transactions of a connection, and hang up for reasons of their own.
            self.connect().map_err(|_| End::Relay)?;
            let relay = self.connection.as_ref().expect("connected").relay();
            let recipients = self.current.settings.run.recipients_per_transaction.get();
            let (only, now) = (self.only.as_deref(), Instant::now());
            match self.current.relays.admit(relay, only, recipients, *level, now) {
                Admission::Go => return Ok(()),
                Admission::Leave => {
                    // A probe that leaves has found a relay that greets.
                    if self.connection.as_ref().is_some_and(|open| open.transactions == 0) {
                        self.relay_works(relay);
                    }
                    _turn = None;
                    self.hang_up();
                }
                Admission::Wait(until) => {
                    _turn = Some(self.current.relays.wait(relay, *level));
                    if self.shared.board.pause(until) {
                        return Err(End::Stopped);
                    }
                    // Whoever is more urgent has this turn.
                    self.boundary(key, level, message, packet)?;
                }
            }
        }
    }
}
