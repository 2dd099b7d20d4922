//! `sympa-dist show`.

use serde_json::json;

use crate::bench::{Bench, DONE, FINDINGS, Told, USAGE, gated};
use crate::support::relay::{Policy, Rcpt, Relay};
use crate::support::spool::{members, message};

const ID: &str = "a@show.example.org.1700000000.1";

#[test]
fn a_message_is_shown_packet_by_packet() {
    let bench = Bench::new();
    let top = "Return-Path: <boss@show.example.org>\nX-Sympa-Dist-Recipients: 10\nX-Sympa-Dist-Packets: 3\n";
    let post = format!("{top}{}", message(ID));
    let files = [
        ("message", post.as_str()),
        ("recipients.mail.0002", "a@b.org\nc@d.org\ne@f.org\t{\"n\": 1}\nd@b.org\n"),
        ("recipients.mail.0002.status", "e@f.org\n"),
        ("recipients.mail.0001.r1:at4102444800", "z@b.org\n"),
        ("recipients.txt.0001", "t@b.org\n"),
    ];
    bench.spool.put("4", ID, &files);
    let shown = bench.json(&format!("show {ID} --json")).remove(0);
    let expected = json!({
        "queue_id": ID,
        "priority": "4",
        "state": "waiting",
        "list": "a@show.example.org",
        "sender": "boss@show.example.org",
        "message_size": post.len(),
        "recipients_total": 10,
        "recipients_left": 2,
        "deferred": 1,
        "recipients_done": 7,
        "packets_total": 3,
        "packets_done": 1,
        "next_try": 4_102_444_800_u64,
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&shown[name], value, "{name}");
    }
    let mut packets: Vec<String> = shown["packets"].as_array().unwrap().iter().map(ToString::to_string).collect();
    packets.sort();
    assert_eq!(
        packets,
        [
            r#"{"active":false,"done":0,"due":4102444800,"name":"recipients.mail.0001.r1:at4102444800","recipients":1}"#,
            r#"{"active":false,"done":0,"due":null,"name":"recipients.txt.0001","recipients":1}"#,
            r#"{"active":false,"done":3,"due":null,"name":"recipients.mail.0002","recipients":4}"#,
        ]
    );
    bench.runs(&format!("show {ID}"), DONE).prints(&[
        &format!("{ID}: waiting at 4\n"),
        "sender      <boss@show.example.org>\n",
        "recipients  7 of 10 done, 1 deferred, 0 failed\n",
        "recipients.mail.0002: 4 recipients, 3 done\n",
        "recipients.txt.0001: 1 recipients, 0 done\n",
    ]);
}

#[test]
fn the_null_sender_is_shown_as_such() {
    let bench = Bench::new();
    let post = format!("Return-Path: <>\n{}", message(ID));
    bench.spool.put("4", ID, &[("message", &post), ("recipients.mail.0001", "a@b.org\n")]);
    bench.runs(&format!("show {ID}"), DONE).prints(&["sender      <>\n"]);
}

#[test]
fn a_held_one_says_by_whom_and_why_and_a_scheduled_one_its_time() {
    let bench = Bench::new();
    bench.spool.put_packets("4", &format!("{ID}:at4102444800"), &[members("m", 2)]);
    bench.runs(&format!("show {ID}"), DONE).prints(&["scheduled at 4", "not before"]);
    Told::of(bench.command(&format!("hold {ID}")).args(["--reason", "ask the dean"]), DONE);
    bench.runs(&format!("show {ID}"), DONE).prints(&["held at z", "by pat since", "from 4: ask the dean"]);
}

#[test]
fn a_checkpoint_that_cannot_be_read_is_no_reason_not_to_show_the_rest() {
    let bench = Bench::new();
    let files = [
        ("message", message(ID)),
        ("recipients.mail.0001", "a@b.org\n".into()),
        ("recipients.mail.0001.status", "nobody@b.org\n".into()),
    ];
    bench.spool.put("4", ID, &files.each_ref().map(|(name, text)| (*name, text.as_str())));
    bench.runs(&format!("show {ID}"), DONE).prints(&["its checkpoint can't be read"]);
    assert!(bench.json(&format!("show {ID} --json"))[0]["packets"][0]["done"].is_null());
}

#[test]
fn what_is_being_sent_is_active_and_failures_are_told_with_the_relays_answer() {
    let bench = Bench::new();
    bench.spool.put_packets("4", ID, &[members("m", 30)]);
    let (relay, gate) = gated();
    let scheduler = bench.scheduler(&relay, 1);
    gate.wait_for(1);
    let shown = bench.json(&format!("show {ID} --json")).remove(0);
    assert_eq!((&shown["state"], &shown["packets"][0]["active"]), (&"active".into(), &true.into()));
    assert_eq!((&shown["packets"][0]["done"], relay.record().recipients().count()), (&10.into(), 10));
    bench.runs(&format!("show {ID}"), DONE).prints(&["30 recipients, 10 done, being sent"]);
    gate.open();
    bench.spool.wait_until_empty();
    scheduler.stop();
    bench.runs(&format!("show {ID}"), FINDINGS).complains(&[ID, "no such message is waiting"]);

    let relay = Relay::start(Policy::new().rcpt(|address, _| match address {
        "m000002@example.org" => Rcpt::Say("550 5.1.1 unknown"),
        // So that the message does not end.
        "m000003@example.org" => Rcpt::Say("450 4.2.1 later"),
        _ => Rcpt::Take,
    }));
    bench.spool.put_packets("4", ID, &[members("m", 9)]);
    let scheduler = bench.scheduler(&relay, 1);
    scheduler.wait_for_line(&["\"transaction\"", ID]);
    scheduler.stop();
    let shown = bench.json(&format!("show {ID} --json --failures")).remove(0);
    let failure = &shown["failures"][0];
    assert_eq!((&shown["state"], &shown["failed"]), (&"deferred".into(), &1.into()));
    assert_eq!((&failure["recipient"], &failure["code"]), (&"m000002@example.org".into(), &550.into()));
    bench.runs(&format!("show {ID} --failures"), DONE).prints(&["failed: m000002@example.org: 550", "unknown"]);
}

#[test]
fn an_unknown_id_is_a_finding_and_a_bad_one_is_a_mistake() {
    let bench = Bench::new();
    for flag in ["", "--json"] {
        let told = bench.runs(&format!("show {ID} {flag}"), FINDINGS);
        told.complains(&[ID, "no such message is waiting"]);
        assert_eq!(told.stdout, "");
    }
    bench.runs("show nonsense", USAGE).complains(&["nonsense"]);
    bench.runs("show ../bad.1.2", USAGE);
    bench.runs("show", USAGE);
}
