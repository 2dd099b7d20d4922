//! The other side: an SMTP or LMTP server inside the library that takes everything and keeps the count.
//!
//! For the demonstration, the tests and the benches, which must not believe this program's own claims. It listens on the
//! loopback alone, on a port the kernel chooses, a thread a connection. Counters and records are brought up to date
//! *before* the answer to the final dot goes out: whoever has that answer finds the transaction counted.
//!
//! It is built to be no bottleneck: large reads, all answers to a pipelined group in one write, no allocation while it
//! only counts. It is no mail server: it keeps nothing on disk and refuses nothing but nonsense.

mod conversation;

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, poll};

use super::{Interrupt, RelayUrl};
use conversation::Conversation;

/// How a sink behaves.
#[derive(Clone, Debug, Default)]
pub struct SinkOptions {
    /// Keep a [`Delivery`] for each transaction, not just counts.
    pub record: bool,
    /// Keep the messages themselves, too. Only with `record`.
    pub keep_bodies: bool,
    /// How long the answer to each final dot takes.
    pub delay: Duration,
    /// Speak LMTP: LHLO, and an answer a recipient.
    pub lmtp: bool,
    /// What SIZE announces; 0 is no limit. Announced only, not enforced.
    pub size: u64,
    /// Don't offer PIPELINING (what is pipelined all the same is answered).
    pub no_pipelining: bool,
}

/// One transaction that the sink took.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// From 0, in the order of arrival.
    pub connection: u64,
    /// What stood between `<` and `>`.
    pub sender: String,
    pub recipients: Vec<String>,
    /// Octets between DATA and the final dot, dot-stuffing included.
    pub size: u64,
    /// With CR LF and without dot-stuffing. Only with [`SinkOptions::keep_bodies`].
    pub body: Option<Vec<u8>>,
    /// Of the header, without the field's name and blanks around; none if it isn't within the first 4 KiB.
    pub message_id: Option<String>,
    pub subject: Option<String>,
    /// When DATA was read.
    pub data_at: Instant,
    /// When the final dot was read.
    pub dot_at: Instant,
}

/// Shared with the connections' threads.
#[derive(Debug)]
struct Shared {
    options: SinkOptions,
    recipients: AtomicU64,
    transactions: AtomicU64,
    octets: AtomicU64,
    connections: AtomicU64,
    deliveries: Mutex<Vec<Delivery>>,
    /// Raised to stop: ends accepting and delays.
    stop: Interrupt,
    /// What stop() must hang up and join. None once stopping: later arrivals are dropped.
    open: Mutex<Option<Vec<Open>>>,
}

#[derive(Debug)]
struct Open {
    stream: TcpStream,
    thread: JoinHandle<()>,
}

