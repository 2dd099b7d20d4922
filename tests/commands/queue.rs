//! `sympa-dist queue`: its figures, against what was put in and what the relay got.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::bench::{Bench, DONE, FINDINGS, TRY_AGAIN, Told, USAGE, quiet};
use crate::support::program::Program;
use crate::support::relay::{Dot, Gate, Policy, Rcpt, Relay};
use crate::support::spool::{lines, members, now, wait_until};

const BIG: &str = "big@queue.example.org.1700000000.1";
const SMALL: &str = "small@queue.example.org.1700000000.2";
const HELD: &str = "held@queue.example.org.1700000000.3";
const LATER: &str = "big@queue.example.org.1700000000.4";

/// Queues a message of so many recipients, `<list>000001@example.org` and so on.
fn inject(bench: &Bench, id: &str, recipients: usize, how: &str) {
    let list = id.split(".17").next().unwrap();
    bench.file("post", &format!("From: a@b.org\nSubject: {id}\n\nhello\n"));
    bench.file("members", &lines(&members(list.split('@').next().unwrap(), recipients)));
    let line = format!("inject --id {id} --list {list} --message post --recipients mail=members --keep-order {how}");
    bench.runs(&line, DONE);
}

fn four(bench: &Bench) {
    inject(bench, BIG, 60, "--priority 5 --packet-size 20");
    inject(bench, SMALL, 25, "--priority 3");
    inject(bench, HELD, 8, "--priority 4 --packets 2");
    let mut hold = bench.command(&format!("hold {HELD}"));
    Told::of(hold.args(["--reason", "ask the dean"]), DONE);
    inject(bench, LATER, 5, "--priority 5 --at 2100-01-01T00:00:00Z");
}

/// The table by priority: priority, messages, packets, left, deferred, failed, done.
fn depth(table: &str) -> Vec<String> {
    let rows = table.lines().skip_while(|line| !line.trim_start().starts_with("P ")).skip(1);
    let rows = rows.take_while(|line| !line.trim().is_empty());
    rows.map(|row| {
        let figures: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(figures.len(), 11, "{row}");
        figures[..7].join(" ")
    })
    .collect()
}

fn figures(row: &Value) -> [u64; 7] {
    ["recipients_total", "recipients_done", "recipients_left", "deferred", "failed", "packets_total", "packets_done"]
        .map(|name| row[name].as_u64().unwrap_or_else(|| panic!("{name} in {row}")))
}

fn row_of(bench: &Bench, id: &str) -> Value {
    let rows = bench.json("queue --json");
    rows.into_iter().find(|row| row["queue_id"] == id).unwrap_or_else(|| panic!("no {id}"))
}

#[test]
fn a_message_that_cannot_be_read_is_named_and_hides_no_other() {
    let bench = Bench::new();
    inject(&bench, BIG, 60, "--priority 5 --packet-size 20");
    std::fs::create_dir_all(bench.spool.at("z").join(HELD).join("message")).unwrap();
    let told = bench.runs("queue", FINDINGS);
    assert_eq!(depth(&told.stdout), ["5 1 3 60 0 0 0"]);
    told.complains(&[HELD, "is not shown", "not a regular file"]);
    assert_eq!(bench.runs("queue --json", FINDINGS).stdout.lines().count(), 1);
    bench.runs("queue --priority 5", DONE);
    bench.runs("check", FINDINGS).prints(&["z/held@queue.example.org.1700000000.3"]);
}

#[test]
fn what_somebody_wrote_is_shown_without_what_a_terminal_would_obey() {
    let bench = Bench::new();
    inject(&bench, HELD, 1, "--priority 4");
    Told::of(bench.command(&format!("hold {HELD}")).args(["--reason", "\u{1b}[31mred\nand more"]), DONE);
    let table = bench.runs("queue", DONE).stdout;
    assert!(table.contains("?[31mred?and more"), "{table}");
    // Whatever has a file among the schedulers', and holds its lock.
    let file = std::fs::File::create(bench.spool.path().join("running/evil.7")).unwrap();
    file.lock().unwrap();
    let relay = json!({"relay": "\u{1b}]0;owned\u{7}", "state": "open", "why": "\u{202e}no\n-- all is well"});
    let says = json!({
        "host": "\u{1b}[2J", "pid": 1, "since": u64::MAX, "version": "1", "workers": u64::MAX, "relays": [relay],
    });
    serde_json::to_writer(&file, &says).unwrap();
    let shown = bench.runs("queue", DONE).stdout + &bench.runs("queue --relays", DONE).stdout;
    assert!(!shown.contains(['\u{1b}', '\u{7}', '\u{202e}']) && !shown.contains("\n-- all is well"), "{shown}");
    assert!(shown.contains("evil 7: 1000000 workers"), "{shown}");
}

