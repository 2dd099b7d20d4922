//! `sympa-dist report`: what happened, told from the event log after real schedulers have written it.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::bench::{Bench, DONE, FINDINGS, Scheduler, TRY_AGAIN, Told, USAGE};
use crate::support::relay::{Dot, Gate, Policy, Rcpt, Relay};
use crate::support::spool::{members, now, wait_until};

fn log_of(bench: &Bench) -> PathBuf {
    bench.file("x", "").with_file_name("events.jsonl")
}

/// A scheduler with one worker, ten recipients a transaction, and a log.
fn keeping(bench: &Bench, relay: &Relay) -> Scheduler {
    let run = "[run]\nworkers = 1\nrecipients_per_transaction = 10\n";
    let path = log_of(bench).display().to_string();
    let config = format!("{run}[events]\npath = \"{path}\"\n[[relay]]\nurl = \"{}\"\n", relay.url());
    let config = bench.file("report.toml", &config);
    let spool = bench.spool.path().display();
    let scheduler = bench.scheduler_in(&format!("--log-format json --spool {spool} --config {}", config.display()));
    scheduler.wait_until_ready();
    scheduler
}

fn log_has(path: &Path, words: &[&str]) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().any(|line| words.iter().all(|word| line.contains(word)))
}

#[track_caller]
fn wait_for(path: &Path, words: &[&str]) {
    wait_until(&format!("{words:?}"), || log_has(path, words), || fs::read_to_string(path).unwrap_or_default());
}

/// A big one that gave way to an urgent one; of its recipients one was deferred and came through, one failed.
fn eventful(bench: &Bench) -> (String, String) {
    let (big, urgent) = (format!("big@told.example.org.{}.1", now()), format!("urgent@told.example.org.{}.2", now()));
    let gate = Gate::new();
    let theirs = gate.clone();
    let policy = Policy::new().rcpt(|address, _| match address {
        "m000003@example.org" => Rcpt::Say("450 4.2.1 greylisted"),
        "m000004@example.org" => Rcpt::Say("550 5.1.1 no such user"),
        _ => Rcpt::Take,
    });
    let relay = Relay::start(policy.dot(move |envelope| {
        if envelope.order == 1 {
            theirs.pass();
        }
        Dot::Take
    }));
    let scheduler = keeping(bench, &relay);
    bench.spool.put_packets("6", &big, &[members("m", 30), members("n", 5)]);
    gate.wait_for(1);
    bench.spool.put_packets("0", &urgent, &[members("urgent", 3)]);
    scheduler.wait_for_line(&["message has arrived", &urgent]);
    gate.open();
    // What was deferred waits for a time that this test does not; everybody else has it.
    relay.wait_for_recipients(36);
    wait_for(&log_of(bench), &["packet-left", "finished", &big, "recipients.mail.0002"]);
    scheduler.stop();
    (big, urgent)
}

