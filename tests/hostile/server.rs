//! A relay that answers step by step what a case says, in the pieces that the case says, over a loopback socket.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};

/// Commands of one transaction to three recipients, in order. `Hello` is EHLO and, if that is refused, HELO.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    Greeting,
    Hello,
    Mail,
    /// The n-th.
    Rcpt(usize),
    Data,
    Dot,
}

/// What follows the hostile answer, where it is not a whole one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    HangUp,
    /// Nothing, until the client hangs up.
    Silence,
}

/// The usual answers but for one.
#[derive(Clone, Debug)]
pub struct Script {
    pub pipelining: bool,
    pub step: Step,
    pub answer: Vec<u8>,
    /// Lengths of the pieces it is sent in; what is left then is one more. Octet by octet, 64 KiB would take minutes where
    /// the machine is busy.
    pub pieces: Vec<usize>,
    /// The answer is no whole reply: the conversation ends behind it, so.
    pub end: Option<End>,
}

/// Serves one connection of `listener`. Returns how many octets of the hostile answer the socket took.
pub fn serve(listener: &TcpListener, script: &Script, sent: impl FnOnce()) -> usize {
    let (stream, _) = listener.accept().unwrap();
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut sent = Some(sent);
    let mut taken = 0;
    let mut recipients = 0;
    let mut step = Some(Step::Greeting);
    while let Some(now) = step {
        if now == script.step && taken == 0 {
            taken = in_pieces(&stream, script);
            if let Some(end) = script.end {
                if let Some(sent) = sent.take() {
                    sent();
                }
                if end == End::HangUp {
                    let _ = stream.shutdown(Shutdown::Write);
                }
                // Until the client has hung up; octets left unread would cut the connection under what it still reads.
                let _ = std::io::copy(&mut reader, &mut std::io::sink());
                return taken;
            }
        } else if (&stream).write_all(usual(now, script).as_bytes()).is_err() {
            break;
        }
        if now == Step::Data && !read_body(&mut reader) {
            break;
        }
        step = if now == Step::Data { Some(Step::Dot) } else { next(&mut reader, &mut recipients) };
    }
    taken
}

pub fn listen() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}

fn in_pieces(stream: &TcpStream, script: &Script) -> usize {
    let mut rest = &script.answer[..];
    let mut pieces = script.pieces.iter();
    while !rest.is_empty() {
        let length = pieces.next().map_or(rest.len(), |&length| length.min(rest.len()));
        if { stream }.write_all(&rest[..length]).is_err() {
            break;
        }
        rest = &rest[length..];
        // Lets the client read what has come so far, often enough.
        std::thread::yield_now();
    }
    script.answer.len() - rest.len()
}

fn usual(step: Step, script: &Script) -> &'static str {
    match step {
        Step::Greeting => "220 relay.test ready\r\n",
        Step::Hello if script.pipelining => "250-relay.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n",
        Step::Hello | Step::Mail | Step::Rcpt(_) => "250 ok\r\n",
        Step::Data => "354 go ahead\r\n",
        Step::Dot => "250 2.0.0 queued\r\n",
    }
}

fn next(reader: &mut impl BufRead, recipients: &mut usize) -> Option<Step> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|&read| read > 0)?;
    Some(match line.get(..4)? {
        "EHLO" | "HELO" => Step::Hello,
        "MAIL" => Step::Mail,
        "RCPT" => {
            *recipients += 1;
            Step::Rcpt(*recipients - 1)
        }
        "DATA" => Step::Data,
        ".\r\n" => Step::Dot,
        "QUIT" => return None,
        _ => panic!("the client said {line:?}"),
    })
}

/// Up to the final dot, where a body comes at all: behind an answer other than 354 a command comes, or nothing.
fn read_body(reader: &mut impl BufRead) -> bool {
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.read_until(b'\n', &mut line) {
            Ok(1..) if line == b".\r\n" => return true,
            Ok(1..) if line == b"QUIT\r\n" => return false,
            Ok(1..) => {}
            _ => return false,
        }
    }
}
