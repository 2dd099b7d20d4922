//! One transaction of a worker: deliver, then put on disk what became of each recipient, then the checkpoint.
//!
//! The order is the promise: a checkpoint never passes a recipient whose outcome is not on disk (I3). A crash behind the
//! final dot and before the checkpoint repeats this transaction; one that the relay answered only in part (LMTP) is
//! recorded as far as it was answered.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use crate::claim::NotHeld;
use crate::deliver::{Proceed, Refusals, Trouble};
use crate::mail::{Body, EnhancedStatus, Envelope, Epoch, Outcome, Reply, ReversePath};
use crate::spool::deferral::Deferral;
use crate::spool::disk::DiskError;
use crate::spool::failures::Failure;
use crate::spool::layout::packet_file;

use super::clock;
use super::events::Happening;
use super::message::OpenMessage;
use super::possession::Possession;
use super::relays;
use super::settings::OnUncertain;
use super::worker::{AFTER_REFUSAL, DISK_PAUSE, End, Worker};

/// Recipients' outcomes of one transaction, by what has to be done about them. Indices are into the packet.
#[derive(Default)]
struct Sorted {
    sent: usize,
    deferred: Vec<(usize, Box<Reply>)>,
    failed: Vec<(usize, Box<Reply>)>,
    /// Taken by nobody: for the next transaction.
    again: Vec<usize>,
    /// The relay, of the current ones, that said so. Its connection may be gone by now.
    relay: usize,
}

/// What came of one transaction.
struct Delivered {
    sorted: Sorted,
    /// How many of the batch have an outcome.
    answered: usize,
    /// What ended it early.
    trouble: Option<End>,
    /// The relay's answer was no recipient's.
    about_all: bool,
}

/// Refusals that may be a mistake: of a packet's transactions in a row, in which nobody was taken, for reasons that were
/// no recipient's. They are on no record yet, and the checkpoint has not passed them: they are deferred once the relay takes
/// anybody, and forgotten with this value.
#[derive(Default)]
pub(super) struct Suspected {
    failed: Vec<(usize, Box<Reply>)>,
    /// Who was refused for reasons of their own, ahead of the checkpoint.
    ahead: Sorted,
    /// Index behind the last of them.
    to: usize,
    relay: usize,
}

/// What is kept of a message whose transactions are refused, from packet to packet.
pub struct Suspicion {
    relay: usize,
    /// The relay's, when this began.
    successes: u64,
    /// Transactions in a row that it refused as a whole.
    refusals: u32,
}

/// What is made of a transaction that was refused as a whole, or recipient by recipient for no recipient's reason.
enum Verdict {
    /// It may be a mistake: nothing is recorded, the next transaction will tell.
    Suspect,
    /// The relay takes others: the refusals are meant.
    Believe,
    /// A mistake, of somebody's.
    Hold,
}

/// That a worker waits to record what was sent, as long as it does.
struct Waits<'s>(&'s AtomicUsize);

impl Waits<'_> {
    fn begin(unrecorded: &AtomicUsize) -> Waits<'_> {
        unrecorded.fetch_add(1, Ordering::Relaxed);
        Waits(unrecorded)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Sorted {
    fn nobody_was_taken_for_no_recipients_reason(&self) -> bool {
        self.sent == 0
            && self.again.is_empty()
            && self.deferred.is_empty()
            && !self.failed.is_empty()
            && !self.failed.iter().any(|(_, reply)| relays::is_about_the_mailbox(reply))
    }

    /// Adds what an earlier transaction found out.
    fn take_in(&mut self, earlier: &mut Sorted) {
        for (refused, earlier) in [(&mut self.deferred, &mut earlier.deferred), (&mut self.failed, &mut earlier.failed)]
        {
            refused.append(earlier);
            refused.sort_by_key(|(index, _)| *index);
        }
    }

    /// Splits off who was refused at index `passed` or behind it.
    fn hold_back(&mut self, passed: usize) -> Sorted {
        let split = |refused: &mut Vec<(usize, Box<Reply>)>| {
            refused.split_off(refused.partition_point(|(index, _)| *index < passed))
        };
        let (deferred, failed) = (split(&mut self.deferred), split(&mut self.failed));
        Sorted { deferred, failed, ..Sorted::default() }
    }

    /// The answer that asks for less, if nobody was taken and all were told so.
    fn asks_for_less(&self) -> Option<&Reply> {
        let idle = self.sent == 0 && self.failed.is_empty() && self.again.is_empty();
        let all = idle && self.deferred.iter().all(|(_, reply)| relays::asks_for_less(reply));
        self.deferred.first().filter(|_| all).map(|(_, reply)| &**reply)
    }
}

