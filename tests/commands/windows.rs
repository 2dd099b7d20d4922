//! `deliver`: points in time and windows by list.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustix::process::Signal;

use crate::bench::{Bench, DONE, Scheduler, USAGE, assert_once_each, gated};
use crate::support::relay::{Policy, Relay};
use crate::support::spool::{members, now, wait_until};

const NEWS: &str = "news@windows.example.org.1700000000.1";
const TALK: &str = "talk@windows.example.org.1700000000.2";
const DAY: u64 = 86_400;

/// So many seconds from now, as a time of day in UTC.
fn time(from_now: i64) -> String {
    let at = Timestamp::from_second(now().0.cast_signed() + from_now).unwrap();
    at.to_zoned_datetime(TimeZone::UTC).strftime("%H:%M:%S").to_string()
}

fn window(from: i64, to: i64) -> String {
    format!("[lists.\"news@*\"]\ndeliver = \"{}..{} UTC\"\n", time(from), time(to))
}

/// A scheduler with that configuration, ten recipients a transaction.
fn scheduler(bench: &Bench, relay: &Relay, tables: &str) -> Scheduler {
    let settings =
        format!("[run]\nworkers = 1\nrecipients_per_transaction = 10\n[[relay]]\nurl = \"{}\"\n", relay.url());
    let file = bench.file("c.toml", &(settings + tables));
    let scheduler = bench.scheduler_with(&format!("--config {}", file.display()));
    scheduler.wait_until_ready();
    scheduler
}

fn inject(bench: &Bench, list: &str, flags: &str) -> String {
    bench.file("post.eml", "From: a@example.org\n\nHello.\n");
    bench.file("members.txt", "a@example.org\n");
    let line = format!("inject --config c.toml --list {list} --message post.eml --recipients mail=members.txt {flags}");
    bench.runs(&line, DONE).stdout.trim_end().to_owned()
}

/// Not before that time, by the name in the spool.
fn not_before(bench: &Bench, id: &str) -> Option<u64> {
    let name = bench.spool.waiting().into_iter().find(|name| name.contains(id)).unwrap();
    name.split_once(":at").map(|(_, at)| at.parse().unwrap())
}

#[test]
fn inject_gives_a_message_the_next_opening_of_its_list() {
    let bench = Bench::new();
    let point = format!("deliver = \"{} UTC\"", time(3600));
    let closed = format!("deliver = \"{}..{} UTC\"", time(7200), time(10_800));
    let open = format!("deliver = [\"{}..{} UTC\", \"Mon 05:00..05:01 UTC\"]", time(-3600), time(3600));
    let table = |list: &str, deliver: &str| format!("[lists.\"{list}@*\"]\n{deliver}\n");
    bench.file("c.toml", &(table("point", &point) + &table("closed", &closed) + &table("open", &open)));
    let started = now().0;
    let id = inject(&bench, "point@my.dom", "");
    let at = not_before(&bench, &id).unwrap();
    assert!((started + 3590..=started + 3600).contains(&at), "{at} from {started}");
    let id = inject(&bench, "closed@my.dom", "");
    let at = not_before(&bench, &id).unwrap();
    assert!((started + 7190..=started + 7200).contains(&at), "{at} from {started}");
    let id = inject(&bench, "open@my.dom", "");
    assert_eq!(not_before(&bench, &id), None);
    // A time goes before a point; in a window it is the earliest.
    let id = inject(&bench, "point@my.dom", "--at 4000000000");
    assert_eq!(not_before(&bench, &id), Some(4_000_000_000));
    let id = inject(&bench, "closed@my.dom", "--at +8d");
    let at = not_before(&bench, &id).unwrap();
    assert!((started + 8 * DAY + 7190..=started + 8 * DAY + 7200).contains(&at), "{at} from {started}");
    bench.runs("config explain point@my.dom --config c.toml", DONE).prints(&[&point, "# c.toml:2"]);
}

#[test]
fn a_window_that_is_none_is_named_with_its_line() {
    let bench = Bench::new();
    for (deliver, complaint) in [
        ("\"soon\"", "deliver: expected a point in time such as"),
        ("\"18:00..18:00\"", "deliver: a window ends at another time than it begins"),
        ("[\"18:00\", \"19:00 Europe/Atlantis\"]", "deliver: \"Europe/Atlantis\" is no time zone"),
        ("[]", "deliver: expected a point"),
    ] {
        bench.file("c.toml", &format!("[lists.\"a@b\"]\ndeliver = {deliver}\n"));
        bench.runs("config check --config c.toml", USAGE).complains(&["c.toml:2:1: ", complaint]);
    }
}

#[test]
fn a_window_that_closes_in_flight_stops_the_message_at_the_boundary_and_the_rest_waits_for_the_next_one() {
    let bench = Bench::new();
    bench.spool.put_packets("1", NEWS, &[members("m", 50)]);
    let (relay, gate) = gated();
    // It closes in some seconds.
    let (first, end) = (window(-3600, 5), now().0 + 5);
    let scheduler = scheduler(&bench, &relay, &first);
    gate.wait_for(1);
    wait_until("the window closes", || now().0 > end, String::new);
    gate.open();
    scheduler.wait_for_line(&["window has closed", NEWS]);
    bench.spool.put_packets("2", TALK, &[members("talk", 3)]);
    wait_until("the other is sent", || bench.spool.waiting().len() == 1, || scheduler.log());
    assert_once_each(&relay, members("m", 20).into_iter().chain(members("talk", 3)));
    assert_eq!(bench.spool.waiting(), [format!("1/{NEWS}")]);
    // A reload opens it again.
    let settings = std::fs::read_to_string(bench.file("unused", "").with_file_name("c.toml")).unwrap();
    bench.file("c.toml", &settings.replace(&first, &window(-3600, 3600)));
    scheduler.signal(Signal::HUP);
    bench.spool.wait_until_empty();
    scheduler.stop();
    assert_once_each(&relay, members("m", 50).into_iter().chain(members("talk", 3)));
}

#[test]
fn outside_its_window_nothing_of_a_list_is_sent_however_it_came_and_in_it_all_is() {
    let bench = Bench::new();
    bench.spool.put_packets("0", NEWS, &[members("m", 3)]);
    let relay = Relay::start(Policy::new());
    let opens = now().0 + 4;
    let scheduler = scheduler(&bench, &relay, &window(4, 3600));
    bench.spool.put_packets("9", TALK, &[members("talk", 3)]);
    wait_until("the other is sent", || bench.spool.waiting().len() == 1, || scheduler.log());
    let before = relay.record().copies().len();
    assert!(before == 3 || now().0 >= opens, "{before} copies");
    bench.spool.wait_until_empty();
    assert!(now().0 >= opens);
    scheduler.stop();
    assert_once_each(&relay, members("m", 3).into_iter().chain(members("talk", 3)));
}
