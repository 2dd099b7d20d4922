//! The scheduler stops in front of its k-th disk operation, for every k, and is started again.
//!
//! The scenario is one of everything: a message dropped as flat files is adopted; it has two packets, with recipients that
//! the relay defers at first and one that it refuses for good; an urgent message makes it give way; it is requeued while
//! it is being sent. A child process runs it on a disk on which the k-th operation that changes something is where the
//! process ends (without ado, as kill -9 does it), or where the disk begins to fail.
//!
//! What must hold when all is over, whatever k was (I7): nobody is missing; who got the message twice was, the first
//! time, in the last transaction of a connection of the process that crashed; who failed is reported once; the spool is
//! clean. On a disk that fails, and works again, nobody gets anything twice at all.

mod support;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use support::child::{self, Child, Fault, FaultKind, Orders};
use support::relay::{Counter, Dot, Policy, Rcpt, Record, Relay};
use support::scheduler::{Running, settings};
use support::spool::{TestSpool, lines, members, message};

const BIG: &str = "big@lists.example.org.1700000000.1";
const URGENT: &str = "urgent@lists.example.org.1700000001.1";
const PACKET: usize = 12;
const TRANSACTION: usize = 3;

/// Recipients whose number divides by 4 are deferred at their first try; one is unknown, and one is unknown at its first
/// try only: if a crash undoes that try, the recipient gets the message and has not failed.
fn on_rcpt(recipient: &str, tries: u64) -> Rcpt {
    // The report's recipient has none.
    let number: usize = recipient.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or(1);
    match number {
        _ if is_unknown(recipient) => Rcpt::Say("550 5.1.1 no such user"),
        _ if is_moody(recipient) && tries == 0 => Rcpt::Say("550 5.1.1 no such user yet"),
        n if n.is_multiple_of(4) && tries == 0 && !recipient.starts_with("urgent") => Rcpt::Say("450 4.2.1 later"),
        _ => Rcpt::Take,
    }
}

fn is_unknown(recipient: &str) -> bool {
    recipient.starts_with("b000005@")
}

fn is_moody(recipient: &str) -> bool {
    recipient.starts_with("a000002@")
}

fn packets() -> [Vec<String>; 2] {
    [members("a", PACKET), members("b", PACKET)]
}

fn put_big(spool: &TestSpool) {
    let at = spool.at("9");
    for (n, packet) in packets().iter().enumerate() {
        std::fs::write(at.join(format!("{BIG}.recipients.mail.{:03}", n + 1)), lines(packet)).unwrap();
    }
    std::fs::write(at.join(BIG), message(BIG)).unwrap();
}

fn put_urgent(spool: &TestSpool) {
    spool.put_packets("0", URGENT, &[members("urgent", 2)]);
}

/// What the relays of both lives of the scheduler saw, and the spool that is left.
struct Outcome {
    spool: TestSpool,
    first: Record,
    second: Record,
}

/// Whether the child came to its end without meeting the fault, and how it went.
enum Life {
    Whole { operations: u64 },
    Crashed,
}

