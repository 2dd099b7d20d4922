//! kill -9, a hundred times, at random moments; and two schedulers on one spool.
//!
//! The count is the relay's: a sink that takes everything and records every envelope. Each life of the scheduler gets a
//! sink of its own, so it is known without a doubt in which life a recipient got the message. What a sink read is what
//! counts: what was still in its socket when the scheduler was killed was not answered, and is sent again.
//!
//! `SYMPA_DIST_TEST_SEED` replays the moments of an earlier run, as far as a machine can replay anything.

mod support;

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use support::program::Program;
use support::spool::{TestSpool, members, wait_until};
use sympa_dist::deliver::sink::{Delivery, Sink, SinkOptions};

/// A hundred, or what `TEST_KILLS` says.
fn kills() -> usize {
    std::env::var("TEST_KILLS").map_or(100, |text| text.parse().expect("TEST_KILLS is a number"))
}
const WORKERS: usize = 4;
const TRANSACTION: usize = 50;

/// xorshift64*: enough to choose moments.
struct Random(u64);

impl Random {
    fn seeded() -> Random {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
        let seed = std::env::var("SYMPA_DIST_TEST_SEED").map_or(now | 1, |seed| seed.parse().expect("a number, not 0"));
        println!("SYMPA_DIST_TEST_SEED={seed}");
        Random(seed)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % end
    }
}

fn sink(delay: Duration) -> Sink {
    Sink::start(SinkOptions { record: true, delay, ..SinkOptions::default() }).unwrap()
}

fn start(spool: &TestSpool, sink: &Sink) -> Program {
    start_with(spool, sink, "resend")
}

fn start_with(spool: &TestSpool, sink: &Sink, on_uncertain: &str) -> Program {
    let (relay, workers, transaction) = (sink.url().to_string(), WORKERS.to_string(), TRANSACTION.to_string());
    let arguments = [
        "--relay",
        &relay,
        "--workers",
        &workers,
        "--recipients-per-transaction",
        &transaction,
        "--on-uncertain",
        on_uncertain,
    ];
    Program::run(spool.path(), &arguments)
}

/// One life: from a start to a kill at a random moment, perhaps while it starts. Gives what the sink took.
fn live_and_die(spool: &TestSpool, random: &mut Random, on_uncertain: &str) -> Vec<Delivery> {
    // Answers take a while, so that most kills meet transactions in flight.
    let sink = sink(Duration::from_millis(4));
    let mut program = start_with(spool, &sink, on_uncertain);
    if random.below(5) == 0 {
        thread::sleep(Duration::from_micros(random.below(30_000)));
    } else {
        let wanted = 1 + random.below(4);
        // Or the last ones.
        let has_come = || sink.transactions() >= wanted || spool.is_empty();
        wait_until("transactions", has_come, || format!("{:?}", child_state(spool)));
        thread::sleep(Duration::from_micros(random.below(6_000)));
    }
    program.kill();
    sink.stop()
}

/// Who got the message in one life, by the transactions of each connection.
fn by_connection(deliveries: &[Delivery]) -> HashMap<u64, Vec<&Delivery>> {
    let mut connections: HashMap<u64, Vec<&Delivery>> = HashMap::new();
    for delivery in deliveries {
        connections.entry(delivery.connection).or_default().push(delivery);
    }
    connections
}

#[test]
fn killed_a_hundred_times_it_skips_nobody_and_repeats_only_what_was_in_flight() {
    let mut random = Random::seeded();
    let spool = TestSpool::new();
    let mut everybody = Vec::new();
    let mut messages = 0;

    let mut lives: Vec<Vec<Delivery>> = Vec::new();
    let kills = kills();
    for _ in 0..kills {
        // How far it comes between two kills is the machine's affair: a fast one needs a second message.
        if spool.is_empty() {
            messages += 1;
            let members = members(&format!("m{messages}x"), 20_000);
            let packets: Vec<Vec<String>> = members.chunks(1000).map(<[String]>::to_vec).collect();
            spool.put_packets("5", &format!("big@lists.example.org.1700000000.{messages}"), &packets);
            everybody.extend(members);
        }
        lives.push(live_and_die(&spool, &mut random, "resend"));
    }
    let last = sink(Duration::ZERO);
    let mut program = start(&spool, &last);
    spool.wait_until_empty();
    assert!(program.stop().success());
    lives.push(last.stop());

    let mut copies: HashMap<&str, usize> = HashMap::new();
    for recipient in lives.iter().flatten().flat_map(|delivery| &delivery.recipients) {
        *copies.entry(recipient).or_default() += 1;
    }
    let missing = everybody.iter().filter(|one| !copies.contains_key(one.as_str())).count();
    assert_eq!(missing, 0, "missing");
    assert_eq!(copies.len(), everybody.len(), "somebody else got it");

    // From the last life to the first: who gets the message again later.
    let mut later: HashMap<&str, usize> = HashMap::new();
    let (mut repeats, mut most, mut kills_with_repeats) = (0, 0, 0);
    for (life, deliveries) in lives.iter().enumerate().rev() {
        let connections = by_connection(deliveries);
        assert!(connections.len() <= WORKERS, "life {life}: {} connections", connections.len());
        let mut of_this_kill = 0;
        for transactions in connections.values() {
            let (in_flight, settled) = transactions.split_last().expect("a connection has a transaction");
            for recipient in settled.iter().flat_map(|delivery| &delivery.recipients) {
                assert!(
                    !later.contains_key(recipient.as_str()),
                    "life {life}: {recipient} was settled and sent to again"
                );
            }
            of_this_kill += in_flight.recipients.iter().filter(|one| later.contains_key(one.as_str())).count();
        }
        for recipient in deliveries.iter().flat_map(|delivery| &delivery.recipients) {
            assert_ne!(later.insert(recipient, life), Some(life), "{recipient} twice in life {life}");
        }
        assert!(of_this_kill <= WORKERS * TRANSACTION, "life {life}: {of_this_kill} repeats");
        (repeats, most) = (repeats + of_this_kill, most.max(of_this_kill));
        kills_with_repeats += usize::from(of_this_kill > 0);
    }
    println!(
        "{kills} kills, {messages} messages, {} recipients: missing 0, repeated {repeats} (at most {most} after one kill, none after {}), all \
         from transactions in flight",
        everybody.len(),
        kills - kills_with_repeats
    );
    // Else the test has shown nothing.
    assert!(kills_with_repeats > 0, "no kill met a transaction in flight");
}