/// See the module. Dropping it stops it.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl Sink {
    pub fn start(options: SinkOptions) -> io::Result<Sink> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            options,
            recipients: AtomicU64::new(0),
            transactions: AtomicU64::new(0),
            octets: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            deliveries: Mutex::default(),
            stop: Interrupt::new()?,
            open: Mutex::new(Some(Vec::new())),
        });
        let theirs = Arc::clone(&shared);
        let accepting = std::thread::Builder::new().name("sink".into()).spawn(move || accept(&listener, &theirs))?;
        Ok(Sink { address, shared, accepting: Some(accepting) })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What to name as a relay to send here.
    pub fn url(&self) -> RelayUrl {
        let (host, port) = (self.address.ip().to_string(), self.address.port());
        if self.shared.options.lmtp { RelayUrl::Lmtp { host, port } } else { RelayUrl::Smtp { host, port } }
    }

    /// Recipients of all transactions so far.
    pub fn recipients(&self) -> u64 {
        self.shared.recipients.load(Ordering::Acquire)
    }

    pub fn transactions(&self) -> u64 {
        self.shared.transactions.load(Ordering::Acquire)
    }

    /// Octets of all messages so far.
    pub fn octets(&self) -> u64 {
        self.shared.octets.load(Ordering::Acquire)
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Acquire)
    }

    /// The records so far, in the order of their final dots; they are not kept here any longer.
    pub fn take_deliveries(&self) -> Vec<Delivery> {
        std::mem::take(&mut self.shared.deliveries.lock())
    }

    /// Hangs up everywhere and waits for all threads.
    pub fn stop(mut self) -> Vec<Delivery> {
        self.end();
        self.take_deliveries()
    }

    fn end(&mut self) {
        self.shared.stop.raise(Duration::ZERO);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        for open in self.shared.open.lock().take().unwrap_or_default() {
            let _ = open.stream.shutdown(Shutdown::Both);
            let _ = open.thread.join();
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    /// Sleeps; false if the sink is being stopped.
    fn pause(&self, time: Duration) -> bool {
        let Ok(time) = time.try_into() else { return true };
        let mut files = [PollFd::from_borrowed_fd(self.stop.as_fd(), PollFlags::IN)];
        !matches!(poll(&mut files, Some(&time)), Ok(1..))
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        let mut files = [
            PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(shared.stop.as_fd(), PollFlags::IN),
        ];
        let _ = poll(&mut files, None);
        if shared.stop.is_raised() {
            return;
        }
        match listener.accept() {
            Ok((stream, _)) => drop(converse(stream, shared)),
            // Whoever hung up between poll and accept is no reason to stop.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // Out of descriptors, say: trying again at once would spin.
            Err(_) => drop(shared.pause(Duration::from_millis(10))),
        }
    }
}

fn converse(stream: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    let number = shared.connections.fetch_add(1, Ordering::AcqRel);
    let (theirs, ours) = (stream.try_clone()?, Arc::clone(shared));
    let mut open = shared.open.lock();
    let Some(open) = open.as_mut() else { return Ok(()) };
    // Threads that have ended are joined by dropping them.
    open.retain(|open| !open.thread.is_finished());
    let thread = std::thread::Builder::new().name(format!("sink-{number}")).spawn(move || {
        // However it ends, the other side learns of it: the clone kept for stop() would hold the connection open.
        let _ = Conversation::new(&ours, number).run(&theirs);
        let _ = theirs.shutdown(Shutdown::Both);
    })?;
    open.push(Open { stream, thread });
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;
    use crate::deliver::RelaySettings;
    use crate::mail::{Body, Envelope, Outcome, ReversePath};

    fn send(sink: &Sink, transactions: usize, recipients: &[&str], wire: &[u8]) {
        let relay = RelaySettings::new(sink.url()).build().unwrap();
        let interrupt = Interrupt::new().unwrap();
        let mut connection = relay.connect(&interrupt).unwrap();
        let body = Body { wire: wire.to_vec(), eight_bit: false, utf8_header: false, long_line: None };
        let mut outcomes = Vec::new();
        let sender = ReversePath::Address("list-owner@example.org".parse().unwrap());
        for _ in 0..transactions {
            let envelope = Envelope { sender: &sender, recipients };
            connection.deliver(&envelope, &body, &interrupt, &mut outcomes).unwrap();
            assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Sent));
        }
        connection.close();
    }

    #[test]
    fn all_that_was_answered_is_counted_and_recorded() {
        for (lmtp, no_pipelining) in [(false, false), (false, true), (true, false)] {
            let options =
                SinkOptions { record: true, keep_bodies: true, lmtp, no_pipelining, ..SinkOptions::default() };
            let sink = Sink::start(options).unwrap();
            let wire = b"Subject:  two words \r\nmessage-id: <1@x>\r\n\r\n..dot\r\n.\r\n";
            send(&sink, 2, &["a@example.org", "b@example.org"], wire);
            send(&sink, 1, &["c@example.org"], b".\r\n");
            assert_eq!((sink.transactions(), sink.recipients(), sink.connections()), (3, 5, 2));
            let deliveries = sink.stop();
            let first = &deliveries[0];
            assert_eq!(first.sender, "list-owner@example.org");
            assert_eq!(first.recipients, ["a@example.org", "b@example.org"]);
            assert_eq!(first.subject.as_deref(), Some("two words"));
            assert_eq!(first.message_id.as_deref(), Some("<1@x>"));
            assert_eq!(first.size, wire.len() as u64 - 3);
            assert_eq!(first.body.as_deref(), Some(&b"Subject:  two words \r\nmessage-id: <1@x>\r\n\r\n.dot\r\n"[..]));
            assert!(first.data_at <= first.dot_at);
            assert_eq!(deliveries.iter().map(|delivery| delivery.connection).collect::<Vec<_>>(), [0, 0, 1]);
            assert_eq!((deliveries[2].size, &deliveries[2].message_id), (0, &None));
        }
    }

    #[test]
    fn the_end_of_a_message_is_found_however_it_is_cut() {
        let sink = Sink::start(SinkOptions { record: true, keep_bodies: true, ..SinkOptions::default() }).unwrap();
        let mut stream = TcpStream::connect(sink.address()).unwrap();
        stream.set_nodelay(true).unwrap();
        let message = b"a\r\n.b\r\n\r.\r\n\n.\r\nc\r\n";
        let talk = [b"MAIL FROM:<>\r\nRCPT TO:<a@b.org>\r\nDATA\r\n", &message[..], b".\r\nQUIT\r\n"].concat();
        for octet in talk {
            stream.write_all(&[octet]).unwrap();
        }
        let mut answers = String::new();
        stream.read_to_string(&mut answers).unwrap();
        assert_eq!(
            answers.lines().map(|line| &line[..3]).collect::<Vec<_>>(),
            ["220", "250", "250", "354", "250", "221"]
        );
        let deliveries = sink.stop();
        assert_eq!((deliveries.len(), deliveries[0].size), (1, message.len() as u64));
    }

    #[test]
    fn a_sink_stops_while_connections_are_open_and_answers_are_delayed() {
        let delay = Duration::from_secs(3600);
        let sink = Sink::start(SinkOptions { delay, ..SinkOptions::default() }).unwrap();
        let _idle = TcpStream::connect(sink.address()).unwrap();
        let mut busy = TcpStream::connect(sink.address()).unwrap();
        busy.write_all(b"MAIL FROM:<>\r\nRCPT TO:<a@b.org>\r\nDATA\r\nx\r\n.\r\n").unwrap();
        while sink.transactions() == 0 {
            std::thread::yield_now();
        }
        drop(sink);
        let mut answers = String::new();
        let _ = busy.read_to_string(&mut answers);
        assert!(answers.ends_with("<CR><LF>.<CR><LF>\r\n"), "{answers}");
    }
}