/// Whether a 421 says that the relay ends, and not that it has had enough: X.3.x is about the mail system (RFC 3463).
fn is_going_down(reply: &Reply) -> bool {
    reply.enhanced.is_some_and(|status| status.subject == 3)
}

/// Whether all whom the relay has failed stand in their packet for that: asked for once more, and refused again.
fn were_refused_before(possession: &Possession, sorted: &Sorted) -> bool {
    let packet = possession.progress.packet();
    sorted.failed.iter().all(|(index, _)| Deferral::of_line(packet.line(*index)).is_some_and(|why| why.code / 100 == 5))
}

impl Worker {
    /// Sends the packet's next recipients and records their outcomes.
    ///
    /// Mostly one transaction. If the relay takes only so many (452) and refuses others behind them, the rest is sent to
    /// at once, in further transactions, and the checkpoint comes behind the last: it can only name a prefix.
    pub(super) fn transact(
        &mut self,
        message: &OpenMessage,
        possession: &mut Possession,
        body: &Body,
        suspected: &mut Suspected,
    ) -> Result<(), End> {
        let relay = self.connection.as_ref().expect("connected before a transaction").relay();
        let (next, end) = (possession.progress.next(), possession.progress.packet().len());
        // (An empty packet, as a crash may leave one, is not suspected of anything: it is finished.)
        if suspected.to == end && next < end {
            // Nothing is left to ask about. Others may show meanwhile that the relay works.
            return Err(End::Later);
        }
        if suspected.relay != relay {
            *suspected = Suspected::default();
        }
        let from = next.max(suspected.to);
        let wanted = self.current.settings.run.recipients_per_transaction.get();
        let to = (from + self.current.relays.recipients(relay, wanted, Instant::now())).min(end);
        if let Some(in_flight) = &mut *self.shared.in_flight[self.index].lock() {
            (in_flight.from, in_flight.to, in_flight.level) = (from, to, self.level);
        }
        let mut batch: Vec<usize> = (from..to).collect();
        // Refused, and still ahead of the checkpoint: on record only once it passes them, so that the retry packet is in
        // the packet's order, which is what a crash is mended by. Lost before that, they are asked for again.
        let mut ahead = std::mem::take(&mut suspected.ahead);
        while !batch.is_empty() {
            let Delivered { mut sorted, answered, trouble, about_all } =
                self.deliver(message, possession, body, &batch);
            if sorted.sent == 0 {
                self.until_recorded(message, || possession.progress.take_back_intent())?;
            }
            if answered == 0 {
                return trouble.map_or(Ok(()), Err);
            }
            if sorted.nobody_was_taken_for_no_recipients_reason() && !were_refused_before(possession, &sorted) {
                match self.judge(message, &sorted, about_all) {
                    Verdict::Suspect => {
                        suspected.relay = sorted.relay;
                        suspected.failed.append(&mut sorted.failed);
                        (suspected.ahead, suspected.to) = (ahead, to);
                        return trouble.map_or(Ok(()), Err);
                    }
                    Verdict::Hold => return Err(End::Hold(self.refusal(&sorted))),
                    Verdict::Believe => {}
                }
            }
            let refused = std::mem::take(suspected).failed;
            match sorted.sent {
                0 => sorted.failed.splice(0..0, refused),
                // Perhaps it has just been mended: they are asked for once more.
                _ => sorted.deferred.splice(0..0, refused),
            };
            self.expire(message, &mut sorted, possession);
            sorted.take_in(&mut ahead);
            // All before the first recipient that is to be sent to again, or was not answered for, have an outcome.
            let unanswered = batch.get(answered).copied().unwrap_or(to);
            let first_again = sorted.again.first().copied().unwrap_or(to);
            let passed = unanswered.min(first_again);
            ahead = sorted.hold_back(passed);
            if let Err(end) = self.until_held(message, possession) {
                self.tell_taken_over(message, possession, &batch[..answered]);
                return Err(end);
            }
            self.record(message, possession, &sorted, next, passed)?;
            if let Some(end) = trouble {
                return Err(end);
            }
            let suffix = sorted.again.first().is_none_or(|&first| sorted.again.len() == to - first);
            if suffix {
                // Nobody behind the checkpoint's place has the message: the next transaction may wait for its turn.
                break;
            }
            batch = sorted.again;
        }
        Ok(())
    }

