//! The scheduler between a relay that does whatever a relay can do wrong, kill -9, and an operator who requeues.
//!
//! Each seed is a story of its own: a spool, a relay with a temper, several lives of the real program, each killed at a
//! moment that the relay's ear gives, and a last one in which the relay behaves and everything comes to its end.
//!
//! `TEST_SEEDS` is how many stories are played, `TEST_SEED` plays one of them again, as far as threads and processes
//! let anything happen again.

mod support;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use support::faulty_relay::{Accepted, FaultyRelay, Record, Temper};
use support::program::{self, Program};
use support::random::Random;
use support::reports::{self, failed_so_far};
use support::spool::{TestSpool, wait_until};
use sympa_dist::mail::{Priority, checkpoint};

const RECIPIENTS: usize = 2000;
const WORKERS: usize = 3;
/// Most of a story is waiting for retries.
const STORIES_AT_ONCE: usize = 32;

const ENVIRONMENT: &[(&str, &str)] = &[
    ("SYMPA_DIST_RETRY_SCHEDULE", "1s"),
    ("SYMPA_DIST_BREAKER_FIRST_PAUSE", "5ms"),
    ("SYMPA_DIST_BREAKER_LONGEST_PAUSE", "40ms"),
    ("SYMPA_DIST_RUN_RESCAN", "1s"),
];

/// What all stories came to.
#[derive(Default, Debug)]
struct Totals {
    recipients: usize,
    delivered: usize,
    failed: usize,
    queued: usize,
    repeated_uncertain: usize,
    repeated_at_kills: usize,
    failed_after_uncertain: usize,
    faults: u64,
    kills: usize,
    requeues: usize,
    releases: usize,
}

impl Totals {
    fn add(&mut self, other: &Totals) {
        self.recipients += other.recipients;
        self.delivered += other.delivered;
        self.failed += other.failed;
        self.queued += other.queued;
        self.repeated_uncertain += other.repeated_uncertain;
        self.repeated_at_kills += other.repeated_at_kills;
        self.failed_after_uncertain += other.failed_after_uncertain;
        self.faults += other.faults;
        self.kills += other.kills;
        self.requeues += other.requeues;
        self.releases += other.releases;
    }
}

struct Story {
    random: Random,
    spool: TestSpool,
    relay: FaultyRelay,
    messages: Vec<String>,
    members: HashSet<String>,
    totals: Totals,
}

impl Story {
    fn new(seed: u64) -> Story {
        let mut random = Random::nth(seed, 0);
        let spool = TestSpool::new();
        let relay = FaultyRelay::new(seed, Temper::of(seed));
        let mut members: Vec<String> = (0..RECIPIENTS)
            .map(|n| match random.within(0..100) {
                0..3 => format!("fail{n}@example.org"),
                3..8 => format!("defer{}x{n}@example.org", random.within(1..3)),
                _ => format!("m{n}@example.org"),
            })
            .collect();
        let everybody = members.iter().cloned().collect();
        let mut messages = Vec::new();
        for left in (1..=random.within(1..4)).rev() {
            let share = members.split_off(members.len() - members.len() / left as usize);
            let packets: Vec<Vec<String>> =
                share.chunks(random.within(50..400) as usize).map(<[String]>::to_vec).collect();
            let name = format!("list{left}@lists.example.org.1700000000.{left}");
            spool.put_packets(&random.within(0..10).to_string(), &name, &packets);
            messages.push(name);
        }
        Story { random, spool, relay, messages, members: everybody, totals: Totals::default() }
    }

    fn start(&mut self) -> Program {
        let url = self.relay.open();
        let transaction = self.random.one_of(&["7", "20", "50", "50"]);
        let workers = WORKERS.to_string();
        let arguments = ["--relay", &url, "--workers", &workers, "--recipients-per-transaction", transaction];
        Program::run_with(self.spool.path(), &arguments, ENVIRONMENT)
    }

    /// From a start to a kill.
    fn live_and_die(&mut self) {
        let mut program = self.start();
        if self.random.once_in(6) {
            // The relay refuses connections for as long as this takes.
            self.requeue();
        }
        self.relay.listen();
        for _ in 0..self.random.within(1..4) {
            let lines = self.random.within(0..400);
            let spool = &self.spool;
            if !self.relay.wait_for_lines(lines, || nothing_is_to_be_sent(spool)) {
                break;
            }
            self.requeue();
        }
        let lines = self.random.within(0..100);
        let spool = &self.spool;
        self.relay.wait_for_lines(lines, || nothing_is_to_be_sent(spool));
        program.kill();
        self.relay.close();
        self.totals.kills += 1;
        self.nobody_is_lost();
        if self.random.once_in(2) {
            self.release();
        }
    }

