//! A relay for crowds: takes everything, and keeps who sent what when. Who it is, each process says in its EHLO.
//!
//! One that is [fussy](Sink::is_fussy_from_now_on) puts some recipients off once and refuses others: which, their addresses say.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::support::PATIENCE;

/// In which it looks whether an answer is due.
const STEP: Duration = Duration::from_millis(2);

/// A transaction whose final dot has come.
#[derive(Clone, Debug)]
pub struct Taken {
    pub who: String,
    pub subject: String,
    pub recipients: Vec<String>,
    /// MAIL.
    pub begun: Instant,
    pub dot: Instant,
}

#[derive(Default)]
struct Record {
    /// In the order of their dots.
    taken: Vec<Taken>,
    recipients: usize,
    /// What came with a null sender.
    reports: String,
    /// How often it was asked for those that it puts off.
    put_off: HashMap<String, usize>,
}

/// Whether it puts that one off the first time.
pub fn is_put_off(address: &str) -> bool {
    number(address) % 40 == 7
}

/// Whether it never takes that one.
pub fn is_refused(address: &str) -> bool {
    number(address) % 90 == 13
}

/// The recipient's in its packet.
fn number(address: &str) -> usize {
    let (_, number) = address.rsplit_once('-').unwrap_or_default();
    number.split('@').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

struct Shared {
    record: Mutex<Record>,
    changed: Condvar,
    /// How long it takes to answer a dot, in microseconds.
    delay: AtomicU64,
    fussy: AtomicBool,
    streams: Mutex<HashMap<u64, TcpStream>>,
}

/// See the module. Dropping it hangs up everywhere.
pub struct Sink {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<(TcpListener, JoinHandle<()>)>,
}

impl Sink {
    pub fn start(address: IpAddr) -> Sink {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (record, streams) = (Mutex::default(), Mutex::default());
        let (delay, fussy) = (AtomicU64::new(0), AtomicBool::new(false));
        let shared = Arc::new(Shared { record, changed: Condvar::new(), delay, fussy, streams });
        let (theirs, all) = (listener.try_clone().unwrap(), shared.clone());
        let accept = move || {
            // shutdown() of the listening socket ends accept() with an error.
            for number in 0.. {
                let Ok((stream, _)) = theirs.accept() else { return };
                all.streams.lock().insert(number, stream.try_clone().unwrap());
                let all = all.clone();
                std::thread::spawn(move || {
                    // The client hung up, which is the test's to judge.
                    let _ = converse(&all, &stream);
                    let _ = stream.shutdown(Shutdown::Both);
                    all.streams.lock().remove(&number);
                });
            }
        };
        Sink { address, shared, accepting: Some((listener, std::thread::spawn(accept))) }
    }

    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// From now on it takes so long to answer a dot, those included that wait for their answer.
    pub fn takes(&self, delay: Duration) {
        self.shared.delay.store(delay.as_micros() as u64, Ordering::Relaxed);
    }

    pub fn is_fussy_from_now_on(&self) {
        self.shared.fussy.store(true, Ordering::Relaxed);
    }

    /// Reports of failure, all in one text.
    pub fn reports(&self) -> String {
        self.shared.record.lock().reports.clone()
    }

    pub fn taken(&self) -> Vec<Taken> {
        self.shared.record.lock().taken.clone()
    }

    /// How many recipients got a message so far, each as often as it did.
    pub fn recipients(&self) -> usize {
        self.shared.record.lock().recipients
    }

    /// Waits until what was taken is as the test wants it.
    #[track_caller]
    pub fn wait_for(&self, what: &str, mut wanted: impl FnMut(&[Taken]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut record = self.shared.record.lock();
        while !wanted(&record.taken) {
            let timed_out = self.shared.changed.wait_until(&mut record, deadline).timed_out();
            assert!(!timed_out, "waited in vain for {what}; {} recipients got a message so far", record.recipients);
        }
    }

    /// Waits until so many recipients got a message.
    #[track_caller]
    pub fn wait_for_recipients(&self, count: usize) {
        let mut so_far = (0, 0);
        self.wait_for(&format!("{count} recipients"), |taken| {
            so_far.1 += taken[so_far.0..].iter().map(|taken| taken.recipients.len()).sum::<usize>();
            so_far.0 = taken.len();
            so_far.1 >= count
        });
    }

    /// Waits until that one has sent something more.
    #[track_caller]
    pub fn wait_for_more_from(&self, who: &str) {
        let before = self.taken().len();
        self.wait_for(&format!("{who} to send"), |taken| taken[before..].iter().any(|taken| taken.who == who));
    }
}

impl Shared {
    /// Else what it says.
    fn wants(&self, address: &str) -> Result<(), &'static [u8]> {
        if !self.fussy.load(Ordering::Relaxed) {
            return Ok(());
        }
        if is_refused(address) {
            return Err(b"550 5.1.1 never heard of\r\n");
        }
        if is_put_off(address) {
            let mut record = self.record.lock();
            let times = record.put_off.entry(address.to_owned()).or_default();
            *times += 1;
            if *times == 1 {
                return Err(b"450 4.2.1 later\r\n");
            }
        }
        Ok(())
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Some((listener, thread)) = self.accepting.take() {
            let _ = rustix::net::shutdown(&listener, rustix::net::Shutdown::Both);
            let _ = thread.join();
        }
        for stream in self.shared.streams.lock().values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn converse(shared: &Shared, stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = BufReader::with_capacity(64 * 1024, stream);
    // Answers to a pipelined group go out together, once there is nothing more to read without waiting.
    let mut out: Vec<u8> = b"220 sink.test ready\r\n".to_vec();
    let (mut who, mut begun, mut recipients, mut is_report) = (String::new(), Instant::now(), Vec::new(), false);
    loop {
        if input.buffer().is_empty() {
            (&*stream).write_all(&out)?;
            out.clear();
        }
        let Some(line) = read_line(&mut input)? else { return Ok(()) };
        let path = || line.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(path, _)| path.to_owned());
        let say: &[u8] = match line.get(..4).unwrap_or_default() {
            "EHLO" => {
                line[4..].trim().clone_into(&mut who);
                b"250-sink.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n"
            }
            "MAIL" => {
                begun = Instant::now();
                is_report = path().is_some_and(|sender| sender.is_empty());
                recipients.clear();
                b"250 ok\r\n"
            }
            "RCPT" => {
                let to = path().unwrap_or_default();
                match shared.wants(&to) {
                    Ok(()) => {
                        recipients.push(to);
                        b"250 ok\r\n"
                    }
                    Err(reply) => reply,
                }
            }
            "DATA" if recipients.is_empty() => b"554 nobody wants it\r\n",
            "DATA" => {
                out.extend_from_slice(b"354 go ahead\r\n");
                (&*stream).write_all(&out)?;
                out.clear();
                let (mut subject, mut text) = (String::new(), String::new());
                loop {
                    let Some(line) = read_line(&mut input)? else { return Ok(()) };
                    if line == "." {
                        break;
                    }
                    if let Some(words) = line.strip_prefix("Subject: ") {
                        words.clone_into(&mut subject);
                    }
                    if is_report {
                        text.push_str(&line);
                        text.push('\n');
                    }
                }
                let recipients = std::mem::take(&mut recipients);
                let mut record = shared.record.lock();
                if is_report {
                    record.reports.push_str(&text);
                } else {
                    record.recipients += recipients.len();
                    record.taken.push(Taken { who: who.clone(), subject, recipients, begun, dot: Instant::now() });
                }
                drop(record);
                shared.changed.notify_all();
                let taken = Instant::now();
                while taken.elapsed() < Duration::from_micros(shared.delay.load(Ordering::Relaxed)) {
                    std::thread::sleep(STEP);
                }
                b"250 taken\r\n"
            }
            "QUIT" => {
                (&*stream).write_all(b"221 bye\r\n")?;
                return Ok(());
            }
            "RSET" => b"250 ok\r\n",
            _ => b"500 what?\r\n",
        };
        out.extend_from_slice(say);
    }
}

fn read_line(input: &mut BufReader<&TcpStream>) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if input.read_until(b'\n', &mut line)? == 0 || !line.ends_with(b"\r\n") {
        return Ok(None);
    }
    line.truncate(line.len() - 2);
    Ok(Some(String::from_utf8_lossy(&line).into_owned()))
}

/// Time during which something was wrong: with one process, or, without a name, with what all need.
#[derive(Clone, Debug)]
pub struct Fault {
    pub who: Option<String>,
    pub from: Instant,
    pub to: Instant,
}

/// What a drained spool's recipients got.
#[derive(Default, Debug)]
pub struct Account {
    /// Recipients that got it more than once, each as often as that.
    pub repeats: usize,
    /// Times a packet went from one process to another in the middle.
    pub handed_over: usize,
}

/// Checks what came of packets, of which each recipient's address begins with its packet's name and a dash.
///
/// - Nobody is lost.
/// - A packet is never in two processes' hands at once: their transactions don't overlap; nor in two workers'. (Those that
///   were put off are in packets of their own, of which there may be several.)
/// - Who got it twice was in the last transaction before, and during that transaction something was wrong with its sender.
#[track_caller]
pub fn audit(taken: &[Taken], everybody: &[String], faults: &[Fault]) -> Account {
    let mut packets: BTreeMap<&str, Vec<&Taken>> = BTreeMap::new();
    for one in taken.iter().filter(|one| !one.recipients.iter().all(|to| is_put_off(to))) {
        let packet = one.recipients[0].split_once('-').expect("a packet's name").0;
        packets.entry(packet).or_default().push(one);
    }
    let mut copies: HashMap<&str, usize> = HashMap::new();
    taken.iter().flat_map(|taken| &taken.recipients).for_each(|to| *copies.entry(to).or_default() += 1);
    let lost: Vec<&String> = everybody.iter().filter(|to| !copies.contains_key(to.as_str())).collect();
    assert!(lost.is_empty(), "{} lost, among them {:?}", lost.len(), &lost[..lost.len().min(5)]);
    assert_eq!(copies.len(), everybody.len(), "strangers got it");
    let mut account = Account::default();
    let is_explained = |first: &Taken, again: &Taken| {
        let touches = |fault: &&Fault| fault.from <= again.begun && fault.to >= first.begun;
        faults.iter().filter(touches).any(|fault| fault.who.as_ref().is_none_or(|who| *who == first.who))
    };
    account.repeats = copies.values().map(|copies| copies - 1).sum();
    for (packet, transactions) in &packets {
        for pair in transactions.windows(2) {
            let (before, after) = (pair[0], pair[1]);
            account.handed_over += usize::from(before.who != after.who);
            assert!(
                before.dot <= after.begun,
                "packet {packet} was in two hands at once: {} from {:?} to {:?}, {} from {:?} to {:?}",
                before.who,
                before.begun,
                before.dot,
                after.who,
                after.begun,
                after.dot
            );
        }
        let mut last: HashMap<&str, usize> = HashMap::new();
        for (index, one) in transactions.iter().enumerate() {
            for to in &one.recipients {
                let Some(earlier) = last.insert(to, index) else { continue };
                assert_eq!(earlier + 1, index, "{to} was sent to again, long after its transaction: {transactions:#?}");
                let first = transactions[earlier];
                assert!(
                    is_explained(first, one),
                    "{to} got it twice, and nothing was wrong with {}: {faults:#?}",
                    first.who
                );
            }
        }
    }
    // Those that were put off may have got it from either packet.
    let mut first: HashMap<&str, &Taken> = HashMap::new();
    for one in taken {
        for to in one.recipients.iter().filter(|to| is_put_off(to)) {
            if let Some(first) = first.insert(to, one) {
                assert!(is_explained(first, one), "{to} got it twice, and nothing was wrong with {}", first.who);
            }
        }
    }
    account
}