    /// The mistake guard. A relay that refuses everything for good is more likely misconfigured than right.
    fn judge(&self, message: &OpenMessage, sorted: &Sorted, about_all: bool) -> Verdict {
        let limit = self.current.settings.guard.transactions;
        // A report that fails goes to bad/, where nobody is lost either.
        if limit == 0 || message.sender == ReversePath::Null {
            return Verdict::Believe;
        }
        let relays = &self.current.relays;
        let in_a_row = relays.refuses(sorted.relay, Instant::now());
        let successes = relays.successes(sorted.relay);
        let id = message.folder.id();
        let mut suspicions = self.current.suspicions.lock();
        let fresh = Suspicion { relay: sorted.relay, successes, refusals: 0 };
        let suspicion = suspicions.entry(id.clone()).or_insert(fresh);
        if suspicion.relay != sorted.relay {
            *suspicion = Suspicion { relay: sorted.relay, successes, refusals: 0 };
        }
        suspicion.refusals += u32::from(about_all);
        let verdict = if in_a_row >= limit || suspicion.refusals >= limit {
            Verdict::Hold
        } else if !about_all && successes > suspicion.successes {
            // Other messages' success excuses refusals of recipients, and not one of the message itself.
            Verdict::Believe
        } else {
            return Verdict::Suspect;
        };
        suspicions.remove(id);
        verdict
    }

    fn refusal(&self, sorted: &Sorted) -> String {
        let relay = self.current.relays.get(sorted.relay).name();
        let reply = sorted.failed.last().map_or(String::new(), |(_, reply)| reply.to_string());
        format!(
            "{relay} refuses everything for good, most recently with: {reply}; nobody of these transactions was failed \
             (if it is meant, they fail with guard.transactions = 0)"
        )
    }

