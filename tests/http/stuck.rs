//! What does not go on: why, how many, and that nobody is promised a time for it.

use std::time::Duration;

use serde_json::{Value, json};
use sympa_dist::spool::layout::PauseName;
use sympa_dist::spool::pause::{self, Pause};

use crate::served::{BIG, HELD, Served, two_messages};
use crate::support::relay::{Dot, Policy, Relay};
use crate::support::spool::{members, wait_until};

/// A metric's figure, by its name and labels.
fn metric(served: &Served, series: &str) -> f64 {
    let (_, _, text) = served.ask("GET", "/metrics", &[], "");
    let line = text.lines().find_map(|line| line.strip_prefix(series)).unwrap_or_else(|| panic!("{series}\n{text}"));
    line.trim().parse().unwrap()
}

fn stuck_at_5(served: &Served, reason: &str) -> f64 {
    metric(served, &format!("sympa_dist_queue_stuck_messages{{priority=\"5\",reason=\"{reason}\"}}"))
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
