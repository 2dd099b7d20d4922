//! The receiving ends: the library's sink in a process of its own, and Postfix's smtp-sink.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sympa_dist::deliver::sink::{Sink, SinkOptions};

/// Makes this program a sink.
pub const CHILD: &str = "--be-a-sink";

/// Which receiving end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Own,
    SmtpSink,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Own => "own sink",
            Kind::SmtpSink => "smtp-sink",
        }
    }
}

/// A sink in another process. Dropped, it is killed.
pub struct Far {
    process: Child,
    pub port: u16,
    counting: Counting,
}

enum Counting {
    /// Asked over its standard input.
    Asked(ChildStdin, BufReader<std::process::ChildStdout>),
    /// Read off smtp-sink's running counters.
    Read(Arc<Counters>),
}

#[derive(Default)]
struct Counters {
    transactions: AtomicU64,
    /// When the first was seen, and the latest.
    seen: Mutex<Option<(Instant, Instant)>>,
}

impl Far {
    pub fn start(kind: Kind) -> Far {
        match kind {
            Kind::Own => Far::own(),
            Kind::SmtpSink => Far::smtp_sink(),
        }
    }

    fn own() -> Far {
        let own = std::env::current_exe().expect("this program has a path");
        let mut process =
            Command::new(own).arg(CHILD).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a sink");
        let mut out = BufReader::new(process.stdout.take().expect("piped"));
        let mut port = String::new();
        out.read_line(&mut port).expect("the sink's port");
        let counting = Counting::Asked(process.stdin.take().expect("piped"), out);
        Far { process, port: port.trim().parse().expect("a port"), counting }
    }

    fn smtp_sink() -> Far {
        loop {
            let free =
                TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
            let mut process = Command::new("/usr/sbin/smtp-sink")
                .args(["-u", "nobody", "-c", &free.to_string(), "512"])
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("smtp-sink (package postfix)");
            let started = Instant::now();
            while started.elapsed() < Duration::from_secs(5) {
                if TcpStream::connect(free).is_ok() {
                    let counters = Arc::new(Counters::default());
                    let (theirs, out) = (counters.clone(), process.stdout.take().expect("piped"));
                    std::thread::spawn(move || read_counters(out, &theirs));
                    return Far { process, port: free.port(), counting: Counting::Read(counters) };
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            // Somebody else took the port in between.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    pub fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    /// Transactions that it has taken.
    pub fn transactions(&mut self) -> u64 {
        match &mut self.counting {
            Counting::Read(counters) => counters.transactions.load(Ordering::SeqCst),
            Counting::Asked(..) => self.asked("transactions"),
        }
    }

    /// Recipients that it has taken, which smtp-sink doesn't say.
    pub fn recipients(&mut self) -> u64 {
        self.asked("recipients")
    }

    fn asked(&mut self, what: &str) -> u64 {
        let Counting::Asked(ask, answers) = &mut self.counting else { panic!("smtp-sink doesn't count {what}") };
        writeln!(ask, "{what}").expect("the sink listens");
        let mut line = String::new();
        answers.read_line(&mut line).expect("the sink answers");
        line.trim().parse().expect("a number")
    }

    /// Seconds from the first transaction to the last. Only smtp-sink says of itself when it counts; asking the own one
    /// all the time would slow it down.
    pub fn span(&self) -> Option<f64> {
        let Counting::Read(counters) = &self.counting else { return None };
        let (first, last) = (*counters.seen.lock().expect("no reader has panicked"))?;
        Some((last - first).as_secs_f64())
    }

    /// Waits until it has taken so many, and not more.
    pub fn expect(&mut self, transactions: u64) {
        let patience = Instant::now() + Duration::from_secs(10);
        while self.transactions() < transactions && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(self.transactions(), transactions, "the receiving end's own count");
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// smtp-sink -c writes `sess=1 quit=0 mesg=17` over and over, with a CR between.
fn read_counters(mut out: impl Read, counters: &Counters) {
    let mut buffer = [0; 65536];
    let mut text = Vec::new();
    while let Ok(read @ 1..) = out.read(&mut buffer) {
        text.extend_from_slice(&buffer[..read]);
        let shown = String::from_utf8_lossy(&text);
        // What follows the last one may still be cut short.
        let whole = shown.rsplit('\r').skip(1).find_map(|part| part.split("mesg=").nth(1));
        let mesg = whole.map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
        if let Some(count) = mesg.and_then(|digits| digits.parse().ok()) {
            let before = counters.transactions.fetch_max(count, Ordering::SeqCst);
            if count > before {
                let now = Instant::now();
                let mut seen = counters.seen.lock().expect("nobody has panicked with it");
                *seen = Some((seen.map_or(now, |(first, _)| first), now));
            }
        }
        let keep = text.len().saturating_sub(100);
        text.drain(..keep);
    }
}

/// What the child does.
pub fn serve() {
    let sink = Sink::start(SinkOptions::default()).expect("a sink on loopback");
    println!("{}", sink.address().port());
    for line in std::io::stdin().lines() {
        match line.as_deref() {
            Ok("recipients") => println!("{}", sink.recipients()),
            Ok(_) => println!("{}", sink.transactions()),
            Err(_) => break,
        }
    }
}
