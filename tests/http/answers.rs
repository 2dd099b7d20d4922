//! What is shown, and who may do what.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::served::{BIG, HELD, PATIENCE, Served, TOKEN, listening, two_messages};
use crate::support::program::{self, Program};
use crate::support::relay::{Policy, Relay};
use crate::support::spool::{TestSpool, id, members, message, wait_until};

#[test]
fn what_is_served_is_what_is_in_the_spool() {
    let served = Served::idle(two_messages());
    served.wait_until_counted(2);
    let queue = served.get("/api/v1/queue");
    let level = &queue["levels"][5];
    assert_eq!((&level["messages"], &level["recipients_left"]), (&json!(1), &json!(42)));
    assert_eq!(queue["levels"][10]["messages"], 1);
    assert_eq!(queue["levels"].as_array().unwrap().len(), 11);
    let messages = served.get("/api/v1/messages?sort=age");
    assert_eq!(messages["total"], 2);
    // As `queue --json` has it.
    let rows = program::command().arg("--spool").arg(served.spool.path()).args(["queue", "--json"]).output().unwrap();
    for line in String::from_utf8(rows.stdout).unwrap().lines() {
        let told: Value = serde_json::from_str(line).unwrap();
        let row = served.get(&format!("/api/v1/messages/{}", told["queue_id"].as_str().unwrap()));
        for name in [
            "queue_name",
            "queue_id",
            "arrival_time",
            "message_size",
            "sender",
            "priority",
            "state",
            "list",
            "packets_total",
            "packets_done",
            "recipients_total",
            "recipients_done",
            "recipients_left",
            "deferred",
            "failed",
        ] {
            assert_eq!(row[name], told[name], "{name}");
        }
    }
    let stuck = || served.get(&format!("/api/v1/messages/{BIG}"))["stuck"].as_str().unwrap_or_default().to_owned();
    wait_until("it says why", || stuck().starts_with("no relay: "), stuck);
    assert_eq!(served.get("/api/v1/messages?q=HELD&limit=1")["messages"][0]["queue_id"], HELD);
    assert_eq!(served.get("/api/v1/messages?priority=5")["total"], 1);
    assert_eq!(served.ask("GET", "/api/v1/messages?priorty=5", &[], "").0, 400);
    assert_eq!(served.ask("GET", "/api/v1/messages/../../etc/passwd", &[], "").0, 404);
    assert_eq!(served.ask("GET", "/healthz", &[], "").0, 200);
    assert_eq!(served.ask("GET", "/readyz", &[], "").0, 503, "the relay is down");
}

