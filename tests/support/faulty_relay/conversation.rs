//! One connection of the faulty relay, from the greeting to its end, by whomever.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::random::Random;
use super::fault::{AT_COMMAND, AT_DOT, AT_GREETING, Fault};
use super::{Accepted, Refusing, Shared};

const CLOSING: &str = "421 4.3.2 closing";
const REFUSED: &str = "554 5.7.1 not from you";
const LATER: &str = "451 4.3.0 try again later";
const TEN_MEGABYTES: usize = 10 * 1024 * 1024;

pub(super) struct Conversation<'a> {
    shared: &'a Shared,
    life: usize,
    random: Random,
    stream: &'a TcpStream,
    input: BufReader<&'a TcpStream>,
    /// Answers to a pipelined group go out together.
    out: Vec<u8>,
    recipients: Vec<String>,
    has_mail: bool,
    /// The message, if its sender is null; else nothing.
    report: Option<Vec<u8>>,
    refusing: Option<Refusing>,
    /// What was accepted last on this connection, by its place in the record.
    last: Option<usize>,
}

impl<'a> Conversation<'a> {
    pub fn new(shared: &'a Shared, life: usize, random: Random, stream: &'a TcpStream) -> Conversation<'a> {
        Conversation {
            shared,
            life,
            random,
            stream,
            input: BufReader::with_capacity(64 * 1024, stream),
            out: Vec::new(),
            recipients: Vec::new(),
            has_mail: false,
            report: None,
            refusing: None,
            last: None,
        }
    }

    pub fn run(&mut self) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        let temper = &self.shared.temper;
        let greeting = self.fault(temper.at_greeting, AT_GREETING);
        self.answer(greeting, "220 relay.test ready")?;
        loop {
            if self.input.buffer().is_empty() {
                self.flush()?;
            }
            let line = self.line()?;
            self.hear();
            let line = String::from_utf8_lossy(&line).into_owned();
            let verb = line.split([' ', ':']).next().unwrap_or("").to_ascii_uppercase();
            let mischief = match verb.as_str() {
                "RCPT" => self.fault(temper.at_rcpt, AT_COMMAND),
                "QUIT" => None,
                _ => self.fault(temper.at_command, AT_COMMAND),
            };
            match verb.as_str() {
                "EHLO" | "LHLO" => {
                    let pipelining = if temper.pipelining { "250-PIPELINING\r\n" } else { "" };
                    let tls = if temper.broken_tls { "250-STARTTLS\r\n" } else { "" };
                    let answer = format!("250-relay.test\r\n{pipelining}{tls}250-8BITMIME\r\n250 ENHANCEDSTATUSCODES");
                    self.answer(mischief, &answer)?;
                }
                "STARTTLS" => {
                    self.say("220 2.0.0 go ahead");
                    self.flush()?;
                    // What came before the client's first octet would be believed to be somebody's in between.
                    let _ = self.input.fill_buf()?;
                    return self.garbage();
                }
                "MAIL" => {
                    (self.has_mail, self.refusing) = (false, self.spell());
                    self.recipients.clear();
                    self.report = line.contains("<>").then(Vec::new);
                    if self.refusing == Some(Refusing::Mail) {
                        self.shared.record.lock().refused_unheard |= !temper.pipelining;
                        self.say(REFUSED);
                    } else {
                        self.has_mail = mischief != Some(Fault::Defer);
                        self.answer(mischief, "250 2.1.0 ok")?;
                    }
                }
                "RCPT" => {
                    let path = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
                    self.rcpt(path.map_or("", |(path, _)| path).to_owned(), mischief)?;
                }
                "DATA" if self.recipients.is_empty() => self.say("503 5.5.1 no valid recipients"),
                "DATA" if self.refusing == Some(Refusing::Data) => self.refuse_all(),
                "DATA" => {
                    self.answer(mischief, "354 go ahead")?;
                    if mischief != Some(Fault::Defer) {
                        self.flush()?;
                        self.body()?;
                        if temper.lmtp { self.dot_of_lmtp()? } else { self.dot()? }
                    }
                }
                "RSET" => {
                    self.recipients.clear();
                    self.answer(mischief, "250 2.0.0 ok")?;
                }
                "QUIT" => {
                    self.say("221 2.0.0 bye");
                    return self.flush();
                }
                _ => self.say("500 5.5.2 what?"),
            }
        }
    }

    fn hear(&mut self) {
        let mut record = self.shared.record.lock();
        record.heard += 1;
        if let Some(last) = self.last.take() {
            record.accepted[last].settled = true;
        }
        drop(record);
        self.shared.changed.notify_all();
    }

    fn rcpt(&mut self, recipient: String, mischief: Option<Fault>) -> io::Result<()> {
        let temper = &self.shared.temper;
        let tries = {
            let mut record = self.shared.record.lock();
            let tries = record.tries.entry(recipient.clone()).or_default();
            *tries += 1;
            *tries
        };
        let is_full = self.recipients.len() >= temper.most_recipients;
        if !self.has_mail {
            if self.refusing == Some(Refusing::Mail) {
                self.refuse(&recipient);
            }
            self.say("503 5.5.1 MAIL first");
        } else if self.refusing == Some(Refusing::Rcpt) {
            self.refuse(&recipient);
            self.say(REFUSED);
        } else if is_full && temper.limit_comes_first {
            self.say("452 4.5.3 too many recipients");
        } else if fails(&recipient) && !temper.refuses_late {
            self.refuse(&recipient);
            self.say("550 5.1.1 no such user");
        } else if tries <= deferrals(&recipient) && !temper.refuses_late {
            self.say("450 4.2.1 mailbox busy");
        } else if is_full {
            self.say("452 4.5.3 too many recipients");
        } else {
            if mischief != Some(Fault::Defer) {
                self.recipients.push(recipient);
            }
            self.answer(mischief, "250 2.1.5 ok")?;
        }
        Ok(())
    }

    /// Reads the message, or a part of it.
    fn body(&mut self) -> io::Result<()> {
        if self.fault(self.shared.temper.in_body, &[Fault::HangUp]).is_some() {
            let mut some = [0; 20];
            let _ = self.input.read(&mut some)?;
            return Err(hung_up());
        }
        loop {
            let line = self.line()?;
            if line == b"." {
                return Ok(());
            }
            if let Some(report) = &mut self.report {
                report.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
                report.extend_from_slice(b"\r\n");
            }
        }
    }

    fn dot(&mut self) -> io::Result<()> {
        if self.refusing == Some(Refusing::Dot) {
            self.refuse_all();
            return Ok(());
        }
        let fault = self.fault(self.shared.temper.at_dot, AT_DOT);
        let takes = match fault {
            None | Some(Fault::Delay | Fault::Bye) => true,
            Some(Fault::Close | Fault::Defer | Fault::Refuse) => false,
            // Without an answer it may have gone either way.
            Some(Fault::HangUp | Fault::Half | Fault::Long | Fault::Garbage) => !self.random.once_in(3),
        };
        let recipients = std::mem::take(&mut self.recipients);
        if takes {
            let is_told = matches!(fault, None | Some(Fault::Delay | Fault::Bye));
            let answered = if is_told { recipients.len() } else { 0 };
            self.accept(recipients, answered);
        }
        self.answer(fault, "250 2.0.0 taken")
    }

    /// One answer a recipient (RFC 2033 §4.2), perhaps cut short.
    fn dot_of_lmtp(&mut self) -> io::Result<()> {
        if self.refusing == Some(Refusing::Dot) {
            for recipient in std::mem::take(&mut self.recipients) {
                self.refuse(&recipient);
                self.say(REFUSED);
            }
            return Ok(());
        }
        let fault = self.fault(self.shared.temper.at_dot, AT_DOT);
        let mut recipients = std::mem::take(&mut self.recipients);
        let cut = fault.map(|fault| (self.random.below(recipients.len()), fault));
        let mut answers: Vec<&str> = Vec::new();
        let mut accepted: Vec<String> = Vec::new();
        let mut answered = 0;
        for (place, recipient) in recipients.drain(..).enumerate() {
            let here = cut.filter(|(at, _)| *at == place).map(|(_, fault)| fault);
            let answer = if fails(&recipient) {
                self.refuse(&recipient);
                "550 5.1.1 no such user"
            } else if self.shared.record.lock().tries[&recipient] <= deferrals(&recipient) {
                "450 4.2.1 mailbox busy"
            } else if here == Some(Fault::Defer) {
                LATER
            } else if here == Some(Fault::Close) {
                CLOSING
            } else {
                accepted.push(recipient);
                "250 2.1.5 taken"
            };
            let is_told = match cut {
                Some((at, Fault::HangUp | Fault::Half | Fault::Long | Fault::Garbage)) => place < at,
                Some((at, Fault::Close | Fault::Bye)) => place <= at,
                _ => true,
            };
            answers.push(answer);
            answered = if is_told { accepted.len() } else { answered };
        }
        self.accept(accepted, answered);
        for (place, answer) in answers.into_iter().enumerate() {
            let here = cut.filter(|(at, _)| *at == place).map(|(_, fault)| fault);
            match here {
                Some(Fault::Defer) => self.say(answer),
                here => self.answer(here, answer)?,
            }
        }
        Ok(())
    }

    fn accept(&mut self, recipients: Vec<String>, answered: usize) {
        let mut record = self.shared.record.lock();
        if !recipients.is_empty() {
            record.reports.extend(self.report.take());
        }
        record.accepted.push(Accepted { life: self.life, recipients, answered, settled: false });
        self.last = Some(record.accepted.len() - 1);
    }

    fn refuse(&self, recipient: &str) {
        *self.shared.record.lock().refused.entry(recipient.to_owned()).or_default() += 1;
    }

    /// One answer for all.
    fn refuse_all(&mut self) {
        for recipient in std::mem::take(&mut self.recipients) {
            self.refuse(&recipient);
        }
        self.say(REFUSED);
    }

    /// Whether, and where, everything in the transaction that begins now is refused.
    fn spell(&mut self) -> Option<Refusing> {
        if self.shared.behaves.load(Ordering::SeqCst) {
            return None;
        }
        let mut spell = self.shared.spell.lock();
        if spell.is_none() && self.random.per_mille(self.shared.temper.spell) {
            let place = *self.random.one_of(&[Refusing::Mail, Refusing::Rcpt, Refusing::Data, Refusing::Dot]);
            *spell = Some((place, self.random.within(1..8)));
        }
        let (place, left) = (*spell)?;
        *spell = (left > 1).then_some((place, left - 1));
        Some(place)
    }

    fn fault(&mut self, share: u64, choices: &[Fault]) -> Option<Fault> {
        let strikes = self.random.per_mille(share) && !self.shared.behaves.load(Ordering::SeqCst);
        if !strikes {
            return None;
        }
        self.shared.record.lock().faults += 1;
        Some(*self.random.one_of(choices))
    }

    /// Gives the answer, or what the fault makes of it; an error ends the conversation.
    fn answer(&mut self, fault: Option<Fault>, answer: &str) -> io::Result<()> {
        let Some(fault) = fault else {
            self.say(answer);
            return Ok(());
        };
        match fault {
            Fault::Delay => {
                std::thread::sleep(Duration::from_millis(self.random.within(1..30)));
                self.say(answer);
                return Ok(());
            }
            Fault::Defer => {
                self.say(LATER);
                return Ok(());
            }
            Fault::Close => self.say(CLOSING),
            Fault::Refuse => self.say(REFUSED),
            Fault::Bye => self.say(answer),
            Fault::HangUp => {}
            Fault::Half => {
                let half = self.random.below(answer.len());
                self.out.extend_from_slice(&answer.as_bytes()[..half]);
            }
            Fault::Long => {
                let code = &answer[..3];
                let line = match self.random.once_in(2) {
                    true => format!("{code}-{}\r\n", "x".repeat(70)),
                    false => "x".repeat(100),
                };
                self.out.extend_from_slice(&line.repeat(TEN_MEGABYTES / line.len()).into_bytes());
            }
            Fault::Garbage => return self.garbage(),
        }
        self.flush()?;
        Err(hung_up())
    }

    fn garbage(&mut self) -> io::Result<()> {
        // No reply begins with such an octet.
        self.out.push(0xFE);
        for _ in 0..self.random.within(1..40) {
            let octet = self.random.next() as u8;
            self.out.push(octet);
        }
        self.out.extend_from_slice(b"\r\n");
        self.flush()?;
        Err(hung_up())
    }

    fn say(&mut self, answer: &str) {
        self.out.extend_from_slice(answer.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    fn flush(&mut self) -> io::Result<()> {
        let written = (&mut &*self.stream).write_all(&self.out);
        self.out.clear();
        written
    }

    /// Without its CR LF.
    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        self.input.read_until(b'\n', &mut line)?;
        match line.strip_suffix(b"\r\n") {
            Some(line) => Ok(line.to_vec()),
            None => Err(hung_up()),
        }
    }
}

fn hung_up() -> io::Error {
    io::ErrorKind::ConnectionAborted.into()
}

fn fails(recipient: &str) -> bool {
    recipient.starts_with("fail")
}

/// How often it is deferred.
fn deferrals(recipient: &str) -> u64 {
    let times = recipient.strip_prefix("defer").and_then(|rest| rest.split_once('x'));
    times.map_or(0, |(times, _)| times.parse().expect("defer<k>x…"))
}
