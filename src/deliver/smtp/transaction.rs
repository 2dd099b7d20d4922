//! One transaction: MAIL, RCPTs, DATA, body, and what became of whom.

use std::io::Write;
use std::time::{Duration, Instant};

use super::Protocol;
use super::session::Session;
use crate::deliver::wire::Patience;
use crate::deliver::{BeforeDot, Connection, Interrupt, Proceed, Receipt, Refusals, Trouble};
use crate::mail::address::wire_safe;
use crate::mail::{Body, Envelope, Outcome, Reply};

/// A connection that was used so lately is not looked at before it is used again: if it has been cut since, the next
/// transaction finds out, at no more cost.
const FRESH: Duration = Duration::from_millis(100);

const DOT: &[u8] = b".\r\n";

/// What the relay said to the commands before the body.
#[derive(Default)]
struct Answers {
    mail_refused: Option<Reply>,
    taken: usize,
    /// Who was refused with 452 or 552 since somebody was taken.
    too_many: Vec<(usize, Reply)>,
    data: Option<Data>,
}

enum Data {
    /// 354.
    Go,
    Refused(Reply),
}

/// Which command of the group a reply belongs to.
#[derive(Clone, Copy)]
enum Step {
    Rset,
    Mail,
    /// The n-th recipient asked about.
    Rcpt(usize),
    Data,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Step::Rset => "RSET",
            Step::Mail => "MAIL",
            Step::Rcpt(_) => "RCPT",
            Step::Data => "DATA",
        }
    }
}

/// What the body's sending came to.
enum Sent {
    Whole,
    /// The relay answered before it had everything; the answer is the parser's.
    AnsweredEarly,
}

impl Connection for Session {
    fn deliver_with(
        &mut self,
        envelope: &Envelope<'_>,
        body: &Body,
        interrupt: &Interrupt,
        before_dot: &mut BeforeDot<'_>,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<Receipt, Trouble> {
        outcomes.clear();
        let result = self.transaction(envelope, body, interrupt, before_dot, outcomes);
        self.used = Instant::now();
        match &result {
            Ok(_) => debug_assert_eq!(outcomes.len(), envelope.recipients.len()),
            Err(trouble) => {
                self.dead = true;
                if !matches!(trouble, Trouble::Uncertain { .. }) {
                    outcomes.clear();
                }
            }
        }
        result
    }

    fn is_stale(&mut self) -> bool {
        let used_up = self.capabilities.mail_max.is_some_and(|max| self.mails >= max);
        self.dead || used_up || self.used.elapsed() > FRESH && self.wire.is_disturbed()
    }

    fn close(self: Box<Self>) {
        self.wire.close(if self.dead { b"" } else { b"QUIT\r\n" });
    }
}

impl Session {
    fn transaction(
        &mut self,
        envelope: &Envelope<'_>,
        body: &Body,
        interrupt: &Interrupt,
        before_dot: &mut BeforeDot<'_>,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<Receipt, Trouble> {
        if self.dead {
            return Err(self.peer.unavailable("MAIL", "this connection is at its end"));
        }
        if interrupt.is_raised() {
            return Err(Trouble::Interrupted { relay: self.peer.name.clone() });
        }
        self.nothing_unasked("MAIL")?;
        self.plan(envelope, body, outcomes)?;
        if self.asked.is_empty() {
            return Ok(Receipt { reply: last_refusal(outcomes), about_all: false });
        }
        self.mails += 1;

        let group = std::mem::take(&mut self.group);
        let answers = self.converse(&group, interrupt, outcomes);
        self.group = group;
        let answers = answers?;

        let (reply, about_all) = match (answers.data, answers.mail_refused) {
            (Some(Data::Go), None) if answers.taken > 0 => {
                let refusals = if answers.taken < outcomes.len() { Refusals::Some } else { Refusals::None };
                return self.hand_over(body, interrupt, &mut || before_dot(refusals), outcomes);
            }
            (Some(Data::Go), mail_refused) => {
                let answer = self.lone_dot(interrupt)?;
                let about_all = mail_refused.is_some();
                (mail_refused.inspect(|reply| self.refuse_asked(reply, outcomes)).or(answer), about_all)
            }
            (_, Some(reply)) => {
                self.refuse_asked(&reply, outcomes);
                (Some(reply), true)
            }
            (Some(Data::Refused(reply)), None) => {
                refuse_taken(&reply, outcomes);
                self.needs_reset = true;
                // Behind refusals of all recipients it says nothing new.
                (Some(reply), answers.taken > 0)
            }
            (None, None) => {
                self.needs_reset = true;
                (None, false)
            }
        };
        Ok(Receipt { reply: reply.unwrap_or_else(|| last_refusal(outcomes)), about_all })
    }

