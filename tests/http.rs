//! What `run` serves: the built program, a real spool, plain HTTP/1.1 over a socket.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{ChildStderr, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use support::program::{self, Program};
use support::relay::{Policy, Relay};
use support::spool::{TestSpool, id, members, wait_until};

const TOKEN: &str = "a-token-that-nobody-guesses";
/// Long enough never to matter in a test that passes.
const PATIENCE: Duration = Duration::from_secs(60);

struct Served {
    spool: TestSpool,
    program: Program,
    address: String,
    _log: std::thread::JoinHandle<()>,
}

impl Served {
    /// With a relay that is down: what is in the spool stays.
    fn idle(spool: TestSpool) -> Served {
        Served::start(spool, "smtp://127.0.0.1:1", &[])
    }

    fn start(spool: TestSpool, relay: &str, environment: &[(&str, &str)]) -> Served {
        let token = spool.path().join("incoming/.token");
        std::fs::write(&token, TOKEN).unwrap();
        std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
        let mut command = program::command();
        command.env("SYMPA_DIST_HTTP_LISTEN", "127.0.0.1:0").env("SYMPA_DIST_HTTP_TOKEN_FILE", &token);
        command.envs(environment.iter().copied()).args(["--log-format", "json", "--spool"]).arg(spool.path());
        command.args(["run", "--workers", "1", "--relay", relay]).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let program = Program::of(child);
        let address = listening(&mut log);
        let log = std::thread::spawn(move || drop(std::io::copy(&mut log, &mut std::io::sink())));
        Served { spool, program, address, _log: log }
    }

    /// Status, head and body.
    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let host = if headers.iter().any(|(name, _)| *name == "Host") { "" } else { "Host: localhost\r\n" };
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = body.len();
        let request = format!("{method} {path} HTTP/1.1\r\n{host}{headers}Content-Length: {length}\r\n\r\n{body}");
        // A server that has heard enough may answer and hang up before it has read everything.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        (status, head.to_ascii_lowercase(), body.to_owned())
    }

    fn get(&self, path: &str) -> Value {
        let (status, _, body) = self.ask("GET", path, &[], "");
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    fn act(&self, path: &str, body: Value) -> (u16, Value) {
        let bearer = format!("Bearer {TOKEN}");
        let (status, _, body) = self.ask("POST", path, &[("Authorization", &bearer)], &body.to_string());
        (status, serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    /// Once every folder has been read.
    fn wait_until_counted(&self, messages: usize) {
        let counted = || {
            let queue = self.get("/api/v1/queue");
            let there: u64 =
                queue["levels"].as_array().unwrap().iter().map(|level| level["messages"].as_u64().unwrap()).sum();
            queue["counted"] == true && there == messages as u64
        };
        wait_until("all is counted", counted, || self.get("/api/v1/queue").to_string());
    }
}

fn listening(log: &mut BufReader<ChildStderr>) -> String {
    loop {
        let mut line = String::new();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "it ended without serving");
        let event: Value = serde_json::from_str(&line).unwrap();
        if event["message"] == "http" {
            return event["listen"].as_str().unwrap().to_owned();
        }
    }
}

const BIG: &str = "big@http.example.org.1700000000.1";
const HELD: &str = "held@http.example.org.1700000000.2";

fn two_messages() -> TestSpool {
    let spool = TestSpool::new();
    spool.put_packets("5", BIG, &[members("m", 30), members("n", 12)]);
    spool.put_packets("z", HELD, &[members("m", 3)]);
    spool
}

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
    assert_eq!(served.act("/api/v1/pause", json!({"priority": "7", "for": u64::MAX, "reason": "x"})).0, 200);
    wait_until("it is shown", || paused()[0]["what"] == "priority:7", || paused().to_string());
    assert_eq!(served.act("/api/v1/pause", json!({"priority": "7", "for": 0, "reason": "x"})).0, 400);
    assert_eq!(served.act("/api/v1/resume", json!({"priority": "7"})).0, 200);
    assert_eq!(served.act("/api/v1/resume", json!({"list": "held@http.example.org"})).0, 404);
}

