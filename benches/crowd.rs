//! Clients of the HTTP server, many or bad or both, in a process of their own: what they cost is not the scheduler's.
//!
//! They run when nobody else wants a processor (SCHED_IDLE), so that on a machine with two cores it is the server's work
//! for them that mail competes with, and not their own. How often they came to do what they do, they tell.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Makes this program a crowd.
pub const CHILD: &str = "--be-a-crowd";

/// What they do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// So many that each say an octet of a request each 15 seconds, and if they were turned out, come back then, as the
    /// tool slowloris has it.
    Slow,
    /// The same each second.
    Hurried,
    /// Requests that are wrong, one after the other.
    Bad,
    /// Listeners to events.
    Listeners,
}

pub const SLOW: usize = 1000;
pub const LISTENERS: usize = 100;
/// Bad requests a second, as far as they are answered.
pub const BAD: u64 = 1500;

const KINDS: [(Kind, &str); 4] =
    [(Kind::Slow, "slow"), (Kind::Hurried, "hurried"), (Kind::Bad, "bad"), (Kind::Listeners, "listeners")];

/// A crowd. Dropped, it is killed.
pub struct Crowd {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Crowd {
    /// It is there, all of it.
    pub fn gather(kind: Kind, address: &str) -> Crowd {
        let name = KINDS.iter().find(|(known, _)| *known == kind).expect("it has a name").1;
        let own = std::env::current_exe().expect("this program has a path");
        let mut command = Command::new("chrt");
        command
            .args(["--idle", "0"])
            .arg(own)
            .args([CHILD, name, address])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = command.spawn().expect("a crowd, by util-linux's chrt");
        let orders = process.stdin.take().expect("piped");
        let answers = BufReader::new(process.stdout.take().expect("piped"));
        let mut crowd = Crowd { process, orders, answers };
        assert_eq!(crowd.line(), "ready");
        crowd
    }

    /// How often it did what it does: came, was answered, heard of the end.
    pub fn count(&mut self) -> u64 {
        writeln!(self.orders, "count").expect("it listens");
        self.line().parse().expect("a number")
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("it answers");
        line.trim().to_owned()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What the child does.
pub fn be_one(arguments: &[String]) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("more descriptors");
    let [name, address] = arguments else { panic!("expected a kind and an address") };
    let kind = KINDS.iter().find(|(_, known)| known == name).expect("a kind").0;
    let count = Arc::new(AtomicU64::new(0));
    match kind {
        Kind::Slow => slow(address, &count, Duration::from_secs(15)),
        Kind::Hurried => slow(address, &count, Duration::from_secs(1)),
        Kind::Bad => bad(address, &count),
        Kind::Listeners => listen(address, &count),
    }
    println!("ready");
    for _ in std::io::stdin().lines().map_while(Result::ok) {
        println!("{}", count.load(Ordering::SeqCst));
    }
}

/// Each of them once in a period, spread over it.
fn slow(address: &str, count: &Arc<AtomicU64>, period: Duration) {
    let come = {
        let (address, count) = (address.to_owned(), count.clone());
        move || {
            let mut stream = TcpStream::connect(&address).expect("it lets everybody in");
            let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ");
            stream.set_nonblocking(true).expect("a socket");
            count.fetch_add(1, Ordering::SeqCst);
            stream
        }
    };
    let mut all: Vec<TcpStream> = (0..SLOW).map(|_| come()).collect();
    std::thread::spawn(move || {
        let each = period / SLOW as u32;
        let mut due = Instant::now();
        loop {
            for stream in &mut all {
                due += each;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                let is_over = stream.read(&mut [0; 64]).is_ok() || stream.write_all(b"x").is_err();
                if is_over {
                    *stream = come();
                }
            }
        }
    });
}

fn bad(address: &str, count: &Arc<AtomicU64>) {
    const THREADS: u64 = 4;
    let long = "x".repeat(20_000);
    let requests: Arc<[String]> = [
        "\u{0}\u{1}\u{2}\r\n\r\n".to_owned(),
        "GET / HTTP/9.9\r\n\r\n".to_owned(),
        format!("GET /{long} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        "GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        "GET /api/v1/queue HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned(),
        "POST /api/v1/pause HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{\"x\": 1}\n".to_owned(),
        "DELETE /api/v1/messages HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        "GET /api/v1/messages?limit=-1 HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
    ]
    .into();
    for thread in 0..THREADS {
        let (address, count, requests) = (address.to_owned(), count.clone(), requests.clone());
        std::thread::spawn(move || {
            let began = Instant::now();
            for n in thread.. {
                let mut stream = TcpStream::connect(&address).expect("it lets everybody in");
                // It may have heard enough before it has read all.
                let _ = stream.write_all(requests[n as usize % requests.len()].as_bytes());
                let _ = std::io::copy(&mut stream, &mut std::io::sink());
                count.fetch_add(1, Ordering::SeqCst);
                let due = Duration::from_secs_f64((n - thread + 1) as f64 * THREADS as f64 / BAD as f64);
                std::thread::sleep(due.saturating_sub(began.elapsed()));
            }
        });
    }
}

fn listen(address: &str, count: &Arc<AtomicU64>) {
    for _ in 0..LISTENERS {
        let mut stream = TcpStream::connect(address).expect("it lets everybody in");
        stream.write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("a request");
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        assert!(lines.any(|line| line == "event: hello"), "a listener is not let in");
        let count = count.clone();
        let hear = move || {
            for _ in lines.filter(|line| line == "event: done") {
                count.fetch_add(1, Ordering::SeqCst);
            }
        };
        std::thread::Builder::new().stack_size(128 * 1024).spawn(hear).expect("a thread");
    }
}
