//! What `run` logs of each transaction.

use std::fs;

use serde_json::Value;

use crate::bench::{Bench, DONE, Told};
use crate::support::relay::{Policy, Rcpt, Relay};
use crate::support::spool::members;

const ID: &str = "big@log.example.org.1700000000.1";

#[test]
fn each_transaction_is_one_line_of_json_with_what_became_of_whom() {
    let bench = Bench::new();
    bench.spool.put_packets("3", ID, &[members("m", 25)]);
    let relay = Relay::start(Policy::new().rcpt(|address, _| match address {
        "m000003@example.org" => Rcpt::Say("450 4.2.1 later"),
        "m000012@example.org" | "m000013@example.org" => Rcpt::Say("550 5.1.1 unknown"),
        _ => Rcpt::Take,
    }));
    let scheduler = bench.scheduler(&relay, 1);
    relay.wait_for_recipients(22);
    scheduler.wait_for_line(&["\"conn_use\":3"]);
    let log = scheduler.log();
    scheduler.stop();
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect();
    for line in &lines {
        assert!(line["level"].is_string() && line["timestamp"].is_string() && line["message"].is_string(), "{line}");
    }
    let transactions: Vec<&Value> = lines.iter().filter(|line| line["message"] == "transaction").collect();
    let figures = |name: &str| transactions.iter().map(|line| line[name].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(
        (figures("taken"), figures("deferred"), figures("failed")),
        (vec![9, 8, 5], vec![1, 0, 0], vec![0, 2, 0])
    );
    assert_eq!(figures("conn_use"), [1, 2, 3]);
    let place = relay.url().to_string();
    let place = place.split("://").last().unwrap();
    for line in transactions {
        assert_eq!((&line["message_id"], &line["packet"]), (&ID.into(), &"recipients.mail.0001".into()));
        assert!(line["relay"].as_str().unwrap().contains(place), "{line}");
        assert_eq!(line["reply"], "250 2.0.0 taken");
        let delays: Vec<f64> =
            line["delays"].as_str().unwrap().split('/').map(|delay| delay.parse().unwrap()).collect();
        assert_eq!(delays.len(), 4, "{line}");
        assert!(delays.iter().all(|delay| *delay >= 0.0), "{line}");
    }
    let of = |status: &str| {
        let lines = lines.iter().filter(|line| line["message"] == "recipient" && line["status"] == status);
        lines
            .map(|line| format!("{}: {}", line["to"].as_str().unwrap(), line["reply"].as_str().unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(of("deferred"), ["m000003@example.org: 450 4.2.1 later"]);
    assert_eq!(of("failed"), ["m000012@example.org: 550 5.1.1 unknown", "m000013@example.org: 550 5.1.1 unknown"]);
}

#[test]
fn people_get_lines_without_json_and_only_what_the_level_lets_through() {
    let bench = Bench::new();
    bench.spool.put_packets("3", ID, &[members("m", 5)]);
    fs::create_dir(bench.spool.at("4").join("strange name")).unwrap();
    let relay = Relay::start(Policy::new());
    let arguments = format!("--relay {} --log-level warn --log-format human", relay.url());
    let scheduler = bench.scheduler_in(&format!("{arguments} --spool {}", bench.spool.path().display()));
    relay.wait_for_recipients(5);
    scheduler.wait_for_line(&["strange name"]);
    let log = scheduler.log();
    scheduler.stop();
    assert!(log.contains("WARN") && log.contains("distribute/4/strange name is left where it is"), "{log}");
    assert!(!log.contains("INFO") && !log.contains('{'), "{log}");
}

#[test]
fn what_somebody_wrote_makes_no_second_line() {
    let bench = Bench::new();
    bench.spool.put_packets("3", ID, &[members("m", 5)]);
    let relay = Relay::start_down(Policy::new());
    let arguments = format!("--relay {} --log-format human", relay.url());
    let scheduler = bench.scheduler_in(&format!("{arguments} --spool {}", bench.spool.path().display()));
    scheduler.wait_for_line(&["distributing"]);
    let mut pause = bench.command("pause --priority 3");
    Told::of(pause.args(["--reason", "a look\nERROR forged\u{1b}[31m\u{202e}"]), DONE);
    scheduler.wait_for_line(&["a look"]);
    let log = scheduler.log();
    scheduler.stop();
    let line = log.lines().find(|line| line.contains("a look")).unwrap();
    assert!(line.contains("a look\\nERROR forged\\u{1b}[31m\\u{202e}"), "{line}");
    assert!(!log.chars().any(|c| c != '\n' && c.is_control()), "{log:?}");
}
