//! The settings as meant. Their text, in files, the environment and flags, is the command line's matter.

use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

use crate::claim::settings::ClusterSettings;
use crate::deliver::{RelaySettings, RelayUrl};
use crate::mail::{Level, Priority};
use crate::schedule::{Ageing, Order, Policy, Slowdown};
use crate::spool::progress::Sync;

use super::lists::Lists;

/// All of them. The default runs without any file: it hands mail to the MTA on this machine.
#[derive(Clone, Debug)]
pub struct Settings {
    pub spool: PathBuf,
    /// A message is lifted one level, for choosing, for each such time it waits.
    pub ageing: Option<Duration>,
    pub fairness: FairnessSettings,
    pub run: RunSettings,
    pub retry: RetrySettings,
    pub breaker: BreakerSettings,
    pub guard: GuardSettings,
    pub report: ReportSettings,
    pub inject: InjectSettings,
    /// In order of preference: the next one is used when the ones before it are down.
    pub relays: Vec<RelaySettings>,
    pub lists: Lists,
    pub cluster: ClusterSettings,
    pub watch: WatchSettings,
    pub http: HttpSettings,
    pub events: EventSettings,
    pub metrics: MetricsSettings,
    pub log: LogSettings,
}

/// Most `run.express_workers`.
pub const MAX_EXPRESS: usize = 64;

#[derive(Clone, Debug)]
pub struct RunSettings {
    /// Threads, each with at most one connection.
    pub workers: NonZero<usize>,
    pub recipients_per_transaction: NonZero<usize>,
    pub checkpoint_sync: Sync,
    /// How long, after TERM, an answer to a final dot is waited for.
    pub shutdown_grace: Duration,
    /// How often every directory is listed, whatever inotify says.
    pub rescan: Duration,
    pub on_uncertain: OnUncertain,
    /// Workers beside the others that take nothing less urgent than `express_up_to`.
    pub express_workers: usize,
    pub express_up_to: Level,
}

/// How messages of one level follow each other.
#[derive(Clone, Copy, Debug)]
pub struct FairnessSettings {
    /// Small ones slip past big ones; else by arrival.
    pub fair: bool,
    /// By how much a big one's end may come later for that.
    pub max_slowdown: Slowdown,
}

/// What becomes of recipients whose transaction ended behind the final dot without an answer (RFC 1047).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnUncertain {
    /// They are sent to again: nobody is skipped, some may get the message twice.
    Resend,
    /// They count as sent: nobody gets it twice, some may not get it.
    Skip,
}

/// How long a relay in trouble is left alone: the time doubles from the first to the longest pause.
#[derive(Clone, Copy, Debug)]
pub struct BreakerSettings {
    pub first_pause: Duration,
    pub longest_pause: Duration,
}

/// When to believe in a mistake rather than in refusals.
#[derive(Clone, Copy, Debug)]
pub struct GuardSettings {
    /// So many transactions in a row in which everything was refused for good hold the message; 0: never.
    pub transactions: u32,
}

#[derive(Clone, Debug)]
pub struct RetrySettings {
    /// After the n-th deferral, so long until the next try; after the last entry, always that.
    pub schedule: Vec<Duration>,
    /// From the message's arrival; after it, a deferral is a failure.
    pub expire: Duration,
}

#[derive(Clone, Copy, Debug)]
pub struct ReportSettings {
    /// How often the sender is told of failures while the message is still being distributed; zero: at its end alone.
    pub every: Duration,
}

#[derive(Clone, Debug)]
pub struct InjectSettings {
    /// Recipients a packet.
    pub packet_size: NonZero<usize>,
    pub priority: Priority,
    /// Octets of the spool's file system that nothing is injected into; 0: all may be used.
    pub min_free_space: u64,
}

/// How new messages are found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WatchSettings {
    pub mode: WatchMode,
    /// How often the directories are looked at where that is needed.
    pub interval: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WatchMode {
    /// The kernel tells; on a network file system, where it knows of this host's doings alone, the directories are looked at
    /// as well.
    Auto,
    /// The kernel tells.
    Inotify,
    /// The directories are looked at.
    Poll,
}

/// What is served to browsers and programs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpSettings {
    /// `address:port`, or `unix:/path`; empty: nothing is served.
    pub listen: String,
    /// Its first line is what whoever moves messages has to know; none: nobody may.
    pub token_file: Option<PathBuf>,
    /// Moves are allowed beyond loopback, in the clear.
    pub insecure: bool,
    /// Further names under which a browser may ask.
    pub hosts: Vec<String>,
    /// A certificate and what leads to its authority, and its key, in PEM: both, or none. With them all is in TLS.
    pub tls_certificate: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
}