#[test]
fn a_story_tells_when_it_came_who_went_first_what_the_relay_said_and_how_fast_it_went() {
    let bench = Bench::new();
    let (big, urgent) = eventful(&bench);
    let story = bench.json(&format!("report {big} --json --config report.toml")).remove(0);
    assert_eq!(
        json!([story["recipients"], story["sent"], story["deferred"], story["failed"], story["uncertain"]]),
        json!([35, 33, 1, 1, 0])
    );
    assert_eq!((&story["priority"], &story["end"]["state"]), (&"6".into(), &"deferred".into()));
    assert_eq!((&story["preempted"], &story["preemptions"][0]["by"]), (&1.into(), &urgent.as_str().into()));
    assert_eq!((&story["preemptions"][0]["by_priority"], &story["ended"]), (&"0".into(), &Value::Null));
    let number = |name: &str| story[name].as_f64().unwrap_or_else(|| panic!("{name} in {story}"));
    assert!(number("rate") > 0.0 && number("waited") >= 0.0 && number("busy") > 0.0);
    assert_eq!(story["preemptions"][0]["lasted"].as_f64(), Some(number("preempted_for")));
    assert!(number("preempted_for") > 0.0);
    let refusal = |what: &str| json!([story[what][0]["recipients"], story[what][0]["reply"]]);
    assert_eq!(refusal("deferrals"), json!([1, "450 4.2.1 greylisted"]));
    assert_eq!(refusal("failures"), json!([1, "550 5.1.1 no such user"]));
    assert!(story["deferrals"][0]["relay"].as_str().unwrap().starts_with("smtp://127.0.0.1"), "{story}");
    let events: Vec<&str> =
        story["events"].as_array().unwrap().iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(events.iter().filter(|event| **event == "preempted").count(), 1, "{events:?}");
    assert_eq!(events.last(), Some(&"scheduler-stopped"));

    let told = bench.runs(&format!("report {big} --config report.toml"), DONE).stdout;
    for words in [
        "waits at 6 for another try of who was deferred",
        "recipients  35: 33 sent, 1 deferred, 1 failed",
        &format!("by {urgent} (0), for "),
        "450 4.2.1 greylisted (smtp://127.0.0.1",
        "550 5.1.1 no such user",
        "preempted   once, for ",
        " recipients a second, on ",
        "found at 6",
    ] {
        assert!(told.contains(words), "{words}\n{told}");
    }
    let told = bench.runs(&format!("report {urgent} --config report.toml"), DONE).stdout;
    for words in ["is distributed", "3: 3 sent", "went first  once", &format!("{big} gives way to it")] {
        assert!(told.contains(words), "{words}\n{told}");
    }
}

