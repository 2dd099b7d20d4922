//! `sympa-dist run`: the signals it obeys, and what it leaves.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};
use rustix::process::Signal;

use crate::bench::{Bench, DONE, Scheduler, TRY_AGAIN, Told, assert_once_each, gated};
use crate::support::relay::{Data, Ended, Gate, Policy, Relay};
use crate::support::spool::{members, wait_until};

const ID: &str = "big@run.example.org.1700000000.1";
const PACKET: &str = "recipients.mail.0001";

/// A message to 30, of which a scheduler is sending the second ten.
fn sending(relay: &Relay, gate: &Gate, more: &str) -> (Bench, Scheduler) {
    let bench = Bench::new();
    bench.spool.put_packets("3", ID, &[members("m", 30)]);
    let relay = relay.url();
    let arguments = format!("--relay {relay} --workers 1 --recipients-per-transaction 10 {more}");
    let scheduler = bench.scheduler_with(&arguments);
    gate.wait_for(1);
    (bench, scheduler)
}

#[test]
fn term_and_int_end_it_well_when_the_final_dot_that_is_out_is_answered() {
    for signal in [Signal::TERM, Signal::INT] {
        let (relay, gate) = gated();
        let (bench, mut scheduler) = sending(&relay, &gate, "");
        scheduler.signal(signal);
        scheduler.wait_for_line(&["stopping: no new transaction"]);
        gate.open();
        assert_eq!(scheduler.wait().code(), Some(DONE), "{signal:?}\n{}", scheduler.log());
        assert_once_each(&relay, members("m", 20));
        assert_eq!(bench.spool.checkpoint("3", ID, PACKET).as_deref(), Some("m000020@example.org"));
        let scheduler = bench.scheduler(&relay, 1);
        bench.spool.wait_until_empty();
        scheduler.stop();
        assert_once_each(&relay, members("m", 30));
    }
}

#[test]
fn term_before_the_final_dot_ends_it_without_the_relays_answer_and_nobody_got_it() {
    let gate = Gate::new();
    let theirs = gate.clone();
    let relay = Relay::start(Policy::new().data(move |envelope| {
        if envelope.order == 1 {
            theirs.pass();
        }
        Data::Go
    }));
    let (bench, scheduler) = sending(&relay, &gate, "");
    scheduler.stop();
    gate.open();
    relay.wait_for("the connection's end", |record| record.connections == [Ended::Cut]);
    let scheduler = bench.scheduler(&relay, 1);
    bench.spool.wait_until_empty();
    scheduler.stop();
    assert_once_each(&relay, members("m", 30));
}

#[test]
fn an_idle_one_ends_at_once_by_any_signal() {
    for signal in [Signal::TERM, Signal::INT] {
        let bench = Bench::new();
        let relay = Relay::start(Policy::new());
        let mut scheduler = bench.scheduler(&relay, 4);
        scheduler.wait_until_ready();
        scheduler.signal(signal);
        assert_eq!(scheduler.wait().code(), Some(DONE), "{}", scheduler.log());
        scheduler.wait_for_line(&["\"stopped\""]);
    }
}

/// That it ended in the middle of the second transaction and said so; and that whoever it named are all who may get the
/// message twice.
#[track_caller]
fn ended_in_the_middle(bench: &Bench, relay: &Relay, gate: &Gate, mut scheduler: Scheduler) {
    assert_eq!(scheduler.wait().code(), Some(TRY_AGAIN), "{}", scheduler.log());
    let log = scheduler.log();
    let said: Vec<&str> = log.lines().filter(|line| line.starts_with("sympa-dist: ")).collect();
    let named = format!("sympa-dist:   {ID} {PACKET} recipients 11..20");
    assert!(said[0].ends_with("these recipients may get the message twice:"), "{said:#?}");
    assert_eq!(said[1..], [named]);
    assert_eq!(bench.spool.checkpoint("3", ID, PACKET).as_deref(), Some("m000010@example.org"));

    gate.open();
    relay.wait_for_recipients(20);
    let scheduler = bench.scheduler(relay, 1);
    bench.spool.wait_until_empty();
    scheduler.stop();
    let record = relay.record();
    let twice = members("m", 20).split_off(10);
    let expected: HashMap<String, usize> =
        members("m", 30).into_iter().map(|one| (one.clone(), 1 + usize::from(twice.contains(&one)))).collect();
    let copies: HashMap<String, usize> = record.copies().into_iter().map(|(one, n)| (one.to_owned(), n)).collect();
    assert_eq!(copies, expected);
}

