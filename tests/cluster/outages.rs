//! The database goes away, comes back, or is not what it was.

use std::time::Instant;

use crate::on_both;
use crate::sink::{Fault, audit};
use crate::site::{DONE, Node, QUICKLY, SLOWLY, Site};
use crate::support::database::{Database, Kind};
use crate::support::spool::wait_until;

on_both! {
    without_the_database_what_is_held_goes_on_for_as_long_as_its_lease_and_all_goes_on_when_it_is_back;
    a_database_that_answers_nothing_is_one_that_is_away;
    a_scheduler_starts_without_the_database_and_waits_for_it;
    whoever_has_lost_its_tables_stops_and_goes_on_with_new_ones_when_no_lease_is_left;
    tables_of_another_spool_are_not_worked_with;
    rows_that_say_something_else_are_believed_and_nobody_sends_against_them;
}

const NAME: &str = "big@example.org.1700000000.1";

fn shared(database: &Database) -> Site {
    let site = Site::new(&database.url());
    site.runs("cluster init", DONE);
    site.sink.takes(SLOWLY);
    site
}

const AWAY: &[&str] = &["database is away"];
const BACK: &[&str] = &["database is back"];

/// With all that needs the database, from then to now.
fn fault(from: Instant) -> Fault {
    Fault { who: None, from, to: Instant::now() }
}

#[track_caller]
fn told_once_a_change(node: &Node, changes: usize) {
    assert_eq!((node.lines_with(AWAY).len(), node.lines_with(BACK).len()), (changes, changes), "{}", node.log());
}

fn goes_away_and_comes_back(kind: Kind, away: fn(&mut Database), back: fn(&mut Database)) {
    let mut database = Database::start(kind);
    let site = shared(&database);
    let everybody = site.put("5", NAME, "p", 4, 300);
    let nodes = [site.node("one"), site.node("other")];
    nodes.iter().for_each(|node| site.sink.wait_for_more_from(&node.who));
    let from = Instant::now();
    away(&mut database);
    // Each of the four has one transaction under way; this is more.
    let at = site.sink.recipients();
    site.sink.wait_for_recipients(at + 50);
    for node in &nodes {
        both_workers_stop(node);
        node.wait_for_lines(1, AWAY);
    }
    let stopped = site.sink.recipients();
    std::thread::sleep(4 * SLOWLY);
    assert_eq!(site.sink.recipients(), stopped, "nobody has a lease any more");
    back(&mut database);
    nodes.iter().for_each(|node| node.wait_for_lines(1, BACK));
    let faults = [fault(from)];
    site.sink.takes(QUICKLY);
    site.spool.wait_until_empty();
    nodes.iter().for_each(|node| told_once_a_change(node, 1));
    let account = audit(&site.sink.taken(), &everybody, &faults);
    assert!(account.repeats <= 4 * 10, "{account:?}");
}

/// At a boundary, or behind a dot whose answer came when the lease was over.
fn both_workers_stop(node: &Node) {
    let stopped = || ["stops at this boundary", "its lease is over"].map(|line| node.lines_with(&[line]).len());
    wait_until("both of its workers to stop", || stopped().iter().sum::<usize>() >= 2, || node.log());
}

fn without_the_database_what_is_held_goes_on_for_as_long_as_its_lease_and_all_goes_on_when_it_is_back(kind: Kind) {
    goes_away_and_comes_back(kind, Database::go_down, Database::come_up);
}

fn a_database_that_answers_nothing_is_one_that_is_away(kind: Kind) {
    goes_away_and_comes_back(kind, |database| database.halt(), |database| database.go_on());
}

fn a_scheduler_starts_without_the_database_and_waits_for_it(kind: Kind) {
    let mut database = Database::start(kind);
    let site = shared(&database);
    database.go_down();
    let everybody = site.put("5", NAME, "p", 2, 20);
    let mut node = site.node("one");
    node.wait_for_lines(1, AWAY);
    assert_eq!(site.sink.recipients(), 0);
    database.come_up();
    site.spool.wait_until_empty();
    told_once_a_change(&node, 1);
    assert_eq!(audit(&site.sink.taken(), &everybody, &[]).repeats, 0);
    node.stop();
}

fn whoever_has_lost_its_tables_stops_and_goes_on_with_new_ones_when_no_lease_is_left(kind: Kind) {
    let database = Database::start(kind);
    let site = shared(&database);
    let everybody = site.put("5", NAME, "p", 4, 400);
    let nodes = [site.node("one"), site.node("other")];
    nodes.iter().for_each(|node| site.sink.wait_for_more_from(&node.who));
    let from = Instant::now();
    database.drop_tables();
    // While their leases last. New tables, in which all is free, are made when that is over.
    site.runs("cluster init", DONE).says(&["its tables have gone: waits 2s"]);
    nodes.iter().for_each(|node| node.wait_for_lines(1, &["it has no tables of sympa-dist's"]));
    nodes.iter().for_each(|node| node.wait_for_lines(1, BACK));
    let faults = [fault(from)];
    site.sink.takes(QUICKLY);
    site.spool.wait_until_empty();
    nodes.iter().for_each(|node| told_once_a_change(node, 1));
    let account = audit(&site.sink.taken(), &everybody, &faults);
    assert!(account.repeats <= 40, "{account:?}");
}

fn tables_of_another_spool_are_not_worked_with(kind: Kind) {
    let mut database = Database::start(kind);
    let site = shared(&database);
    let everybody = site.put("5", NAME, "p", 2, 400);
    let node = site.node("one");
    site.sink.wait_for_recipients(40);
    let from = Instant::now();
    let identity = database.sql(&format!("SELECT identity FROM {}", database.table("cluster")));
    let set = |to: &str| format!("UPDATE {} SET identity = '{to}'", database.table("cluster"));
    database.sql(&set("of another spool"));
    let back = set(&identity);
    database.go_down();
    database.come_up();
    node.wait_for_lines(1, &["database is away", "belong to another spool (of another spool,"]);
    both_workers_stop(&node);
    database.sql(&back);
    site.sink.takes(QUICKLY);
    site.spool.wait_until_empty();
    assert!(audit(&site.sink.taken(), &everybody, &[fault(from)]).repeats <= 20);
}

fn rows_that_say_something_else_are_believed_and_nobody_sends_against_them(kind: Kind) {
    let database = Database::start(kind);
    let site = shared(&database);
    let everybody = site.put("5", NAME, "p", 2, 600);
    let node = site.node("one");
    site.sink.wait_for_recipients(40);
    let (lease, process) = (database.table("lease"), database.table("process"));
    let from = Instant::now();
    // Times are for people; owners are not.
    let past = "UPDATE {} SET since = '2001-01-01', expires = '2001-01-01'";
    database.sql(&past.replace("{}", &lease));
    let other = site.node("other");
    site.sink.wait_for_more_from("one");
    assert_eq!(other.lines_with(&["takes a packet over"]), [""; 0]);
    database.sql(&format!("UPDATE {lease} SET process = 4711, renewed = renewed + 1"));
    node.wait_for_lines(2, &["the lease is lost"]);
    node.wait_for_lines(2, &["stops at this boundary"]);
    database.sql(&format!("DELETE FROM {process}"));
    site.sink.takes(QUICKLY);
    site.spool.wait_until_empty();
    let account = audit(&site.sink.taken(), &everybody, &[fault(from)]);
    assert!(account.repeats <= 40, "{account:?}");
}