    fn requeue(&mut self) {
        let (message, to) = (self.random.one_of(&self.messages).clone(), self.random.within(0..10).to_string());
        // It may be distributed by now, or held, which a requeue ends as well.
        command(self.spool.path(), &["requeue", &message, "--to", &to]);
        self.totals.requeues += 1;
    }

    /// Lets go what the guard against mistakes holds.
    fn release(&mut self) {
        if !self.held().is_empty() {
            command(self.spool.path(), &["release", "--from", "z"]);
            self.totals.releases += 1;
        }
    }

    fn held(&self) -> Vec<String> {
        self.spool.waiting().into_iter().filter(|name| name.starts_with('z')).collect()
    }

    /// Ends in good order while some people are still queued.
    fn be_stopped(&mut self) {
        let mut program = self.start();
        self.relay.listen();
        let (lines, spool) = (self.random.within(1..300), &self.spool);
        // Before it has said anything, it may not know yet what to do about TERM.
        let has_spoken = self.relay.wait_for_lines(lines, || nothing_is_to_be_sent(spool));
        if has_spoken {
            // 75: the relay gave no answer to a final dot meanwhile.
            let status = program.stop();
            assert!(matches!(status.code(), Some(0 | 75)), "{status}");
        } else {
            program.kill();
            self.totals.kills += 1;
        }
        self.relay.close();
    }

    fn come_to_the_end(&mut self) {
        self.relay.behave();
        if self.spool.is_empty() {
            return;
        }
        let mut program = self.start();
        self.relay.listen();
        while !self.spool.is_empty() {
            let spool = &self.spool;
            wait_until("an end", || nothing_is_to_be_sent(spool), || format!("{:?}", spool.waiting()));
            self.release();
        }
        assert!(program.stop().success());
        self.relay.close();
    }

    /// Whoever did not get it, and has not failed, is still queued.
    fn nobody_is_lost(&self) {
        let record = self.relay.record();
        let mut known = self.reported(&record);
        known.extend(record.accepted.into_iter().flat_map(|accepted| accepted.recipients));
        for name in &self.messages {
            known.extend(failed_so_far(&self.spool, name));
        }
        known.extend(queued(&self.spool));
        let lost: Vec<&String> = self.members.difference(&known).collect();
        assert!(lost.is_empty(), "lost: {lost:?}");
    }

    /// Who has failed by the reports that the relay was sent, or that still wait. Nobody is in two of them.
    fn reported(&self, record: &Record) -> HashSet<String> {
        let waiting = reports::in_spool(&self.spool);
        let failed = self.messages.iter().flat_map(|name| reports::failed(record.reports.iter().chain(&waiting), name));
        failed.map(|failed| failed.recipient).collect()
    }

    /// Looks what became of everybody.
    fn judge(mut self) -> Totals {
        let record = self.relay.record();
        let queued = queued(&self.spool);
        let mut failed: HashSet<String> =
            self.messages.iter().flat_map(|name| failed_so_far(&self.spool, name)).collect();
        // A failure that a kill left ahead of its checkpoint is taken back when its packet is worked on again.
        failed.retain(|recipient| !queued.contains(recipient));
        let reported = self.reported(&record);
        assert!(reported.is_disjoint(&queued), "reported, and still to be sent to");
        failed.extend(reported);
        let mut copies: HashMap<&str, Vec<Copy>> = HashMap::new();
        for (transaction, accepted) in record.accepted.iter().enumerate() {
            for (place, recipient) in accepted.recipients.iter().enumerate() {
                let copy = Copy { transaction, accepted, is_answered: place < accepted.answered };
                copies.entry(recipient).or_default().push(copy);
            }
        }
        // Of each life, the transactions that were repeated because it was killed.
        let mut at_kills: HashMap<usize, HashSet<usize>> = HashMap::new();
        let killed = self.totals.kills;
        let totals = &mut self.totals;
        for recipient in &self.members {
            let mut got = copies.remove(recipient.as_str()).unwrap_or_default();
            got.sort_by_key(|copy| (copy.accepted.life, copy.transaction));
            let has_failed = failed.contains(recipient);
            totals.recipients += 1;
            totals.failed += usize::from(has_failed);
            totals.queued += usize::from(queued.contains(recipient));
            totals.delivered += usize::from(!has_failed && !queued.contains(recipient) && !got.is_empty());
            assert!(has_failed || !got.is_empty() || queued.contains(recipient), "{recipient} is lost");
            if has_failed {
                let was_refused = record.refused.contains_key(recipient) || record.refused_unheard;
                assert!(was_refused, "{recipient} has failed, and nobody refused it");
                totals.failed_after_uncertain += usize::from(!got.is_empty());
            } else if !queued.contains(recipient) {
                // The last copy is the delivery.
                got.pop();
            }
            for copy in got {
                if !copy.is_answered {
                    totals.repeated_uncertain += 1;
                    continue;
                }
                let excused = !copy.accepted.settled && copy.accepted.life < killed;
                assert!(
                    excused,
                    "{recipient} was settled in life {}, transaction {}, and then sent to again or failed ({has_failed})",
                    copy.accepted.life, copy.transaction
                );
                totals.repeated_at_kills += 1;
                at_kills.entry(copy.accepted.life).or_default().insert(copy.transaction);
            }
        }
        for (life, transactions) in at_kills {
            assert!(transactions.len() <= WORKERS, "killed life {life}: {} transactions repeated", transactions.len());
        }
        totals.faults = record.faults;
        self.totals
    }
}

