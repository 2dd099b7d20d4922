//! One connection to the sink.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::Instant;

use memchr::memmem::Finder;

use super::{Delivery, Shared};

/// A pipelined group of thousands of recipients, or a message, in one read.
const INPUT: usize = 256 * 1024;
/// Of a message's front, for its header.
const HEAD: usize = 4 * 1024;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before MAIL.
    Idle,
    Envelope,
    /// True until something of the message has come: a dot at its very beginning ends it.
    Message(bool),
    Quit,
}

pub(super) struct Conversation<'a> {
    shared: &'a Shared,
    number: u64,
    state: State,
    out: Vec<u8>,
    end: Finder<'static>,
    /// Of the transaction at hand.
    taken: u64,
    size: u64,
    sender: String,
    recipients: Vec<String>,
    /// The message's front, or all of it.
    kept: Vec<u8>,
    data_at: Option<Instant>,
}

impl<'a> Conversation<'a> {
    pub fn new(shared: &'a Shared, number: u64) -> Conversation<'a> {
        Conversation {
            shared,
            number,
            state: State::Idle,
            out: Vec::with_capacity(16 * 1024),
            end: Finder::new(b"\r\n.\r\n"),
            taken: 0,
            size: 0,
            sender: String::new(),
            recipients: Vec::new(),
            kept: Vec::new(),
            data_at: None,
        }
    }

    /// Talks until either side hangs up.
    pub fn run(mut self, mut stream: &TcpStream) -> io::Result<()> {
        self.out.extend_from_slice(b"220 sink.invalid ready\r\n");
        let mut input = vec![0; INPUT];
        let mut filled = 0;
        loop {
            let used = self.take(&input[..filled], stream)?;
            input.copy_within(used..filled, 0);
            filled -= used;
            if !self.out.is_empty() {
                stream.write_all(&self.out)?;
                self.out.clear();
            }
            // A full buffer here is a command line of 256 KiB.
            if self.state == State::Quit || filled == INPUT {
                return Ok(());
            }
            match stream.read(&mut input[filled..])? {
                0 => return Ok(()),
                read => filled += read,
            }
        }
    }

    /// Takes from the front of `input` what is complete, and says how much.
    fn take(&mut self, input: &[u8], stream: &TcpStream) -> io::Result<usize> {
        let mut at = 0;
        loop {
            let rest = &input[at..];
            match self.state {
                State::Quit => return Ok(at),
                State::Message(fresh) => {
                    let (used, ended) = self.message(rest, fresh);
                    at += used;
                    if !ended {
                        return Ok(at);
                    }
                    self.finish(stream)?;
                }
                State::Idle | State::Envelope => {
                    let Some(end) = memchr::memchr(b'\n', rest) else { return Ok(at) };
                    at += end + 1;
                    let line = &rest[..end];
                    self.command(line.strip_suffix(b"\r").unwrap_or(line));
                }
            }
        }
    }

    fn command(&mut self, line: &[u8]) {
        let mut verb = [0; 4];
        if let Some(first) = line.get(..4) {
            verb.copy_from_slice(first);
            verb.make_ascii_uppercase();
        }
        let options = &self.shared.options;
        let answer: &[u8] = match &verb {
            b"RCPT" if self.state == State::Envelope => match path(line, b"RCPT TO:<") {
                Some(recipient) => {
                    self.taken += 1;
                    if options.record {
                        self.recipients.push(String::from_utf8_lossy(recipient).into_owned());
                    }
                    b"250 2.1.5 Ok\r\n"
                }
                None => b"501 5.5.4 RCPT TO:<address>\r\n",
            },
            b"MAIL" if self.state == State::Idle => match path(line, b"MAIL FROM:<") {
                Some(sender) => {
                    if options.record {
                        self.sender = String::from_utf8_lossy(sender).into_owned();
                    }
                    self.state = State::Envelope;
                    b"250 2.1.0 Ok\r\n"
                }
                None => b"501 5.5.4 MAIL FROM:<address>\r\n",
            },
            b"DATA" if self.taken > 0 => {
                self.state = State::Message(true);
                if options.record {
                    self.data_at = Some(Instant::now());
                }
                b"354 End data with <CR><LF>.<CR><LF>\r\n"
            }
            b"EHLO" | b"LHLO" if (verb[0] == b'L') == options.lmtp => {
                self.reset();
                let pipelining = if options.no_pipelining { "" } else { "250-PIPELINING\r\n" };
                // Writing to memory.
                let _ = write!(
                    self.out,
                    "250-sink.invalid\r\n{pipelining}250-SIZE {}\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 SMTPUTF8\r\n",
                    options.size
                );
                return;
            }
            b"HELO" if !options.lmtp => {
                self.reset();
                b"250 sink.invalid\r\n"
            }
            b"RSET" => {
                self.reset();
                b"250 2.0.0 Ok\r\n"
            }
            b"NOOP" => b"250 2.0.0 Ok\r\n",
            b"QUIT" => {
                self.state = State::Quit;
                b"221 2.0.0 Bye\r\n"
            }
            b"RCPT" | b"MAIL" | b"DATA" => b"503 5.5.1 not now\r\n",
            _ => b"500 5.5.2 what?\r\n",
        };
        self.out.extend_from_slice(answer);
    }

    /// Looks for the end of the message. What may be the beginning of its end stays in the input.
    fn message(&mut self, input: &[u8], fresh: bool) -> (usize, bool) {
        if fresh && input.starts_with(b".\r\n") {
            return (3, true);
        }
        if fresh && input.len() < 3 {
            return (0, false);
        }
        let (body, used, ended) = match self.end.find(input) {
            // The CR LF in front of the dot belongs to the message.
            Some(end) => (end + 2, end + 5, true),
            None => {
                let sure = input.len().saturating_sub(4);
                (sure, sure, false)
            }
        };
        let options = &self.shared.options;
        if options.record {
            let more = if options.keep_bodies { body } else { body.min(HEAD.saturating_sub(self.kept.len())) };
            self.kept.extend_from_slice(&input[..more]);
        }
        self.size += body as u64;
        if used > 0 {
            self.state = State::Message(false);
        }
        (used, ended)
    }

    /// Counts the transaction, then answers its final dot.
    fn finish(&mut self, mut stream: &TcpStream) -> io::Result<()> {
        let shared = self.shared;
        if shared.options.record {
            self.record();
        }
        let answers = if shared.options.lmtp { self.taken } else { 1 };
        shared.octets.fetch_add(self.size, Ordering::AcqRel);
        shared.recipients.fetch_add(self.taken, Ordering::AcqRel);
        shared.transactions.fetch_add(1, Ordering::AcqRel);
        self.reset();
        if !shared.options.delay.is_zero() {
            stream.write_all(&self.out)?;
            self.out.clear();
            if !shared.pause(shared.options.delay) {
                self.state = State::Quit;
                return Ok(());
            }
        }
        for _ in 0..answers {
            self.out.extend_from_slice(b"250 2.0.0 Ok: taken\r\n");
        }
        Ok(())
    }

    fn record(&mut self) {
        let now = Instant::now();
        let kept = std::mem::take(&mut self.kept);
        let head = memchr::memmem::find(&kept, b"\r\n\r\n").map_or(&kept[..], |end| &kept[..end + 2]);
        let (message_id, subject) = (field(head, b"Message-ID:"), field(head, b"Subject:"));
        let delivery = Delivery {
            connection: self.number,
            sender: std::mem::take(&mut self.sender),
            recipients: std::mem::take(&mut self.recipients),
            size: self.size,
            message_id,
            subject,
            body: self.shared.options.keep_bodies.then(|| unstuffed(&kept)),
            data_at: self.data_at.unwrap_or(now),
            dot_at: now,
        };
        self.shared.deliveries.lock().push(delivery);
    }

    fn reset(&mut self) {
        self.state = State::Idle;
        (self.taken, self.size) = (0, 0);
        self.sender.clear();
        self.recipients.clear();
        self.kept.clear();
        self.data_at = None;
    }
}

/// What stands between `<` and `>`.
fn path<'a>(line: &'a [u8], command: &[u8]) -> Option<&'a [u8]> {
    let (front, rest) = line.split_at_checked(command.len())?;
    if !front.eq_ignore_ascii_case(command) {
        return None;
    }
    memchr::memrchr(b'>', rest).map(|end| &rest[..end])
}

fn field(head: &[u8], name: &[u8]) -> Option<String> {
    let line = head
        .split(|&octet| octet == b'\n')
        .find(|line| line.get(..name.len()).is_some_and(|front| front.eq_ignore_ascii_case(name)))?;
    Some(String::from_utf8_lossy(line[name.len()..].trim_ascii()).into_owned())
}

fn unstuffed(kept: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(kept.len());
    for line in kept.split_inclusive(|&octet| octet == b'\n') {
        body.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
    }
    body
}
