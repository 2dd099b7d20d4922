//! T13: a relay 50 ms away.

use std::time::{Duration, Instant};

use sympa_dist::render::wire;

use crate::ceiling::{self, Load};
use crate::distance::Distance;
use crate::record::Record;
use crate::sinks::{Far, Kind};
use crate::subject::{DEFAULT, Setting, fill, launch, message};

const ROUND_TRIP: Duration = Duration::from_millis(50);
const WORKERS: u64 = 16;
/// MAIL to DATA, then body and dot.
const ROUND_TRIPS: f64 = 2.0;

/// Against what so many connections can carry when each transaction takes its least number of round trips. From the first
/// transaction to the last: connecting and greeting are not counted.
pub fn distance(record: &mut Record, quick: bool) {
    let (each, rounds) = if quick { (20, 3) } else { (100, 5) };
    let transactions = WORKERS * each;
    // Between the first transaction's end and the last one's.
    let least = (each - 1) as f64 * ROUND_TRIPS * ROUND_TRIP.as_secs_f64();
    let (mut rates, mut ratios, mut bares, mut trips) = (vec![], vec![], vec![], vec![]);
    for _ in 0..rounds {
        let bare = bare(transactions);
        let own = own(transactions);
        rates.push(transactions as f64 * 50.0 / own);
        ratios.push(least / own);
        trips.push(own / (each - 1) as f64 / ROUND_TRIP.as_secs_f64());
        bares.push(least / bare);
    }
    let what = |figure: &str| format!("relay 50 ms away, 16 workers: {figure}");
    record.add("distance", what("sympa-dist"), "recipients/s", rates);
    record.add("distance", what("sympa-dist, ratio"), "of the most", ratios);
    record.add("distance", what("round trips a transaction"), "of 50 ms", trips);
    record.add("distance", what("bare client, ratio"), "of the most", bares);
}

fn own(transactions: u64) -> f64 {
    let filled = fill(transactions * 50, 1000);
    let mut sink = Far::start(Kind::SmtpSink);
    let line = Distance::start(sink.port, ROUND_TRIP);
    let relay = format!("smtp://127.0.0.1:{}", line.port);
    let run = launch(&filled.spool(), &relay, Setting { workers: WORKERS as usize, ..DEFAULT });
    let patience = Instant::now() + Duration::from_secs(120);
    while filled.message.exists() {
        assert!(Instant::now() < patience, "it takes too long");
        std::thread::sleep(Duration::from_millis(5));
    }
    run.term();
    sink.expect(transactions);
    sink.span().expect("smtp-sink says when")
}

fn bare(transactions: u64) -> f64 {
    let mut sink = Far::start(Kind::SmtpSink);
    let line = Distance::start(sink.port, ROUND_TRIP);
    let body = wire::encode(message().as_bytes()).wire;
    let load =
        Load { port: line.port, connections: WORKERS as usize, transactions, recipients: 50, body: &body, sync: true };
    ceiling::run(&load);
    sink.expect(transactions);
    sink.span().expect("smtp-sink says when")
}