#[test]
fn whoever_has_the_token_moves_messages_and_nobody_else() {
    let served = Served::idle(two_messages());
    let requeue = format!("/api/v1/messages/{BIG}/requeue");
    let body = json!({"priority": "2"}).to_string();
    for wrong in [None, Some("Bearer wrong-but-long-enough"), Some("Basic abc"), Some("Bearer "), Some("")] {
        let header = wrong.map(|value| ("Authorization", value));
        let (status, head, _) = served.ask("POST", &requeue, header.as_slice(), &body);
        assert_eq!(status, 401, "{wrong:?}");
        assert!(head.contains("www-authenticate: bearer"), "{head}");
    }
    assert_eq!(served.spool.open().locate(&id(BIG)).unwrap().unwrap().0.to_string(), "5");
    assert_eq!(
        served.act(&requeue, json!({"priority": "2"})),
        (200, json!({"result": "moved", "from": "5", "to": "2"}))
    );
    assert_eq!(served.act(&requeue, json!({"priority": "2"})).1["result"], "already-there");
    assert_eq!(served.act(&requeue, json!({"priority": "11"})).0, 400);
    assert_eq!(served.act(&requeue, json!({"priority": "1", "more": 1})).0, 400);
    assert_eq!(served.act("/api/v1/messages/no@such.message.1.1/hold", json!({"reason": "x"})).0, 404);
    assert_eq!(served.act(&format!("/api/v1/messages/{HELD}/release"), json!({})).0, 200);
    assert_eq!(served.act(&format!("/api/v1/messages/{BIG}/hold"), json!({"reason": "a test"})).1["to"], "z");
    let held = || served.get(&format!("/api/v1/messages/{BIG}"))["held"]["why"].clone();
    wait_until("the note is shown", || held() == "a test", || held().to_string());
    assert_eq!(
        served.act(&format!("/api/v1/messages/{BIG}/cancel"), json!({"reason": "a test"})).1["result"],
        "cancelled"
    );
    assert_eq!(served.spool.bad().len(), 1);
    let gone = || served.ask("GET", &format!("/api/v1/messages/{BIG}"), &[], "").0 == 404;
    wait_until("it is seen to have gone", gone, String::new);
    assert_eq!(served.act("/api/v1/pause", json!({"list": "held@http.example.org"})).0, 400, "without a reason");
    assert_eq!(served.act("/api/v1/pause", json!({"list": "held@http.example.org", "reason": "x"})).0, 200);
    let paused = || served.get("/api/v1/queue")["pauses"].clone();
    wait_until("it is shown", || paused()[0]["what"] == "list:held@http.example.org", || paused().to_string());
    assert_eq!(served.act("/api/v1/resume", json!({"list": "held@http.example.org"})).0, 200);
    // A time that never comes is no time that has been.
    assert_eq!(served.act("/api/v1/pause", json!({"priority": "7", "for": u64::MAX, "reason": "x"})).0, 400);
    assert_eq!(served.act("/api/v1/pause", json!({"priority": "7", "for": 3_155_760_000.0, "reason": "x"})).0, 200);
    wait_until("it is shown", || paused()[0]["what"] == "priority:7", || paused().to_string());
    assert_eq!(served.act("/api/v1/pause", json!({"priority": "7", "for": 0, "reason": "x"})).0, 400);
    assert_eq!(served.act("/api/v1/resume", json!({"priority": "7"})).0, 200);
    assert_eq!(served.act("/api/v1/resume", json!({"list": "held@http.example.org"})).0, 404);
}

#[test]
fn a_paused_relay_is_resumed_by_the_name_that_is_told() {
    let served = Served::idle(two_messages());
    let answer = served.act("/api/v1/pause", json!({"relay": "smtp://127.0.0.1:1", "reason": "a test"})).1;
    assert_eq!(answer["what"], "relay:smtp://127.0.0.1:1");
    let pauses = || served.get("/api/v1/queue")["pauses"].clone();
    wait_until("it is shown", || pauses()[0]["what"].is_string(), || pauses().to_string());
    let shown = pauses()[0]["what"].as_str().unwrap().strip_prefix("relay:").unwrap().to_owned();
    assert_eq!(
        served.act("/api/v1/resume", json!({"relay": shown})),
        (200, json!({"result": "resumed", "what": answer["what"]}))
    );
}

#[test]
fn a_relay_that_there_is_none_of_is_not_paused_and_one_that_somebody_uses_is() {
    let served = Served::idle(two_messages());
    let pause = |relay: &str| served.act("/api/v1/pause", json!({"relay": relay, "reason": "a test"}));
    for unknown in ["smtp://127.0.0.1:2", "smtp://nobody.example.org", "maildir:/nowhere", "nobody's", ""] {
        let (status, problem) = pause(unknown);
        assert_eq!(status, 404, "{unknown}: {problem}");
        assert!(problem["detail"].as_str().unwrap().starts_with("relay: there is none"), "{problem}");
    }
    assert_eq!(std::fs::read_dir(served.spool.path().join("paused")).map_or(0, Iterator::count), 0);
    // Of another process, and as somebody else may write it.
    let other = Program::run(served.spool.path(), &["--relay", "smtp://127.0.0.1:2"]);
    let paused = || pause("SMTP://127.0.0.1:2/");
    wait_until("it is known", || paused().0 == 200, || paused().1.to_string());
    drop(other);
    assert_eq!(served.act("/api/v1/resume", json!({"relay": "smtp://127.0.0.1:2"})).0, 200, "nobody has it any more");
}

