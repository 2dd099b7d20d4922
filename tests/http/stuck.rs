//! What does not go on: why, how many, and that nobody is promised a time for it.

use std::time::Duration;

use serde_json::{Value, json};
use sympa_dist::spool::layout::PauseName;
use sympa_dist::spool::pause::{self, Pause};

use crate::served::{BIG, HELD, Served, two_messages};
use crate::support::mount::Mount;
use crate::support::program;
use crate::support::relay::{Counter, Dot, Policy, Rcpt, Relay};
use crate::support::spool::{TestSpool, members, wait_until};

fn stuck_at_5(served: &Served, reason: &str) -> f64 {
    served.metric(&format!("sympa_dist_queue_stuck_messages{{priority=\"5\",reason=\"{reason}\"}}"))
}

fn queue_of(served: &Served) -> String {
    let shown = program::command().arg("--spool").arg(served.spool.path()).arg("queue").output().unwrap();
    String::from_utf8(shown.stdout).unwrap()
}

#[test]
fn what_is_due_and_not_sent_is_counted_by_what_is_in_the_way() {
    let spool = two_messages();
    spool.put_packets("5", "later@http.example.org.1700000000.3:at4102444800", &[members("l", 5)]);
    let served = Served::idle(spool);
    served.wait_until_counted(3);
    let counted = || (stuck_at_5(&served, "no_relay"), stuck_at_5(&served, "paused"));
    wait_until("the relay is down", || counted() == (1.0, 0.0), || format!("{:?}", counted()));
    let level = || served.get("/api/v1/queue")["levels"][5].clone();
    assert_eq!((&level()["waiting"], &level()["stuck"], &level()["scheduled"]), (&json!(1), &json!(1), &json!(1)));
    assert_eq!(served.act("/api/v1/pause", json!({"list": "big@http.example.org", "reason": "a look"})).0, 200);
    wait_until("it is paused", || counted() == (0.0, 1.0), || format!("{:?}", counted()));
    let stuck = served.get("/api/v1/messages?state=stuck");
    assert_eq!((&stuck["total"], &stuck["messages"][0]["queue_id"]), (&json!(1), &json!(BIG)));
    assert_eq!(served.get("/api/v1/messages?state=stuck&priority=z")["total"], 0);
    let row = |id: &str| served.get(&format!("/api/v1/messages/{id}"));
    assert_eq!((&row(BIG)["stuck_reason"], &row(BIG)["state"]), (&json!("paused"), &json!("waiting")));
    assert_eq!(row(HELD)["stuck_reason"], "held");
    assert_eq!(row("later@http.example.org.1700000000.3")["stuck_reason"], "not_before");
    assert_eq!(served.get("/api/v1/queue")["levels"][10]["stuck"], 0, "whoever holds it knows");
}

#[test]
fn a_time_left_is_told_for_what_goes_on_and_not_for_what_is_stopped() {
    let relay = Relay::start(Policy::new().dot(|_| {
        std::thread::sleep(Duration::from_millis(20));
        Dot::Take
    }));
    let spool = two_messages();
    spool.put_packets("5", "goes@http.example.org.1700000000.4", &[members("g", 20_000)]);
    let pause = Pause { since: 1, by: "pat".into(), why: "a look".into(), until: None };
    pause::pause(&spool.open(), &PauseName::List("big@http.example.org".into()), &pause).unwrap();
    let served = Served::start(spool, &relay.url().to_string(), &[]);
    served.wait_until_counted(3);
    let queue = || served.get("/api/v1/queue");
    let is_known = |queue: &Value| queue["levels"][5]["time_left"].is_number();
    wait_until("a rate is known", || is_known(&queue()), || queue().to_string());
    let queue = queue();
    let level = &queue["levels"][5];
    let figure = |name: &str| level[name].as_f64().unwrap();
    // BIG has 42 recipients, HELD is at z.
    let going = figure("recipients_left") - 42.0;
    assert!((figure("time_left") * figure("rate") - going).abs() < 0.5, "{level}");
    assert!((queue["time_left"].as_f64().unwrap() * queue["rate"].as_f64().unwrap() - going).abs() < 0.5, "{queue}");
    assert_eq!(queue["levels"][10]["time_left"], Value::Null);
}

#[test]
fn a_disk_that_fills_up_while_mail_is_sent_is_told_of_wherever_somebody_looks() {
    let mount = Mount::new("size=4m");
    let spool = TestSpool::inside(mount.path());
    let ballast = mount.path().join("ballast");
    let (dots, theirs) = (Counter::default(), ballast.clone());
    // In the second transaction the disk becomes full, and more has to be put on record than fits in a file's last page.
    let later: &str = Box::leak(format!("450 4.2.1 {}", "later ".repeat(80)).into_boxed_str());
    let policy = Policy::new().rcpt(move |recipient, tries| match tries {
        0 if !recipient.contains("0@") => Rcpt::Say(later),
        _ => Rcpt::Take,
    });
    let relay = Relay::start(policy.dot(move |_| {
        if dots.next() == 1 {
            let _ = std::io::copy(&mut std::io::repeat(b'x'), &mut std::fs::File::create(&theirs).unwrap());
        }
        Dot::Take
    }));
    spool.put_packets("5", BIG, &[members("m", 500)]);
    let served = Served::start(spool, &relay.url().to_string(), &[]);
    let ready = || served.ask("GET", "/readyz", &[], "");
    let is_full = || ready().0 == 503 && ready().2.contains("\"room\":false");
    wait_until("it says so", is_full, || ready().2);
    let row = || served.get(&format!("/api/v1/messages/{BIG}"));
    wait_until("of the message, too", || row()["stuck_reason"] == "no_room", || row().to_string());
    let queue = || queue_of(&served);
    assert!(queue().contains("stuck: the spool's disk takes no writes"), "{}", queue());
    std::fs::remove_file(ballast).unwrap();
    wait_until("it goes on", || ready().0 == 200, || ready().2);
    let taken = || relay.record().taken.len();
    wait_until("all that is due is sent", || taken() == 10, || taken().to_string());
}

#[test]
fn a_scheduler_that_had_no_room_to_say_how_it_is_is_not_taken_for_none() {
    let mount = Mount::new("size=1m");
    let spool = TestSpool::inside(mount.path());
    spool.put_packets("5", BIG, &[members("m", 5)]);
    // Where the server's token will lie.
    std::fs::write(spool.path().join("incoming/.token"), crate::served::TOKEN).unwrap();
    let ballast = mount.path().join("ballast");
    let _ = std::io::copy(&mut std::io::repeat(b'x'), &mut std::fs::File::create(&ballast).unwrap());
    let served = Served::idle(spool);
    let queue = || queue_of(&served);
    wait_until("it looks", || queue().contains("takes no writes"), queue);
    assert!(!queue().contains("no scheduler runs"), "{}", queue());
}

#[test]
fn a_spool_that_has_gone_is_not_ready_from_the_next_question_on() {
    let relay = Relay::start(Policy::new());
    let served = Served::start(TestSpool::new(), &relay.url().to_string(), &[]);
    let ready = || served.ask("GET", "/readyz", &[], "");
    wait_until("it is ready", || ready().0 == 200, || ready().2);
    let away = served.spool.path().with_extension("away");
    std::fs::rename(served.spool.path(), &away).unwrap();
    let (status, _, body) = ready();
    assert!(status == 503 && body.contains("\"spool\":false"), "{body}");
    std::fs::rename(&away, served.spool.path()).unwrap();
    wait_until("it is ready again", || ready().0 == 200, || ready().2);
}
