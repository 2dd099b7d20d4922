//! `sympa-dist demo`: the whole path in one process, in a temporary spool, without an MTA, a database or a configuration.
//!
//! A message to a big list at priority 9; urgent ones at 0 while it runs; one of 5,000 that waits behind it at 9 and is
//! requeued to 1; a stop in the middle and a resume. Then an urgent message for which no worker has time, without and with
//! an express worker: [`express`]. The relay is this program's own sink, an SMTP server on loopback. Every figure at the end
//! is counted there, from the envelopes that came, and not from what the scheduler says of itself.

mod express;

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use clap::Args;
use crossbeam_channel::{Sender, bounded};
use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};

use self::express::Scene;
use super::{CliError, Exit, Global, log};
use crate::daemon::settings::{LogSettings, Settings};
use crate::daemon::{self, Control, clock};
use crate::deliver::RelaySettings;
use crate::deliver::sink::{Delivery, Sink, SinkOptions};
use crate::mail::{Epoch, MessageId, Mode, PacketName, Priority, Serial};
use crate::spool::disk::Disk;
use crate::spool::draft::Draft;
use crate::spool::layout::FileName;
use crate::spool::{Spool, moves};

/// Shows it all at work in a temporary spool: no MTA, no database, no configuration
#[derive(Args, Debug)]
pub struct Demo {
    /// Recipients of the big message
    #[arg(long, default_value_t = 100_000)]
    recipients: u32,
    /// Threads, each with one connection
    #[arg(long, default_value_t = NonZero::new(4).expect("not zero"))]
    workers: NonZero<usize>,
    /// How long the sink takes to answer each transaction, in milliseconds: as fast as loopback is, there would be
    /// nothing to see
    #[arg(long, default_value_t = 5)]
    relay_delay: u64,
    /// Shows the log as well
    #[arg(long)]
    verbose: bool,
}

const DOMAIN: &str = "demo.example";
const PACKET: u32 = 1000;
/// How many urgent messages, and how many recipients each has.
const URGENT: u32 = 5;
const URGENT_RECIPIENTS: u32 = 3;
const REQUEUED_RECIPIENTS: u32 = 5_000;

impl Demo {
    pub fn run(self, _: &Global) -> Result<Exit, CliError> {
        let level = if self.verbose { "info" } else { "warn" };
        log::start(&LogSettings { format: None, level: level.into() })?;
        let dir = Temporary::create()?;
        let report = self.play(&dir.0)?;
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{report}")?;
        let tally = report.tally();
        Ok(if tally.missing == 0 && tally.repeats == 0 { Exit::Done } else { Exit::Findings })
    }

    fn play(&self, dir: &Path) -> Result<Report, CliError> {
        let delay = Duration::from_millis(self.relay_delay);
        let sink = Sink::start(SinkOptions { record: true, delay, ..SinkOptions::default() })
            .map_err(|error| CliError::TryAgain(format!("cannot start a server on loopback: {error}")))?;
        let spool_dir = dir.join("spool");
        let spool = Spool::create(&Disk::default(), &spool_dir)?;
        let settings = settings(&spool_dir, &sink, self.workers);
        let mut play = Play { spool, arrivals: HashMap::new(), expected: 0 };

        let all = self.recipients + URGENT * URGENT_RECIPIENTS + REQUEUED_RECIPIENTS;
        let progress = Progress::of(all);
        progress.say(&format!("the big message: {} recipients at priority 9", HumanCount(self.recipients.into())));
        let big = play.queue("big", self.recipients, '9')?;
        progress.say(&format!("behind it, at 9 as well: one of {}", HumanCount(REQUEUED_RECIPIENTS.into())));
        let requeued = play.queue("later", REQUEUED_RECIPIENTS, '9')?;

        let started = Instant::now();
        let scheduler = Scheduler::start(settings.clone());
        let part = |n: u32| u64::from(self.recipients) * u64::from(n) / 10;
        for n in 0..URGENT {
            progress.wait_for(&sink, part(n + 1).min(u64::from(all)));
            progress.say("an urgent message arrives at 0");
            play.queue(&format!("urgent{n}"), URGENT_RECIPIENTS, '0')?;
            if n == 2 {
                progress.say("the one behind is requeued from 9 to 1");
                moves::requeue(&play.spool, &requeued, priority('1'))?;
            }
        }
        progress.wait_for(&sink, part(7));
        progress.say("stop, as by TERM");
        let (asked, at) = (Instant::now(), sink.recipients());
        let summary = scheduler.stop()?;
        let stop = Stop { at, took: asked.elapsed() };
        if !summary.uncertain.is_empty() {
            progress.say(&format!("ended in the middle of {} transactions", summary.uncertain.len()));
        }
        progress.say(&format!("stopped after {:.1?}; start again", stop.took));
        let scheduler = Scheduler::start(settings);
        progress.wait_for(&sink, play.expected);
        let took = started.elapsed();
        // What came twice came at the latest with what was under way; a stop waits for that.
        scheduler.stop()?;
        progress.end();
        let express =
            [express::play(&dir.join("without"), 0, &progress)?, express::play(&dir.join("with"), 1, &progress)?];
        Ok(Report::of(sink.stop(), &play, &big, &requeued, took, stop, express))
    }
}

