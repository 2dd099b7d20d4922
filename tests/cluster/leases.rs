//! What becomes of the packets of a process that ends, dies or is halted.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use sympa_dist::claim::database::{Access, Claimed, Process};
use sympa_dist::claim::lease::Key;
use sympa_dist::claim::settings::ClusterSettings;

use crate::on_both;
use crate::sink::{Fault, audit};
use crate::site::{DONE, Halted, Node, QUICKLY, SLOWLY, Site};
use crate::support::database::{Database, Kind};
use crate::support::spool::{lines, members, message, wait_until};

on_both! {
    what_a_killed_process_had_is_taken_over_at_once_on_its_machine;
    what_a_process_of_another_machine_had_is_taken_over_when_its_lease_is_over;
    term_gives_everything_back;
    a_process_that_was_halted_for_longer_than_its_lease_does_nothing_more_with_its_packets;
    a_lease_is_renewed_however_long_a_packet_takes;
    a_packet_that_somebody_began_whom_nobody_knows_is_kept_from_them;
    what_is_made_anew_is_never_taken_for_what_was_there_before;
    what_was_taken_over_is_not_clean_until_somebody_has_shut_out_its_holder;
    a_takeover_that_only_looked_leaves_it_to_the_next_one_to_shut_the_holder_out;
}

const NAME: &str = "big@example.org.1700000000.1";

fn shared(database: &Database, lease: &'static str) -> Site {
    let mut site = Site::new(&database.url());
    site.knobs.lease = lease;
    site.runs("cluster init", DONE);
    site.sink.takes(SLOWLY);
    site
}

/// From its beginning to now.
fn fault(node: &Node, from: Instant) -> Fault {
    Fault { who: Some(node.who.clone()), from, to: Instant::now() }
}

fn what_a_killed_process_had_is_taken_over_at_once_on_its_machine(kind: Kind) {
    let database = Database::start(kind);
    // Nobody could wait for that.
    let site = shared(&database, "1h");
    let everybody = site.put("5", NAME, "p", 2, 300);
    let mut one = site.node("one");
    site.sink.wait_for_recipients(40);
    let other = site.node("other");
    let from = Instant::now();
    one.kill();
    site.sink.takes(QUICKLY);
    site.spool.wait_until_empty();
    other.wait_for_lines(2, &["takes a packet over"]);
    let account = audit(&site.sink.taken(), &everybody, &[fault(&one, from)]);
    assert!(account.repeats <= 20, "two workers had one transaction each in flight: {account:?}");
}

fn what_a_process_of_another_machine_had_is_taken_over_when_its_lease_is_over(kind: Kind) {
    const LEASE: Duration = Duration::from_secs(2);
    let database = Database::start(kind);
    let site = shared(&database, "2s");
    let everybody = site.put("5", NAME, "p", 2, 300);
    let mut one = site.node_in_a_container("one");
    site.sink.wait_for_recipients(40);
    let other = site.node("other");
    let killed = Instant::now();
    one.kill();
    site.sink.takes(QUICKLY);
    site.spool.wait_until_empty();
    let taken = site.sink.taken();
    let account = audit(&taken, &everybody, &[fault(&one, killed)]);
    assert!(account.repeats <= 20, "{account:?}");
    let first = taken.iter().find(|taken| taken.who == other.who).expect("it sent the rest");
    // It was renewed a third of a lease before it was killed, or later.
    assert!(first.begun - killed >= LEASE / 2, "taken over after {:?}", first.begun - killed);
}

