//! A relay that keeps a record, over real TCP on loopback, and that misbehaves as its policy says.
//!
//! What becomes of a recipient, and what becomes of a transaction, are two functions of the test's. They run in the
//! connection's thread, so one that waits (at a [`Gate`], say) holds up that connection and no other. An entry is in the
//! record *before* the answer to the final dot goes out: whoever has that answer finds it recorded.
//!
//! The port belongs to the relay from start to end, also while it is [down](Relay::go_down): connections are refused
//! then, and nobody else can get the port.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rustix::net::{self, AddressFamily, SocketType, sockopt};
use sympa_dist::deliver::RelayUrl;

/// What the relay says to RCPT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rcpt {
    Take,
    /// A reply such as `450 4.2.1 later`.
    Say(&'static str),
}

/// What the relay does about DATA, before anything of the message was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Data {
    /// 354.
    Go,
    /// A refusal.
    Say(&'static str),
    /// Says it and hangs up: `421 4.3.2 closing`.
    Bye(&'static str),
    HangUp,
    /// 354, but hangs up before it has read the final dot.
    HangUpInBody,
}

/// What the relay does about the final dot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dot {
    Take,
    TakeAfter(Duration),
    /// A refusal.
    Say(&'static str),
    /// A refusal, then hangs up.
    Bye(&'static str),
    /// Takes the message, and hangs up without an answer: what nobody can know.
    TakeAndHangUp,
    /// Hangs up without an answer and forgets the message.
    HangUp,
}

/// A transaction as far as the relay knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// From 0, in the order of arrival at this relay.
    pub connection: u64,
    /// From 0, of all transactions on that connection that came as far as DATA.
    pub order: u64,
    /// What stood between `<` and `>`.
    pub sender: String,
    /// Those that were taken.
    pub recipients: Vec<String>,
}

/// A transaction that the relay took.
#[derive(Clone, Debug)]
pub struct Taken {
    pub envelope: Envelope,
    /// Of the header.
    pub subject: String,
    pub data_at: Instant,
    pub dot_at: Instant,
}

/// How a connection ended, if it did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    Open,
    Quit,
    /// The client, or this relay, hung up.
    Cut,
}

/// Everything that the relay remembers.
#[derive(Clone, Default, Debug)]
pub struct Record {
    /// In the order of their final dots; without failure reports.
    pub taken: Vec<Taken>,
    /// What came with a null sender, whole.
    pub reports: Vec<Vec<u8>>,
    /// By connection number.
    pub connections: Vec<Ended>,
    /// How often each address stood in a RCPT.
    pub tries: HashMap<String, u64>,
    /// Commands, in order, with their connection.
    pub heard: Vec<(u64, String)>,
    /// How many connections were served at the same time, at most.
    pub most_at_once: usize,
}

impl Record {
    /// How often each recipient got the message.
    pub fn copies(&self) -> HashMap<&str, usize> {
        let mut copies = HashMap::new();
        for recipient in self.recipients() {
            *copies.entry(recipient).or_default() += 1;
        }
        copies
    }

    /// All who got a message, in order.
    pub fn recipients(&self) -> impl Iterator<Item = &str> {
        self.taken.iter().flat_map(|taken| taken.envelope.recipients.iter().map(String::as_str))
    }

    /// Whether nothing followed on that transaction's connection, and the connection was cut behind it: what a transaction
    /// that was in flight at a crash looks like from here.
    pub fn was_cut_off_behind(&self, taken: &Taken) -> bool {
        let connection = taken.envelope.connection;
        self.connections[connection as usize] == Ended::Cut
            && !self
                .taken
                .iter()
                .any(|other| other.envelope.connection == connection && other.envelope.order > taken.envelope.order)
    }
}

type OnRcpt = dyn Fn(&str, u64) -> Rcpt + Send + Sync;
type OnData = dyn Fn(&Envelope) -> Data + Send + Sync;
type OnDot = dyn Fn(&Envelope) -> Dot + Send + Sync;