/// One time that the relay took the message for somebody.
struct Copy<'a> {
    transaction: usize,
    accepted: &'a Accepted,
    is_answered: bool,
}

fn nothing_is_to_be_sent(spool: &TestSpool) -> bool {
    spool.waiting().iter().all(|name| name.starts_with('z')) && spool.incoming().is_empty()
}

fn command(spool: &Path, arguments: &[&str]) {
    let output = program::command().arg("--spool").arg(spool).args(arguments).output().unwrap();
    // 1: there was no such message.
    assert!(matches!(output.status.code(), Some(0 | 1)), "{arguments:?}: {output:?}");
}

/// Everybody in a packet, behind its checkpoint. Nobody works on the spool meanwhile.
fn queued(spool: &TestSpool) -> HashSet<String> {
    let mut found = HashSet::new();
    for message in Priority::all().flat_map(|priority| list(&spool.at(priority.dir_name()))) {
        for packet in list(&message) {
            let name = packet.file_name().unwrap().to_str().unwrap();
            if !name.starts_with("recipients.") || name.ends_with(".status") {
                continue;
            }
            let text = std::fs::read_to_string(&packet).unwrap();
            let addresses: Vec<&str> = text.lines().map(|line| line.split('\t').next().unwrap()).collect();
            let status = std::fs::read(packet.with_file_name(format!("{name}.status"))).unwrap_or_default();
            let behind = match checkpoint::decode(&status).unwrap() {
                None => 0,
                Some(last) => 1 + addresses.iter().position(|address| *address == last).expect("it is in its packet"),
            };
            found.extend(addresses[behind..].iter().map(|&address| address.to_owned()));
        }
    }
    found
}

fn list(directory: &Path) -> Vec<std::path::PathBuf> {
    std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn play(seed: u64) -> Totals {
    let mut story = Story::new(seed);
    for _ in 0..story.random.within(1..5) {
        story.live_and_die();
    }
    if story.random.once_in(10) {
        story.be_stopped();
    } else {
        story.come_to_the_end();
        assert!(story.spool.is_empty());
    }
    story.judge()
}

/// Says which seed it was if its story ends in a panic.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to repeat it: TEST_SEED={}, {:?}", self.0, Temper::of(self.0));
        }
    }
}

#[test]
fn whatever_the_relay_does_everybody_gets_it_or_fails_and_repeats_have_a_reason() {
    let variable = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seeds = match variable("TEST_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..variable("TEST_SEEDS").unwrap_or(200),
    };
    let (next, totals) = (AtomicU64::new(seeds.start), Mutex::new(Totals::default()));
    let has_failed = AtomicBool::new(false);
    let play_on = || {
        while !has_failed.load(Ordering::SeqCst) {
            let seed = next.fetch_add(1, Ordering::SeqCst);
            if !seeds.contains(&seed) {
                break;
            }
            let _named = Named(seed);
            match std::panic::catch_unwind(|| play(seed)) {
                Ok(story) => totals.lock().add(&story),
                Err(panic) => {
                    has_failed.store(true, Ordering::SeqCst);
                    std::panic::resume_unwind(panic);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let players: Vec<_> = (0..STORIES_AT_ONCE).map(|_| scope.spawn(play_on)).collect();
        for player in players {
            let _ = player.join();
        }
    });
    assert!(!has_failed.load(Ordering::SeqCst), "a story went wrong: its seed is above");
    println!("{} stories: {:?}", seeds.end - seeds.start, totals.into_inner());
}