fn term_gives_everything_back(kind: Kind) {
    let database = Database::start(kind);
    let site = shared(&database, "1h");
    let everybody = site.put("5", NAME, "p", 2, 300);
    let mut one = site.node_in_a_container("one");
    let held = format!("SELECT count(*) FROM {} WHERE process IS NOT NULL", database.table("lease"));
    site.sink.wait_for_recipients(40);
    assert_eq!(database.sql(&held), "2");
    // unshare passes nothing on.
    let inner = fs::read_to_string(format!("/proc/{0}/task/{0}/children", one.id())).unwrap();
    let inner = rustix::process::Pid::from_raw(inner.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(inner, Signal::TERM).unwrap();
    one.wait();
    assert_eq!(database.sql(&held), "0");
    assert_eq!(database.sql(&format!("SELECT count(*) FROM {}", database.table("process"))), "0");
    let _other = site.node("other");
    site.sink.takes(QUICKLY);
    site.spool.wait_until_empty();
    assert_eq!(audit(&site.sink.taken(), &everybody, &[]).repeats, 0);
}

fn a_process_that_was_halted_for_longer_than_its_lease_does_nothing_more_with_its_packets(kind: Kind) {
    let database = Database::start(kind);
    let mut site = shared(&database, "1s");
    site.knobs.workers = 1;
    let everybody = site.put("5", NAME, "p", 1, 600);
    let one = site.node("one");
    site.sink.wait_for_recipients(40);
    let other = site.node("other");
    let from = Instant::now();
    let halted = Halted::new(&one);
    site.sink.wait_for_more_from("other");
    drop(halted);
    // It looks at its leases, and for work, and leaves that packet alone.
    one.wait_for_lines(1, &["the lease is lost"]);
    site.sink.takes(QUICKLY);
    let checkpoint = || site.spool.checkpoint("5", NAME, "recipients.mail.0001");
    let mut before = None;
    wait_until(
        "the packet to be finished",
        || {
            let now = checkpoint();
            // Addresses are in the packet's order. None: it is finished.
            assert!(now.is_none() || now >= before, "the checkpoint went from {before:?} back to {now:?}");
            before = now.or(before.take());
            site.spool.is_empty()
        },
        || format!("{:?}", checkpoint()),
    );
    let taken = site.sink.taken();
    let account = audit(&taken, &everybody, &[fault(&one, from)]);
    assert!(account.repeats <= 10, "{account:?}");
    assert_eq!(account.handed_over, 1, "who was halted does not get it back");
    assert_eq!(other.lines_with(&["is lost"]), [""; 0]);
}

fn a_lease_is_renewed_however_long_a_packet_takes(kind: Kind) {
    let database = Database::start(kind);
    let mut site = shared(&database, "1s");
    site.knobs.workers = 1;
    // A transaction alone takes longer than a lease.
    site.sink.takes(Duration::from_millis(1500));
    let everybody = site.put("5", NAME, "p", 1, 30);
    let _one = site.node_in_a_container("one");
    site.sink.wait_for_recipients(10);
    let other = site.node_in_a_container("other");
    site.spool.wait_until_empty();
    assert_eq!(audit(&site.sink.taken(), &everybody, &[]).repeats, 0);
    assert_eq!(other.lines_with(&["takes a packet over"]), [""; 0]);
}

/// Tables are made anew, or a spool of one machine's is shared: whoever had the packet may be halted, with its files open.
fn a_packet_that_somebody_began_whom_nobody_knows_is_kept_from_them(kind: Kind) {
    let database = Database::start(kind);
    let site = shared(&database, "2s");
    let everybody = members("one-", 30);
    let files = [
        ("recipients.mail.1", lines(&everybody)),
        ("recipients.mail.1.status", format!("{}\n", everybody[9])),
        ("message", message(NAME)),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    site.spool.put("5", NAME, &files);
    let status = site.spool.at("5").join(NAME).join("recipients.mail.1.status");
    let held = fs::File::open(&status).unwrap();
    let _node = site.node("one");
    site.sink.wait_for_recipients(10);
    // What its last holder writes goes to a file that nobody reads.
    assert_ne!(fs::metadata(&status).unwrap().ino(), held.metadata().unwrap().ino());
    site.spool.wait_until_empty();
    let got: Vec<String> = site.sink.taken().into_iter().flat_map(|taken| taken.recipients).collect();
    assert_eq!(got, everybody[10..], "what is on record stays");
}

fn somebody() -> Process {
    let (host, boot, program) = ("host".to_owned(), String::new(), String::new());
    Process { host, pid: 1, boot, started: 1, program, workers: 1 }
}

fn what_was_taken_over_is_not_clean_until_somebody_has_shut_out_its_holder(kind: Kind) {
    let database = Database::start(kind);
    let settings = ClusterSettings { database: Some(database.url().parse().unwrap()), ..ClusterSettings::default() };
    let mut connection = Access::from_settings(&settings).unwrap().expect("a database is named").connect().unwrap();
    connection.init("an identity").unwrap();
    let (one, other) = (connection.register(&somebody()).unwrap(), connection.register(&somebody()).unwrap());
    let key = Key { message: NAME.into(), part: "recipients.mail.1".into() };
    let lasts = settings.lease;
    let won = |connection: &mut Box<dyn sympa_dist::claim::database::Database>, process| match connection
        .claim(&key, process, "worker", lasts)
    {
        Ok(Claimed::Won { fence, clean }) => (fence, clean),
        _ => panic!("nobody has it"),
    };
    let (first, clean) = won(&mut connection, one);
    assert!(clean, "nobody had it");
    let Ok(Claimed::HeldBy(holder)) = connection.claim(&key, other, "worker", lasts) else { panic!("the one has it") };
    let fence = connection.take_over(&key, holder.version, other, "worker", lasts).unwrap().expect("it is as it was");
    assert!(fence > first);
    connection.give_back(&key, one, first, true).unwrap();
    assert!(
        matches!(connection.claim(&key, one, "worker", lasts), Ok(Claimed::HeldBy(_))),
        "the stale one gives nothing back"
    );
    connection.give_back(&key, other, fence, false).unwrap();
    let (fence, clean) = won(&mut connection, other);
    assert!(!clean, "it was taken over, and nobody was shut out");
    connection.leave(other).unwrap();
    let other = connection.register(&somebody()).unwrap();
    let (again, clean) = won(&mut connection, other);
    assert!(!clean && again > fence);
    connection.give_back(&key, other, again, true).unwrap();
    assert!(won(&mut connection, one).1, "the last holder was shut out");
}

/// Whoever is after a retry packet takes its parent over, too, and gives it back unsent; so does one whose disk was full.
fn a_takeover_that_only_looked_leaves_it_to_the_next_one_to_shut_the_holder_out(kind: Kind) {
    let database = Database::start(kind);
    let site = shared(&database, "2s");
    let everybody = members("one-", 30);
    let files = [
        ("recipients.mail.1", lines(&everybody)),
        ("recipients.mail.1.status", format!("{}\n", everybody[9])),
        ("message", message(NAME)),
    ];
    let lease = database.table("lease");
    let columns = "message, part, process, worker, fence, renewed, lasts, since, expires, clean";
    let row = format!("'{NAME}', 'recipients.mail.1', NULL, 'worker-0', 5, 1, 2000, now(), now(), false");
    database.sql(&format!("INSERT INTO {lease} ({columns}) VALUES ({row})"));
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    site.spool.put("5", NAME, &files);
    let status = site.spool.at("5").join(NAME).join("recipients.mail.1.status");
    let held = fs::File::open(&status).unwrap();
    let _node = site.node("one");
    site.sink.wait_for_recipients(10);
    assert_ne!(fs::metadata(&status).unwrap().ino(), held.metadata().unwrap().ino());
    site.spool.wait_until_empty();
}

/// Whoever watches a lease for as long as it lasts would take it for one that nobody renews.
fn what_is_made_anew_is_never_taken_for_what_was_there_before(kind: Kind) {
    let database = Database::start(kind);
    let settings = ClusterSettings { database: Some(database.url().parse().unwrap()), ..ClusterSettings::default() };
    let mut connection = Access::from_settings(&settings).unwrap().expect("a database is named").connect().unwrap();
    connection.init("an identity").unwrap();
    let process = somebody();
    let (one, other) = (connection.register(&process).unwrap(), connection.register(&process).unwrap());
    let key = Key { message: "".into(), part: "incoming".into() };
    let mut version = |finished| {
        let Claimed::Won { fence, .. } = connection.claim(&key, one, "worker", settings.lease).unwrap() else {
            panic!("nobody has it");
        };
        let Claimed::HeldBy(holder) = connection.claim(&key, other, "worker", settings.lease).unwrap() else {
            panic!("the one has it");
        };
        match finished {
            true => connection.finish(&key, one, fence).unwrap(),
            false => connection.give_back(&key, one, fence, true).unwrap(),
        }
        holder.version
    };
    let (first, second, third) = (version(true), version(false), version(true));
    assert!(first != second && second != third, "{first:?}, {second:?}, {third:?}");
    database.drop_tables();
    connection.init("an identity").unwrap();
    let anew = connection.register(&process).unwrap();
    assert!(anew != one && anew != other, "a process that was there before goes by the number {anew}, too");
}
