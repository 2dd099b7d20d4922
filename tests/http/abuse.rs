//! Clients that are slow, wrong or many cost neither mail nor memory, and keep nobody out.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::served::{BIG, PATIENCE, Served, TOKEN, listening};
use crate::support::program::{self, Program};
use crate::support::relay::{Policy, Relay};
use crate::support::spool::{TestSpool, members, message, wait_until};

/// More than are let in at once, and than a process has descriptors where nobody gave it more.
fn a_thousand_slow_clients(address: &str) -> Vec<TcpStream> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let slow = |_| {
        let mut stream = TcpStream::connect(address).unwrap();
        // Who was let in first has been turned out by now, perhaps.
        let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: local");
        stream
    };
    (0..1000).map(slow).collect()
}

#[test]
fn a_thousand_slow_clients_keep_nobody_out() {
    let relay = Relay::start(Policy::new());
    let served = Served::start(TestSpool::new(), &relay.url().to_string(), &[]);
    let mut listener = TcpStream::connect(&served.address).unwrap();
    listener.set_read_timeout(Some(PATIENCE)).unwrap();
    listener.write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut told = BufReader::new(listener).lines().map(Result::unwrap);
    assert!(told.any(|line| line == "event: hello"));
    let slow = a_thousand_slow_clients(&served.address);
    // A head has ten seconds: whoever had to wait for four rounds of them would not be answered in these.
    for path in ["/healthz", "/metrics", "/api/v1/queue"] {
        let mut stream = TcpStream::connect(&served.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(&status, b"HTTP/1.1 200", "{path}");
    }
    // Whoever listens is not turned out for them, and the mail goes out.
    served.spool.put_packets("3", BIG, &[members("m", 200)]);
    assert!(told.any(|line| line == "event: done"));
    assert!(served.spool.waiting().is_empty());
    drop(slow);
}

#[test]
fn what_is_announced_as_too_big_is_refused_before_it_comes() {
    let served = Served::idle(TestSpool::new());
    let mut stream = TcpStream::connect(&served.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!("Host: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 100000\r\n");
    stream.write_all(format!("POST /api/v1/pause HTTP/1.1\r\n{head}\r\n{{").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("expected at most 65536 octets"), "{answer}");
}

#[test]
fn bad_requests_and_slow_clients_cost_neither_mail_nor_memory() {
    let relay = Relay::start(Policy::new());
    let mut served = Served::start(TestSpool::new(), &relay.url().to_string(), &[]);
    assert_eq!(served.ask("GET", "/healthz", &[], "").0, 200);
    let slow = a_thousand_slow_clients(&served.address);
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
    let kilobytes = peak(&served);
    assert!(kilobytes < 100 * 1024, "{kilobytes}");
    assert!(served.program.stop().success());
}

/// Kilobytes of memory, at most.
fn peak(served: &Served) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", served.program.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn answers_that_nobody_takes_are_bounded() {
    let spool = TestSpool::new();
    let why = "x".repeat(8000);
    let held = format!("{{\"since\":1,\"by\":\"test\",\"why\":\"{why}\",\"from\":\"5\"}}");
    for n in 0..100 {
        let id = format!("list@abuse.example.org.1700000000.{n}");
        spool.put(
            "z",
            &id,
            &[("recipients.mail.0001", "m@example.org\n"), ("held", &held), ("message", &message(&id))],
        );
    }
    let served = Served::idle(spool);
    served.wait_until_counted(100);
    let (_, _, whole) = served.ask("GET", "/api/v1/messages", &[], "");
    let before = peak(&served);
    let ask = |_| {
        let mut stream = TcpStream::connect(&served.address).unwrap();
        stream.write_all(b"GET /api/v1/messages HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        stream
    };
    let silent: Vec<TcpStream> = (0..200).map(ask).collect();
    assert_eq!(served.ask("GET", "/healthz", &[], "").0, 200);
    // All of them would be more.
    assert!(whole.len() * silent.len() > 250 * 1024 * 1024, "{}", whole.len());
    let grown = peak(&served) - before;
    assert!(grown < 100 * 1024, "{grown} kB");
}

#[test]
fn a_look_opens_no_file_and_no_directory_but_what_schedulers_say_of_themselves() {
    let spool = TestSpool::new();
    for n in 0..500 {
        spool.put_packets("z", &format!("list@cost.example.org.1700000000.{n}"), &[members("m", 1)]);
    }
    let place = tempfile::tempdir().unwrap();
    let trace = place.path().join("calls");
    let traced = program::command();
    let mut command = Command::new("strace");
    // -D: the tracer is the grandchild, so that the child is the program itself.
    command.args(["-D", "-f", "-e", "trace=%file,getdents64", "-o"]).arg(&trace).arg(traced.get_program());
    command.args(["--log-format", "json", "--spool"]).arg(spool.path());
    command.args(["run", "--relay"]).arg(format!("maildir:{}", place.path().join("out").display()));
    command.env("SYMPA_DIST_HTTP_LISTEN", "127.0.0.1:0").env("SYMPA_DIST_RUN_RESCAN", "1h");
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("strace; tests/run installs it");
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let program = Program::of(child);
    let address = listening(&mut log);
    let served = Served::of(spool, program, address, log);
    served.wait_until_counted(500);
    let thread = |name: &str| {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", served.program.id())).unwrap();
        let is_called = |task: &std::path::PathBuf| std::fs::read_to_string(task.join("comm")).unwrap().trim() == name;
        let task = tasks.map(|task| task.unwrap().path()).find(is_called).unwrap_or_else(|| panic!("no thread {name}"));
        task.file_name().unwrap().to_str().unwrap().to_owned()
    };
    let (http, view) = (thread("http"), thread("view"));
    let calls = |thread: &str| {
        let text = std::fs::read_to_string(&trace).unwrap();
        let of_thread = text.lines().filter(|line| line.split_whitespace().next() == Some(thread));
        // The C library asks for it when it gives memory back.
        let of_thread = of_thread.filter(|line| !line.contains("/proc/sys/vm/overcommit_memory"));
        of_thread.map(str::to_owned).collect::<Vec<_>>()
    };
    // The view has read them all.
    wait_until("it is seen", || calls(&view).iter().any(|call| call.contains("getdents64")), String::new);
    let before = (calls(&http), calls(&view));
    for path in ["/metrics", "/api/v1/queue", "/api/v1/messages", "/readyz", "/"] {
        for _ in 0..10 {
            assert_eq!(served.ask("GET", path, &[], "").0, 200, "{path}");
        }
    }
    let new = |thread: &str, before: &[String]| calls(thread).split_off(before.len());
    assert_eq!(new(&http, &before.0), Vec::<String>::new());
    // The view's thread looks what other schedulers do, into `running/`, where this one's file is.
    let own = format!(".{}\"", served.program.id());
    let is_of_running = |call: &String| {
        let names = ["\"running\"", "\".\"", "\"\"", " 3 entries ", " 0 entries ", own.as_str()];
        names.iter().any(|name| call.contains(name))
    };
    let others: Vec<String> = new(&view, &before.1).into_iter().filter(|call| !is_of_running(call)).collect();
    assert_eq!(others, Vec::<String>::new());
}
