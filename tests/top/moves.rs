//! What keys do to the spool.

use crate::support::spool::{TestSpool, members, wait_until};
use crate::tmux::Tmux;

const FIRST: &str = "first@top.example.org.1700000000.1";
const SECOND: &str = "second@top.example.org.1700000001.2";

fn two() -> (TestSpool, Tmux) {
    let spool = TestSpool::new();
    spool.put_packets("3", FIRST, &[members("m", 5)]);
    spool.put_packets("5", SECOND, &[members("n", 5)]);
    let tmux = Tmux::start(&["--spool", spool.path().to_str().unwrap(), "top", "--interval", "200ms"], &[]);
    tmux.wait_for(&["> 3 stuck", "  5 stuck"]);
    (spool, tmux)
}

#[track_caller]
fn wait_for(spool: &TestSpool, names: [&str; 2]) {
    wait_until(&format!("{names:?}"), || spool.waiting() == names, || format!("{:?}", spool.waiting()));
}

fn at(priority: &str, id: &str) -> String {
    format!("{priority}/{id}")
}

#[test]
fn a_message_is_requeued_by_a_key_and_undone_by_another() {
    let (spool, tmux) = two();
    tmux.press(&["j", "r"]);
    tmux.wait_for(&["requeue second@top.example.org.1700000001.2 to (0-9, z: hold)"]);
    tmux.press(&["0"]);
    wait_for(&spool, [&at("0", SECOND), &at("3", FIRST)]);
    // It stays the chosen one.
    tmux.wait_for(&["second@top.example.org.1700000001.2: moved from 5 to 0", "> 0 stuck"]);
    tmux.press(&["u"]);
    wait_for(&spool, [&at("3", FIRST), &at("5", SECOND)]);
    tmux.wait_for(&["undone: second@top.example.org.1700000001.2: moved from 0 to 5", "> 5 stuck"]);
    tmux.press(&["u"]);
    tmux.wait_for(&["! nothing is left to undo"]);
    tmux.press(&["r", "x"]);
    tmux.wait_for(&["! 'x' is no priority; nothing was moved"]);
    assert_eq!(spool.waiting(), [at("3", FIRST), at("5", SECOND)]);
}

#[test]
fn a_message_is_held_with_a_reason_and_released_to_where_it_was() {
    let (spool, tmux) = two();
    tmux.press(&["Down", "h"]);
    tmux.wait_for(&["hold second@top.example.org.1700000001.2, since"]);
    tmux.type_in("ask the deen");
    tmux.press(&["BSpace", "BSpace"]);
    tmux.type_in("an");
    tmux.wait_for(&["ask the dean"]);
    tmux.press(&["Enter"]);
    wait_for(&spool, [&at("3", FIRST), &at("z", SECOND)]);
    tmux.wait_for(&["> z held", "ask the dean; 0 of 5 done"]);
    let note = std::fs::read_to_string(spool.at("z").join(SECOND).join("held")).unwrap();
    assert!(note.contains("\"why\":\"ask the dean\"") && note.contains("\"from\":\"5\""), "{note}");
    tmux.press(&["l"]);
    wait_for(&spool, [&at("3", FIRST), &at("5", SECOND)]);
    tmux.wait_for(&["moved from z to 5"]);
    // Escape leaves all as it is.
    tmux.press(&["h", "x", "Escape"]);
    tmux.wait_for(&["?:help"]);
    assert_eq!(spool.waiting(), [at("3", FIRST), at("5", SECOND)]);
}

#[test]
fn a_message_is_cancelled_only_with_a_yes_and_comes_back_by_undo() {
    let (spool, tmux) = two();
    tmux.press(&["c"]);
    tmux.type_in("a mistake");
    tmux.press(&["Enter"]);
    tmux.wait_for(&["cancel first@top.example.org.1700000000.1: the rest goes to bad/ (y/N)"]);
    tmux.press(&["n"]);
    tmux.wait_for(&["! nothing was cancelled"]);
    assert_eq!(spool.waiting().len(), 2);
    tmux.press(&["c"]);
    tmux.type_in("a mistake");
    tmux.press(&["Enter"]);
    tmux.wait_for(&["(y/N)"]);
    tmux.press(&["y"]);
    spool.wait_until_bad(FIRST);
    assert_eq!((spool.reason(FIRST), spool.waiting()), ("a mistake".to_owned(), vec![at("5", SECOND)]));
    tmux.wait_for(&["cancelled at 3; the rest is in bad/", "1 messages"]);
    tmux.press(&["u"]);
    wait_for(&spool, [&at("3", FIRST), &at("5", SECOND)]);
    assert!(spool.bad().is_empty());
}

#[test]
fn lists_and_priorities_are_paused_and_resumed_by_keys() {
    let (spool, tmux) = two();
    let pause = spool.path().join("paused/list:first@top.example.org");
    tmux.press(&["p"]);
    tmux.wait_for(&["pause a:everything l:list first@top.example.org p:priority 3"]);
    tmux.press(&["l"]);
    tmux.wait_for(&["pause list first@top.example.org, since"]);
    tmux.type_in("a test");
    tmux.press(&["Enter"]);
    wait_until("the pause", || pause.exists(), String::new);
    tmux.wait_for(&["! paused by", ": a test; 0 of 5 done"]);
    tmux.press(&["Tab", "Tab"]);
    tmux.wait_for(&["[pauses 1]", ": a test"]);
    tmux.press(&["p"]);
    tmux.wait_for(&["l:resume list first@top.example.org"]);
    tmux.press(&["l"]);
    wait_until("its end", || !pause.exists(), String::new);
    tmux.wait_for(&["list first@top.example.org is resumed", "[pauses 0]"]);
}

#[test]
fn a_filter_shows_some_and_escape_shows_all() {
    let (_spool, tmux) = two();
    tmux.press(&["/"]);
    tmux.type_in("SECOND");
    let screen = tmux.wait_for(&["1 with SECOND, by priority", "> 5 stuck"]);
    assert!(!screen.contains("  3 stuck"), "{screen}");
    // What is typed is no command, and nothing else is chosen.
    tmux.press(&["Enter", "r"]);
    tmux.wait_for(&["requeue second@"]);
    tmux.press(&["Escape"]);
    tmux.wait_for(&["?:help"]);
    tmux.press(&["Escape"]);
    tmux.wait_for(&["> 3 stuck", "  5 stuck"]);
    tmux.press(&["s"]);
    tmux.wait_for(&["message, by age"]);
    tmux.press(&["?"]);
    tmux.wait_for(&["requeue to another priority, by one key"]);
    tmux.press(&["q"]);
    tmux.wait_until("the help's end", |screen| !screen.contains("by one key"));
}