fn settings(spool: &Path, sink: &Sink, workers: NonZero<usize>) -> Settings {
    let mut settings = Settings { spool: spool.to_owned(), ..Settings::default() };
    settings.run.workers = workers;
    settings.relays = vec![RelaySettings::new(sink.url())];
    settings
}

fn priority(name: char) -> Priority {
    name.to_string().parse().expect("one of the eleven names")
}

/// What is in the spool, and when it came.
struct Play {
    spool: Spool,
    arrivals: HashMap<MessageId, Instant>,
    expected: u64,
}

impl Play {
    /// Queues a message as any producer may: written under `incoming/`, synced, shown by one rename.
    fn queue(&mut self, list: &str, recipients: u32, to: char) -> Result<MessageId, CliError> {
        self.queue_in_packets(list, recipients, PACKET, to)
    }

    fn queue_in_packets(&mut self, list: &str, recipients: u32, each: u32, to: char) -> Result<MessageId, CliError> {
        let now: Epoch = clock::epoch();
        let id = MessageId::new(&format!("{list}@{DOMAIN}"), now, self.arrivals.len() as u32)?;
        let draft = Draft::begin(&self.spool, id.clone())?;
        for first in (0..recipients).step_by(each as usize) {
            let lines: String =
                (first..recipients.min(first + each)).map(|n| format!("{list}.member{n:07}@{DOMAIN}\n")).collect();
            let packet = PacketName::fresh(Mode::mail(), Serial::new(first / each + 1));
            let file = draft.create(&FileName::Packet(packet))?;
            file.write_at(lines.as_bytes(), 0)?;
            file.sync_data()?;
        }
        let message = format!("From: {list}@{DOMAIN}\nSubject: {id}\n\n{}", "A line of the message.\n".repeat(180));
        let file = draft.create(&FileName::Message)?;
        file.write_at(message.as_bytes(), 0)?;
        file.sync_data()?;
        let arrives = Instant::now();
        draft.show(priority(to), None)?;
        self.arrivals.insert(id.clone(), arrives);
        self.expected += u64::from(recipients);
        Ok(id)
    }
}

/// A scheduler on a thread of this process.
struct Scheduler {
    control: Sender<Control>,
    thread: JoinHandle<Result<daemon::Summary, daemon::RunError>>,
}

impl Scheduler {
    fn start(settings: Settings) -> Scheduler {
        let (control, orders) = bounded(1);
        Scheduler { control, thread: thread::spawn(move || daemon::run(settings, &orders)) }
    }

    fn stop(self) -> Result<daemon::Summary, CliError> {
        // One that has ended by itself tells why when it is joined.
        let _ = self.control.send(Control::Stop);
        let ended = self.thread.join().map_err(|_| CliError::TryAgain("the scheduler panicked".into()))?;
        ended.map_err(|error| CliError::TryAgain(error.to_string()))
    }
}

/// A progress bar on a terminal; lines otherwise.
struct Progress(ProgressBar);

impl Progress {
    fn of(all: u32) -> Progress {
        let bar = ProgressBar::new(all.into());
        let style = "{bar:40} {human_pos} of {human_len} recipients at the sink, {per_sec}";
        bar.set_style(ProgressStyle::with_template(style).expect("a template of known names"));
        Progress(bar)
    }

    fn say(&self, text: &str) {
        if std::io::stderr().is_terminal() && !self.0.is_finished() {
            self.0.println(text);
        } else {
            eprintln!("{text}");
        }
    }

