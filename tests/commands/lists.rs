//! `[lists."…"]`: what holds for one list, and `sympa-dist config explain`.

use std::fs;

use rustix::process::Signal;

use crate::bench::{Bench, DONE, Told, USAGE, assert_once_each};
use crate::support::relay::{Policy, Relay};
use crate::support::spool::{members, wait_until};

const LISTS: &str = r#"[inject]
priority = 4

[[relay]]
url = "smtp://main.example.org"
[[relay]]
url = "smtp://bulk.example.org:2525"
name = "bulk"

[lists."news-urgent@my.dom"]
priority = 1

[lists."news*@*"]
priority = 8
packet_size = 2
sender = "bounces@my.dom"
relay = "bulk"
max_workers = 3
not_after = "7d"

[lists."*@my.dom"]
relay = ["smtp://main.example.org:25", "bulk"]
"#;

/// Injects for that list with three recipients; gives the id.
fn inject(bench: &Bench, list: &str, flags: &str) -> String {
    bench.file("post.eml", "From: a@example.org\n\nHello.\n");
    bench.file("members.txt", "a@example.org\nb@example.org\nc@example.org\n");
    let line = format!("inject --config c.toml --list {list} --message post.eml --recipients mail=members.txt {flags}");
    bench.runs(&line, DONE).stdout.trim_end().to_owned()
}

#[test]
fn explain_says_what_holds_for_a_list_and_which_line_says_so() {
    let bench = Bench::new();
    bench.file("c.toml", LISTS);
    let explain = |list: &str| bench.runs(&format!("config explain {list} --config c.toml"), DONE).stdout;
    assert_eq!(
        explain("news@other.dom"),
        "# news@other.dom: [lists.\"news*@*\"]  # c.toml:13\n\
         priority = \"8\"  # c.toml:14\n\
         packet_size = 2  # c.toml:15\n\
         sender = \"<bounces@my.dom>\"  # c.toml:16\n\
         relay = \"smtp://bulk.example.org:2525\"  # c.toml:17\n\
         # deliver: at any time  # default\n\
         max_workers = 3  # c.toml:18\n\
         not_after = \"7d\"  # c.toml:19\n"
    );
    // The first that matches, and nothing of the later ones.
    assert_eq!(
        explain("news-urgent@my.dom"),
        "# news-urgent@my.dom: [lists.\"news-urgent@my.dom\"]  # c.toml:10\n\
         priority = \"1\"  # c.toml:11\n\
         packet_size = 1000  # inject.packet_size, default\n\
         # sender: <list>-owner@<domain>  # default\n\
         # relay: any  # default\n\
         # deliver: at any time  # default\n\
         # max_workers: all  # default\n\
         # not_after: never too late  # default\n"
    );
    assert!(explain("x@my.dom").contains("relay = [\"smtp://main.example.org\", \"smtp://bulk.example.org:2525\"]"));
    let told = explain("x@other.dom");
    assert!(told.starts_with("# x@other.dom: no table of [lists] matches\n"), "{told}");
    assert!(told.contains("priority = \"4\"  # inject.priority, c.toml:2\n"), "{told}");
    bench.runs("config explain nolist --config c.toml", USAGE).complains(&["has no @"]);
}

#[test]
fn what_is_wrong_with_a_list_is_named_with_its_line() {
    for (text, complaint) in [
        ("lists = 3\n", "c.toml:1:1: lists: expected tables"),
        ("[lists]\nnews = 3\n", "c.toml:2:1: expected a table"),
        ("[lists.\"news@[\"]\n", "c.toml:1:8: lists: \"news@[\" is no list's address or pattern"),
        ("[lists.\"a@b\"]\npriorty = 3\n", "c.toml:2:1: priorty is not known; is priority meant?"),
        ("[lists.\"a@b\"]\npriority = 12\n", "c.toml:2:1: priority: expected a priority"),
        ("[lists.\"a@b\"]\nsender = \"x\"\n", "c.toml:2:1: sender: \"x\" is no envelope sender"),
        ("[lists.\"a@b\"]\nmax_workers = 0\n", "c.toml:2:1: max_workers: expected a number from 1"),
        ("[lists.\"a@b\"]\nnot_after = \"0s\"\n", "c.toml:2:1: not_after: expected a duration"),
        (
            "[lists.\"a@b\"]\nrelay = \"bulk\"\n",
            "c.toml:2:1: relay: bulk is none of the relays that there are: smtp://",
        ),
        ("[lists.\"a@b\"]\nrelay = []\n", "c.toml:2:1: relay: expected a relay's URL or name"),
    ] {
        let bench = Bench::new();
        bench.file("c.toml", text);
        bench.runs("config check --config c.toml", USAGE).complains(&[complaint]);
    }
}