#[test]
fn a_second_term_ends_it_at_once_and_it_says_who_may_get_the_message_twice() {
    let (relay, gate) = gated();
    let (bench, scheduler) = sending(&relay, &gate, "");
    scheduler.signal(Signal::TERM);
    scheduler.wait_for_line(&["stopping: no new transaction"]);
    scheduler.signal(Signal::TERM);
    ended_in_the_middle(&bench, &relay, &gate, scheduler);
}

#[test]
fn where_the_grace_is_over_it_says_who_may_get_the_message_twice() {
    let (relay, gate) = gated();
    let (bench, scheduler) = sending(&relay, &gate, "--shutdown-grace 0s");
    scheduler.signal(Signal::TERM);
    ended_in_the_middle(&bench, &relay, &gate, scheduler);
}

/// A configuration file: the relay, and the recipients of a transaction.
fn configuration(bench: &Bench, relay: &Relay, recipients: usize) {
    let relay = relay.url();
    let run = format!("[run]\nrecipients_per_transaction = {recipients}\nworkers = 1\n");
    bench.file("c.toml", &format!("{run}[[relay]]\nurl = \"{relay}\"\n"));
}

#[test]
fn hup_brings_the_new_configuration_at_the_next_boundary() {
    let bench = Bench::new();
    let ((first, gate), second) = (gated(), Relay::start(Policy::new()));
    configuration(&bench, &first, 10);
    bench.spool.put_packets("3", ID, &[members("m", 70)]);
    let scheduler = bench.scheduler_with("--config c.toml");
    gate.wait_for(1);
    configuration(&bench, &second, 25);
    scheduler.signal(Signal::HUP);
    scheduler.wait_for_line(&["\"configuration reloaded"]);
    gate.open();
    bench.spool.wait_until_empty();
    scheduler.stop();
    assert_once_each(&first, members("m", 20));
    assert_once_each(&second, members("m", 70).split_off(20));
    let sizes: Vec<usize> = second.record().taken.iter().map(|taken| taken.envelope.recipients.len()).collect();
    assert_eq!(sizes, [25, 25]);
}

/// A configuration that comes slowly: a FIFO, which whoever reads it waits at.
struct Slowly(PathBuf);

impl Slowly {
    fn new(bench: &Bench) -> Slowly {
        let path = bench.file("slow.toml", "");
        std::fs::remove_file(&path).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::RWXU).unwrap();
        Slowly(path)
    }

    /// Waits until somebody reads it, who then waits for what is written to what this gives, and for its end.
    fn wait_for_reader(&self) -> File {
        let mut open = File::options();
        open.write(true).custom_flags(OFlags::NONBLOCK.bits() as i32);
        let mut reader = None;
        wait_until(
            "it is read",
            || {
                reader = open.open(&self.0).ok();
                reader.is_some()
            },
            String::new,
        );
        reader.expect("it is read")
    }
}

#[test]
fn a_hup_while_the_configuration_is_read_ends_nothing_and_term_does_not_wait_for_a_reload() {
    let bench = Bench::new();
    let slowly = Slowly::new(&bench);
    let scheduler = bench.scheduler_with("--config slow.toml");
    let mut first = slowly.wait_for_reader();
    scheduler.signal(Signal::HUP);
    first.write_all(b"[run]\nworkers = 1\n").unwrap();
    drop(first);
    scheduler.wait_until_ready();
    let _reload = slowly.wait_for_reader();
    scheduler.stop();
}

#[test]
fn term_ends_what_has_only_begun_to_read_its_configuration() {
    let bench = Bench::new();
    let slowly = Slowly::new(&bench);
    let mut scheduler = bench.scheduler_with("--config slow.toml");
    let _reader = slowly.wait_for_reader();
    scheduler.signal(Signal::TERM);
    assert_eq!(scheduler.wait().signal(), Some(Signal::TERM.as_raw()));
}

#[test]
fn hup_with_a_bad_configuration_keeps_the_old_one_and_says_what_is_wrong() {
    let bench = Bench::new();
    let ((relay, gate), second) = (gated(), Relay::start(Policy::new()));
    configuration(&bench, &relay, 10);
    bench.spool.put_packets("3", ID, &[members("m", 50)]);
    let scheduler = bench.scheduler_with("--config c.toml");
    gate.wait_for(1);
    bench.file("c.toml", "[run]\nworkers = 0\nworkres = 3\n");
    scheduler.signal(Signal::HUP);
    scheduler.wait_for_line(&[
        "\"ERROR\"",
        "configuration not reloaded, the old one stays in force",
        "c.toml:2:1: run.workers: expected a number",
        "c.toml:3:1: run.workres is not known",
    ]);
    gate.open();
    bench.spool.wait_until_empty();
    assert_once_each(&relay, members("m", 50));
    assert!(relay.record().taken.iter().all(|taken| taken.envelope.recipients.len() == 10));
    // It is no reason not to take the next good one.
    configuration(&bench, &second, 10);
    scheduler.signal(Signal::HUP);
    scheduler.wait_for_line(&["\"configuration reloaded"]);
    bench.spool.put_packets("3", "next@run.example.org.1700000000.2", &[members("next", 5)]);
    bench.spool.wait_until_empty();
    scheduler.stop();
    assert_once_each(&second, members("next", 5));
}