/// How a relay behaves; without more, it takes everything.
pub struct Policy {
    rcpt: Box<OnRcpt>,
    data: Box<OnData>,
    dot: Box<OnDot>,
    pipelining: bool,
    most_connections: usize,
    most_recipients: usize,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            most_connections: usize::MAX,
            most_recipients: usize::MAX,
            rcpt: Box::new(|_, _| Rcpt::Take),
            data: Box::new(|_| Data::Go),
            dot: Box::new(|_| Dot::Take),
            pipelining: true,
        }
    }
}

impl Policy {
    pub fn new() -> Policy {
        Policy::default()
    }

    /// The function is given the address, and how often it has been tried before.
    pub fn rcpt(self, rcpt: impl Fn(&str, u64) -> Rcpt + Send + Sync + 'static) -> Policy {
        Policy { rcpt: Box::new(rcpt), ..self }
    }

    pub fn data(self, data: impl Fn(&Envelope) -> Data + Send + Sync + 'static) -> Policy {
        Policy { data: Box::new(data), ..self }
    }

    pub fn dot(self, dot: impl Fn(&Envelope) -> Dot + Send + Sync + 'static) -> Policy {
        Policy { dot: Box::new(dot), ..self }
    }

    /// Further connections are greeted with 421.
    pub fn most_connections(self, most_connections: usize) -> Policy {
        Policy { most_connections, ..self }
    }

    /// Further recipients of a transaction are answered with 452.
    pub fn most_recipients(self, most_recipients: usize) -> Policy {
        Policy { most_recipients, ..self }
    }

    pub fn without_pipelining(self) -> Policy {
        Policy { pipelining: false, ..self }
    }
}

struct Shared {
    policy: Policy,
    record: Mutex<Record>,
    changed: Condvar,
    /// By connection number; for hanging up.
    streams: Mutex<HashMap<u64, TcpStream>>,
}

/// See the module. Dropping it hangs up everywhere.
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// Bound and never listening: keeps the port.
    _keeper: OwnedFd,
    accepting: Option<(TcpListener, JoinHandle<()>)>,
}

impl Relay {
    pub fn start(policy: Policy) -> Relay {
        let mut relay = Relay::start_down(policy);
        relay.come_up();
        relay
    }

    /// A relay whose port refuses connections until [`Relay::come_up`].
    pub fn start_down(policy: Policy) -> Relay {
        let keeper = bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = net::getsockname(&keeper).unwrap().try_into().unwrap();
        let (record, streams) = (Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { policy, record, changed: Condvar::new(), streams });
        Relay { address, shared, _keeper: keeper, accepting: None }
    }

    pub fn come_up(&mut self) {
        let socket = bind(self.address).unwrap();
        net::listen(&socket, 128).unwrap();
        let listener = TcpListener::from(socket);
        let (theirs, shared) = (listener.try_clone().unwrap(), self.shared.clone());
        let thread = std::thread::spawn(move || {
            // shutdown() of the listening socket ends accept() with an error.
            while let Ok((stream, _)) = theirs.accept() {
                let shared = shared.clone();
                let number = {
                    let mut record = shared.record.lock();
                    record.connections.push(Ended::Open);
                    record.connections.len() as u64 - 1
                };
                let open = {
                    let mut streams = shared.streams.lock();
                    streams.insert(number, stream.try_clone().unwrap());
                    streams.len()
                };
                std::thread::spawn(move || {
                    if open > shared.policy.most_connections {
                        let _ = (&stream).write_all(b"421 4.7.0 too many connections\r\n");
                        shared.streams.lock().remove(&number);
                        shared.record.lock().connections[number as usize] = Ended::Cut;
                        return;
                    }
                    {
                        let mut record = shared.record.lock();
                        record.most_at_once = record.most_at_once.max(open);
                    }
                    let mut conversation = Conversation { shared: &shared, number, order: 0 };
                    let ended = conversation.run(&stream).unwrap_or(Ended::Cut);
                    let _ = stream.shutdown(Shutdown::Both);
                    shared.streams.lock().remove(&number);
                    shared.record.lock().connections[number as usize] = ended;
                    shared.changed.notify_all();
                });
            }
        });
        self.accepting = Some((listener, thread));
    }

