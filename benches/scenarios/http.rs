//! What it costs to be looked at, and what those who mean no good can do.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sympa_dist::spool::Spool;
use sympa_dist::spool::disk::Disk;

use crate::crowd::{self, Crowd};
use crate::record::{Record, percentile, scratch};
use crate::sinks::{Far, Kind};
use crate::subject::{DEFAULT, Run, Setting, fill, launch, waiting};

/// Nobody listens there.
const NOBODY: &str = "smtp://127.0.0.1:1";
const SERVED: Setting = Setting { http: "127.0.0.1:0", ..DEFAULT };

pub fn http(record: &mut Record, quick: bool) {
    looks(record, quick);
    waiting_messages(record, quick);
    idle(record, quick);
    abuse(record, quick);
}

/// Its answer, whole.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it lets everybody in");
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {}", answer.lines().next().unwrap_or_default());
    answer
}

/// Starts one, and waits until it has read all folders.
fn counted(spool: &Path, setting: Setting) -> (Run, String) {
    let run = launch(spool, NOBODY, setting);
    let address = run.http();
    while !get(&address, "/api/v1/queue").contains("\"counted\":true") {
        std::thread::sleep(Duration::from_millis(50));
    }
    (run, address)
}

/// Connection, request and answer; with messages and without, in turn.
fn looks(record: &mut Record, quick: bool) {
    let times = if quick { 100 } else { 500 };
    let spools = [waiting(0), waiting(10_000)];
    let runs = spools.each_ref().map(|spool| counted(spool.path(), SERVED));
    for path in ["/metrics", "/api/v1/queue", "/api/v1/messages?limit=10000"] {
        let mut took = [vec![], vec![]];
        for _ in 0..if path.contains("limit") { times / 10 } else { times } {
            for (took, (_, address)) in took.iter_mut().zip(&runs) {
                let started = Instant::now();
                get(address, path);
                took.push(started.elapsed().as_secs_f64() * 1000.0);
            }
        }
        for (took, messages) in took.iter().zip(["0", "10,000"]) {
            for (name, percent) in [("p50", 50.0), ("p99", 99.0)] {
                let what = format!("{path}, {messages} messages, {name} of {}", took.len());
                record.add("http", what, "ms", vec![percentile(took, percent)]);
            }
        }
    }
    runs.into_iter().for_each(|(run, _)| run.term());
}

/// As scenario `memory` has it without HTTP; side by side.
fn waiting_messages(record: &mut Record, quick: bool) {
    let resident = |spool: &Path, setting: Setting| {
        let run = match setting.http {
            "" => {
                let run = launch(spool, NOBODY, setting);
                std::thread::sleep(Duration::from_secs(3));
                run
            }
            _ => counted(spool, setting).0,
        };
        let resident = run.of_status("VmRSS:");
        run.term();
        resident * 1024.0
    };
    let none = waiting(0);
    for messages in if quick { vec![10_000] } else { vec![10_000, 100_000] } {
        let spool = waiting(messages);
        for (setting, name) in [(DEFAULT, "without HTTP"), (SERVED, "with HTTP")] {
            let least = resident(none.path(), setting);
            record.add("http", format!("idle, {name}"), "MiB", vec![least / 1024.0 / 1024.0]);
            let each = (resident(spool.path(), setting) - least) / f64::from(messages);
            record.add("http", format!("{messages} messages waiting, each, {name}"), "octets", vec![each]);
        }
    }
}

fn idle(record: &mut Record, quick: bool) {
    let spool = waiting(0);
    let run = launch(spool.path(), NOBODY, SERVED);
    let address = run.http();
    get(&address, "/metrics");
    std::thread::sleep(Duration::from_secs(2));
    let seconds = if quick { 10.0 } else { 60.0 };
    let mut measure = |what: &str| {
        let before = run.wake_ups();
        std::thread::sleep(Duration::from_secs_f64(seconds));
        record.add("http", what, "a second", vec![(run.wake_ups() - before) / seconds]);
    };
    measure("idle with HTTP, all threads: wake-ups");
    let listener = Crowd::gather(crowd::Kind::Listeners, &address);
    std::thread::sleep(Duration::from_secs(2));
    measure("idle with 100 listeners, all threads: wake-ups");
    drop(listener);
    run.term();
}

/// Beside what mail goes out.
#[derive(Clone, Copy, PartialEq)]
enum Beside {
    Off,
    Nobody,
    Crowd(crowd::Kind),
}

struct Round {
    /// Recipients a second.
    rate: f64,
    /// MiB.
    peak: f64,
    /// How long /healthz took, again and again: ms.
    health: Vec<f64>,
    /// Of the crowd.
    count: u64,
    /// What the thread that serves took of all processors' time, in hundredths.
    share: f64,
}