#[test]
fn hup_names_what_has_changed_and_only_a_restart_takes_up_and_takes_the_rest() {
    let bench = Bench::new();
    let (first, second) = (Relay::start(Policy::new()), Relay::start(Policy::new()));
    let configure = |text: &str, relay: &Relay| {
        bench.file("c.toml", &format!("{text}[[relay]]\nurl = \"{}\"\n", relay.url()));
    };
    configure("[run]\nworkers = 1\n[metrics]\nlists = 3\n", &first);
    let scheduler = bench.scheduler_with("--config c.toml");
    scheduler.wait_until_ready();
    let reload = |expected: usize| {
        scheduler.signal(Signal::HUP);
        let reloads = || scheduler.lines_with(&["\"configuration reloaded"]).len();
        wait_until("the reload", || reloads() == expected, || scheduler.log());
    };
    let changed = "[run]\nworkers = 2\n[metrics]\nlists = 4\n[watch]\nmode = \"poll\"\ninterval = \"3s\"\n[http]\n\
                   hosts = [\"a.example.org\"]\n[log]\nlevel = \"warn\"\n[cluster]\nlease = \"9s\"\n";
    configure(changed, &second);
    reload(1);
    let keys = "cluster.lease, watch.mode, watch.interval, http.hosts, metrics.lists, log.level";
    let told = scheduler.wait_for_line(&["\"WARN\"", "only a restart takes up"]);
    assert!(told.contains(&format!("only a restart takes up: {keys}\"")), "{told}");
    bench.spool.put_packets("3", ID, &[members("m", 3)]);
    bench.spool.wait_until_empty();
    assert_once_each(&second, members("m", 3));
    // As it was at the start, there is nothing to be told.
    configure("[metrics]\nlists = 3\n", &second);
    reload(2);
    assert_eq!(scheduler.lines_with(&["only a restart takes up"]).len(), 1, "{}", scheduler.log());
    scheduler.stop();
}

#[test]
fn two_on_one_spool_send_to_everybody_exactly_once() {
    let bench = Bench::new();
    let packets: Vec<Vec<String>> = (1..=12).map(|n| members(&format!("p{n}x"), 40)).collect();
    bench.spool.put_packets("3", ID, &packets);
    let (relay, gate) = gated();
    let (first, second) = (bench.scheduler(&relay, 1), bench.scheduler(&relay, 1));
    // Each of them has one connection: both have a packet in hand now.
    gate.wait_for(2);
    assert_eq!(bench.json("queue --relays --json").len(), 2);
    assert_eq!(bench.json("queue --json")[0]["workers"], 2);
    gate.open();
    bench.spool.wait_until_empty();
    first.stop();
    second.stop();
    assert_once_each(&relay, packets.into_iter().flatten());
}

#[test]
fn where_one_of_two_stops_in_the_middle_the_other_finishes_its_packet() {
    let bench = Bench::new();
    let packets: Vec<Vec<String>> = (1..=2).map(|n| members(&format!("p{n}x"), 40)).collect();
    bench.spool.put_packets("3", ID, &packets);
    let (relay, gate) = gated();
    let (mut first, second) = (bench.scheduler(&relay, 1), bench.scheduler(&relay, 1));
    gate.wait_for(2);
    first.signal(Signal::TERM);
    first.wait_for_line(&["stopping: no new transaction"]);
    gate.open();
    assert_eq!(first.wait().code(), Some(DONE), "{}", first.log());
    bench.spool.wait_until_empty();
    second.stop();
    assert_once_each(&relay, packets.into_iter().flatten());
}

#[test]
fn it_makes_a_spool_where_there_is_none_and_says_so_where_it_cannot() {
    let bench = Bench::new();
    let relay = Relay::start(Policy::new());
    let relay = relay.url();
    let place = bench.file("x", "").with_file_name("new");
    let arguments = format!("--relay {relay} --spool {}", place.display());
    let scheduler = bench.scheduler_in(&arguments);
    wait_until("the spool", || place.join("distribute/z").is_dir(), || scheduler.log());
    scheduler.wait_for_line(&["distributing"]);
    scheduler.stop();
    let mut command = bench.bare_command(&format!("run --relay {relay} --spool x/new"));
    Told::of(&mut command, TRY_AGAIN).complains(&["sympa-dist: ", "x/new"]);
}