    /// Refuses new connections and cuts those that are there.
    pub fn go_down(&mut self) {
        if let Some((listener, thread)) = self.accepting.take() {
            let _ = net::shutdown(&listener, net::Shutdown::Both);
            let _ = thread.join();
        }
        for stream in self.shared.streams.lock().values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub fn url(&self) -> RelayUrl {
        RelayUrl::Smtp { host: self.address.ip().to_string(), port: self.address.port() }
    }

    /// What is recorded so far.
    pub fn record(&self) -> Record {
        self.shared.record.lock().clone()
    }

    /// Waits until the record is as the test wants it, and gives it. Panics if that takes longer than anything may.
    #[track_caller]
    pub fn wait_for(&self, what: &str, mut wanted: impl FnMut(&Record) -> bool) -> Record {
        let deadline = Instant::now() + super::PATIENCE;
        let mut record = self.shared.record.lock();
        while !wanted(&record) {
            let timed_out = self.shared.changed.wait_until(&mut record, deadline).timed_out();
            assert!(!timed_out, "waited in vain for {what}; so far: {:?}", record.taken);
        }
        record.clone()
    }

    /// Waits until so many recipients got a message.
    #[track_caller]
    pub fn wait_for_recipients(&self, count: usize) -> Record {
        self.wait_for(&format!("{count} recipients"), |record| record.recipients().count() >= count)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.go_down();
    }
}

/// Several sockets may be bound to the port; connections go to the one that listens.
fn bind(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = net::socket_with(AddressFamily::INET, SocketType::STREAM, net::SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    net::bind(&socket, &address)?;
    Ok(socket)
}

struct Conversation<'a> {
    shared: &'a Shared,
    number: u64,
    order: u64,
}

impl Conversation<'_> {
    fn run(&mut self, stream: &TcpStream) -> io::Result<Ended> {
        stream.set_nodelay(true)?;
        let mut input = BufReader::with_capacity(64 * 1024, stream);
        // Answers to a pipelined group go out together, once there is nothing more to read without waiting.
        let mut out: Vec<u8> = b"220 relay.test ready\r\n".to_vec();
        let mut sender = None;
        let mut recipients = Vec::new();
        loop {
            if input.buffer().is_empty() {
                (&*stream).write_all(&out)?;
                out.clear();
            }
            let Some(line) = read_line(&mut input)? else { return Ok(Ended::Cut) };
            let line = String::from_utf8_lossy(&line).into_owned();
            self.shared.record.lock().heard.push((self.number, line.clone()));
            self.shared.changed.notify_all();
            let verb = line.split([' ', ':']).next().unwrap_or("").to_ascii_uppercase();
            let path =
                || line.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(path, _)| path.to_owned());
            match verb.as_str() {
                "EHLO" => {
                    let pipelining = if self.shared.policy.pipelining { "250-PIPELINING\r\n" } else { "" };
                    say(
                        &mut out,
                        &format!(
                            "250-relay.test\r\n{pipelining}250-8BITMIME\r\n250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES"
                        ),
                    );
                }
                "MAIL" => {
                    sender = path();
                    recipients.clear();
                    say(&mut out, "250 2.1.0 ok");
                }
                "RCPT" => {
                    let recipient = path().unwrap_or_default();
                    let before = {
                        let mut record = self.shared.record.lock();
                        let tries = record.tries.entry(recipient.clone()).or_default();
                        *tries += 1;
                        *tries - 1
                    };
                    match (self.shared.policy.rcpt)(&recipient, before) {
                        Rcpt::Take if recipients.len() >= self.shared.policy.most_recipients => {
                            say(&mut out, "452 4.5.3 too many recipients");
                        }
                        Rcpt::Take => {
                            recipients.push(recipient);
                            say(&mut out, "250 2.1.5 ok");
                        }
                        Rcpt::Say(reply) => say(&mut out, reply),
                    }
                }
                "DATA" if recipients.is_empty() => say(&mut out, "554 5.5.1 no valid recipients"),
                "DATA" => {
                    let envelope = Envelope {
                        connection: self.number,
                        order: self.order,
                        sender: sender.take().unwrap_or_default(),
                        recipients: std::mem::take(&mut recipients),
                    };
                    self.order += 1;
                    let going_on = self.data(envelope, stream, &mut input, &mut out)?;
                    if !going_on {
                        return Ok(Ended::Cut);
                    }
                }
                "RSET" => {
                    recipients.clear();
                    say(&mut out, "250 2.0.0 ok");
                }
                "QUIT" => {
                    say(&mut out, "221 2.0.0 bye");
                    // The client doesn't wait for it.
                    let _ = (&*stream).write_all(&out);
                    return Ok(Ended::Quit);
                }
                _ => say(&mut out, "500 5.5.2 what?"),
            }
        }
    }

    /// From DATA to the answer to the final dot. `false`: this relay hangs up.
    fn data(
        &mut self,
        envelope: Envelope,
        mut stream: &TcpStream,
        input: &mut BufReader<&TcpStream>,
        out: &mut Vec<u8>,
    ) -> io::Result<bool> {
        let policy = &self.shared.policy;
        let go = (policy.data)(&envelope);
        match go {
            Data::Go | Data::HangUpInBody => say(out, "354 go ahead"),
            Data::Say(reply) => {
                say(out, reply);
                return Ok(true);
            }
            Data::Bye(reply) => {
                say(out, reply);
                stream.write_all(out)?;
                return Ok(false);
            }
            Data::HangUp => return Ok(false),
        }
        stream.write_all(out)?;
        out.clear();
        let data_at = Instant::now();
        let mut subject = String::new();
        let mut content = Vec::new();
        loop {
            let Some(line) = read_line(input)? else { return Ok(false) };
            if go == Data::HangUpInBody {
                return Ok(false);
            }
            if line == b"." {
                break;
            }
            if let Some(text) = line.strip_prefix(b"Subject: ") {
                subject = String::from_utf8_lossy(text).into_owned();
            }
            if envelope.sender.is_empty() {
                content.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
                content.extend_from_slice(b"\r\n");
            }
        }
        let dot_at = Instant::now();
        let dot = (policy.dot)(&envelope);
        if let Dot::TakeAfter(delay) = dot {
            std::thread::sleep(delay);
        }
        if matches!(dot, Dot::Take | Dot::TakeAfter(_) | Dot::TakeAndHangUp) {
            let mut record = self.shared.record.lock();
            match envelope.sender.is_empty() {
                true => record.reports.push(content),
                false => record.taken.push(Taken { envelope, subject, data_at, dot_at }),
            }
            drop(record);
            self.shared.changed.notify_all();
        }
        match dot {
            Dot::Take | Dot::TakeAfter(_) => say(out, "250 2.0.0 taken"),
            Dot::Say(reply) => say(out, reply),
            Dot::Bye(reply) => {
                say(out, reply);
                stream.write_all(out)?;
                return Ok(false);
            }
            Dot::TakeAndHangUp | Dot::HangUp => return Ok(false),
        }
        Ok(true)
    }
}