    /// Writes the group, and settles the recipients that the relay needn't be asked about. The others stand as sent
    /// until the relay says otherwise.
    fn plan(&mut self, envelope: &Envelope<'_>, body: &Body, outcomes: &mut Vec<Outcome>) -> Result<(), Trouble> {
        let capable = &self.capabilities;
        if body.eight_bit && !capable.eight_bit {
            return Err(self.peer.unfit("the message has 8-bit text, and the relay does not offer 8BITMIME".into()));
        }
        if let Some(max) = capable.max_size.filter(|&max| body.size() as u64 > max) {
            return Err(self
                .peer
                .unfit(format!("the message has {} octets, and the relay takes no more than {max}", body.size())));
        }
        let sender = envelope.sender.as_str();
        if !sender.is_ascii() && !capable.smtputf8 {
            return Err(self
                .peer
                .unfit(format!("the sender <{sender}> needs SMTPUTF8, which the relay does not offer")));
        }

        self.asked.clear();
        let mut utf8 = !sender.is_ascii() || body.utf8_header;
        let most = capable.rcpt_max.unwrap_or(usize::MAX);
        for (recipient, i) in envelope.recipients.iter().zip(0u32..) {
            debug_assert!(wire_safe(recipient.as_bytes()).is_ok(), "{recipient:?} in an envelope");
            let ascii = recipient.is_ascii();
            outcomes.push(if !ascii && !capable.smtputf8 {
                // RFC 6531 §3.5 names the code.
                Outcome::Failed(Box::new(Reply::new(553, "5.6.7 the relay takes no internationalised addresses")))
            } else if self.asked.len() >= most {
                Outcome::TooMany
            } else {
                self.asked.push(i);
                utf8 |= !ascii;
                Outcome::Sent
            });
        }

        let group = &mut self.group;
        group.clear();
        if self.needs_reset {
            group.extend_from_slice(b"RSET\r\n");
        }
        group.extend_from_slice(b"MAIL FROM:<");
        group.extend_from_slice(sender.as_bytes());
        group.push(b'>');
        if capable.size {
            write!(group, " SIZE={}", body.size()).expect("writing to memory");
        }
        if body.eight_bit {
            group.extend_from_slice(b" BODY=8BITMIME");
        }
        if utf8 && capable.smtputf8 {
            group.extend_from_slice(b" SMTPUTF8");
        }
        for &i in &self.asked {
            group.extend_from_slice(b"\r\nRCPT TO:<");
            group.extend_from_slice(envelope.recipients[i as usize].as_bytes());
            group.push(b'>');
        }
        group.extend_from_slice(b"\r\nDATA\r\n");
        Ok(())
    }

