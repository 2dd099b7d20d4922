//! Debian's Prometheus reads it: the text, by its own checker, and the live scheduler, by scraping it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::served::{PATIENCE, Served, two_messages};
use crate::support::program::Program;
use crate::support::relay::{Policy, Relay};
use crate::support::spool::{TestSpool, members, wait_until};

const LISTS: (&str, &str) = ("SYMPA_DIST_METRICS_LISTS", "2");

#[test]
fn promtool_finds_nothing_wrong_with_the_metrics() {
    let served = Served::start(two_messages(), "smtp://127.0.0.1:1", &[LISTS]);
    served.wait_until_counted(2);
    let (_, _, metrics) = served.ask("GET", "/metrics", &[], "");
    assert!(metrics.contains("sympa_dist_list_queue_messages{list=\"big@http.example.org\"} 1"), "{metrics}");
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool, of Debian's package prometheus; tests/run installs it");
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    assert!(said.status.success() && said.stdout.is_empty() && said.stderr.is_empty(), "{said:?}");
}

#[test]
fn no_list_is_a_label_unless_somebody_asked_for_it_and_then_so_many() {
    let spool = || {
        let spool = TestSpool::new();
        for n in 1..=4 {
            spool.put_packets("z", &format!("list{n}@metrics.example.org.1700000000.{n}"), &[members("m", n * 10)]);
        }
        spool
    };
    let silent = Served::idle(spool());
    silent.wait_until_counted(4);
    let (_, _, metrics) = silent.ask("GET", "/metrics", &[], "");
    assert!(!metrics.contains("list=") && !metrics.contains("_list_"), "{metrics}");
    let served = Served::start(spool(), "smtp://127.0.0.1:1", &[LISTS]);
    served.wait_until_counted(4);
    let (_, _, metrics) = served.ask("GET", "/metrics", &[], "");
    let lines: Vec<&str> = metrics.lines().filter(|line| line.contains("{list=") && line.contains("left")).collect();
    assert_eq!(
        lines,
        [
            "sympa_dist_list_queue_recipients{list=\"list4@metrics.example.org\",state=\"left\"} 40.0",
            "sympa_dist_list_queue_recipients{list=\"list3@metrics.example.org\",state=\"left\"} 30.0",
            "sympa_dist_list_queue_recipients{list=\"other\",state=\"left\"} 30.0",
        ]
    );
}

/// A Prometheus of the test's own. Dropped, it is killed.
struct Prometheus {
    port: u16,
    _program: Program,
}

impl Prometheus {
    /// With its data and configuration below `dir`; it scrapes `target` and loads the packaged rules.
    fn start(dir: &Path, target: &str) -> Prometheus {
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/prometheus/sympa-dist.rules.yml");
        // JSON is YAML.
        let configuration = json!({
            "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "200ms"},
            "rule_files": [rules],
            "scrape_configs": [{"job_name": "sympa-dist", "static_configs": [{"targets": [target]}]}],
        });
        let file = dir.join("prometheus.yml");
        std::fs::write(&file, configuration.to_string()).unwrap();
        loop {
            // Free a moment ago; it can't say itself which one it was given.
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
            let mut command = Command::new("prometheus");
            command.arg(format!("--config.file={}", file.display()));
            command.arg(format!("--storage.tsdb.path={}", dir.join("data").display()));
            command.arg(format!("--web.listen-address=127.0.0.1:{port}")).arg("--log.level=error");
            let mut program = Program::start(&mut command);
            let mut has_ended = false;
            let answers = || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
            wait_until(
                "Prometheus",
                || {
                    answers() || {
                        has_ended = program.has_ended();
                        has_ended
                    }
                },
                String::new,
            );
            if !has_ended {
                return Prometheus { port, _program: program };
            }
        }
    }

    fn get(&self, path: &str) -> Value {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // 1.0: an answer without chunks.
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body).unwrap_or(Value::Null)
    }

    /// The only value of a query, if there is one.
    fn value(&self, query: &str) -> Option<f64> {
        let query: String = query.bytes().map(|octet| format!("%{octet:02x}")).collect();
        let answer = self.get(&format!("/api/v1/query?query={query}"));
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }
}

#[test]
fn prometheus_scrapes_the_live_scheduler_and_knows_what_the_spool_has() {
    let relay = Relay::start(Policy::new());
    let served = Served::start(TestSpool::new(), &relay.url().to_string(), &[LISTS]);
    let dir = tempfile::tempdir().unwrap();
    let prometheus = Prometheus::start(dir.path(), &served.address);
    let told = || prometheus.get("/api/v1/targets").to_string();
    wait_until("it is up", || prometheus.value("up{job=\"sympa-dist\"}") == Some(1.0), told);
    let becomes = |query: &str, value: f64| {
        wait_until(query, || prometheus.value(query) == Some(value), || format!("{:?}", prometheus.value(query)));
    };
    served.spool.put_packets("z", "held@http.example.org.1700000000.1", &[members("m", 30), members("n", 12)]);
    becomes("sympa_dist_queue_messages{priority=\"z\",state=\"held\"}", 1.0);
    becomes("sum(sympa_dist_queue_recipients{priority=\"z\",state=\"left\"})", 42.0);
    becomes("sympa_dist_list_queue_recipients{list=\"held@http.example.org\",state=\"left\"}", 42.0);
    served.spool.put_packets("4", "sent@http.example.org.1700000000.2", &[members("m", 120)]);
    becomes("sympa_dist_recipients_total{priority=\"4\",result=\"sent\"}", 120.0);
    assert_eq!(relay.wait_for_recipients(120).recipients().count(), 120);
    becomes("sum(sympa_dist_queue_messages)", served.spool.waiting().len() as f64);
    becomes("sympa_dist_ready", 1.0);
    // The rules are loaded, and each has been asked.
    let rules = || {
        let groups = prometheus.get("/api/v1/rules");
        let groups = groups["data"]["groups"].as_array().cloned().unwrap_or_default();
        groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap()).collect::<Vec<Value>>()
    };
    let are_asked = || {
        let rules = rules();
        rules.len() > 5 && rules.iter().all(|rule| rule["health"] == "ok")
    };
    wait_until("the rules are in use", are_asked, || format!("{:?}", rules()));
    assert_eq!(prometheus.get("/api/v1/targets")["data"]["activeTargets"][0]["lastError"], "");
}
