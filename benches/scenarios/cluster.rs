//! Several processes on one spool: what sharing costs, and how soon the others hear of an urgent message.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sympa_dist::claim::cluster::{Cluster, Told};
use sympa_dist::claim::database::{Access, News};
use sympa_dist::claim::flock::Flock;
use sympa_dist::claim::settings::ClusterSettings;
use sympa_dist::claim::{Attempt, Claims};
use sympa_dist::deliver::sink::{Sink, SinkOptions};
use sympa_dist::spool::Spool;
use sympa_dist::spool::disk::Disk;
use sympa_dist::spool::folder::Folder;
use sympa_dist::spool::mark::Mark;

use super::promptness::{send_urgent, waits};
use crate::packages;
use crate::record::{Record, percentile};
use crate::sinks::{Far, Kind};
use crate::subject::{DEFAULT, Setting, children_cpu, fill, launch_with, program};
use crate::support::database::{self, Database};

/// By what means packets are claimed.
struct Means {
    name: &'static str,
    database: Option<Database>,
}

impl Means {
    fn environment(&self) -> Vec<(&'static str, String)> {
        let url = self.database.as_ref().map(|database| ("SYMPA_DIST_CLUSTER_DATABASE", database.url()));
        url.into_iter().collect()
    }

    /// Marks the spool, as an operator does. The tables are this spool's alone: those of the one before go.
    fn share(&self, spool: &Path) {
        let Some(database) = &self.database else { return };
        database.sql(match database.kind {
            database::Kind::Postgres => "DROP SCHEMA IF EXISTS sympa_dist CASCADE",
            database::Kind::MariaDb => {
                "DROP TABLE IF EXISTS sympa_dist_news, sympa_dist_lease, sympa_dist_process, sympa_dist_cluster"
            }
        });
        let init = program(spool).envs(self.environment()).args(["cluster", "init"]).output().expect("cluster init");
        assert!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));
    }
}

/// The databases sync what they sync by themselves.
fn all() -> Vec<Means> {
    let start = |kind, options: &[&str]| {
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        Some(Database::start_at(kind, std::net::Ipv4Addr::LOCALHOST.into(), move |_| options.clone()))
    };
    let postgres = start(database::Kind::Postgres, &["-c", "fsync=on", "-c", "shared_buffers=128MB"]);
    let mariadb = start(database::Kind::MariaDb, &["--innodb-flush-method=fsync"]);
    vec![
        Means { name: "flock", database: None },
        Means { name: "PostgreSQL", database: postgres },
        Means { name: "MariaDB", database: mariadb },
    ]
}

pub fn cluster(record: &mut Record, quick: bool) {
    if let Err(reason) = packages::require(&["postgresql", "mariadb-server"]) {
        return record.missing(format!("cluster: {reason}"));
    }
    for package in ["postgresql", "mariadb-server"] {
        record.fact(package, packages::version(package).unwrap_or_default());
    }
    let means = all();
    leases(record, &means, quick);
    promptness(record, &means, quick);
    processes(record, &means, quick);
}

/// One message drained by several processes at once.
fn processes(record: &mut Record, means: &[Means], quick: bool) {
    let (recipients, rounds) = if quick { (100_000, 2) } else { (500_000, 5) };
    let counts = [1, 2, 4];
    let mut figures = vec![(vec![], vec![]); means.len() * counts.len()];
    for _ in 0..rounds {
        for (m, means) in means.iter().enumerate() {
            for (p, &processes) in counts.iter().enumerate() {
                let (rate, cpu) = drain(means, processes, recipients);
                let (rates, cpus) = &mut figures[m * counts.len() + p];
                rates.push(rate);
                cpus.push(cpu * 100_000.0 / recipients as f64);
            }
        }
    }
    for (n, (rates, cpus)) in figures.iter().enumerate() {
        let (means, processes) = (&means[n / counts.len()], counts[n % counts.len()]);
        let what = |figure: &str| format!("{}, {processes} processes of 4 workers: {figure}", means.name);
        record.add("cluster", what("rate"), "recipients/s", rates.clone());
        record.add("cluster", what("CPU"), "s per 100,000 recipients", cpus.clone());
        if n >= counts.len() {
            let ratios = rates.iter().zip(&figures[n % counts.len()].0).map(|(rate, base)| rate / base).collect();
            record.add("cluster", what("rate, of that with flock"), "ratio", ratios);
        }
    }
}

/// Recipients a second, and CPU seconds of all processes. (Not the database's.)
fn drain(means: &Means, processes: usize, recipients: u64) -> (f64, f64) {
    let filled = fill(recipients, 1000);
    means.share(&filled.spool());
    let mut sink = Far::start(Kind::Own);
    let before = children_cpu();
    let started = Instant::now();
    let setting = Setting { workers: 4, ..DEFAULT };
    let start = |_| launch_with(&filled.spool(), &sink.url(), setting, &means.environment());
    let runs: Vec<_> = (0..processes).map(start).collect();
    while filled.message.exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let took = started.elapsed().as_secs_f64();
    runs.into_iter().for_each(|run| run.term());
    let cpu = children_cpu() - before;
    sink.expect(recipients / 50);
    assert_eq!(sink.recipients(), recipients, "each once");
    (recipients as f64 / took, cpu)
}