#[test]
fn a_list_or_a_time_is_a_line_a_message() {
    let bench = Bench::new();
    let (big, urgent) = eventful(&bench);
    let rows = |how: &str| -> Vec<String> {
        let stories = bench.json(&format!("report --json --config report.toml {how}"));
        assert!(stories.iter().all(|story| story.get("events").is_none()));
        stories.iter().map(|story| story["message"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(rows("--since 1h"), [big.as_str(), urgent.as_str()]);
    assert_eq!(rows("--list urgent@told.example.org"), [urgent.as_str()]);
    assert_eq!(rows("--list big@told.example.org --since 1h --until 2100-01-01"), [big.as_str()]);
    assert_eq!(rows(&format!("--until {}", now().0 + 60)).len(), 2);
    let table = bench.runs("report --since 1h --config report.toml", DONE).stdout;
    let row = |id: &str| {
        let line = table.lines().find(|line| line.contains(id)).unwrap_or_else(|| panic!("{id}\n{table}"));
        line.split_whitespace().skip(2).map(str::to_owned).collect::<Vec<_>>()
    };
    let (of_big, of_urgent) = (row(&big), row(&urgent));
    assert_eq!(
        (of_big[1].as_str(), &of_big[4..8], of_big[10].as_str()),
        ("6", &["33", "1", "1", "1"].map(String::from)[..], "deferred")
    );
    assert_eq!(
        (of_urgent[1].as_str(), &of_urgent[4..9], of_urgent[10].as_str()),
        ("0", &["3", "0", "0", "0", "-"].map(String::from)[..], "done")
    );
    for nothing in ["--list nobody@told.example.org", "--since 2100-01-01", "--until 2000-01-01", "a@b.org.1.2"] {
        let told = bench.runs(&format!("report {nothing} --config report.toml"), FINDINGS);
        told.complains(&["nothing of it is in the log, which tells of "]);
        assert_eq!(told.stdout, "");
    }
}

#[test]
fn what_happened_before_a_kill_is_told_with_what_happened_after_it() {
    let bench = Bench::new();
    let id = format!("killed@told.example.org.{}.1", now());
    let gate = Gate::new();
    let theirs = gate.clone();
    let relay = Relay::start(Policy::new().dot(move |envelope| {
        if envelope.order == 1 {
            theirs.pass();
        }
        Dot::Take
    }));
    let mut scheduler = keeping(&bench, &relay);
    bench.spool.put_packets("3", &id, &[members("m", 30)]);
    gate.wait_for(1);
    wait_for(&log_of(&bench), &["packet-taken", &id]);
    scheduler.signal(Signal::KILL);
    scheduler.wait();
    gate.open();
    let scheduler = keeping(&bench, &relay);
    bench.spool.wait_until_empty();
    scheduler.stop();
    let story = bench.json(&format!("report {id} --json --config report.toml")).remove(0);
    assert_eq!(json!([story["recipients"], story["sent"], story["end"]["state"]]), json!([30, 30, "done"]));
    let events = story["events"].as_array().unwrap();
    let started = |event: &&Value| event["event"] == "scheduler-started";
    assert_eq!(events.iter().filter(started).count(), 1, "the second one, while it waited: {story}");
}

#[test]
fn who_moved_held_paused_or_cancelled_it_is_told_with_the_reason() {
    let bench = Bench::new();
    let id = format!("moved@told.example.org.{}.1:at4000000000", now());
    let id = id.as_str();
    let name = id.split(':').next().unwrap();
    let relay = Relay::start(Policy::new());
    let scheduler = keeping(&bench, &relay);
    bench.spool.put_packets("3", id, &[members("m", 3)]);
    let log = log_of(&bench);
    wait_for(&log, &["arrived", name, "4000000000"]);
    bench.runs(&format!("requeue {name} --to 7"), DONE);
    wait_for(&log, &["requeued", name, "\"to\":\"7\""]);
    Told::of(bench.command(&format!("hold {name}")).args(["--reason", "ask the dean"]), DONE);
    wait_for(&log, &["requeued", name, "\"to\":\"z\""]);
    let told = bench.runs(&format!("report {name} --config report.toml"), DONE).stdout;
    assert!(told.contains("is held, as far as the log goes: pat: ask the dean"), "{told}");
    bench.runs(&format!("release {name}"), DONE);
    wait_for(&log, &["requeued", name, "\"from\":\"z\""]);
    Told::of(bench.command("pause --priority 7").args(["--reason", "a look"]), DONE);
    wait_for(&log, &["pauses-changed", "a look"]);
    bench.runs(&format!("reschedule {name} --at 4000000001"), DONE);
    wait_for(&log, &["rescheduled", name, "4000000001"]);
    Told::of(bench.command(&format!("cancel {name} --yes")).args(["--reason", "sent by mistake"]), DONE);
    wait_for(&log, &["gone", name]);
    scheduler.stop();
    let told = bench.runs(&format!("report {name} --config report.toml"), DONE).stdout;
    for words in [
        "was cancelled by pat: sent by mistake",
        "found at 3, not before 2096-10-02",
        "requeued from 3 to 7",
        "held, from 7, by pat: ask the dean",
        "released to 7",
        "paused: priority:7 by pat@",
        ": a look",
        "rescheduled: not before 2096-10-02",
        "waited      and was never begun with",
    ] {
        assert!(told.contains(words), "{words}\n{told}");
    }
    let table = bench.runs("report --since 1h --config report.toml", DONE).stdout;
    assert!(table.contains(name) && table.contains("gone"), "{table}");
}

/// A line of a log.
fn line(at: f64, host: &str, event: &str, id: &str, more: &str) -> String {
    format!("{{\"at\":{at},\"event\":\"{event}\",\"message\":\"{id}\",{more}\"host\":\"{host}\",\"pid\":1}}\n")
}

#[test]
fn logs_of_several_hosts_with_their_predecessors_are_one_story_in_order_of_time() {
    const ID: &str = "shared@told.example.org.1700000000.1";
    let bench = Bench::new();
    let taken = |packet: u32, done: u32, more: &str| {
        format!("\"packet\":\"recipients.mail.000{packet}\",\"worker\":0,\"recipients\":10,\"done\":{done},{more}")
    };
    let left = |packet| taken(packet, 10, "\"claimed_for\":2.0,\"why\":\"finished\",");
    bench.file(
        "a.jsonl.2",
        &(line(1_700_000_001.0, "a", "arrived", ID, "\"priority\":\"5\",")
            + &line(1_700_000_002.0, "a", "packet-taken", ID, &taken(1, 0, ""))),
    );
    bench.file("a.jsonl.1", &line(1_700_000_004.0, "a", "packet-left", ID, &left(1)));
    bench.file("a.jsonl", &line(1_700_000_009.0, "a", "done", ID, "\"priority\":\"5\","));
    bench.file("b.jsonl-20231114", &line(1_700_000_003.0, "b", "packet-taken", ID, &taken(2, 0, "")));
    bench.file("b.jsonl", &line(1_700_000_005.0, "b", "packet-left", ID, &left(2)));
    bench.file("b.jsonl.save", "not one of them");
    let all = "--events a.jsonl --events b.jsonl --events a.jsonl.1";
    let story = Told::of(&mut bench.bare_command(&format!("report {ID} --json {all}")), DONE);
    assert_eq!(story.stderr, "");
    let story: Value = serde_json::from_str(&story.stdout).unwrap();
    assert_eq!(json!([story["sent"], story["busy"], story["waited"], story["took"]]), json!([20, 3.0, 2.0, 9.0]));
    assert_eq!((&story["hosts"], &story["rate"]), (&json!(["a", "b"]), &json!(20.0 / 3.0)));
    let times: Vec<f64> =
        story["events"].as_array().unwrap().iter().map(|event| event["at"].as_f64().unwrap()).collect();
    assert!(times.len() == 6 && times.is_sorted(), "{times:?}");
    bench.file("b.jsonl.3.gz", "\u{1f}packed");
    Told::of(&mut bench.bare_command(&format!("report {ID} {all}")), DONE).complains(&["b.jsonl.3.gz: compressed"]);
}

#[test]
fn lines_that_are_damaged_are_counted_and_named_and_the_rest_is_told() {
    const ID: &str = "hurt@told.example.org.1700000000.1";
    let bench = Bench::new();
    let good = line(1_700_000_001.0, "a", "arrived", ID, "\"priority\":\"5\",");
    let mut log = good.into_bytes();
    log.extend(b"{\"at\":1700000002.0,\"event\":\"done\",\"mess\n");
    log.extend(b"\0\0\0\0\0\0\0\0\n\n");
    log.extend(b"\xff\xfe\n[1,2]\nnull\n");
    log.extend(line(1_700_000_003.0, "a", "gone", "../../etc/passwd", "").bytes());
    log.extend(line(1_700_000_003.0, "a", "abducted", ID, "").bytes());
    log.extend(b"{\"x\":\"");
    log.extend(vec![b'x'; 3 << 20]);
    log.extend(b"\"}\n");
    log.extend(line(1_700_000_004.0, "a", "done", ID, "\"priority\":\"5\",").bytes());
    log.extend(b"{\"at\":17");
    fs::write(bench.file("hurt.jsonl", ""), log).unwrap();
    let told = Told::of(&mut bench.bare_command(&format!("report {ID} --events hurt.jsonl")), DONE);
    told.prints(&["is distributed"]);
    told.complains(&[
        "8 lines or files can't be read, or believed",
        "hurt.jsonl:2: EOF",
        "hurt.jsonl:3: ",
        "1 lines are of a kind",
    ]);
    assert_eq!(told.stderr.lines().count(), 8, "{}", told.stderr);
}

#[test]
fn nothing_in_a_log_reaches_a_terminal_raw() {
    const ID: &str = "evil@told.example.org.1700000000.1";
    let bench = Bench::new();
    let evil = "\\u001b]0;owned\\u0007\\n\\u009b31m\\u202e";
    let packet = "\"packet\":\"recipients.mail.0001\",\"recipients\":3,";
    let refused = format!("{packet}\"relay\":\"smtp://a\",\"reply\":\"{evil}\",\"until\":5,");
    let log = [
        line(1700000005.0, "a", "deferred", ID, &refused),
        line(1700000005.0, "a", "failed", ID, &refused),
        line(1700000005.0, "a", "uncertain", ID, &format!("{packet}\"why\":\"{evil}\",")),
        line(1700000006.0, "a", "held", ID, &format!("\"from\":\"5\",\"why\":\"{evil}\",")),
        line(1700000006.0, "a", "requeued", ID, &format!("\"from\":\"5\",\"to\":\"z\",\"why\":\"{evil}\",")),
        format!(
            "{{\"at\":1700000006,\"event\":\"pauses-changed\",\"paused\":[\"everything by {evil}\"],\"host\":\"a\",\"pid\":1}}\n"
        ),
        format!(
            "{{\"at\":1700000006,\"event\":\"relay-down\",\"relay\":\"smtp://a\",\"why\":\"{evil}\",\"pause\":1.0,\"host\":\"a\",\"pid\":1}}\n"
        ),
        line(1700000007.0, "a", "set-aside", ID, &format!("\"why\":\"{evil}\",")),
        format!("{{\"at\":\"{evil}\",\"event\":\"gone\"}}\n"),
        format!("{{\"at\":1700000008,\"event\":\"{evil}\"}}\n"),
        line(1700000008.0, evil, "gone", ID, ""),
        line(1700000008.0, "a", "gone", ID, &format!("\"{evil}\":1,\"{evil}\":1,")),
    ];
    bench.file("evil.jsonl", &log.concat());
    for how in [ID.to_owned(), format!("{ID} --json"), "--since 0".into(), "--since 0 --json".into()] {
        let told = Told::of(&mut bench.bare_command(&format!("report {how} --events evil.jsonl")), DONE);
        // JSON is for programs: what is below a space is escaped, as JSON wants it.
        let is_raw = |c: char| if how.ends_with("json") { c < ' ' } else { c.is_control() || c == '\u{202e}' };
        let raw = |text: &str| text.chars().any(|c| is_raw(c) && c != '\n');
        assert!(!raw(&told.stdout) && !raw(&told.stderr), "{how}: {told:?}");
        assert!(!told.stdout.contains("\n]0;owned") && told.stderr.contains("3 lines or files"), "{how}: {told:?}");
    }
}

#[test]
fn lines_that_this_program_would_not_have_written_are_passed_over_counted_and_named() {
    const ID: &str = "absurd@told.example.org.1700000000.1";
    let bench = Bench::new();
    let good = [
        line(1_700_000_001.0, "a", "arrived", ID, "\"priority\":\"5\","),
        line(1_700_000_004.0, "a", "done", ID, "\"priority\":\"5\","),
    ];
    let huge = u64::MAX;
    let packet = |recipients: u64, done: u64, more: &str| {
        format!("\"packet\":\"recipients.mail.0001\",\"worker\":0,\"recipients\":{recipients},\"done\":{done},{more}")
    };
    let absurd = [
        line(1e300, "a", "gone", ID, ""),
        line(-5.0, "a", "gone", ID, ""),
        line(4e9, "a", "gone", ID, ""),
        line(1_700_000_002.0, "a", "packet-taken", ID, &packet(huge, 0, "")),
        line(1_700_000_002.0, "a", "packet-taken", ID, &packet(5, 6, "")),
        line(1_700_000_002.0, "a", "packet-left", ID, &packet(5, 5, "\"claimed_for\":1e300,\"why\":\"finished\",")),
        line(1_700_000_003.0, "a", "gone", ID, "\"message\":\"other@told.example.org.1.1\","),
        line(1_700_000_003.0, "a", "gone", ID, "\"at\":5,"),
        format!("{{\"at\":1,\"event\":\"gone\",\"message\":\"{ID}\",\"why\":\"{}\"}}\n", "x".repeat(10 << 20)),
    ];
    bench.file("absurd.jsonl", &[&good[..1], &absurd[..], &good[1..]].concat().concat());
    let order = |how: &str| Told::of(&mut bench.bare_command(&format!("report {how} --events absurd.jsonl")), DONE);
    let told = order(ID);
    assert_eq!(told.stdout.lines().count(), 7, "{}", told.stdout);
    told.prints(&["took        4.000s, until 2023-11-14"]);
    told.complains(&[
        "9 lines or files can't be read, or believed",
        "absurd.jsonl:2: 1e300 is no time",
        "absurd.jsonl:4: nothing of this can have happened at 4000000000",
        "absurd.jsonl:5: recipients: nothing that this program writes",
        "absurd.jsonl:6: done: ",
        "  …",
    ]);
    let story: Value = serde_json::from_str(&order(&format!("{ID} --json")).stdout).unwrap();
    assert_eq!(json!([story["took"], story["sent"], story["busy"]]), json!([4.0, 0, 0.0]));
    assert_eq!(story["events"].as_array().unwrap().len(), 2);
}

#[test]
fn what_the_log_does_not_tell_is_left_out_and_null() {
    const ID: &str = "never@told.example.org.1700000000.1";
    let bench = Bench::new();
    bench.file("never.jsonl", &line(1_700_000_001.0, "a", "arrived", ID, "\"priority\":\"5\","));
    let order = |how: &str| Told::of(&mut bench.bare_command(&format!("report {how} --events never.jsonl")), DONE);
    let text = order(ID).stdout;
    for word in ["recipients", "took", "busy", "preempted"] {
        assert!(!text.contains(word), "{word}\n{text}");
    }
    let story: Value = serde_json::from_str(&order(&format!("{ID} --json")).stdout).unwrap();
    for member in ["recipients", "started", "waited", "ended", "took", "rate", "not_before"] {
        assert_eq!(story.get(member), Some(&Value::Null), "{member}");
    }
}

#[test]
fn text_table_and_json_have_one_name_for_each_span_and_one_figure() {
    const ID: &str = "spans@told.example.org.1700000000.1";
    let bench = Bench::new();
    let packet = |done: u32, more: &str| {
        format!(
            "\"packet\":\"recipients.mail.0001\",\"worker\":0,\"recipients\":10,\"done\":{done},\"relay\":\"smtp://a\",{more}"
        )
    };
    let left = |done, why: &str| packet(done, &format!("\"claimed_for\":1.0,\"why\":\"{why}\","));
    let by = "\"packet\":\"recipients.mail.0001\",\"worker\":0,\"priority\":\"5\",";
    let down = |relay: &str| {
        format!(
            "{{\"at\":1700000002,\"event\":\"relay-down\",\"relay\":\"smtp://{relay}\",\"why\":\"smtp://{relay}: connecting: refused\",\"pause\":2.5,\"host\":\"a\",\"pid\":1}}\n"
        )
    };
    let log = [
        // Found half a second behind its id's.
        line(1_700_000_000.5, "a", "arrived", ID, "\"priority\":\"5\","),
        down("a"),
        down("b"),
        line(1_700_000_002.75, "a", "packet-taken", ID, &packet(0, "")),
        line(
            1_700_000_003.75,
            "a",
            "preempted",
            ID,
            &format!("{by}\"by\":\"u@d.org.5.1\",\"by_priority\":\"0\",\"latency\":0.125,"),
        ),
        line(1_700_000_003.75, "a", "packet-left", ID, &left(5, "preempted")),
        line(1_700_000_005.0, "a", "resumed", ID, &format!("{by}\"lasted\":1.375,")),
        line(1_700_000_005.0, "a", "packet-taken", ID, &packet(5, "")),
        line(1_700_000_006.0, "a", "packet-left", ID, &left(10, "finished")),
        line(1_700_000_006.5, "a", "done", ID, "\"priority\":\"5\","),
    ];
    bench.file("spans.jsonl", &log.concat());
    let order =
        |how: &str| Told::of(&mut bench.bare_command(&format!("report {how} --events spans.jsonl")), DONE).stdout;
    let text = order(ID);
    for words in [
        "waited      2.250s, until ",
        "took        6.000s, until ",
        "busy        2.000s, at 5.0 recipients a second, on a\n",
        "preempted   once, for 1.375s in all",
        "for 1.375s: recipients.mail.0001",
        "recipients.mail.0001 is sent on, after 1.375s",
        "relay smtp://a is out of use for 2.500s: connecting: refused",
        ": distributed\n",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
    assert!(!text.contains("smtp://b"), "{text}");
    let table = order("--list spans@told.example.org");
    let (head, row) = table.split_once('\n').unwrap();
    let columns = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let expected = ["P", "waited", "took", "sent", "deferred", "failed", "preempted", "for", "rate", "state"];
    assert_eq!(columns(head)[2..], expected);
    assert_eq!(columns(row)[3..], ["5", "2.250s", "6.000s", "10", "0", "0", "1", "1.375s", "5.0", "done"]);
    let story: Value = serde_json::from_str(&order(&format!("{ID} --json"))).unwrap();
    let figures = ["waited", "took", "busy", "preempted_for", "rate", "recipients"].map(|name| story[name].clone());
    assert_eq!(json!(figures), json!([2.25, 6.0, 2.0, 1.375, 5.0, 10]));
    assert_eq!((&story["preemptions"][0]["lasted"], &story["end"]["state"]), (&json!(1.375), &json!("done")));
    let events = story["events"].as_array().unwrap();
    assert!(events.iter().all(|event| event.get("took").is_none() && event.get("waited").is_none()), "{events:#?}");
}

#[test]
fn pauses_of_others_are_not_told_in_a_messages_story() {
    let bench = Bench::new();
    let id = format!("paused@told.example.org.{}.1:at4000000000", now());
    let name = id.split(':').next().unwrap();
    let relay = Relay::start(Policy::new());
    let scheduler = keeping(&bench, &relay);
    let log = log_of(&bench);
    bench.spool.put_packets("3", &id, &[members("m", 3)]);
    wait_for(&log, &["arrived", name]);
    for (what, why) in [
        ("--list other@told.example.org", "another list"),
        ("--priority 7", "another level"),
        ("--list paused@told.example.org", "its list"),
    ] {
        Told::of(bench.command(&format!("pause {what}")).args(["--reason", why]), DONE);
        wait_for(&log, &["pauses-changed", why]);
    }
    bench.runs("resume --list paused@told.example.org", DONE);
    bench.runs("resume --priority 7", DONE);
    wait_until("the end of it", || log_has(&log, &["\"paused\":[\"list:other@told.example.org by"]), String::new);
    scheduler.stop();
    let told = bench.runs(&format!("report {name} --config report.toml"), DONE).stdout;
    assert!(!told.contains("another"), "{told}");
    assert_eq!((told.matches(": its list").count(), told.matches("not paused any more").count()), (1, 1), "{told}");
}

#[test]
fn without_a_log_or_with_an_order_that_makes_no_sense_it_says_so() {
    let bench = Bench::new();
    let id = "a@b.org.1.2";
    bench.runs("report", USAGE).complains(&["Give an ID, --list or --since"]);
    bench.runs(&format!("report {id}"), USAGE).complains(&["events.path", "--events"]);
    bench.runs(&format!("report {id} --list a@b.org"), USAGE);
    bench.runs("report --since soon --events x", USAGE).complains(&["--since: \"soon\" is no time"]);
    bench.runs("report --since 1h --until 2h --events x", USAGE).complains(&["nothing happens in between"]);
    bench.runs("report nonsense --events x", USAGE);
    bench
        .runs(&format!("report {id} --events not-there"), TRY_AGAIN)
        .complains(&["cannot read not-there: No such file"]);
    bench.runs(&format!("report {id} --events ."), TRY_AGAIN).complains(&["cannot read .: "]);
    // It has no end.
    bench.runs(&format!("report {id} --events /dev/full"), TRY_AGAIN).complains(&["/dev/full: ", "a device"]);
    bench.file("empty.jsonl", "");
    bench.runs(&format!("report {id} --events empty.jsonl"), FINDINGS).complains(&["there are no events in the log"]);
}