fn child_state(spool: &TestSpool) -> (Vec<String>, Vec<String>) {
    (spool.waiting(), spool.bad())
}

#[test]
fn with_skip_nobody_gets_it_twice_and_only_those_in_flight_at_a_kill_may_miss_it() {
    const FEWER_KILLS: usize = 30;
    let mut random = Random::seeded();
    let spool = TestSpool::new();
    let everybody = members("m", 20_000);
    let packets: Vec<Vec<String>> = everybody.chunks(1000).map(<[String]>::to_vec).collect();
    spool.put_packets("5", "big@lists.example.org.1700000000.1", &packets);
    let mut taken: Vec<Delivery> = Vec::new();
    let mut kills = 0;
    while kills < FEWER_KILLS && !spool.is_empty() {
        taken.extend(live_and_die(&spool, &mut random, "skip"));
        kills += 1;
    }
    let last = sink(Duration::ZERO);
    let mut program = start_with(&spool, &last, "skip");
    spool.wait_until_empty();
    assert!(program.stop().success());
    taken.extend(last.stop());
    let mut copies: HashMap<&str, usize> = HashMap::new();
    for recipient in taken.iter().flat_map(|delivery| &delivery.recipients) {
        *copies.entry(recipient).or_default() += 1;
    }
    let twice: Vec<_> = copies.iter().filter(|(_, copies)| **copies > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    let missing = everybody.len() - copies.len();
    println!("{kills} kills with on_uncertain = skip: repeated 0, missing {missing}");
    assert!(missing <= kills * WORKERS * TRANSACTION, "{missing} missing");
}

#[test]
fn two_schedulers_on_one_spool_share_the_work_and_nobody_gets_anything_twice() {
    let spool = TestSpool::new();
    let everybody = members("m", 10_000);
    let packets: Vec<Vec<String>> = everybody.chunks(250).map(<[String]>::to_vec).collect();
    spool.put_packets("7", "big@lists.example.org.1700000000.1", &packets);
    let sinks = [sink(Duration::from_millis(5)), sink(Duration::from_millis(5))];
    let mut programs: Vec<Program> = sinks.iter().map(|sink| start(&spool, sink)).collect();
    wait_until("both work", || sinks.iter().all(|sink| sink.transactions() > 0), || format!("{:?}", spool.waiting()));
    let mut all = everybody;
    for n in 1..=10 {
        let urgent = members(&format!("urgent{n}x"), 120);
        spool.put_packets(
            "0",
            &format!("urgent@lists.example.org.1700000000.{n}"),
            &[urgent[..60].to_vec(), urgent[60..].to_vec()],
        );
        all.extend(urgent);
        thread::sleep(Duration::from_millis(10));
    }
    let started = Instant::now();
    spool.wait_until_empty();
    println!("emptied {:?} after the last urgent message", started.elapsed());
    for program in &mut programs {
        assert!(program.stop().success());
    }
    let deliveries: Vec<Vec<Delivery>> = sinks.into_iter().map(Sink::stop).collect();
    assert!(deliveries.iter().all(|one| !one.is_empty()));
    let mut got: Vec<&str> =
        deliveries.iter().flatten().flat_map(|delivery| delivery.recipients.iter().map(String::as_str)).collect();
    got.sort_unstable();
    let mut wanted: Vec<&str> = all.iter().map(String::as_str).collect();
    wanted.sort_unstable();
    let twice: Vec<&str> = got.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    assert_eq!(twice, [""; 0], "got it twice");
    assert_eq!(got.len(), wanted.len(), "missing");
    assert_eq!(got, wanted);
}