struct Nobody;

impl Told for Nobody {
    fn news(&self, _: News) {}
    fn back(&self) {}
}

/// What it takes to take a packet and to give it back, and what that is of its transactions.
fn leases(record: &mut Record, means: &[Means], quick: bool) {
    let times = if quick { 500 } else { 5000 };
    let transactions = if quick { 1000 } else { 10_000 };
    let mut alone = Vec::new();
    for _ in 0..3 {
        alone.push(one_worker(transactions) * 1e6 / transactions as f64);
    }
    let transaction = percentile(&alone, 50.0);
    record.add("cluster", "a transaction of 50 recipients, one worker, smtp-sink", "µs", alone);
    for means in means {
        let filled = fill(1000, 1000);
        means.share(&filled.spool());
        let spool = Spool::open(&Disk::default(), &filled.spool()).expect("a spool");
        let name = filled.message.file_name().expect("a name").to_str().expect("text").parse().expect("an id");
        let level = "9".parse().expect("a priority");
        let folder = Folder::open(&spool, level, &name).expect("a folder").expect("it is there");
        let packet = folder.contents().expect("a listing").packets.pop().expect("a packet");
        let claims: Box<dyn Claims> = match &means.database {
            None => Box::new(Flock),
            Some(database) => {
                let url = database.url().parse().expect("a URL");
                let settings = ClusterSettings { database: Some(url), ..ClusterSettings::default() };
                let access = Access::from_settings(&settings).expect("access").expect("a database");
                let identity = Mark::read(&spool).expect("a mark").expect("it is shared").identity;
                Box::new(Cluster::join(access, &identity, "bench", 1, Arc::new(Nobody)).expect("joins"))
            }
        };
        let mut waits = Vec::new();
        let started = Instant::now();
        for _ in 0..times {
            let asked = Instant::now();
            let Ok(Attempt::Won(claim)) = claims.try_claim(&folder, &packet) else { panic!("it is free") };
            waits.push(asked.elapsed().as_secs_f64() * 1e6);
            drop(claim);
        }
        let both = started.elapsed().as_secs_f64() * 1e6 / f64::from(times);
        claims.leave();
        let what = |figure: &str| format!("{}: {figure}", means.name);
        record.add("cluster", what("to take a packet, p50"), "µs", vec![percentile(&waits, 50.0)]);
        record.add("cluster", what("to take a packet, p99"), "µs", vec![percentile(&waits, 99.0)]);
        record.add("cluster", what("to take a packet and give it back"), "µs", vec![both]);
        let share = both / 20.0 / transaction;
        record.add("cluster", what("that, of each of the packet's 20 transactions"), "share", vec![share]);
    }
}

/// Seconds from the first transaction to the last.
fn one_worker(transactions: u64) -> f64 {
    let filled = fill(transactions * 50, 1000);
    let mut sink = Far::start(Kind::SmtpSink);
    let run = launch_with(&filled.spool(), &sink.url(), Setting { workers: 1, ..DEFAULT }, &[]);
    while filled.message.exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    run.term();
    sink.expect(transactions);
    sink.span().expect("smtp-sink says so")
}

/// An urgent message comes on one host, whose relay is down; the other host sends, and hears of it through the database alone.
fn promptness(record: &mut Record, means: &[Means], quick: bool) {
    let urgent = if quick { 20 } else { 200 };
    for means in means {
        let filled = fill(2_000_000, 5000);
        means.share(&filled.spool());
        let delay = Duration::from_millis(5);
        let sink = Sink::start(SinkOptions { record: true, delay, ..SinkOptions::default() }).expect("a sink");
        let setting = Setting { workers: 4, ..DEFAULT };
        let mut environment = means.environment();
        let mut how = "by its own inotify".to_owned();
        if means.database.is_some() {
            environment.push(("SYMPA_DIST_WATCH_MODE", "poll".into()));
            environment.push(("SYMPA_DIST_WATCH_INTERVAL", "1h".into()));
            how = format!("through {}", means.name);
        }
        let sends = launch_with(&filled.spool(), &sink.url().to_string(), setting, &environment);
        let other = launch_with(&filled.spool(), "smtp://127.0.0.1:1", setting, &means.environment());
        while sink.transactions() < 20 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let arrivals = send_urgent(&filled, urgent, Duration::from_millis(23));
        assert_eq!(arrivals.len() as u64, urgent, "the big one was over before the urgent ones");
        other.term();
        sends.term();
        let waits = waits(&arrivals, &sink.stop());
        for (name, percent) in [("p50", 50.0), ("p99", 99.0), ("max", 100.0)] {
            let what = format!("5 ms a transaction, 4 workers: urgent message, heard of {how}, waits, {name}");
            record.add("cluster", what, "ms", vec![percentile(&waits, percent)]);
        }
    }
}