    /// One transaction on the wire.
    fn deliver(
        &mut self,
        message: &OpenMessage,
        possession: &mut Possession,
        body: &Body,
        batch: &[usize],
    ) -> Delivered {
        let open = self.connection.as_mut().expect("connected before a packet is taken");
        let relay = open.relay();
        // An intent can name the checkpoint's next recipients, and nobody else.
        let intends = self.current.settings.run.on_uncertain == OnUncertain::Skip
            && batch[0] == possession.progress.next()
            && batch.len() == batch[batch.len() - 1] + 1 - batch[0];
        let (mut intent, mut no_intent) = (false, None);
        let packet = possession.progress.packet_shared();
        let recipients: Vec<&str> = batch.iter().map(|&index| packet.address(index)).collect();
        let envelope = Envelope { sender: &message.sender, recipients: &recipients };
        let started = Instant::now();
        self.outcomes.clear();
        let mut not_held = None;
        let mut before_dot = |refusals| {
            // Behind the dot there is no way back: it must be out before anybody else could take the packet.
            if let Err(why) = possession.keep() {
                not_held = Some(why);
                return Proceed::No;
            }
            let yes = possession.left().map_or(Proceed::Yes, |left| Proceed::Before(Instant::now() + left));
            if !intends || refusals == Refusals::Some {
                return yes;
            }
            match possession.progress.intend(&message.folder, batch.len()) {
                Ok(()) => {
                    intent = true;
                    yes
                }
                Err(error) => {
                    no_intent = Some(error);
                    Proceed::No
                }
            }
        };
        let interrupt = &self.shared.interrupt;
        let result = open.connection.deliver_with(&envelope, body, interrupt, &mut before_dot, &mut self.outcomes);
        let took = started.elapsed();
        let mut sorted = Sorted { relay, ..Sorted::default() };
        let mut answered = self.outcomes.len();
        for (&index, outcome) in batch.iter().zip(self.outcomes.drain(..)) {
            match outcome {
                Outcome::Sent => sorted.sent += 1,
                Outcome::Deferred(reply) => sorted.deferred.push((index, reply)),
                Outcome::Failed(reply) => sorted.failed.push((index, reply)),
                Outcome::TooMany => sorted.again.push(index),
            }
        }
        self.shared.live.tally.levels[self.level.index()].sent.inc_by(sorted.sent as u64);
        let is_first = open.transactions == 0;
        let (mut trouble, mut about_all) = (None, false);
        match result {
            Ok(receipt) => {
                open.transactions += 1;
                self.shared.live.tally.transaction(self.level, took);
                let setup = if is_first { open.setup } else { Duration::ZERO };
                about_all = receipt.about_all;
                self.learn(message, &sorted, batch.len(), about_all);
                self.tell(message, possession, &sorted, &receipt.reply, took, setup);
            }
            Err(Trouble::Uncertain { .. }) if intent && answered == 0 => {
                answered = batch.len();
                sorted.sent = batch.len();
                trouble = Some(self.trouble(
                    message,
                    possession,
                    result.expect_err("seen"),
                    batch.len(),
                    &recipients,
                    "count as sent",
                ));
            }
            Err(Trouble::Interrupted { .. }) if !self.shared.interrupt.is_raised() && no_intent.is_none() => {
                // Nobody got the message; the connection is in the middle of a transaction.
                self.connection = None;
                let why =
                    not_held.unwrap_or_else(|| NotHeld::Away("its time was over before the dot was out".to_owned()));
                trouble = Some(End::NotHeld(why));
            }
            Err(Trouble::Interrupted { .. }) if no_intent.is_some() => {
                let error = no_intent.take().expect("seen");
                error!(message_id = %message.folder.id(), "{}", error.fate("the packet waits; nobody got the message"));
                self.connection = None;
                let stops = self.shared.board.pause(Instant::now() + DISK_PAUSE);
                trouble = Some(if stops { End::Stopped } else { End::Relay });
            }
            Err(error) => {
                trouble = Some(self.trouble(
                    message,
                    possession,
                    error,
                    batch.len(),
                    &recipients[answered..],
                    "are sent to again",
                ));
            }
        }
        Delivered { sorted, answered, trouble, about_all }
    }

    /// What an orderly transaction says about the relay.
    fn learn(&self, message: &OpenMessage, sorted: &Sorted, asked: usize, about_all: bool) {
        let relays = &self.current.relays;
        if sorted.sent > 0 {
            self.current.suspicions.lock().remove(message.folder.id());
            self.relay_takes_mail(sorted.relay);
        } else {
            self.relay_works(sorted.relay);
        }
        if let Some(reply) = sorted.asks_for_less() {
            self.relay_asks_for_less(sorted.relay, about_all, reply);
        }
        if !sorted.again.is_empty() {
            relays.takes_at_most(sorted.relay, asked - sorted.again.len(), Instant::now());
        }
    }