    fn wait_for(&self, sink: &Sink, recipients: u64) {
        loop {
            let now = sink.recipients();
            self.0.set_position(now);
            if now >= recipients {
                return;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// What is said from now on stands below the bar.
    fn end(&self) {
        self.0.finish();
        if std::io::stderr().is_terminal() {
            eprintln!();
        }
    }
}

/// Who got it how often.
#[derive(Clone, Copy, Debug)]
struct Tally {
    recipients: u64,
    repeats: u64,
    missing: u64,
}

impl Tally {
    fn of(deliveries: &[Delivery], expected: u64) -> Tally {
        let mut times: HashMap<&str, u64> = HashMap::new();
        for recipient in deliveries.iter().flat_map(|delivery| &delivery.recipients) {
            *times.entry(recipient).or_default() += 1;
        }
        let recipients = times.len() as u64;
        Tally { recipients, repeats: times.values().map(|n| n - 1).sum(), missing: expected.saturating_sub(recipients) }
    }
}

/// The stop in the middle.
#[derive(Debug)]
struct Stop {
    /// Recipients at the sink when it was asked for.
    at: u64,
    took: Duration,
}

/// What the sink saw.
#[derive(Debug)]
struct Report {
    big: Tally,
    transactions: usize,
    connections: usize,
    took: Duration,
    /// From the rename into `distribute/0` to DATA at the sink, of each urgent message.
    urgent_waits: Vec<Duration>,
    stop: Stop,
    /// How many recipients of the big message were still to come when the requeued one was through.
    big_behind_requeued: usize,
    /// Without an express worker, and with one.
    express: [Scene; 2],
}

impl Report {
    fn of(
        deliveries: Vec<Delivery>,
        play: &Play,
        big: &MessageId,
        requeued: &MessageId,
        took: Duration,
        stop: Stop,
        express: [Scene; 2],
    ) -> Report {
        let mut first_data: HashMap<&str, Instant> = HashMap::new();
        for delivery in &deliveries {
            if let Some(subject) = delivery.subject.as_deref() {
                let first = first_data.entry(subject).or_insert(delivery.data_at);
                *first = delivery.data_at.min(*first);
            }
        }
        let is_of = |delivery: &&Delivery, id: &MessageId| delivery.subject.as_deref() == Some(id.as_str());
        let requeued_end = deliveries.iter().filter(|d| is_of(d, requeued)).map(|delivery| delivery.dot_at).max();
        let big_behind_requeued = deliveries
            .iter()
            .filter(|delivery| is_of(delivery, big))
            .filter(|delivery| requeued_end.is_some_and(|end| delivery.data_at > end))
            .map(|delivery| delivery.recipients.len())
            .sum();
        let mut urgent_waits: Vec<Duration> = play
            .arrivals
            .iter()
            .filter(|(id, _)| id.list().starts_with("urgent"))
            .filter_map(|(id, arrival)| Some(first_data.get(id.as_str())?.saturating_duration_since(*arrival)))
            .collect();
        urgent_waits.sort();
        let connections: std::collections::HashSet<u64> = deliveries.iter().map(|d| d.connection).collect();
        Report {
            big: Tally::of(&deliveries, play.expected),
            transactions: deliveries.len(),
            connections: connections.len(),
            took,
            urgent_waits,
            stop,
            big_behind_requeued,
            express,
        }
    }

    /// Of all scenes.
    fn tally(&self) -> Tally {
        self.express.iter().map(|scene| scene.tally).fold(self.big, |a, b| Tally {
            recipients: a.recipients + b.recipients,
            repeats: a.repeats + b.repeats,
            missing: a.missing + b.missing,
        })
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rate = (self.big.recipients as f64 / self.took.as_secs_f64()) as u64;
        let waits: Vec<String> = self.urgent_waits.iter().map(|wait| format!("{wait:.1?}")).collect();
        writeln!(f)?;
        writeln!(f, "counted at the sink:")?;
        writeln!(
            f,
            "  {} recipients in {} transactions over {} connections, {} ({} recipients a second)",
            HumanCount(self.big.recipients),
            HumanCount(self.transactions as u64),
            self.connections,
            HumanDuration(self.took),
            HumanCount(rate)
        )?;
        writeln!(f, "  urgent messages waited {} while the big one was sent", waits.join(", "))?;
        writeln!(
            f,
            "  the requeued message was through when {} recipients of the big one were still to come",
            HumanCount(self.big_behind_requeued as u64)
        )?;
        writeln!(
            f,
            "  stopped in {:.1?} at {} recipients, and resumed behind the last one",
            self.stop.took,
            HumanCount(self.stop.at)
        )?;
        let [without, with] = &self.express;
        writeln!(
            f,
            "  an urgent message, when all workers hang in a relay of {:?} a transaction, waited",
            express::HANGS
        )?;
        writeln!(f, "    {:.1?} without an express worker, {:.1?} with one", without.wait, with.wait)?;
        let Tally { repeats, missing, .. } = self.tally();
        write!(f, "  repeats {repeats}, missing {missing}")
    }
}

/// A directory that goes with this value.
struct Temporary(PathBuf);

impl Temporary {
    fn create() -> Result<Temporary, CliError> {
        let path = std::env::temp_dir().join(format!("sympa-dist-demo-{}", std::process::id()));
        std::fs::create_dir(&path)
            .map_err(|error| CliError::TryAgain(format!("cannot create {}: {error}", path.display())))?;
        Ok(Temporary(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // What is left lies where temporary files are cleared.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
