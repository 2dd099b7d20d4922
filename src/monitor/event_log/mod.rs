//! The event log: what happens, a JSON object a line, for `sympa-dist report` and for whoever keeps such things.
//!
//! A thread of its own writes it, and nobody waits for that thread: what it has no room for is lost, counted, and the count
//! is a line of the log itself. It gathers for a moment before it writes, so that it costs the workers no wake-up an event.
//! A disk that is full, or a file that can't be written, is told of once, and tried again every second; meanwhile so many
//! events as there is room for wait.
//!
//! - [`mod@line`]: what a line is.
//! - [`mod@file`]: the file and its predecessors.
//! - [`reader`]: all of that read back, of several hosts, in order of time.
//! - [`story`]: what became of a message; [`evidence`]: the lines that tell it.

pub mod evidence;
mod file;
pub mod line;
pub mod reader;
pub mod story;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, never, select};
use parking_lot::Mutex;
use tracing::{info, warn};

use crate::daemon::clock;
use crate::daemon::events::{Event, Happening, Subscription};
use crate::daemon::live::Live;
use crate::daemon::settings::EventSettings;
use crate::spool::running;

use file::LogFile;
use line::{Line, Writer};

/// Events that may wait to be written: some megabytes.
const ROOM: usize = 16 * 1024;
/// Octets that are written at a time.
const BATCH: usize = 64 * 1024;
/// What happens within so long is written together.
const GATHER: Duration = Duration::from_millis(100);
/// How soon what failed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How long the end of the process waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(2);

/// The thread that writes it.
pub struct EventLog {
    orders: Arc<Orders>,
    /// Says, by its end, that the thread has ended.
    ended: Receiver<Never>,
}

/// Has no value.
enum Never {}

/// What the thread is to do beside writing.
struct Orders {
    /// Other settings, and what happens from then on, to be taken up.
    next: Mutex<Option<Next>>,
    is_ending: AtomicBool,
    /// Something of this has changed.
    wake: Sender<()>,
}

struct Next {
    settings: EventSettings,
    /// `None`: there is to be no log.
    subscription: Option<Subscription>,
}

impl EventLog {
    /// Listens from now on, if the settings say where to write; else once a reload says so.
    pub fn start(live: &Arc<Live>, settings: &EventSettings) -> io::Result<EventLog> {
        let (wake, woken) = bounded(1);
        let orders = Arc::new(Orders { next: Mutex::default(), is_ending: false.into(), wake });
        let (alive, ended) = bounded::<Never>(0);
        let subscription = settings.path.is_some().then(|| live.events.subscribe(ROOM));
        let log = subscription.and_then(|subscription| Log::open(subscription, settings));
        let mut thread = Thread { orders: orders.clone(), woken, log };
        let work = move || {
            thread.run();
            // Nobody listens any more once whoever waits for the end goes on.
            drop(thread);
            drop(alive);
        };
        std::thread::Builder::new().name("events".into()).spawn(work)?;
        let theirs = orders.clone();
        live.on_reload(Box::new(move |live, settings| {
            // Here and not by the thread, so that nothing is missed from the reload on.
            let listen = || settings.events.path.is_some().then(|| live.events.subscribe(ROOM));
            let mut next = theirs.next.lock();
            let subscription = next.take().and_then(|next| next.subscription).or_else(listen);
            *next = Some(Next { settings: settings.events.clone(), subscription });
            let _ = theirs.wake.try_send(());
        }));
        Ok(EventLog { orders, ended })
    }

    /// Writes what has happened until now, and no more.
    pub fn finish(self) {
        self.orders.is_ending.store(true, Ordering::SeqCst);
        let _ = self.orders.wake.try_send(());
        if matches!(self.ended.recv_timeout(LAST_LINES), Err(RecvTimeoutError::Timeout)) {
            warn!("the end of the event log is not written: its disk does not answer");
        }
    }
}

struct Thread {
    orders: Arc<Orders>,
    woken: Receiver<()>,
    log: Option<Log>,
}

impl Thread {
    fn run(&mut self) {
        // Mail comes first.
        let _ = rustix::process::setpriority_process(None, 10);
        loop {
            let events =
                self.log.as_ref().filter(|log| log.trouble.is_none()).map(|log| log.subscription.events.clone());
            let retry = self.log.as_ref().is_some_and(|log| log.trouble.is_some());
            let first = select! {
                recv(events.unwrap_or_else(never)) -> event => event.ok(),
                recv(self.woken) -> _ => None,
                default(if retry { RETRY } else { Duration::MAX }) => None,
            };
            if first.is_some() {
                let _ = self.woken.recv_timeout(GATHER);
            }
            let is_ending = self.orders.is_ending.load(Ordering::SeqCst);
            // First: that a reload took place is told where it says.
            self.obey();
            if let Some(log) = &mut self.log {
                log.write(first);
                if is_ending {
                    log.end();
                }
            }
            if is_ending {
                return;
            }
        }
    }

    /// Takes up what a reload has put in force. The file is opened again in any case: it may have been moved away.
    fn obey(&mut self) {
        let Some(Next { settings, subscription }) = self.orders.next.lock().take() else { return };
        match (&mut self.log, settings.path.as_deref()) {
            (Some(log), Some(path)) => log.take_up(path, &settings),
            (log, _) => *log = subscription.and_then(|subscription| Log::open(subscription, &settings)),
        }
    }
}