    /// What a transaction that came to nothing means for this worker.
    fn trouble(
        &mut self,
        message: &OpenMessage,
        possession: &Possession,
        trouble: Trouble,
        asked: usize,
        unanswered: &[&str],
        fate: &str,
    ) -> End {
        let open = self.connection.take().expect("a transaction was on it");
        let relay = open.relay();
        match trouble {
            Trouble::Unavailable { doing: "RCPT", reply: Some(_), .. } if open.transactions > 0 => {
                // It has lost patience with this connection, as Postfix does behind its 20th refusal on one.
                let relay = self.current.relays.get(relay).name();
                info!(relay, "connection lost: {trouble}; a new one is tried");
                End::Relay
            }
            Trouble::Unavailable { doing: "RCPT", reply: Some(ref reply), .. }
                if asked > 1 && !is_going_down(reply) =>
            {
                // All of them at once would get no further next time.
                let fewer = asked / 2;
                self.current.relays.takes_at_most(relay, fewer, Instant::now());
                let relay = self.current.relays.get(relay).name();
                info!(relay, "connection lost: {trouble}; no more than {fewer} recipients are asked for at a time");
                drop(open);
                match self.shared.board.pause(Instant::now() + AFTER_REFUSAL) {
                    true => End::Stopped,
                    false => End::Relay,
                }
            }
            Trouble::Unavailable { .. } => {
                if self.relay_is_busy(relay, &trouble) {
                    drop(open);
                    return match self.shared.board.pause(Instant::now() + AFTER_REFUSAL) {
                        true => End::Stopped,
                        false => End::Relay,
                    };
                }
                if open.transactions > 0 {
                    // It worked until now: relays end connections for reasons of their own (age, number of transactions).
                    // A new one tells whether the relay is in trouble.
                    let relay = self.current.relays.get(relay).name();
                    info!(relay, "connection lost: {trouble}; a new one is tried");
                } else {
                    self.relay_fails(relay, &trouble);
                }
                End::Relay
            }
            Trouble::Uncertain { .. } => {
                let count = unanswered.len() as u64;
                let uncertain_total = self.shared.uncertain_recipients.fetch_add(count, Ordering::Relaxed) + count;
                warn!(
                    message_id = %message.folder.id(), packet = %packet_file(possession.progress.name()),
                    recipients = unanswered.join(" "), uncertain_total, "uncertain: {trouble}; these recipients {fate}"
                );
                self.shared.live.tally.uncertain.inc_by(count);
                self.shared.tell(|| Happening::Uncertain {
                    message: message.folder.id().clone(),
                    packet: packet_file(possession.progress.name()),
                    recipients: unanswered.len(),
                    why: trouble.to_string(),
                });
                if self.shared.interrupt.is_raised() {
                    // The grace is over; that is no fault of the relay's.
                    self.shared.leaves_uncertain(self.index);
                    return End::Stopped;
                }
                self.relay_fails(relay, &trouble);
                End::Relay
            }
            // Nothing is wrong with the connection, but it is in an unknown state.
            Trouble::Unfit { .. } => End::Hold(trouble.to_string()),
            Trouble::Interrupted { .. } => End::Stopped,
        }
    }

    /// Deferred recipients whose next try would come after the message's expiry have failed (RFC 3463, X.4.7).
    fn expire(&self, message: &OpenMessage, sorted: &mut Sorted, possession: &Possession) {
        if sorted.deferred.is_empty() {
            return;
        }
        let retry = &self.current.settings.retry;
        let due = self.due(possession);
        if due.since(message.arrival) <= retry.expire.as_secs() {
            return;
        }
        for (index, reply) in sorted.deferred.drain(..) {
            let text = format!("4.4.7 not delivered in time; last reply: {reply}");
            let reply = Reply { enhanced: Some(EnhancedStatus::new(4, 4, 7)), ..Reply::new(reply.code, &text) };
            sorted.failed.push((index, Box::new(reply)));
        }
        sorted.failed.sort_by_key(|(index, _)| *index);
    }

    /// When recipients that are deferred now are to be tried again.
    fn due(&self, possession: &Possession) -> Epoch {
        let schedule = &self.current.settings.retry.schedule;
        let generation = usize::from(possession.progress.name().generation());
        let delay = schedule.get(generation).or(schedule.last()).copied().unwrap_or(Duration::from_secs(300));
        // Up to a quarter later: packets that were deferred together need not come back together.
        clock::epoch().plus(delay.mul_f64(1.0 + 0.25 * relays::jitter()).as_secs().max(1))
    }