#[test]
fn before_anything_is_sent_the_figures_are_those_of_what_was_put_in() {
    let bench = Bench::new();
    four(&bench);
    let table = bench.runs("queue", DONE).stdout;
    assert_eq!(depth(&table), ["3 1 1 25 0 0 0", "5 2 4 65 0 0 0", "z 1 2 8 0 0 0"], "{table}");
    for words in ["in 4 Requests.", "-- no scheduler runs on this spool", &format!("{HELD}!"), ": ask the dean"] {
        assert!(table.contains(words), "{words}\n{table}");
    }
    let rows = bench.json("queue --json");
    let told: Vec<_> = rows.iter().map(|row| json!([row["queue_name"], row["queue_id"], row["state"]])).collect();
    let expected = [["3", SMALL, "waiting"], ["5", BIG, "waiting"], ["5", LATER, "scheduled"], ["z", HELD, "held"]];
    assert_eq!(json!(told), json!(expected));
    assert_eq!(figures(&rows[1]), [60, 0, 60, 0, 0, 3, 0]);
    assert_eq!(
        (&rows[1]["arrival_time"], &rows[1]["sender"]),
        (&1_700_000_000.into(), &"big-owner@queue.example.org".into())
    );
    assert_eq!((&rows[2]["not_before"], &rows[3]["held"]["why"]), (&4_102_444_800_u64.into(), &"ask the dean".into()));
    let size = std::fs::metadata(bench.spool.at("5").join(BIG).join("message")).unwrap().len();
    assert_eq!(rows[1]["message_size"], size);
}