#[test]
fn a_server_without_a_token_only_shows_and_a_token_that_all_may_read_serves_nobody() {
    let served = Served::start(two_messages(), "smtp://127.0.0.1:1", &[("SYMPA_DIST_HTTP_TOKEN_FILE", "")]);
    assert_eq!(served.act(&format!("/api/v1/messages/{BIG}/hold"), json!({"reason": "x"})).0, 403);
    let spool = TestSpool::new();
    let token = spool.path().join("incoming/.token");
    std::fs::write(&token, TOKEN).unwrap();
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o644)).unwrap();
    let mut command = program::command();
    command.env("SYMPA_DIST_HTTP_LISTEN", "127.0.0.1:0").env("SYMPA_DIST_HTTP_TOKEN_FILE", &token).arg("--spool");
    command
        .arg(spool.path())
        .args(["run", "--relay", "smtp://127.0.0.1:1"])
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    let _program = Program::of(child);
    let told = log.lines().map_while(Result::ok).find(|line| line.contains("http.token_file")).unwrap();
    assert!(told.contains("mode 644") && told.contains("mail is distributed all the same"), "{told}");
}

#[test]
fn other_sites_pages_get_nothing() {
    let served = Served::idle(two_messages());
    for host in ["evil.example", "evil.example:80", "localhost.evil.example", ""] {
        assert_eq!(served.ask("GET", "/api/v1/queue", &[("Host", host)], "").0, 421, "{host:?}");
    }
    let port = served.address.rsplit_once(':').unwrap().1;
    for host in [format!("localhost:{port}"), format!("127.0.0.1:{port}"), "[::1]".into()] {
        let (status, head, _) = served.ask("GET", "/api/v1/queue", &[("Host", &host)], "");
        assert_eq!(status, 200, "{host}");
        assert!(head.contains("content-security-policy: default-src 'none'") && head.contains("nosniff"), "{head}");
        assert!(!head.contains("access-control-allow"), "{head}");
    }
    assert_eq!(served.ask("OPTIONS", "/api/v1/queue", &[("Origin", "https://evil.example")], "").0, 401);
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
    for kind in ["arrived", "started", "packet-taken", "packet-left", "done"] {
        assert!(lines.any(|line| line == format!("event: {kind}")), "{kind}");
        let data = lines.find(|line| line.starts_with("data: ")).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&data[6..]).unwrap()["message"], BIG);
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
fn promtool_finds_nothing_wrong_with_the_metrics() {
    let served = Served::idle(two_messages());
    let (_, _, metrics) = served.ask("GET", "/metrics", &[], "");
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool, of Debian's package prometheus");
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    assert!(said.status.success() && said.stdout.is_empty() && said.stderr.is_empty(), "{said:?}");
}

#[test]
fn bad_requests_and_slow_clients_cost_neither_mail_nor_memory() {
    let relay = Relay::start(Policy::new());
    let mut served = Served::start(TestSpool::new(), &relay.url().to_string(), &[]);
    assert_eq!(served.ask("GET", "/healthz", &[], "").0, 200);
    // Heads that never end, more than are let in at once.
    let slow: Vec<TcpStream> = (0..300)
        .map(|_| {
            let mut stream = TcpStream::connect(&served.address).unwrap();
            let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: local");
            stream
        })
        .collect();
    served.spool.put_packets("3", BIG, &[members("m", 200)]);
    let spool = &served.spool;
    wait_until("the mail is out", || spool.waiting().is_empty(), || format!("{:?}", spool.waiting()));
    drop(slow);
    let bearer = format!("Bearer {TOKEN}");
    let long = "x".repeat(100_000);
    for (request, expected) in [
        (served.ask("POST", "/api/v1/pause", &[("Authorization", &bearer)], &long), 413),
        (served.ask("POST", "/api/v1/pause", &[("Authorization", &bearer)], "\u{0}{"), 400),
        (served.ask("DELETE", "/api/v1/queue", &[("Authorization", &bearer)], ""), 405),
        (served.ask("GET", "/nothing", &[], ""), 404),
    ] {
        assert_eq!(request.0, expected, "{request:?}");
    }
    for n in 0..300 {
        let head = "A: b\r\n".repeat(n * 20);
        let mut stream = TcpStream::connect(&served.address).unwrap();
        let _ = stream.write_all(format!("GET /%{n} HTTP/9.{n}\r\n{head}\r\n").as_bytes());
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", served.program.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kilobytes: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kilobytes < 200 * 1024, "{peak}");
    assert!(served.program.stop().success());
}