    /// Sends the group, all of it at once or command by command, and reads the answers.
    fn converse(&mut self, group: &[u8], interrupt: &Interrupt, outcomes: &mut [Outcome]) -> Result<Answers, Trouble> {
        let resets = usize::from(std::mem::take(&mut self.needs_reset));
        let steps = resets + 1 + self.asked.len() + 1;
        let step_at = |n: usize| match n.checked_sub(resets) {
            None => Step::Rset,
            Some(0) => Step::Mail,
            Some(_) if n + 1 == steps => Step::Data,
            Some(n) => Step::Rcpt(n - 1),
        };
        let mut answers = Answers::default();
        let (mut rest, mut done) = (group, 0);
        while !rest.is_empty() {
            let due = if self.capabilities.pipelining { steps } else { done + 1 };
            let mut piece = rest;
            if !self.capabilities.pipelining {
                let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
                piece = &rest[..end];
            }
            rest = &rest[piece.len()..];

            let mut patience = Patience::until_interrupted(self.peer.command_timeout, interrupt);
            while !piece.is_empty() || self.wire.has_unsent() {
                let sent = self.wire.send_some(piece, &patience);
                while done < due {
                    let step = step_at(done);
                    match self.reply_at_hand() {
                        Ok(Some(_)) => self.note(step, &mut answers, outcomes)?,
                        Ok(None) => break,
                        Err(nonsense) => return Err(self.peer.before_the_dot(step.name(), nonsense.into())),
                    }
                    done += 1;
                }
                match sent {
                    Ok(0) => {}
                    Ok(taken) => {
                        piece = &piece[taken..];
                        if !piece.is_empty() {
                            patience = Patience::until_interrupted(self.peer.command_timeout, interrupt);
                        }
                    }
                    Err(fault) => {
                        let step = step_at(done.min(steps - 1));
                        return Err(self.peer.before_the_dot(step.name(), fault.into()));
                    }
                }
            }
            while done < due {
                let step = step_at(done);
                self.reply(interrupt).map_err(|lost| self.peer.before_the_dot(step.name(), lost))?;
                self.note(step, &mut answers, outcomes)?;
                done += 1;
            }
            let data_is_next = done + 1 == steps;
            if answers.mail_refused.is_some() && done < steps || data_is_next && answers.taken == 0 {
                break;
            }
        }
        Ok(answers)
    }

    /// Takes down the reply just read as the answer to `step`.
    fn note(&mut self, step: Step, answers: &mut Answers, outcomes: &mut [Outcome]) -> Result<(), Trouble> {
        let code = self.parser.code();
        if code == 421 {
            return Err(self.refused(step.name()));
        }
        match (step, code / 100) {
            (Step::Rset | Step::Mail, 2) => {}
            (Step::Mail, 4 | 5) => answers.mail_refused = Some(self.parser.reply()),
            // These only follow from the refusal of MAIL.
            (Step::Rcpt(_), _) if answers.mail_refused.is_some() => {}
            (Step::Rcpt(_), 2) => {
                answers.taken += 1;
                // A relay that takes one more had not got too many: it meant those recipients (a full mailbox). In a new
                // transaction they would stand before one that has the message already.
                for (i, reply) in answers.too_many.drain(..) {
                    outcomes[i] = Outcome::Deferred(Box::new(reply));
                }
            }
            (Step::Rcpt(n), 4 | 5) => {
                let reply = self.parser.reply();
                // RFC 5321 §4.5.3.1.10: 552 is what older relays say for 452.
                let i = self.asked[n] as usize;
                outcomes[i] = match code {
                    452 | 552 if answers.taken > 0 => {
                        answers.too_many.push((i, reply));
                        Outcome::TooMany
                    }
                    552 if reply.enhanced.is_none_or(|status| status.subject == 5) => {
                        Outcome::Deferred(Box::new(reply))
                    }
                    _ => refusal(&reply),
                };
            }
            (Step::Data, 3) if code == 354 => answers.data = Some(Data::Go),
            (Step::Data, 4 | 5) => answers.data = Some(Data::Refused(self.parser.reply())),
            _ => return Err(self.refused(step.name())),
        }
        Ok(())
    }