#[test]
fn what_is_shown_of_lists_is_a_configuration_that_explains_the_same() {
    let bench = Bench::new();
    bench.file("c.toml", LISTS);
    bench.file("again.toml", &bench.runs("config show --config c.toml", DONE).stdout);
    for list in ["news@other.dom", "news-urgent@my.dom", "x@my.dom", "x@other.dom"] {
        let explain = |file: &str| {
            let told = Told::of(&mut bench.bare_command(&format!("config explain {list} --config {file}")), DONE);
            told.stdout.lines().map(|line| line.split("  # ").next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(explain("again.toml"), explain("c.toml"));
    }
}

#[test]
fn inject_goes_by_the_lists_table_and_flags_go_before_it() {
    let bench = Bench::new();
    bench.file("c.toml", LISTS);
    let news = inject(&bench, "news@my.dom", "");
    let flagged = inject(&bench, "news@other.dom", "--priority 2 --packet-size 3 --sender <>");
    let other = inject(&bench, "x@other.dom", "");
    let mut expected = [format!("8/{news}"), format!("2/{flagged}"), format!("4/{other}")];
    expected.sort();
    assert_eq!(bench.spool.waiting(), expected);
    let shown = |id: &str| bench.json(&format!("show {id} --json")).remove(0);
    let what =
        |id: &str| (shown(id)["packets_total"].as_u64().unwrap(), shown(id)["sender"].as_str().unwrap().to_owned());
    assert_eq!(what(&news), (2, "bounces@my.dom".into()));
    assert_eq!(what(&flagged), (1, String::new()));
    assert_eq!(what(&other), (1, "x-owner@other.dom".into()));
}

#[test]
fn a_lists_mail_is_handed_to_its_own_relay_and_waits_while_that_is_paused() {
    let bench = Bench::new();
    let (main, bulk) = (Relay::start(Policy::new()), Relay::start(Policy::new()));
    let configuration = |tables: &str| {
        let relays =
            format!("[[relay]]\nurl = \"{}\"\n[[relay]]\nurl = \"{}\"\nname = \"bulk\"\n", main.url(), bulk.url());
        bench.file("c.toml", &format!("{relays}{tables}"))
    };
    let file = configuration("[lists.\"news@*\"]\nrelay = \"bulk\"\n");
    let scheduler = bench.scheduler_with(&format!("--workers 1 --config {}", file.display()));
    scheduler.wait_until_ready();
    bench.runs("pause --relay bulk --reason x --config c.toml", DONE).prints(&[&bulk.url().to_string()]);
    let port = bulk.url().to_string();
    scheduler.wait_for_line(&["paused: x", port.rsplit(':').next().unwrap()]);
    bench.spool.put_packets("1", "news@lists.example.org.1700000000.1", &[members("news", 3)]);
    bench.spool.put_packets("2", "talk@lists.example.org.1700000000.2", &[members("talk", 3)]);
    wait_until("the other is sent", || bench.spool.waiting().len() == 1, || scheduler.log());
    assert_once_each(&main, members("talk", 3));
    assert_once_each(&bulk, []);
    bench.runs("resume --relay bulk --config c.toml", DONE);
    bench.spool.wait_until_empty();
    assert_once_each(&bulk, members("news", 3));
    // HUP takes another table up.
    let file = configuration("[lists.\"talk@*\"]\nrelay = \"bulk\"\n");
    assert!(fs::exists(file).unwrap());
    scheduler.signal(Signal::HUP);
    scheduler.wait_for_line(&["configuration reloaded"]);
    bench.spool.put_packets("1", "news@lists.example.org.1700000000.3", &[members("again", 2)]);
    bench.spool.put_packets("2", "talk@lists.example.org.1700000000.4", &[members("then", 2)]);
    bench.spool.wait_until_empty();
    scheduler.stop();
    assert_once_each(&main, members("talk", 3).into_iter().chain(members("again", 2)));
    assert_once_each(&bulk, members("news", 3).into_iter().chain(members("then", 2)));
}
