//! What is on the screen is what is in the spool.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::program::Program;
use crate::support::relay::{Dot, Gate, Policy, Relay};
use crate::support::spool::{TestSpool, members};
use crate::tmux::Tmux;

const BIG: &str = "big@top.example.org.1700000000.1";
const SMALL: &str = "small@top.example.org.1700000001.2";
const HELD: &str = "held@top.example.org.1700000002.3";

/// Compares a screen, row by row; `~` stands for any character, which is what ages and clocks are made of.
#[track_caller]
fn assert_screen(screen: &str, expected: &str) {
    let is_like = |row: &str, expected: &str| {
        let width = row.chars().count().max(expected.chars().count());
        let padded = |text: &str| format!("{text:<width$}").chars().collect::<Vec<_>>();
        padded(row).iter().zip(padded(expected)).all(|(&c, expected)| c == expected || expected == '~')
    };
    let rows: Vec<&str> = screen.trim_end().lines().collect();
    let expected: Vec<&str> = expected.trim_end().lines().collect();
    for (n, expected) in expected.iter().enumerate() {
        let row = rows.get(n).copied().unwrap_or_default();
        assert!(is_like(row, expected), "row {n}:\n{row}\n{expected}\n\n{screen}");
    }
    assert_eq!(rows.len(), expected.len(), "{screen}");
}

fn three(spool: &TestSpool) {
    spool.put_packets("6", BIG, &[members("m", 40), members("n", 20)]);
    spool.put_packets("3", SMALL, &[members("s", 25)]);
    spool.put_packets("z", HELD, &[members("h", 8)]);
    let note = "{\"since\":1700000003,\"by\":\"pat\",\"why\":\"ask \\u001b]0;owned\\u0007 the dean\",\"from\":\"4\"}\n";
    std::fs::write(spool.at("z").join(HELD).join("held"), note).unwrap();
}

#[test]
fn without_a_scheduler_the_screen_shows_the_spool_and_says_that_nothing_is_sent() {
    // Its name stands in the title, which has room for so much of it.
    let spool = TestSpool::inside("/tmp".as_ref());
    three(&spool);
    let path = spool.path().to_str().unwrap();
    let tmux = Tmux::start(&["--spool", path, "top"], &[]);
    tmux.wait_for(&[SMALL, "?:help"]);
    tmux.press(&["End"]);
    let screen = tmux.wait_for(&["held by pat"]);
    let name = format!("sympa-dist {path}");
    let title = format!("{name:<33}3 messages  93 left  0/s               ~~:~~:~~");
    let rest = "
! no scheduler runs on this spool: nothing is sent
P       msgs   left oldest   rate    ETA P      msgs   left oldest   rate    ETA
0          0      0      -      -      - 6 ███     1     60 ~~~~~~      -      -
1          0      0      -      -      - 7         0      0      -      -      -
2          0      0      -      -      - 8         0      0      -      -      -
3 ████     1     25 ~~~~~~      -      - 9         0      0      -      -      -
4          0      0      -      -      - z ███     1      8 ~~~~~~      -      -
5          0      0      -      -      -   0 done, 0 deferred, 0 failed
  P state       done   left   rate    ETA    age  message, by priority
  3 stuck !       0%     25      -      - ~~~~~~  small@top.examp…g.1700000001.2
  6 stuck !       0%     60      -      - ~~~~~~  big@top.example…g.1700000000.1
> z held          0%      8      -      - ~~~~~~  held@top.exampl…g.1700000002.3




held@top.example.org.1700000002.3
  ! held by pat: ask ?]0;owned? the dean; 0 of 8 done, 1 of 1 packets left, from
[workers busy 0]  relays 0   pauses 0   Tab: next



?:help /:filter s:sort r:requeue h:hold l:release c:cancel p:pause u:undo q:quit
";
    assert_screen(&screen, &(title + rest));
    assert_ne!(tmux.variable("pane_title"), "owned");
}

