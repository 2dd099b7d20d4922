//! A relay at its worst, over real TCP on loopback: by chance it delays, refuses, hangs up, says half of an answer, ten
//! megabytes of it, or nonsense, at any point of the conversation, in SMTP or LMTP.
//!
//! What it does about a recipient is in the address: `fail…` is always refused for good, `defer<k>x…` is deferred the
//! first k times. Everything else is chance, drawn from the seed for each connection by itself. Once it [behaves](
//! FaultyRelay::behave), only the addresses count, and its limit of recipients.
//!
//! It serves one life of a client after another, each behind a port of its own, so that it is known without a doubt in
//! which life a recipient got the message. What it accepts is in the record *before* the answer goes out.

mod conversation;
mod fault;

use std::collections::HashMap;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType};

use super::random::Random;
use conversation::Conversation;

/// How bad it is. Shares are in a thousand.
#[derive(Clone, Debug)]
pub struct Temper {
    pub lmtp: bool,
    pub pipelining: bool,
    /// It offers STARTTLS and says nonsense instead of a handshake.
    pub broken_tls: bool,
    /// Further recipients of a transaction are answered with 452.
    pub most_recipients: usize,
    /// The limit counts before it looks at the address: then nobody behind it gets another answer.
    pub limit_comes_first: bool,
    /// LMTP: recipients are refused behind the dot and not before.
    pub refuses_late: bool,
    /// Of connections.
    pub at_greeting: u64,
    /// Of EHLO, RSET, MAIL and DATA.
    pub at_command: u64,
    pub at_rcpt: u64,
    pub in_body: u64,
    pub at_dot: u64,
    /// Of transactions: with it begins a spell in which everything is refused for good.
    pub spell: u64,
}

impl Temper {
    pub fn of(seed: u64) -> Temper {
        let mut random = Random::nth(seed, 1);
        let lmtp = random.once_in(4);
        Temper {
            lmtp,
            pipelining: random.once_in(2),
            broken_tls: random.once_in(8),
            most_recipients: if random.once_in(3) { random.within(5..50) as usize } else { usize::MAX },
            limit_comes_first: random.once_in(2),
            refuses_late: lmtp && random.once_in(2),
            at_greeting: random.within(0..150),
            at_command: random.within(0..30),
            at_rcpt: random.within(0..3),
            in_body: random.within(0..40),
            at_dot: random.within(0..250),
            spell: if random.once_in(3) { random.within(0..60) } else { 0 },
        }
    }
}

/// Recipients whom the relay has taken a message for, with one final dot.
#[derive(Clone, Debug)]
pub struct Accepted {
    pub life: usize,
    pub recipients: Vec<String>,
    /// How many of them, from the first on, were told so. The others' transaction was uncertain for the client.
    pub answered: usize,
    /// The client has gone on, on that connection: it knows of this one.
    pub settled: bool,
}

/// Everything that the relay remembers.
#[derive(Clone, Default, Debug)]
pub struct Record {
    pub accepted: Vec<Accepted>,
    /// What of it came with a null sender, whole.
    pub reports: Vec<Vec<u8>>,
    /// How often each address stood in a RCPT.
    pub tries: HashMap<String, u64>,
    /// How often each was refused for good.
    pub refused: HashMap<String, u64>,
    /// A MAIL was refused for good, and the client did not say for whom it was.
    pub refused_unheard: bool,
    /// Lines heard so far.
    pub heard: u64,
    /// Faults so far.
    pub faults: u64,
}

/// Where everything is refused for good during a spell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Refusing {
    Mail,
    Rcpt,
    Data,
    Dot,
}

struct Shared {
    seed: u64,
    temper: Temper,
    behaves: AtomicBool,
    record: Mutex<Record>,
    changed: Condvar,
    /// Transactions left of the spell that is on.
    spell: Mutex<Option<(Refusing, u64)>>,
    /// Of the life that is on, for hanging up.
    streams: Mutex<Vec<TcpStream>>,
}

/// See the module. Dropping it hangs up everywhere.
pub struct FaultyRelay {
    shared: Arc<Shared>,
    lives: usize,
    connections: u64,
    door: Option<Door>,
}