#[test]
fn one_list_or_one_priority_can_be_looked_at() {
    let bench = Bench::new();
    four(&bench);
    let ids = |line: &str| {
        bench.json(line).iter().map(|row| row["queue_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids("queue --json --list big@queue.example.org"), [BIG, LATER]);
    assert_eq!(ids("queue --json --priority z"), [HELD]);
    assert_eq!(ids("queue --json --priority 3 --list big@queue.example.org"), [""; 0]);
    assert_eq!(depth(&bench.runs("queue --list small@queue.example.org", DONE).stdout), ["3 1 1 25 0 0 0"]);
    bench.runs("queue --priority 12", USAGE).complains(&["12"]);
}

/// Takes the small one, then holds up the big one's second transaction; refuses some of the big one's first ten.
fn halfway() -> (Relay, Gate) {
    let gate = Gate::new();
    let theirs = gate.clone();
    let policy = Policy::new().rcpt(|address, _| match address {
        "big000003@example.org" => Rcpt::Say("450 4.2.1 later"),
        "big000005@example.org" | "big000006@example.org" => Rcpt::Say("550 5.1.1 unknown"),
        _ => Rcpt::Take,
    });
    let relay = Relay::start(policy.dot(move |envelope| {
        if envelope.recipients.first().is_some_and(|first| first == "big000011@example.org") {
            theirs.pass();
        }
        Dot::Take
    }));
    (relay, gate)
}

#[test]
fn halfway_the_figures_are_those_of_the_relays_record() {
    let bench = Bench::new();
    four(&bench);
    let (relay, gate) = halfway();
    let mut scheduler = bench.scheduler(&relay, 1);
    gate.wait_for(1);
    let got = || relay.record().recipients().filter(|address| address.starts_with("big")).count() as u64;
    let row = row_of(&bench, BIG);
    assert_eq!((&row["state"], &row["workers"]), (&"active".into(), &1.into()));
    assert_eq!((figures(&row), got()), ([60, 7, 50, 1, 2, 3, 0], 7));
    let table = bench.runs("queue", DONE).stdout;
    assert!(table.contains(&format!("{BIG}*")) && !table.contains("no scheduler"), "{table}");
    scheduler.signal(Signal::TERM);
    scheduler.wait_for_line(&["stopping: no new transaction"]);
    gate.open();
    assert_eq!(scheduler.wait().code(), Some(DONE), "{}", scheduler.log());

    let row = row_of(&bench, BIG);
    assert_eq!((figures(&row), got()), ([60, 17, 40, 1, 2, 3, 1], 17));
    assert_eq!((&row["state"], &row["workers"]), (&"waiting".into(), &0.into()));
    assert!(row["next_try"].as_u64().is_some(), "{row}");
    let table = bench.runs("queue", DONE).stdout;
    assert_eq!(depth(&table), ["5 2 3 45 1 2 17", "z 1 2 8 0 0 0"], "{table}");
    assert!(table.contains("17 of 60 recipients done; 1 of 3 packets; 1 deferred, next try"), "{table}");
    assert!(table.contains("-- no scheduler runs on this spool"), "{table}");

    let open = bench.json("queue --json --recipients --list big@queue.example.org").remove(0);
    let open = open["recipients"].as_array().unwrap();
    let addresses: HashSet<String> = open.iter().map(|one| one["address"].as_str().unwrap().to_owned()).collect();
    let mut expected: HashSet<String> = members("big", 60).into_iter().collect();
    expected.retain(|address| !relay.record().copies().contains_key(address.as_str()));
    expected.retain(|address| address != "big000005@example.org" && address != "big000006@example.org");
    assert_eq!((addresses, open.len()), (expected, 41));
    let late = open.iter().find(|one| one["address"] == "big000003@example.org").unwrap();
    assert!(late["delay_reason"].as_str().unwrap().starts_with("450 4.2.1 later"), "{late}");
}

#[test]
fn the_relays_of_a_running_scheduler_are_shown_and_of_none_there_are_none() {
    let bench = Bench::new();
    bench.runs("queue --relays", FINDINGS);
    let relay = Relay::start(Policy::new());
    let scheduler = bench.scheduler(&relay, 2);
    wait_until(
        "what it says of itself",
        || bench.command("queue --relays").output().unwrap().status.success(),
        || scheduler.log(),
    );
    let shown = bench.json("queue --relays --json").remove(0);
    assert_eq!((&shown["workers"], &shown["relays"][0]["state"]), (&2.into(), &"closed".into()));
    bench.runs("queue --relays", DONE).prints(&["2 workers", "in use"]);
    scheduler.stop();
    bench.runs("queue --relays", FINDINGS);
}

#[test]
fn an_empty_spool_is_an_empty_queue() {
    let bench = Bench::new();
    assert_eq!(bench.runs("queue", DONE).stdout, "Mail queue is empty\n");
    assert_eq!(bench.runs("queue --json", DONE).stdout, "");
}

#[test]
fn where_there_is_no_spool_every_command_says_so_and_creates_none() {
    let bench = Bench::new();
    bench.file("a-file", "");
    for place in ["nowhere", "a-file"] {
        for line in [
            "queue",
            "queue --json",
            "show a@x.org.1.2",
            "check",
            "check --repair",
            "requeue --all --to 1",
            "hold --all",
            "release --all",
            "cancel --all --yes",
        ] {
            let told = Told::of(&mut bench.bare_command(&format!("{line} --spool {place}")), TRY_AGAIN);
            told.complains(&["sympa-dist: ", place]);
            assert_eq!((told.stdout.as_str(), told.stderr.lines().count()), ("", 1), "{line}: {told:?}");
        }
    }
    bench.bare_command("queue").current_dir("nowhere").status().expect_err("nothing was created");
}

#[test]
fn a_reader_that_goes_ends_it_quietly() {
    let bench = Bench::new();
    // More than a pipe holds.
    for n in 0..600 {
        bench.spool.put_packets("5", &format!("a@queue.example.org.1700000000.{n}"), &[members("m", 1)]);
    }
    for line in ["queue", "queue --json"] {
        let mut head = bench.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        BufReader::with_capacity(1, head.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let mut said = String::new();
        head.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!((head.wait().unwrap().code(), said.as_str()), (Some(DONE), ""), "{line}");
        assert!(first.ends_with('\n'), "{first:?}");
    }
    let show = "show a@queue.example.org.1700000000.0";
    for line in ["queue", "queue --json", "check", "config show", "config check", show, &format!("{show} --json")] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(quiet(bench.command(line), writer), "", "{line}");
    }
}

#[test]
fn what_cannot_be_written_is_said_and_what_cannot_be_said_is_no_crash() {
    let bench = Bench::new();
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = bench.command("queue").stdout(full()).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(TRY_AGAIN));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write the output"));
    for (line, code) in
        [("show a@x.org.1.2", FINDINGS), ("hold a@x.org.1.2", FINDINGS), ("hold --all", FINDINGS), ("hold", USAGE)]
    {
        assert_eq!(bench.command(line).stderr(full()).status().unwrap().code(), Some(code), "{line}");
    }
}

#[test]
fn with_ageing_both_levels_are_shown() {
    let bench = Bench::new();
    inject(&bench, BIG, 60, "--priority 5");
    inject(&bench, HELD, 8, "--priority z");
    assert_eq!(row_of(&bench, BIG).get("chosen_priority"), None);
    bench.file("ageing.toml", "ageing = \"2h\"\n");
    // It came in 2023.
    bench.runs("queue --config ageing.toml", DONE).prints(&["chosen as 0"]);
    let rows = bench.json("queue --json --config ageing.toml");
    let levels: Vec<(&Value, Option<&Value>)> =
        rows.iter().map(|row| (&row["priority"], row.get("chosen_priority"))).collect();
    assert_eq!(levels, [(&json!("5"), Some(&json!("0"))), (&json!("z"), None)]);
}

/// Messages of `list` that came so many minutes ago, with so many recipients.
fn inject_aged(bench: &Bench, list: &str, priority: &str, minutes: u64, recipients: usize) {
    let id = format!("{list}.{}.{minutes}", now().0 - minutes * 60);
    inject(bench, &id, recipients, &format!("--priority {priority}"));
}

/// The rows of the table of ages: the name, then the figures.
fn ages(table: &str) -> Vec<String> {
    let rows = table.lines().take_while(|line| !line.starts_with("--") && !line.trim().is_empty());
    rows.map(|row| row.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

fn aged() -> Bench {
    let bench = Bench::new();
    inject_aged(&bench, "a@age.example.org", "3", 1, 5);
    inject_aged(&bench, "a@age.example.org", "5", 7, 10);
    inject_aged(&bench, "b@age.example.org", "5", 700, 2);
    inject_aged(&bench, "b@age.example.org", "z", 100_000, 40);
    bench
}

#[test]
fn ages_are_a_row_a_priority_and_a_column_twice_the_minutes_with_the_sum_first_and_then_the_most() {
    let bench = aged();
    let head = "T 5 10 20 40 80 160 320 640 1280 1280+";
    let table = bench.runs("queue --ages", DONE).stdout;
    assert_eq!(
        ages(&table),
        [
            head,
            "TOTAL 57 5 10 0 0 0 0 0 0 2 40",
            "z 40 0 0 0 0 0 0 0 0 0 40",
            "5 12 0 10 0 0 0 0 0 0 2 0",
            "3 5 5 0 0 0 0 0 0 0 0 0"
        ],
        "{table}"
    );
    assert_eq!(
        ages(&bench.runs("queue --ages --by list --count messages --sort list", DONE).stdout)[1..],
        [
            "TOTAL 4 1 1 0 0 0 0 0 0 1 1",
            "a@age.example.org 2 1 1 0 0 0 0 0 0 0 0",
            "b@age.example.org 2 0 0 0 0 0 0 0 0 1 1"
        ]
    );
    assert_eq!(
        ages(&bench.runs("queue --ages --by list --priority 5 --sort age --reverse", DONE).stdout)[1..],
        [
            "TOTAL 12 0 10 0 0 0 0 0 0 2 0",
            "a@age.example.org 10 0 10 0 0 0 0 0 0 0 0",
            "b@age.example.org 2 0 0 0 0 0 0 0 0 2 0"
        ]
    );
    let empty = Bench::new().runs("queue --ages", DONE).stdout;
    assert_eq!(ages(&empty), [head, "TOTAL 0 0 0 0 0 0 0 0 0 0 0"]);
}

#[test]
fn ages_as_json_are_the_same() {
    let bench = aged();
    let told = bench.json("queue --ages --json --list b@age.example.org").remove(0);
    assert_eq!((&told["by"], &told["count"]), (&"priority".into(), &"recipients".into()));
    assert_eq!(told["minutes"], json!([5, 10, 20, 40, 80, 160, 320, 640, 1280]));
    assert_eq!(told["total"], json!({"name": "TOTAL", "total": 42, "ages": [0, 0, 0, 0, 0, 0, 0, 0, 2, 40]}));
    assert_eq!(told["rows"][0], json!({"name": "z", "total": 40, "ages": [0, 0, 0, 0, 0, 0, 0, 0, 0, 40]}));
    assert_eq!(told["rows"].as_array().unwrap().len(), 2);
    for line in ["queue --by list", "queue --count messages", "queue --reverse", "queue --ages --pauses"] {
        bench.runs(line, USAGE);
    }
}

#[test]
fn messages_are_shown_in_the_order_that_is_asked_for() {
    let bench = aged();
    let order = |how: &str| {
        let rows = bench.json(&format!("queue --json {how}"));
        rows.iter()
            .map(|row| row["queue_id"].as_str().unwrap().rsplit('.').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    for (how, minutes) in [
        ("", ["1", "700", "7", "100000"]),
        ("--sort priority", ["1", "700", "7", "100000"]),
        ("--sort age", ["100000", "700", "7", "1"]),
        ("--sort arrival", ["1", "7", "700", "100000"]),
        ("--sort left", ["100000", "7", "1", "700"]),
        ("--sort left --reverse", ["700", "1", "7", "100000"]),
        ("--sort list", ["1", "7", "700", "100000"]),
        ("--sort stuck", ["1", "700", "7", "100000"]),
        ("--sort rate", ["1", "700", "7", "100000"]),
    ] {
        assert_eq!(order(how), minutes, "{how}");
    }
    let table = bench.runs("queue --sort left", DONE).stdout;
    assert!(table.find(".100000!").unwrap() < table.find(".700 ").unwrap(), "{table}");
    bench.runs("queue --sort colour", USAGE).complains(&["colour", "size"]);
}

/// Reads to the end of the next frame.
fn frame(from: &mut impl BufRead) -> String {
    let mut text = String::new();
    while !text.ends_with("\n\n") && !matches!(text.as_str(), "\n") {
        assert!(from.read_line(&mut text).unwrap() > 0, "it has ended after {text:?}");
    }
    text
}

#[track_caller]
fn ends(mut watching: Child) {
    let mut said = String::new();
    let mut stderr = watching.stderr.take().unwrap();
    let mut watching = Program::of(watching);
    wait_until("its end", || watching.has_ended(), || "it goes on".into());
    stderr.read_to_string(&mut said).unwrap();
    assert_eq!((watching.wait().code(), said.as_str()), (Some(DONE), ""));
}

#[test]
fn watched_through_a_pipe_the_queue_is_one_frame_after_another_until_a_signal() {
    let bench = Bench::new();
    for signal in [Signal::INT, Signal::TERM] {
        let mut watching = bench.command("queue --json --watch 0.1");
        let mut watching = watching.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut frames = BufReader::new(watching.stdout.take().unwrap());
        let id = format!("w@watch.example.org.1700000000.{}", signal.as_raw());
        let is_there = |text: &str| text.lines().any(|line| line.contains(&id));
        assert!(!is_there(&frame(&mut frames)));
        inject(&bench, &id, 3, "--priority 5");
        while !is_there(&frame(&mut frames)) {}
        let pid = rustix::process::Pid::from_child(&watching);
        rustix::process::kill_process(pid, signal).unwrap();
        ends(watching);
    }
}

#[test]
fn watching_ends_at_once_when_nobody_reads_any_more() {
    let bench = Bench::new();
    for line in ["queue --watch 86400", "queue --ages --watch 86400", "queue --json --ages --watch 86400"] {
        let mut watching = bench.command(line);
        let mut watching = watching.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut frames = BufReader::with_capacity(1, watching.stdout.take().unwrap());
        let mut first = String::new();
        frames.read_line(&mut first).unwrap();
        drop(frames);
        ends(watching);
    }
    for seconds in ["0", "-1", "x", "1e9"] {
        bench.runs(&format!("queue --watch={seconds}"), USAGE).complains(&["expected seconds"]);
    }
}

/// `queue --watch` on a terminal of its own, made by script(1), which is what types and shows here.
fn on_a_terminal(bench: &Bench, line: &str) -> (Child, u32) {
    let pid = bench.file("pid", "");
    let mut script = std::process::Command::new("script");
    let spool = bench.spool.path().display();
    let program = env!("CARGO_BIN_EXE_sympa-dist");
    let typed = format!("stty rows 6 cols 60; echo $$ > {}; exec {program} {line} --spool {spool}", pid.display());
    script.args(["--quiet", "--return", "--flush", "--command", &typed, "/dev/null"]);
    let script = script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let read = || std::fs::read_to_string(&pid).unwrap().trim().parse::<u32>();
    wait_until("the program's id", || read().is_ok(), String::new);
    (script, read().unwrap())
}

/// Reads until `what` was shown.
fn shown(from: &mut impl Read, what: &str) -> String {
    let (mut seen, mut part) = (Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&seen).contains(what) {
        let read = from.read(&mut part).unwrap();
        assert!(read > 0, "never {what:?}: {}", String::from_utf8_lossy(&seen).escape_debug());
        seen.extend_from_slice(&part[..read]);
    }
    String::from_utf8(seen).unwrap()
}

#[test]
fn a_terminal_is_repainted_in_place_and_is_as_it_was_after_an_interrupt() {
    let bench = Bench::new();
    inject(&bench, BIG, 60, "--priority 5 --packet-size 20");
    let (mut script, _) = on_a_terminal(&bench, "queue --watch 0.1");
    let mut screen = script.stdout.take().unwrap();
    let first = shown(&mut screen, "more lines");
    assert!(first.contains("\u{1b}[?1049h") && first.contains("\u{1b}[?25l"), "{first:?}");
    let more = shown(&mut screen, "more lines") + &shown(&mut screen, "more lines");
    assert!(more.contains("\u{1b}[1;1H") && !more.contains("\u{1b}[2J"), "home, and not wiped: {more:?}");
    assert!(more.split("\u{1b}[1;1H").all(|frame| frame.matches("\r\n").count() <= 5), "six lines fit: {more:?}");
    script.stdin.as_mut().unwrap().write_all(b"\x03").unwrap();
    let last = shown(&mut screen, "\u{1b}[?1049l");
    assert!(last.contains("\u{1b}[?25h") && last.contains("\u{1b}[?7h"), "{last:?}");
    ends(script);
}

#[test]
fn a_terminal_that_is_gone_ends_it() {
    let bench = Bench::new();
    let (mut script, pid) = on_a_terminal(&bench, "queue --watch 86400");
    shown(script.stdout.as_mut().unwrap(), "Mail queue is empty");
    script.kill().unwrap();
    script.wait().unwrap();
    let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    wait_until("its end", || stat().is_empty() || stat().contains(") Z "), stat);
}

/// What a message's row says, and what the table says of it.
fn told(bench: &Bench, id: &str, more: &str) -> (Value, String) {
    let rows = bench.json(&format!("queue --json {more}"));
    let row = rows.into_iter().find(|row| row["queue_id"] == id).unwrap_or_else(|| panic!("no {id}"));
    let table = bench.runs(&format!("queue {more}"), DONE).stdout;
    let line = table.lines().skip_while(|line| !line.contains(id)).nth(1).unwrap_or_else(|| panic!("{table}"));
    (row, line.to_owned())
}

#[test]
fn what_is_stuck_says_why_and_what_is_told_of_it_anyway_is_not_said_twice() {
    let bench = Bench::new();
    four(&bench);
    let stuck = |id: &str, more: &str| {
        let (row, line) = told(&bench, id, more);
        (row["stuck"].as_str().unwrap_or_default().to_owned(), line)
    };
    let (why, line) = stuck(BIG, "");
    assert_eq!(why, "no scheduler runs on this spool");
    assert!(line.contains("stuck: no scheduler runs on this spool"), "{line}");
    let table = bench.runs("queue", DONE).stdout;
    let of_level = |priority: &str| pace_of_level(&table, priority)[0].clone();
    // Two at 5, of which one has its date to wait for.
    assert_eq!((of_level("5"), of_level("3"), of_level("z")), ("1".into(), "1".into(), "0".into()), "{table}");
    let (why, line) = stuck(HELD, "");
    assert!(why.starts_with("held by pat") && why.ends_with(": ask the dean"), "{why}");
    assert!(!line.contains("stuck") && line.contains("held by pat"), "{line}");
    let (why, line) = stuck(LATER, "");
    assert!(
        why.starts_with("not before 2") && !line.contains("stuck") && line.contains("not before 2"),
        "{why} {line}"
    );
    // The scheduler knows nothing of this window, and its relay holds it up.
    let (relay, gate) = halfway();
    let scheduler = bench.scheduler(&relay, 1);
    gate.wait_for(1);
    let shown = || bench.command("queue --relays").output().unwrap().status.success();
    wait_until("it shows itself", shown, || scheduler.log());
    let (row, line) = told(&bench, BIG, "");
    assert_eq!((&row["stuck"], line.contains("stuck")), (&Value::Null, false), "it is being sent: {line}");
    inject(&bench, "x@queue.example.org.1700000000.9", 1, "--priority 9");
    assert_eq!(stuck("x@queue.example.org.1700000000.9", "").0, "", "it waits its turn");
    bench.file("window.toml", "[lists.\"x@*\"]\ndeliver = \"Mon 00:00..00:01 UTC\"\n");
    let (why, _) = stuck("x@queue.example.org.1700000000.9", "--config window.toml");
    assert!(why.starts_with("its list's window is closed until 2"), "{why}");
    Told::of(bench.command("pause --list x@queue.example.org").args(["--reason", "a look"]), DONE);
    let (why, line) = stuck("x@queue.example.org.1700000000.9", "");
    assert!(why.starts_with("paused by pat@") && why.ends_with(": a look") && !line.contains("stuck"), "{why} {line}");
    bench.runs("resume --list x@queue.example.org", DONE);
    gate.open();
    let is_deferred = || row_of(&bench, BIG)["state"] == "deferred";
    wait_until("one alone is left", is_deferred, || scheduler.log());
    let (why, line) = stuck(BIG, "");
    assert!(
        why.starts_with("all that is left is deferred until 2")
            && line.contains("; all that is left is deferred until 2")
            && !line.contains("stuck"),
        "{why} {line}"
    );
    bench.runs(&format!("show {BIG}"), DONE).prints(&["waits       all that is left is deferred until 2"]);
    scheduler.stop();
}

/// How many messages of a level are stuck, how fast it goes, and how long it will take.
fn pace_of_level(table: &str, priority: &str) -> Vec<String> {
    let rows = table.lines().skip_while(|line| !line.trim_start().starts_with("P "));
    let mut rows = rows.map(|row| row.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    rows.find(|row| row.first().is_some_and(|of| of == priority)).unwrap_or_else(|| panic!("{table}")).split_off(8)
}

#[test]
fn without_a_relay_that_is_in_use_it_says_what_is_wrong_with_it() {
    let bench = Bench::new();
    inject(&bench, BIG, 60, "--priority 5");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = nobody.local_addr().unwrap();
    drop(nobody);
    let scheduler = bench.scheduler_with(&format!("--relay smtp://{place} --workers 1"));
    scheduler.wait_for_line(&["relay is out of use"]);
    let why = || told(&bench, BIG, "").0["stuck"].as_str().unwrap_or_default().to_owned();
    wait_until("it says so", || why().starts_with("no relay: "), why);
    let depth = bench.runs("queue", DONE).stdout;
    assert_eq!(pace_of_level(&depth, "5"), ["1", "-", "-"], "one is stuck: {depth}");
    scheduler.stop();
}

#[test]
fn what_is_sent_says_how_fast_and_how_long_it_will_take() {
    let bench = Bench::new();
    inject(&bench, BIG, 5000, "--priority 5 --packet-size 2500");
    let relay = Relay::start(Policy::new().dot(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        Dot::Take
    }));
    let scheduler = bench.scheduler(&relay, 1);
    let row = || told(&bench, BIG, "").0;
    wait_until("a rate", || row()["rate"].as_f64().unwrap() > 0.0, || row().to_string());
    let (row, line) = told(&bench, BIG, "");
    let (rate, left) = (row["rate"].as_f64().unwrap(), row["recipients_left"].as_f64().unwrap());
    assert_eq!(row["time_left"].as_f64(), Some(left / rate));
    assert!(line.contains(" a second, ") && line.contains(" left"), "{line}");
    bench.runs(&format!("show {BIG}"), DONE).prints(&["  speed ", " a second, "]);
    let table = bench.runs("queue", DONE).stdout;
    let level = pace_of_level(&table, "5");
    assert!(level[0] == "0" && level[1].parse::<f64>().unwrap() > 0.0 && level[2].ends_with('s'), "{level:?}");
    // Nobody is promised a time for what somebody has stopped, though it has just been fast.
    bench.runs("pause --priority 5 --reason look", DONE);
    let state = || told(&bench, BIG, "").0["state"].as_str().unwrap().to_owned();
    wait_until("it gives way", || state() == "waiting", state);
    let (row, _) = told(&bench, BIG, "");
    assert_eq!((&row["stuck_reason"], &row["time_left"]), (&"paused".into(), &Value::Null), "{row}");
    let table = bench.runs("queue", DONE).stdout;
    let level = pace_of_level(&table, "5");
    assert_eq!((level[0].as_str(), level[2].as_str()), ("1", "-"), "{table}");
    scheduler.stop();
}

#[test]
fn a_scheduler_that_says_nothing_any_more_is_told_of_and_promises_nothing() {
    let bench = Bench::new();
    inject(&bench, BIG, 20_000, "--priority 5");
    inject(&bench, SMALL, 25, "--priority 6");
    let relay = Relay::start(Policy::new().dot(|_| {
        std::thread::sleep(Duration::from_millis(20));
        Dot::Take
    }));
    let scheduler = bench.scheduler(&relay, 1);
    let rate = || row_of(&bench, BIG)["rate"].as_f64().unwrap();
    wait_until("a rate is known", || rate() > 0.0, || scheduler.log());
    assert_eq!(row_of(&bench, BIG)["stuck"], Value::Null);
    scheduler.signal(Signal::STOP);
    let stuck = || row_of(&bench, BIG)["stuck"].as_str().unwrap_or_default().to_owned();
    wait_until("it is told of", || stuck().contains(" has said nothing for 1"), stuck);
    for id in [BIG, SMALL] {
        let row = row_of(&bench, id);
        assert_eq!(
            (&row["rate"], &row["time_left"], &row["stuck_reason"]),
            (&0.0.into(), &Value::Null, &"silent".into())
        );
    }
    let silent = format!("{} has said nothing for 1", scheduler.id());
    let table = bench.runs("queue", DONE).stdout;
    for words in [silent.clone(), format!("stuck: {}", stuck().split(" has").next().unwrap())] {
        assert!(table.contains(&words), "{words}\n{table}");
    }
    let foot = table
        .lines()
        .find(|line| line.starts_with("-- ") && line.contains(&silent))
        .unwrap_or_else(|| panic!("{table}"));
    assert!(foot.ends_with("it hangs, or its machine does"), "{foot}");
    let at_5: Vec<&str> =
        table.lines().rfind(|line| line.trim_start().starts_with("5 ")).unwrap().split_whitespace().collect();
    assert_eq!(at_5[8..], ["1", "-", "-"], "stuck, a second, time left: {table}");
    bench.runs(&format!("show {BIG}"), DONE).prints(&["stuck", &silent]);
    bench.runs("queue --relays", DONE).prints(&["has said nothing for 1"]);
    assert!(bench.json("queue --relays --json")[0]["silent"].as_u64().unwrap() >= 10);
    scheduler.signal(Signal::CONT);
    wait_until("it goes on", || rate() > 0.0 && stuck().is_empty(), stuck);
}