#[test]
fn what_a_reload_has_brought_holds_for_actions_too() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("c.toml");
    let configure = |name: &str, priority: u8| {
        let relay = format!("[[relay]]\nurl = \"smtp://127.0.0.1:1\"\nname = \"{name}\"\n");
        std::fs::write(&file, format!("[inject]\npriority = {priority}\n{relay}")).unwrap();
    };
    configure("old", 5);
    let served = Served::configured(two_messages(), &[], &[("SYMPA_DIST_CONFIG", file.to_str().unwrap())]);
    configure("new", 8);
    served.program.signal(Signal::HUP);
    served.wait_for_log("configuration reloaded");
    let pause = |relay: &str| served.act("/api/v1/pause", json!({"relay": relay, "reason": "a test"})).0;
    assert_eq!((pause("old"), pause("new")), (404, 200));
    let release = served.act(&format!("/api/v1/messages/{HELD}/release"), json!({}));
    assert_eq!(release.1["to"], "8", "where it was is not known: {release:?}");
}

#[test]
fn the_readmes_command_line_moves_a_message_whatever_its_id_is() {
    const ID: &str = "o!#$%&'*+-=?^_`{|}~@my.dom.1.1";
    let text = include_str!("../../README.md");
    let line = &text[text.find("curl -H").expect("an example")..];
    let line = &line[..line.find("```").unwrap()];
    let spool = TestSpool::new();
    spool.put_packets("5", ID, &[members("m", 3)]);
    let served = Served::idle(spool);
    served.wait_until_counted(1);
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("token"), format!("{TOKEN}\n")).unwrap();
    assert!(line.contains("https://lists.my.dom:9125/"), "{line}");
    let line = line.replace("https://lists.my.dom:9125/", &format!("http://{}/", served.address));
    let mut shell = std::process::Command::new("bash");
    let output = shell.args(["-c", &line]).env("ID", ID).current_dir(place.path()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.contains("\"result\":\"moved\""), "{told} {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(served.spool.waiting(), [format!("0/{ID}")]);
}

#[test]
fn a_server_without_a_token_only_shows() {
    let served = Served::start(two_messages(), "smtp://127.0.0.1:1", &[("SYMPA_DIST_HTTP_TOKEN_FILE", "")]);
    assert_eq!(served.act(&format!("/api/v1/messages/{BIG}/hold"), json!({"reason": "x"})).0, 403);
}

