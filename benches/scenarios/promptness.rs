//! T4, T5, T6: how soon it does what is asked.

use std::time::{Duration, Instant};

use sympa_dist::deliver::sink::{Delivery, Sink, SinkOptions};
use sympa_dist::spool::disk::Disk;
use sympa_dist::spool::{Spool, moves};

use crate::record::{Record, percentile};
use crate::subject::{DEFAULT, Filled, Setting, fill, launch};

/// T4: how long an urgent message waits while four workers drain a big one.
pub fn latency(record: &mut Record, quick: bool) {
    let urgent = if quick { 30 } else { 200 };
    for delay in [0, 5, 20] {
        let filled = fill(2_000_000, 5000);
        let delay = Duration::from_millis(delay);
        let sink = Sink::start(SinkOptions { record: true, delay, ..SinkOptions::default() }).expect("a sink");
        let run = launch(&filled.spool(), &sink.url().to_string(), Setting { workers: 4, ..DEFAULT });
        while sink.transactions() < 20 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let arrivals = send_urgent(&filled, urgent, Duration::from_millis(3));
        run.term();
        let waits = waits(&arrivals, &sink.stop());
        let what = |p: &str| {
            format!("{} ms a transaction, 4 workers: urgent message waits, {p} of {}", delay.as_millis(), waits.len())
        };
        for (name, percent) in [("p50", 50.0), ("p99", 99.0), ("max", 100.0)] {
            record.add("latency", what(name), "ms", vec![percentile(&waits, percent)]);
        }
    }
}

/// Queues so many urgent messages, with a pause between, as long as the big one is there, and waits until all have been sent.
/// When each came.
pub fn send_urgent(filled: &Filled, urgent: u64, pause: Duration) -> Vec<(String, Instant)> {
    let mut arrivals = Vec::new();
    for n in 0..urgent {
        if !filled.message.exists() {
            break;
        }
        let id = format!("urgent{n}@lists.example.org.1700000000.{n}");
        let draft = filled.spool().join("incoming").join(&id);
        std::fs::create_dir(&draft).expect("a draft");
        std::fs::write(draft.join("recipients.mail.0001"), format!("one@u{n}.example.org\n")).expect("a packet");
        std::fs::write(draft.join("message"), format!("Subject: {id}\n\nnow\n")).expect("a message");
        let now = Instant::now();
        std::fs::rename(&draft, filled.spool().join("distribute/0").join(&id)).expect("the rename");
        arrivals.push((id, now));
        // Not in step with anything.
        std::thread::sleep(pause + Duration::from_micros((n * 7_919) % 11_000));
    }
    while filled.spool().join("distribute/0").read_dir().expect("0").count() > 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    arrivals
}

/// Milliseconds from each one's arrival to its DATA.
pub fn waits(arrivals: &[(String, Instant)], deliveries: &[Delivery]) -> Vec<f64> {
    let wait = |(id, arrival): &(String, Instant)| {
        let delivery = deliveries.iter().find(|delivery| delivery.subject.as_deref() == Some(id));
        let data = delivery.unwrap_or_else(|| panic!("{id} never came")).data_at;
        data.saturating_duration_since(*arrival).as_secs_f64() * 1000.0
    };
    arrivals.iter().map(wait).collect()
}

/// T6: from TERM to the end, in the middle of a big message.
pub fn stop(record: &mut Record, quick: bool) {
    for delay in [0, 20] {
        let filled = fill(2_000_000, 5000);
        let delay = Duration::from_millis(delay);
        let mut times = Vec::new();
        for _ in 0..if quick { 5 } else { 20 } {
            let sink = Sink::start(SinkOptions { delay, ..SinkOptions::default() }).expect("a sink");
            let run = launch(&filled.spool(), &sink.url().to_string(), Setting { workers: 8, ..DEFAULT });
            while sink.transactions() < 40 {
                std::thread::sleep(Duration::from_millis(1));
            }
            let asked = Instant::now();
            run.term();
            times.push(asked.elapsed().as_secs_f64() * 1000.0);
            assert!(filled.message.exists(), "stopped in the middle");
        }
        record.add("stop", format!("{} ms a transaction, 8 workers: TERM to exit", delay.as_millis()), "ms", times);
    }
}

/// T5: one rename, whatever the number of packets.
pub fn requeue(record: &mut Record, quick: bool) {
    let times = if quick { 100 } else { 1000 };
    let mut medians = Vec::new();
    for packets in [1u64, 40_000] {
        let filled = fill(packets, 1);
        let spool = Spool::open(&Disk::default(), &filled.spool()).expect("a spool");
        let id = filled.message.file_name().expect("a name").to_str().expect("text").parse().expect("an id");
        let mut waits = Vec::new();
        for n in 0..times {
            let to = ["3", "4"][n % 2].parse().expect("a priority");
            let started = Instant::now();
            moves::requeue(&spool, &id, to).expect("requeue");
            waits.push(started.elapsed().as_secs_f64() * 1000.0);
        }
        record.add("requeue", format!("{packets} packets, p50 of {times}"), "ms", vec![percentile(&waits, 50.0)]);
        record.add("requeue", format!("{packets} packets, p99 of {times}"), "ms", vec![percentile(&waits, 99.0)]);
        medians.push(percentile(&waits, 50.0));
    }
    record.add("requeue", "40,000 packets against 1, p50", "ratio", vec![medians[1] / medians[0]]);
}