fn abuse(record: &mut Record, quick: bool) {
    let (recipients, rounds) = if quick { (500_000, 3) } else { (5_000_000, 12) };
    let all = [
        (Beside::Nobody, "HTTP, and nobody there"),
        (Beside::Off, "no HTTP"),
        (Beside::Crowd(crowd::Kind::Slow), "1,000 slow connections, back after 15 s"),
        (Beside::Crowd(crowd::Kind::Hurried), "1,000 slow connections, back after 1 s"),
        (Beside::Crowd(crowd::Kind::Bad), "1,500 bad requests a second"),
        (Beside::Crowd(crowd::Kind::Listeners), "100 listeners"),
    ];
    let mut taken: Vec<Vec<Round>> = all.iter().map(|_| Vec::new()).collect();
    // All in turn, there and back again, so that what the machine does meanwhile hits each of them.
    for round in 0..rounds {
        let mut order: Vec<usize> = (0..all.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for at in order {
            taken[at].push(drain(recipients, all[at].0));
        }
    }
    let base: Vec<f64> = taken[0].iter().map(|round| round.rate).collect();
    for (rounds, (beside, name)) in taken.iter().zip(all) {
        let what = |figure: &str| format!("{recipients} recipients, {name}: {figure}");
        let each = |of: fn(&Round) -> f64| rounds.iter().map(of).collect::<Vec<f64>>();
        record.add("http", what("rate"), "recipients/s", each(|round| round.rate));
        if beside != Beside::Nobody {
            let ratios = rounds.iter().zip(&base).map(|(round, base)| round.rate / base).collect();
            record.add("http", what("rate"), "of that with HTTP and nobody there", ratios);
        }
        record.add("http", what("peak"), "MiB", each(|round| round.peak));
        if beside != Beside::Off {
            record.add("http", what("the thread that serves"), "% of all processors' time", each(|round| round.share));
        }
        let health: Vec<f64> = rounds.iter().flat_map(|round| round.health.iter().copied()).collect();
        if !health.is_empty() {
            for (figure, percent) in [("p50", 50.0), ("p99", 99.0), ("max", 100.0)] {
                let figure = format!("/healthz meanwhile, {figure} of {}", health.len());
                record.add("http", what(&figure), "ms", vec![percentile(&health, percent)]);
            }
        }
        if let Beside::Crowd(kind) = beside {
            let figure = match kind {
                crowd::Kind::Slow | crowd::Kind::Hurried => "they came, times",
                crowd::Kind::Bad => "they were answered, times",
                crowd::Kind::Listeners => "they heard of the end, times",
            };
            record.add("http", what(figure), "a round", each(|round| round.count as f64));
        }
    }
}

/// One message into the bench's own sink, as fast as it goes.
fn drain(recipients: u64, beside: Beside) -> Round {
    let filled = fill(recipients, 1000);
    let empty = tempfile::tempdir_in(scratch()).expect("a directory for the spool");
    Spool::create(&Disk::default(), empty.path()).expect("a spool");
    let mut sink = Far::start(Kind::Own);
    let setting = if beside == Beside::Off { DEFAULT } else { SERVED };
    let run = launch(empty.path(), &sink.url(), setting);
    let address = if beside == Beside::Off { String::new() } else { run.http() };
    let mut crowd = match beside {
        Beside::Crowd(kind) => Some(Crowd::gather(kind, &address)),
        _ => None,
    };
    std::thread::sleep(Duration::from_secs(1));
    let before = crowd.as_mut().map_or(0, Crowd::count);
    let place: PathBuf = empty.path().join("distribute/9").join(filled.message.file_name().expect("a name"));
    let served = run.cpu_of("http");
    let started = Instant::now();
    std::fs::rename(&filled.message, &place).expect("the rename");
    let mut health = Vec::new();
    while place.exists() {
        if crowd.is_some() {
            let asked = Instant::now();
            get(&address, "/healthz");
            health.push(asked.elapsed().as_secs_f64() * 1000.0);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let took = started.elapsed().as_secs_f64();
    let rate = recipients as f64 / took;
    let processors = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let share = (run.cpu_of("http") - served) / took / processors * 100.0;
    let mut count = crowd.as_mut().map_or(0, Crowd::count) - before;
    if beside == Beside::Crowd(crowd::Kind::Listeners) {
        let patience = Instant::now() + Duration::from_secs(10);
        while count < crowd::LISTENERS as u64 && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(50));
            count = crowd.as_mut().map_or(0, Crowd::count) - before;
        }
        assert_eq!(count, crowd::LISTENERS as u64, "listeners that heard of the end");
    }
    let peak = run.of_status("VmHWM:") / 1024.0;
    drop(crowd);
    run.term();
    sink.expect(recipients.div_ceil(50));
    Round { rate, peak, health, count, share }
}