#[test]
fn with_a_token_file_that_is_wrong_all_is_shown_nobody_acts_and_mended_it_is_read_again() {
    let place = tempfile::tempdir().unwrap();
    let token = place.path().join("token");
    let write = |text: &str, mode: u32| {
        std::fs::write(&token, text).unwrap();
        std::fs::set_permissions(&token, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let missing = || drop(std::fs::remove_file(&token));
    let hold = format!("/api/v1/messages/{BIG}/hold");
    for (wrong, why) in [
        (&missing as &dyn Fn(), "No such file"),
        (&|| write(TOKEN, 0o644), "mode 644"),
        (&|| write("", 0o600), "expected a token of at least 16"),
        (&|| write("short", 0o600), "expected a token of at least 16"),
        (&|| write(&format!("\u{feff}{TOKEN}\n"), 0o600), "line 1 begins with a byte order mark (BOM)"),
    ] {
        wrong();
        let mut command = program::command();
        command.env("SYMPA_DIST_HTTP_LISTEN", "127.0.0.1:0").env("SYMPA_DIST_HTTP_TOKEN_FILE", &token);
        let spool = two_messages();
        command.args(["--log-format", "json", "--spool"]).arg(spool.path()).args([
            "run",
            "--relay",
            "smtp://127.0.0.1:1",
        ]);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let program = Program::of(child);
        let mut told = String::new();
        log.read_line(&mut told).unwrap();
        for word in ["ERROR", "http.token_file", token.to_str().unwrap(), why, "actions are refused", "HUP"] {
            assert!(told.contains(word), "{word}: {told}");
        }
        let address = listening(&mut log);
        let served = Served::of(spool, program, address, log);
        for path in ["/metrics", "/healthz", "/", "/api/v1/queue"] {
            assert_eq!(served.ask("GET", path, &[], "").0, 200, "{path}");
        }
        let (status, problem) = served.act(&hold, json!({"reason": "x"}));
        let detail = problem["detail"].as_str().unwrap();
        assert_eq!(status, 503, "{detail}");
        assert!(detail.contains("http.token_file can't be used") && !detail.contains(place.path().to_str().unwrap()));
        // Neither the empty token nor what stands in the file is one.
        for offered in ["Bearer ", "Bearer short"] {
            assert_eq!(served.ask("POST", &hold, &[("Authorization", offered)], "{\"reason\": \"x\"}").0, 503);
        }
        served.program.signal(Signal::HUP);
        served.wait_for_log("actions are refused");
        assert_eq!(served.act(&hold, json!({"reason": "x"})).0, 503);
        write(TOKEN, 0o600);
        served.program.signal(Signal::HUP);
        served.wait_for_log("who has the token may act");
        assert_eq!(served.act(&hold, json!({"reason": "x"})).0, 200);
        // Wrong again, the old one is withdrawn.
        wrong();
        served.program.signal(Signal::HUP);
        served.wait_for_log(why);
        let (status, problem) = served.act(&hold, json!({"reason": "x"}));
        assert_eq!(status, 503, "{problem}");
        assert_eq!(served.ask("GET", "/api/v1/queue", &[], "").0, 200);
    }
}

#[test]
fn other_sites_pages_get_nothing() {
    let served = Served::idle(two_messages());
    for host in ["evil.example", "evil.example:80", "localhost.evil.example", ""] {
        assert_eq!(served.ask("GET", "/api/v1/queue", &[("Host", host)], "").0, 421, "{host:?}");
    }
    let port = served.address.rsplit_once(':').unwrap().1;
    // Numbers are nobody's name.
    for host in [format!("localhost:{port}"), format!("127.0.0.1:{port}"), "[::1]".into(), "192.0.2.7".into()] {
        let (status, head, _) = served.ask("GET", "/api/v1/queue", &[("Host", &host)], "");
        assert_eq!(status, 200, "{host}");
        assert!(head.contains("content-security-policy: default-src 'none'") && head.contains("nosniff"), "{head}");
        assert!(!head.contains("access-control-allow"), "{head}");
    }
    let (status, head, _) = served.ask("OPTIONS", "/api/v1/queue", &[("Origin", "https://evil.example")], "");
    assert!(status == 405 && head.contains("allow: get,head"), "{head}");
}

#[test]
fn what_happens_is_told_while_it_happens() {
    let relay = Relay::start(Policy::new());
    let served = Served::start(TestSpool::new(), &relay.url().to_string(), &[]);
    let mut stream = TcpStream::connect(&served.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "event: hello"));
    served.spool.put_packets("3", BIG, &[members("m", 120)]);
    // A worker may have it open before the scheduler has told of it.
    let mut told = Vec::new();
    while !told.iter().any(|kind| kind == "done") {
        let line = lines.next().expect("it is told to the end");
        if let Some(kind) = line.strip_prefix("event: ").filter(|kind| *kind != "progress") {
            told.push(kind.to_owned());
            let data = lines.find(|line| line.starts_with("data: ")).unwrap();
            // Not all are about a message.
            if let Value::String(message) = &serde_json::from_str::<Value>(&data[6..]).unwrap()["message"] {
                assert_eq!(message, BIG);
            }
        }
    }
    for kind in ["arrived", "started", "packet-taken", "packet-left", "done"] {
        assert!(told.iter().any(|told| told == kind), "{kind}: {told:?}");
    }
    let (_, head, metrics) = served.ask("GET", "/metrics", &[("Accept", "application/openmetrics-text")], "");
    assert!(head.contains("application/openmetrics-text") && metrics.ends_with("# EOF\n"), "{head}");
    for line in [
        "sympa_dist_recipients_total{priority=\"3\",result=\"sent\"} 120",
        "sympa_dist_messages_total{priority=\"3\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

#[test]
fn express_workers_are_shown_by_their_numbers_and_nobody_else_is() {
    let express = [("SYMPA_DIST_RUN_EXPRESS_WORKERS", "2")];
    let served = Served::start(TestSpool::new(), "smtp://127.0.0.1:1", &express);
    served.wait_until_counted(0);
    let workers = served.get("/api/v1/queue")["workers"].clone();
    let numbers: Vec<u64> = workers.as_array().unwrap().iter().map(|row| row["worker"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [0, 1024, 1025]);
}

#[test]
fn a_number_of_recipients_that_no_spool_could_hold_breaks_no_sum_and_is_no_reason_to_send() {
    let spool = TestSpool::new();
    for (n, priority) in ["z", "z", "5"].into_iter().enumerate() {
        let id = format!("many@http.example.org.1700000000.{n}");
        let text = format!("X-Sympa-Dist-Recipients: 18446744073709551615\n{}", message(&id));
        spool.put(priority, &id, &[("recipients.mail.0001", "m@example.org\n"), ("message", &text)]);
    }
    let out = tempfile::tempdir().unwrap();
    let served = Served::start(spool, &format!("maildir:{}", out.path().join("out").display()), &[]);
    served.wait_until_counted(2);
    assert_eq!(served.get("/api/v1/queue")["levels"][10]["recipients_left"], 2);
    assert_eq!(served.metric("sympa_dist_queue_recipients{priority=\"z\",state=\"left\"}"), 2.0);
    let reason = served.spool.reason("many@http.example.org.1700000000.2");
    assert!(reason.contains("X-Sympa-Dist-Recipients: 18446744073709551615 is more than there can be"), "{reason}");
}

#[test]
fn what_nobody_tells_of_is_seen_with_the_next_scan() {
    let served = Served::start(two_messages(), "smtp://127.0.0.1:1", &[("SYMPA_DIST_RUN_RESCAN", "1s")]);
    served.wait_until_counted(2);
    let left = || served.get(&format!("/api/v1/messages/{HELD}"))["recipients_left"].clone();
    assert_eq!(left(), 3);
    // Another host's work, or an editor's.
    let more = served.spool.at("z").join(HELD).join("recipients.mail.0002");
    std::fs::write(more, "one@example.org\ntwo@example.org\n").unwrap();
    wait_until("it is seen", || left() == 5, || left().to_string());
}

#[test]
fn of_a_spool_that_has_gone_the_log_says_once_that_answers_may_be_old_and_once_that_they_are_not() {
    let served = Served::start(two_messages(), "smtp://127.0.0.1:1", &[("SYMPA_DIST_RUN_RESCAN", "1s")]);
    served.wait_until_counted(2);
    let (here, away) = (served.spool.path().to_owned(), served.spool.path().with_extension("away"));
    std::fs::rename(&here, &away).unwrap();
    // It is looked for once a second.
    std::thread::sleep(Duration::from_secs(4));
    std::fs::rename(&away, &here).unwrap();
    let told = served.log_until("what is shown over HTTP is not old any more");
    let old: Vec<&String> = told.iter().filter(|line| line.contains("what is shown over HTTP may be old")).collect();
    assert_eq!(old.len(), 1, "{old:?}");
}