/// Runs the scenario in a child until it crashes or is done.
fn first_life(spool: &Arc<TestSpool>, workers: usize, fault: Option<Fault>) -> (Life, Record) {
    put_big(spool);
    let child: Arc<Mutex<Option<Child>>> = Arc::default();
    let transactions = Counter::default();
    let (theirs, their_spool) = (child.clone(), spool.clone());
    // What happens meanwhile happens between a final dot and its answer, so that it has happened when the worker comes
    // to its boundary.
    let relay = Relay::start(Policy::new().rcpt(on_rcpt).dot(move |_| {
        match transactions.next() {
            1 => {
                put_urgent(&their_spool);
                // The watch needs a moment. If it needs longer, this is a run without a preemption.
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            3 => {
                if let Some(child) = &mut *theirs.lock() {
                    child.tell(&format!("requeue {BIG} 4"));
                }
            }
            _ => {}
        }
        Dot::Take
    }));
    let mut orders = Orders::new(spool.path(), relay.url(), workers);
    (orders.recipients_per_transaction, orders.rescan, orders.fault) = (TRANSACTION, 1, fault);
    *child.lock() = Some(Child::start(&orders));
    let deadline = Instant::now() + support::PATIENCE;
    let life = loop {
        // The lock is free between two looks, for the relay to give its order.
        std::thread::sleep(std::time::Duration::from_millis(5));
        let Some(mut child) = child.try_lock() else { continue };
        let child = child.as_mut().expect("started above");
        if let Some(status) = child.has_ended() {
            let expected = [Some(child::CRASHED), Some(child::NOT_STARTED)].contains(&status.code());
            assert!(expected, "the child ended by itself: {status}");
            break Life::Crashed;
        }
        let record = relay.record();
        let urgent_is_there = record.recipients().any(|recipient| recipient.starts_with("urgent"));
        if urgent_is_there && spool.is_empty() {
            let operations = child.tell("operations");
            let status = child.stop();
            match status.code() {
                Some(0) => break Life::Whole { operations: operations.unwrap().parse().unwrap() },
                Some(child::CRASHED) => break Life::Crashed,
                _ => panic!("{status}"),
            }
        }
        assert!(Instant::now() < deadline, "{:?} {:?}\n{:#?}", orders.fault, spool.waiting(), record.taken);
    };
    child.lock().take();
    // What was written before the crash has been read when the connections have ended.
    let record = relay.wait_for("the connections' ends", |record| {
        record.connections.iter().all(|ended| *ended != support::relay::Ended::Open)
    });
    (life, record)
}

/// Starts the scheduler again on what is left, until it is done.
fn second_life(spool: &Arc<TestSpool>, first: &Record, workers: usize) -> Record {
    let found = |text: &str| spool.waiting().iter().chain(&spool.bad()).any(|name| name.contains(text));
    if !found(URGENT) && !first.recipients().any(|recipient| recipient.starts_with("urgent")) {
        put_urgent(spool);
    }
    // A recipient's tries go on where the crash left them.
    let before: HashMap<String, u64> = first.tries.clone();
    let policy = Policy::new()
        .rcpt(move |recipient, tries| on_rcpt(recipient, tries + before.get(recipient).copied().unwrap_or(0)));
    let relay = Relay::start(policy);
    let mut settings = settings(spool.path(), relay.url(), workers);
    settings.run.recipients_per_transaction = TRANSACTION.try_into().unwrap();
    let running = Running::start(settings);
    spool.wait_until_empty();
    running.stop();
    relay.record()
}

/// Everything that I7 says.
fn check(outcome: &Outcome, case: &str) {
    let Outcome { spool, first, second } = outcome;
    let mut copies = first.copies();
    for (recipient, count) in second.copies() {
        *copies.entry(recipient).or_default() += count;
    }
    let everybody: Vec<String> = packets().into_iter().flatten().chain(members("urgent", 2)).collect();
    let failed = support::reports::failed(first.reports.iter().chain(&second.reports), BIG);
    for recipient in &everybody {
        let got = copies.get(recipient.as_str()).copied().unwrap_or(0) > 0;
        let failures = failed.iter().filter(|one| one.recipient == *recipient).count();
        let may_fail = is_unknown(recipient) || is_moody(recipient);
        let may_get = !is_unknown(recipient);
        let fine = (got && may_get && failures == 0) || (!got && may_fail && failures == 1);
        assert!(fine, "{case}: {recipient} got it: {got}, and failed {failures} times");
    }
    assert!(copies.keys().all(|got| everybody.iter().any(|one| one == got)), "{case}: somebody else got it");

    // Nobody twice within a life: not from a packet and its retry packet, either.
    for record in [first, second] {
        let twice: Vec<_> = record.copies().into_iter().filter(|(_, count)| *count > 1).collect();
        assert!(twice.is_empty(), "{case}: {twice:?} in one life");
    }
    let in_flight: HashSet<&str> = first
        .taken
        .iter()
        .filter(|taken| first.was_cut_off_behind(taken))
        .flat_map(|taken| taken.envelope.recipients.iter().map(String::as_str))
        .collect();
    for (recipient, count) in &copies {
        assert!(*count < 2 || in_flight.contains(recipient), "{case}: {recipient} got it {count} times");
    }

    assert_eq!(spool.waiting(), [""; 0], "{case}");
    assert_eq!(spool.incoming(), [""; 0], "{case}");
    assert_eq!(spool.bad(), [""; 0], "{case}");
}

/// One case. `false`: the scenario was over before the fault came.
fn run(workers: usize, fault: Fault) -> bool {
    let case = format!("{workers} workers, {fault:?}");
    let spool = Arc::new(TestSpool::new());
    let (life, first) = first_life(&spool, workers, Some(fault));
    let (met, second) = match life {
        Life::Whole { operations } => (operations >= fault.at, Record::default()),
        Life::Crashed => (true, second_life(&spool, &first, workers)),
    };
    let spool = Arc::into_inner(spool).expect("the relay has gone");
    check(&Outcome { spool, first, second }, &case);
    met
}

/// Runs cases side by side (they mostly wait), for k = 1, 2, 3 … until one is past the end of the scenario.
fn for_every_operation(workers: usize, kind: FaultKind) -> u64 {
    for_operations(1, 1, |at| run(workers, Fault { at, reading: false, kind }))
}

/// From `first` on, every `step`th.
fn for_operations(first: u64, step: u64, run: impl Fn(u64) -> bool + Sync) -> u64 {
    let (next, over) = (AtomicU64::new(first), AtomicBool::new(false));
    let deepest = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    let at = next.fetch_add(step, Ordering::SeqCst);
                    match run(at) {
                        true => drop(deepest.fetch_max(at, Ordering::SeqCst)),
                        false => over.store(true, Ordering::SeqCst),
                    }
                }
            });
        }
    });
    deepest.into_inner()
}

#[test]
fn this_program_is_its_own_child_process() {
    child::be_one();
}

#[test]
fn after_a_crash_in_front_of_any_disk_operation_nobody_is_skipped_and_only_transactions_in_flight_are_repeated() {
    for workers in [1, 2] {
        let deepest = for_every_operation(workers, FaultKind::Crash);
        println!("{workers} workers: {deepest} crash points");
        assert!(deepest > 40, "the scenario has become too short: {deepest} operations");
    }
}

#[test]
fn a_disk_operation_that_fails_once_costs_time_and_no_repeats() {
    let deepest = for_every_operation(1, FaultKind::Fail { count: 1, errno: libc::EIO });
    println!("{deepest} operations failed");
}

#[test]
fn a_full_disk_costs_time_and_no_repeats() {
    let deepest = for_every_operation(2, FaultKind::Fail { count: 3, errno: libc::ENOSPC });
    println!("{deepest} operations failed, three at a time");
}

#[test]
fn a_file_that_cannot_be_read_for_once_costs_time_and_no_repeats() {
    const STEP: u64 = 4;
    // There are many of them: each run of this test takes every fourth, another one than the run before.
    let first = 1 + u64::from(std::process::id()) % STEP;
    let kind = FaultKind::Fail { count: 1, errno: libc::EIO };
    let deepest = for_operations(first, STEP, |at| run(1, Fault { at, reading: true, kind }));
    println!("every {STEP}th of {deepest} operations failed, from the {first}th on");
}