/// Where what happens is kept, as JSON Lines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventSettings {
    /// None: nowhere.
    pub path: Option<PathBuf>,
    /// Octets at which the file becomes a predecessor; 0: never.
    pub max_size: u64,
    /// Predecessors.
    pub keep: u32,
}

/// What Prometheus is told beside what it always is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MetricsSettings {
    /// So many lists have figures of their own, those with the most recipients waiting; the others are one.
    pub lists: usize,
}

/// Each is a few series more in somebody's database.
pub const MAX_LISTS: usize = 1000;

#[derive(Clone, Debug)]
pub struct LogSettings {
    /// `None`: human on a terminal, journald where stderr is the journal, JSON otherwise.
    pub format: Option<LogFormat>,
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,sympa_dist::deliver=debug`.
    pub level: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    Human,
    Json,
    Journald,
}

impl Default for Settings {
    fn default() -> Settings {
        const MINUTE: u64 = 60;
        // Doubling from 5 minutes to 4 hours.
        let schedule = [5, 10, 20, 40, 80, 160, 240].map(|minutes| Duration::from_secs(minutes * MINUTE)).to_vec();
        // What the figures among these were chosen by is in benches/README.md.
        Settings {
            spool: PathBuf::from("/var/spool/sympa-dist"),
            ageing: None,
            fairness: FairnessSettings { fair: true, max_slowdown: Slowdown::default() },
            run: RunSettings {
                workers: count(8),
                recipients_per_transaction: count(50),
                checkpoint_sync: Sync::Data,
                shutdown_grace: Duration::from_secs(30),
                rescan: Duration::from_secs(60),
                on_uncertain: OnUncertain::Resend,
                express_workers: 0,
                express_up_to: Level::new(2).expect("2 is a level"),
            },
            breaker: BreakerSettings { first_pause: Duration::from_secs(1), longest_pause: Duration::from_secs(60) },
            guard: GuardSettings { transactions: 3 },
            retry: RetrySettings { schedule, expire: Duration::from_secs(5 * 24 * 60 * MINUTE) },
            report: ReportSettings { every: Duration::from_secs(4 * 60 * MINUTE) },
            inject: InjectSettings {
                packet_size: count(1000),
                priority: "5".parse().expect("5 is a priority"),
                min_free_space: 64 * 1024 * 1024,
            },
            relays: vec![RelaySettings::new(RelayUrl::Smtp { host: "127.0.0.1".into(), port: 25 })],
            lists: Lists::default(),
            cluster: ClusterSettings::default(),
            watch: WatchSettings { mode: WatchMode::Auto, interval: Duration::from_secs(1) },
            http: HttpSettings {
                listen: "127.0.0.1:9125".into(),
                token_file: None,
                insecure: false,
                hosts: Vec::new(),
                tls_certificate: None,
                tls_key: None,
            },
            events: EventSettings { path: None, max_size: 64 * 1024 * 1024, keep: 4 },
            metrics: MetricsSettings { lists: 0 },
            log: LogSettings { format: None, level: "info".into() },
        }
    }
}

impl Settings {
    /// What of these a scheduler takes up that runs, and was started with `start`. The rest is as it was at the start: it is
    /// held open, or listened on, or has been told to others.
    ///
    /// Every section is named here, so that a new one can't be forgotten.
    #[must_use]
    pub fn taken_up(self, start: &Settings) -> Settings {
        let Settings {
            spool,
            cluster,
            watch,
            http,
            metrics,
            log,
            ageing: _,
            fairness: _,
            run: _,
            retry: _,
            breaker: _,
            guard: _,
            report: _,
            inject: _,
            relays: _,
            lists: _,
            events: _,
        } = start.clone();
        Settings { spool, cluster, watch, http, metrics, log, ..self }
    }

    /// How the scheduler chooses.
    pub fn policy(&self) -> Policy {
        let FairnessSettings { fair, max_slowdown } = self.fairness;
        let order = if fair { Order::Fair(max_slowdown) } else { Order::Fifo };
        Policy { order, ageing: self.ageing() }
    }

    /// In whole seconds, as arrivals are known.
    pub fn ageing(&self) -> Option<Ageing> {
        self.ageing.map(|step| Ageing(NonZero::new(step.as_secs()).unwrap_or(NonZero::<u64>::MIN)))
    }
}

fn count(n: usize) -> NonZero<usize> {
    NonZero::new(n).expect("a default is not zero")
}