/// Where one life of the client knocks.
struct Door {
    listener: TcpListener,
    address: SocketAddr,
    /// Gives the number of connections so far. None while connections are refused.
    thread: Option<JoinHandle<u64>>,
}

impl FaultyRelay {
    pub fn new(seed: u64, temper: Temper) -> FaultyRelay {
        let shared = Shared {
            seed,
            temper,
            behaves: AtomicBool::new(false),
            record: Mutex::default(),
            changed: Condvar::new(),
            spell: Mutex::default(),
            streams: Mutex::default(),
        };
        FaultyRelay { shared: Arc::new(shared), lives: 0, connections: 0, door: None }
    }

    /// No more faults.
    pub fn behave(&self) {
        self.shared.behaves.store(true, Ordering::SeqCst);
    }

    /// A new life of the client begins: gives the URL for it. Connections are refused until [`FaultyRelay::listen`].
    pub fn open(&mut self) -> String {
        assert!(self.door.is_none(), "one life after the other");
        let socket: OwnedFd =
            net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().unwrap();
        self.door = Some(Door { listener, address, thread: None });
        let scheme = if self.shared.temper.lmtp { "lmtp" } else { "smtp" };
        format!("{scheme}://{address}")
    }

    pub fn listen(&mut self) {
        let door = self.door.as_mut().expect("open() comes first");
        if door.thread.is_some() {
            return;
        }
        net::listen(&door.listener, 128).unwrap();
        let (listener, shared, life) = (door.listener.try_clone().unwrap(), self.shared.clone(), self.lives);
        let mut number = self.connections;
        let serve = move || {
            let mut conversations = Vec::new();
            // shutdown() of the listening socket ends accept() with an error.
            while let Ok((stream, _)) = listener.accept() {
                shared.streams.lock().push(stream.try_clone().unwrap());
                let shared = shared.clone();
                number += 1;
                let random = Random::nth(shared.seed, 1000 + number);
                conversations.push(std::thread::spawn(move || {
                    // Its errors are the client's hanging up, or this relay's.
                    let _ = Conversation::new(&shared, life, random, &stream).run();
                    let _ = stream.shutdown(Shutdown::Both);
                }));
            }
            for conversation in conversations {
                conversation.join().expect("a conversation does not panic");
            }
            number
        };
        door.thread = Some(std::thread::spawn(serve));
    }

    /// That life of the client has ended. What was still under way from it is taken, as ever, before this returns.
    pub fn close(&mut self) {
        let door = self.door.take().expect("open() comes first");
        if let Some(thread) = door.thread {
            let _ = net::shutdown(&door.listener, net::Shutdown::Both);
            self.connections = thread.join().expect("no conversation panicked");
        }
        self.shared.streams.lock().clear();
        self.lives += 1;
    }

    /// Lives that have ended.
    pub fn lives(&self) -> usize {
        self.lives
    }

    pub fn record(&self) -> Record {
        self.shared.record.lock().clone()
    }

    /// Waits until so many more lines have been heard. `false`: nothing more is to be expected, says `is_over`.
    #[track_caller]
    pub fn wait_for_lines(&self, more: u64, mut is_over: impl FnMut() -> bool) -> bool {
        let deadline = Instant::now() + super::PATIENCE;
        let mut record = self.shared.record.lock();
        let wanted = record.heard + more;
        while record.heard < wanted {
            let timed_out = self.shared.changed.wait_for(&mut record, Duration::from_millis(20)).timed_out();
            if timed_out {
                assert!(Instant::now() < deadline, "the client says nothing more");
                // Looking takes a while, and the relay needs the record.
                let is_over = parking_lot::MutexGuard::unlocked(&mut record, &mut is_over);
                if is_over {
                    return false;
                }
            }
        }
        true
    }
}

impl Drop for FaultyRelay {
    fn drop(&mut self) {
        if let Some(door) = &self.door {
            let _ = net::shutdown(&door.listener, net::Shutdown::Both);
        }
        for stream in self.shared.streams.lock().iter() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