fn say(out: &mut Vec<u8>, reply: &str) {
    out.extend_from_slice(reply.as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn read_line(input: &mut BufReader<&TcpStream>) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    if input.read_until(b'\n', &mut line)? == 0 || !line.ends_with(b"\r\n") {
        return Ok(None);
    }
    line.truncate(line.len() - 2);
    Ok(Some(line))
}

/// Where policies wait until the test lets them go on.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Default)]
struct GateState {
    arrived: usize,
    open: bool,
}

impl Gate {
    pub fn new() -> Gate {
        Gate::default()
    }

    /// Arrives, and waits until the gate is open.
    pub fn pass(&self) {
        let (state, changed) = &*self.0;
        let mut state = state.lock();
        state.arrived += 1;
        changed.notify_all();
        while !state.open {
            changed.wait(&mut state);
        }
    }

    /// Waits until so many have arrived, ever.
    #[track_caller]
    pub fn wait_for(&self, count: usize) {
        let deadline = Instant::now() + super::PATIENCE;
        let (state, changed) = &*self.0;
        let mut state = state.lock();
        while state.arrived < count {
            let timed_out = changed.wait_until(&mut state, deadline).timed_out();
            assert!(!timed_out, "{} of {count} arrived at the gate", state.arrived);
        }
    }

    pub fn open(&self) {
        let (state, changed) = &*self.0;
        state.lock().open = true;
        changed.notify_all();
    }
}

/// Counts calls, for policies that do something the n-th time. From 0.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}