    /// Deferred and failed recipients first, then the checkpoint to index `to`. The failures of all transactions that begin
    /// with the one at index `from` are one batch, since a crash may undo them together.
    fn record(
        &mut self,
        message: &OpenMessage,
        possession: &mut Possession,
        sorted: &Sorted,
        from: usize,
        to: usize,
    ) -> Result<(), End> {
        let relay = self.current.relays.get(sorted.relay).name();
        let tally = &self.shared.live.tally;
        for (status, recipients) in [("deferred", &sorted.deferred), ("failed", &sorted.failed)] {
            for (index, reply) in recipients {
                let to = possession.progress.packet().address(*index);
                info!(message_id = %message.folder.id(), to, relay, status, reply = %reply, "recipient");
            }
        }
        if !sorted.deferred.is_empty() {
            let (due, now) = (self.due(possession), clock::epoch());
            let deferred: Vec<(usize, Deferral)> =
                sorted.deferred.iter().map(|(index, reply)| (*index, Deferral::new(relay, reply, now))).collect();
            self.until_recorded(message, || possession.defer(message, &deferred, due))?;
            tally.levels[self.level.index()].deferred.inc_by(deferred.len() as u64);
            self.tell_refused(message, possession, sorted.relay, &sorted.deferred, Some(due.0));
        }
        if !sorted.failed.is_empty() {
            let progress = &possession.progress;
            let now = clock::epoch();
            let failed: Vec<Failure> = sorted
                .failed
                .iter()
                .map(|(index, reply)| {
                    Failure::new(progress.packet().address(*index), progress.name(), from, relay, reply, now)
                })
                .collect();
            let turn = self.turn_at_failures(message, possession)?;
            self.until_recorded(message, || possession.fail(message, &failed))?;
            drop(turn);
            tally.levels[self.level.index()].failed.inc_by(failed.len() as u64);
            self.tell_refused(message, possession, sorted.relay, &sorted.failed, None);
        }
        let (started, before) = (Instant::now(), possession.progress.next());
        self.until_recorded(message, || possession.progress.advance(&message.folder, to))?;
        tally.checkpoint_duration.observe(started.elapsed().as_secs_f64());
        if possession.progress.name().retry.is_none() {
            let passed = (to - before) as u64;
            message.passed.fetch_add(passed, Ordering::Relaxed);
            tally.levels[self.level.index()].passed.inc_by(passed);
        }
        Ok(())
    }

    /// Does what puts on disk what the relay has answered, until it works. Nothing is sent meanwhile, and the claim stays:
    /// what was sent and could not be recorded must not be sent again.
    pub(super) fn until_recorded(
        &self,
        message: &OpenMessage,
        mut write: impl FnMut() -> Result<(), DiskError>,
    ) -> Result<(), End> {
        let mut waits = None;
        loop {
            let error = match write() {
                Ok(()) => {
                    if waits.is_some() {
                        info!(message_id = %message.folder.id(), "the disk takes writes again: goes on");
                    }
                    return Ok(());
                }
                // An operator purged the message: there is nothing left to be recorded in.
                Err(error) if error.is_gone() => return Err(End::Gone),
                // A status file where there was none: somebody else has begun this packet.
                Err(error) if error.is_exists() => return Err(End::NotHeld(NotHeld::Lost)),
                Err(error) => error,
            };
            if waits.is_none() {
                let fate = "its last transaction was sent and is not recorded: the packet stays claimed and nothing \
                            more of it is sent until this works; if this process dies before, those recipients get \
                            the message twice";
                error!(message_id = %message.folder.id(), "{}", error.fate(fate));
                waits = Some(Waits::begin(&self.shared.unrecorded));
            }
            if self.shared.board.pause(Instant::now() + DISK_PAUSE) {
                self.shared.leaves_uncertain(self.index);
                return Err(End::Stopped);
            }
        }
    }

    /// The line a transaction.
    fn tell(
        &self,
        message: &OpenMessage,
        possession: &Possession,
        sorted: &Sorted,
        reply: &Reply,
        took: Duration,
        setup: Duration,
    ) {
        let open = self.connection.as_ref().expect("it has just been used");
        // As Postfix's delays=a/b/c/d: in the queue before, (no separate queue manager), connection set-up, transmission.
        let queued = clock::epoch().since(message.arrival);
        info!(
            message_id = %message.folder.id(),
            packet = %packet_file(possession.progress.name()),
            relay = self.current.relays.get(open.relay()).name(),
            conn_use = open.transactions,
            taken = sorted.sent,
            deferred = sorted.deferred.len(),
            failed = sorted.failed.len(),
            delays = %format_args!("{queued}/0/{:.3}/{:.3}", setup.as_secs_f64(), took.as_secs_f64()),
            reply = %reply,
            "transaction"
        );
    }
}