#[test]
fn while_it_is_sent_the_screen_follows_the_scheduler_and_the_relays_record() {
    let spool = TestSpool::new();
    three(&spool);
    let gates = [Gate::new(), Gate::new()];
    let theirs = gates.clone();
    let relay = Relay::start(Policy::new().dot(move |envelope| {
        match envelope.recipients.first().map(String::as_str) {
            Some("m000011@example.org") => theirs[0].pass(),
            Some("m000031@example.org") => theirs[1].pass(),
            _ => {}
        }
        Dot::Take
    }));
    let url = relay.url().to_string();
    let arguments = ["--relay", &*url, "--workers", "1", "--recipients-per-transaction", "10"];
    let mut scheduler = Program::run(spool.path(), &arguments);
    let tmux = Tmux::start(&["--spool", spool.path().to_str().unwrap(), "top", "--interval", "200ms"], &[]);
    gates[0].wait_for(1);
    let busy = format!("{}: 1 of 1 workers busy", scheduler.id());
    // Small has gone first; of big's 60, 10 are done.
    let shown =
        tmux.wait_for(&[&busy, "> 6 active x1    16%     50", "0 6 big@top.example.org.1700000000.1", "25% 10/40"]);
    assert!(!shown.contains("small@") && !shown.contains("no scheduler"), "{shown}");
    let got = || relay.record().recipients().filter(|recipient| recipient.starts_with('m')).count();
    assert_eq!(got(), 10);
    gates[0].open();
    gates[1].wait_for(1);
    let shown = tmux.wait_for(&["> 6 active x1    50%     30", "75% 30/40", "30 of 60 done", "2 of 2 packets left"]);
    assert_eq!(got(), 30);
    // Since the first look: nothing may have gone out meanwhile that was not seen to.
    assert!(shown.lines().any(|row| row.starts_with("> 6 active") && row.contains("/s")), "a rate: {shown}");
    tmux.press(&["Tab"]);
    tmux.wait_for(&["[relays 1]", &format!("{url}: in use")]);
    gates[1].open();
    tmux.wait_for(&["1 messages  8 left", "0 of 1 workers busy"]);
    assert!(scheduler.stop().success());
    tmux.wait_for(&["! no scheduler runs on this spool"]);
}

#[test]
fn a_message_of_which_only_deferred_recipients_are_left_is_being_tried_again() {
    let spool = TestSpool::new();
    let (message, again) = (crate::support::spool::message(BIG), crate::support::spool::lines(&members("m", 20)));
    spool.put("6", BIG, &[("message", &message), ("recipients.mail.0001.r1:at1700000000", &again)]);
    let gate = Gate::new();
    let theirs = gate.clone();
    let relay = Relay::start(Policy::new().dot(move |envelope| {
        if envelope.recipients.iter().any(|one| one == "m000011@example.org") {
            theirs.pass();
        }
        Dot::Take
    }));
    let url = relay.url().to_string();
    let arguments = ["--relay", &*url, "--workers", "1", "--recipients-per-transaction", "10"];
    let _scheduler = Program::run(spool.path(), &arguments);
    gate.wait_for(1);
    let tmux = Tmux::start(&["--spool", spool.path().to_str().unwrap(), "top", "--interval", "200ms"], &[]);
    tmux.wait_for(&["> 6 retry x1", "10 deferred, being tried again"]);
    gate.open();
    tmux.wait_for(&["0 messages"]);
}

#[test]
fn a_scheduler_that_says_nothing_any_more_is_told_of_and_promises_nothing() {
    let spool = TestSpool::new();
    spool.put_packets("6", BIG, &[members("m", 20_000)]);
    let relay = Relay::start(Policy::new().dot(|_| {
        std::thread::sleep(Duration::from_millis(20));
        Dot::Take
    }));
    let url = relay.url().to_string();
    let arguments = ["--relay", &*url, "--workers", "1", "--recipients-per-transaction", "10"];
    let scheduler = Program::run(spool.path(), &arguments);
    let tmux = Tmux::start(&["--spool", spool.path().to_str().unwrap(), "top", "--interval", "200ms"], &[]);
    tmux.wait_until("a rate", |screen| {
        screen.lines().any(|row| row.starts_with("> 6 active x1") && row.contains("/s"))
    });
    scheduler.signal(Signal::STOP);
    let said = format!("{} has said nothing for 1", scheduler.id());
    let shown = tmux.wait_for(&["> 6 stuck !", &format!("! {}", sympa_dist::spool::running::host())]);
    assert_eq!(shown.matches(&said).count(), 2, "above all, and of the message: {shown}");
    let row = shown.lines().find(|row| row.starts_with("> 6")).unwrap();
    assert_eq!(row.split_whitespace().skip(6).take(2).collect::<Vec<_>>(), ["-", "-"], "no rate, no time left: {row}");
    let level = shown.lines().find_map(|row| row.split_once(" 6 ")).unwrap().1;
    assert!(level.trim_end().ends_with(" -      -"), "no rate, no time left: {level}");
    scheduler.signal(Signal::CONT);
    tmux.wait_for(&["> 6 active x1"]);
}