    /// An answer too many would be believed to be the answer to what comes next, at worst to the final dot.
    fn nothing_unasked(&mut self, doing: &'static str) -> Result<(), Trouble> {
        if self.wire.buffered().is_empty() {
            return Ok(());
        }
        match self.reply_at_hand() {
            Ok(Some(400..=599)) => Err(self.refused(doing)),
            _ => Err(self.peer.unavailable(doing, "protocol error: the relay said something unasked")),
        }
    }

    fn hand_over(
        &mut self,
        body: &Body,
        interrupt: &Interrupt,
        before_dot: &mut dyn FnMut() -> Proceed,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<Receipt, Trouble> {
        self.nothing_unasked("DATA")?;
        let interrupted = || Err(Trouble::Interrupted { relay: self.peer.name.clone() });
        if interrupt.is_raised() {
            return interrupted();
        }
        let by = match before_dot() {
            Proceed::Yes => None,
            Proceed::Before(instant) => Some(instant),
            Proceed::No => return interrupted(),
        };
        match self.send_body(body, by, interrupt, outcomes)? {
            Sent::AnsweredEarly => {
                self.dead = true;
                self.one_answer(outcomes)
            }
            Sent::Whole if self.peer.protocol == Protocol::Lmtp => self.answer_each(interrupt, outcomes),
            Sent::Whole => {
                if let Err(lost) = self.reply_to_dot(self.peer.dot_timeout, interrupt) {
                    outcomes.clear();
                    return Err(self.peer.behind_the_dot(lost));
                }
                if self.parser.code() / 100 == 2 {
                    return Ok(Receipt { reply: self.parser.reply(), about_all: true });
                }
                self.one_answer(outcomes)
            }
        }
    }

    /// Sends body and final dot. Watches for an answer as long as the dot can't have left, and gives up if that is still so at
    /// `by`.
    fn send_body(
        &mut self,
        body: &Body,
        by: Option<Instant>,
        interrupt: &Interrupt,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<Sent, Trouble> {
        const DOING: &str = "sending the message";
        assert!(body.wire.ends_with(DOT), "a body without its final dot");
        let dot = body.wire.len() - DOT.len();
        let mut sent = 0;
        while sent < body.wire.len() || self.wire.has_unsent() {
            let dot_is_out = sent > dot;
            let mut patience =
                Patience { dot_is_out, ..Patience::until_interrupted(self.peer.command_timeout, interrupt) };
            let is_late = || !dot_is_out && by.is_some_and(|by| Instant::now() >= by);
            if is_late() {
                return Err(Trouble::Interrupted { relay: self.peer.name.clone() });
            }
            if let Some(by) = by.filter(|_| !dot_is_out) {
                patience.deadline = patience.deadline.min(by);
            }
            let taken = self.wire.send_some(&body.wire[sent..], &patience);
            if let Ok(taken) = taken {
                sent += taken;
            }
            if sent > dot {
                if let Err(fault) = taken {
                    // The dot was under way. The answer may still have come.
                    if !matches!(self.reply_at_hand(), Ok(Some(_))) {
                        outcomes.clear();
                        return Err(self.peer.behind_the_dot(fault.into()));
                    }
                    return Ok(Sent::AnsweredEarly);
                }
                continue;
            }
            match self.reply_at_hand() {
                Ok(Some(421)) => return Err(self.refused(DOING)),
                Ok(Some(400..=599)) => return Ok(Sent::AnsweredEarly),
                Ok(Some(_)) => return Err(self.refused(DOING)),
                Ok(None) => {}
                Err(nonsense) => return Err(self.peer.before_the_dot(DOING, nonsense.into())),
            }
            match taken {
                Err(_) if is_late() => return Err(Trouble::Interrupted { relay: self.peer.name.clone() }),
                Err(fault) => return Err(self.peer.before_the_dot(DOING, fault.into())),
                Ok(_) => {}
            }
        }
        Ok(Sent::Whole)
    }

    /// Takes the reply just read as the answer to all recipients that were taken.
    fn one_answer(&mut self, outcomes: &mut Vec<Outcome>) -> Result<Receipt, Trouble> {
        let reply = self.parser.reply();
        match (reply.code, reply.code / 100) {
            // The relay did not take the message, and will not be there for the next one either.
            (421, _) => return Err(self.refused("final dot")),
            (_, 2) => {}
            (_, 4 | 5) => refuse_taken(&reply, outcomes),
            // Whoever answers 354 to a dot may have the message or not.
            _ => {
                outcomes.clear();
                let why = format!("protocol error: unexpected answer {reply}");
                return Err(Trouble::Uncertain { relay: self.peer.name.clone(), why });
            }
        }
        Ok(Receipt { reply, about_all: true })
    }

    /// LMTP (RFC 2033 §4.2): one answer for each recipient that was taken, in their order.
    fn answer_each(&mut self, interrupt: &Interrupt, outcomes: &mut Vec<Outcome>) -> Result<Receipt, Trouble> {
        let (mut first, mut i) = (None, 0);
        while let Some(next) = outcomes[i..].iter().position(|outcome| *outcome == Outcome::Sent) {
            i += next;
            let code = match self.reply_to_dot(self.peer.dot_timeout, interrupt) {
                Ok(code @ (200..=299 | 400..=599)) => code,
                Ok(code) => {
                    outcomes.truncate(i);
                    let why = format!("protocol error: unexpected answer {code}");
                    return Err(Trouble::Uncertain { relay: self.peer.name.clone(), why });
                }
                Err(lost) => {
                    outcomes.truncate(i);
                    return Err(self.peer.behind_the_dot(lost));
                }
            };
            // Behind a recipient that is settled, 421 is that one recipient's answer: the earlier ones stay settled.
            if code == 421 {
                self.dead = true;
                if first.is_none() {
                    return Err(self.refused("final dot"));
                }
            }
            if code >= 400 {
                outcomes[i] = refusal(&self.parser.reply());
            }
            if first.is_none() {
                first = Some(self.parser.reply());
            }
            i += 1;
        }
        Ok(Receipt { reply: first.unwrap_or_else(|| last_refusal(outcomes)), about_all: false })
    }

    /// The relay waits for a message though it took nobody (RFC 2920 §3.1): ends it at once.
    fn lone_dot(&mut self, interrupt: &Interrupt) -> Result<Option<Reply>, Trouble> {
        // LMTP would answer once for each of no recipients, that is, not at all.
        if self.peer.protocol == Protocol::Lmtp {
            self.dead = true;
            return Ok(None);
        }
        self.command("final dot", DOT, interrupt)?;
        Ok(Some(self.parser.reply()))
    }

    fn refuse_asked(&self, reply: &Reply, outcomes: &mut [Outcome]) {
        for &i in &self.asked {
            outcomes[i as usize] = refusal(reply);
        }
    }
}

/// Those that were taken stand as sent until here.
fn refuse_taken(reply: &Reply, outcomes: &mut [Outcome]) {
    for outcome in outcomes.iter_mut().filter(|outcome| **outcome == Outcome::Sent) {
        *outcome = refusal(reply);
    }
}

fn refusal(reply: &Reply) -> Outcome {
    if reply.is_permanent() {
        Outcome::Failed(Box::new(reply.clone()))
    } else {
        Outcome::Deferred(Box::new(reply.clone()))
    }
}

/// What to log where no answer concerned the transaction as a whole.
fn last_refusal(outcomes: &[Outcome]) -> Reply {
    let refusals = outcomes.iter().rev().filter_map(|outcome| match outcome {
        Outcome::Deferred(reply) | Outcome::Failed(reply) => Some(Reply::clone(reply)),
        Outcome::Sent | Outcome::TooMany => None,
    });
    refusals.into_iter().next().unwrap_or_else(|| Reply::new(554, "5.5.1 no recipients"))
}