/// One that is written.
struct Log {
    subscription: Subscription,
    file: LogFile,
    writer: Writer,
    /// Lines that are not written yet.
    lines: Vec<u8>,
    /// Events that were lost and of which no line tells yet.
    lost: u64,
    /// What the log was told that is in the way.
    trouble: Option<String>,
}

impl Log {
    /// `None`: there is to be none.
    fn open(subscription: Subscription, settings: &EventSettings) -> Option<Log> {
        let file = LogFile::new(settings.path.as_deref()?, settings);
        let writer = Writer { host: running::host(), pid: std::process::id() };
        let mut log = Log { subscription, file, writer, lines: Vec::new(), lost: 0, trouble: None };
        let opened = log.file.open();
        log.tell(opened);
        Some(log)
    }

    fn take_up(&mut self, path: &Path, settings: &EventSettings) {
        if path != self.file.path() {
            // What was wrong with the other one says nothing of this one.
            self.trouble = None;
        }
        self.file = LogFile::new(path, settings);
        let opened = self.file.open();
        self.tell(opened);
    }

    /// Writes `first`, and whatever else waits.
    fn write(&mut self, first: Option<Arc<Event>>) {
        if let Some(event) = first {
            self.add(&event);
        }
        loop {
            while self.lines.len() < BATCH {
                match self.subscription.events.try_recv() {
                    Ok(event) => self.add(&event),
                    Err(_) => {
                        self.lost += self.subscription.take_lost();
                        if self.lost > 0 {
                            let lost = std::mem::take(&mut self.lost);
                            self.add(&Event { at: clock::now(), what: Happening::Lost { lost } });
                        }
                        break;
                    }
                }
            }
            if self.lines.is_empty() {
                if self.trouble.is_some() {
                    let opened = self.file.open();
                    self.tell(opened);
                }
                return;
            }
            let written = self.file.append(&mut self.lines);
            let failed = written.is_err();
            self.tell(written);
            if failed {
                return;
            }
        }
    }

    fn add(&mut self, event: &Event) {
        Line::new(event.clone(), &self.writer).write(&mut self.lines);
    }

    /// Says what has changed: once that it fails, once that it works again.
    fn tell(&mut self, result: io::Result<()>) {
        let path = self.file.path().display();
        match (result, &self.trouble) {
            (Ok(()), None) => {}
            (Ok(()), Some(_)) => {
                info!("the event log {path} is written again");
                self.trouble = None;
            }
            (Err(error), trouble) => {
                let error = error.to_string();
                if trouble.is_none() {
                    warn!(
                        "cannot write the event log {path}: {error}; what happens is not kept, mail is distributed all the same"
                    );
                }
                self.trouble = Some(error);
            }
        }
    }

    /// What could not be written to the last.
    fn end(&self) {
        let lines = memchr::memchr_iter(b'\n', &self.lines).count() + self.subscription.events.len();
        let lost = lines as u64 + self.lost + self.subscription.take_lost();
        if let Some(error) = self.trouble.as_ref().filter(|_| lost > 0) {
            warn!("{lost} events are not in the event log {}: {error}", self.file.path().display());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Instant;

    use super::*;
    use crate::mail::Moment;

    fn tell(live: &Live, from: u64, count: u64) {
        for n in from..from + count {
            live.events.tell(|| Happening::Gone { message: format!("l@d.org.{n}.1").parse().unwrap(), why: None });
        }
    }

    fn settings(path: &Path) -> EventSettings {
        EventSettings { path: Some(path.to_owned()), max_size: 0, keep: 0 }
    }

    fn read(path: &Path) -> Vec<Line> {
        let text = fs::read(path).unwrap_or_default();
        let line = |line: &[u8]| Line::read(&line[..line.len() - 1], &(Moment(0)..=clock::now())).unwrap();
        text.split_inclusive(|&b| b == b'\n').map(line).collect()
    }

    #[test]
    fn what_there_was_no_room_for_is_counted_and_the_count_is_written_when_it_can_be() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("later/events.jsonl");
        let live = Arc::new(Live::default());
        let log = EventLog::start(&live, &settings(&path)).unwrap();
        let count = 3 * ROOM as u64;
        let deadline = Instant::now() + Duration::from_secs(60);
        tell(&live, 0, count);
        fs::create_dir(dir.path().join("later")).unwrap();
        while !path.exists() {
            assert!(Instant::now() < deadline, "it is not tried again");
            std::thread::sleep(Duration::from_millis(5));
        }
        log.finish();
        let lines = read(&path);
        let lost: u64 =
            lines.iter().map(|line| if let Happening::Lost { lost } = line.event.what { lost } else { 0 }).sum();
        let kept = lines.iter().filter(|line| line.event.what.message().is_some()).count() as u64;
        assert!(lost > 0 && kept >= ROOM as u64, "{kept} kept, {lost} lost");
        assert_eq!(kept + lost, count);
    }

    #[test]
    fn what_is_told_before_the_end_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let live = Arc::new(Live::default());
        let log = EventLog::start(&live, &settings(&path)).unwrap();
        tell(&live, 1, 1000);
        log.finish();
        assert_eq!(read(&path).len(), 1000);
        tell(&live, 1, 1);
        live.events.tell(|| unreachable!("nobody listens any more"));
    }
}
