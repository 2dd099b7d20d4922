//! The dashboard and the alert rules ask for metrics that the program serves, in words that Prometheus reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::support::program::Program;
use crate::support::spool::{TestSpool, wait_until};
use crate::{packaging, printed};

/// What every scrape has.
const OF_THE_SCRAPE: [&str; 2] = ["instance", "job"];

fn dashboard() -> Value {
    serde_json::from_str(&fs::read_to_string(packaging("grafana/sympa-dist.json")).unwrap()).unwrap()
}

/// Each panel's title and query.
fn queries() -> Vec<(String, String)> {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let of_panel = |panel: &Value| -> Vec<(String, String)> {
        let title = panel["title"].as_str().unwrap().to_owned();
        let targets = panel["targets"].as_array().unwrap_or_else(|| panic!("{title} asks for nothing"));
        targets.iter().map(|target| (title.clone(), target["expr"].as_str().unwrap().to_owned())).collect()
    };
    panels.iter().flat_map(of_panel).collect()
}

fn rules() -> String {
    fs::read_to_string(packaging("prometheus/sympa-dist.rules.yml")).unwrap()
}

/// By metric and label: the values that the program serves.
type Served = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// Asks a scheduler that has nothing to do: all its metrics are there from the beginning.
fn served() -> &'static Served {
    static SERVED: OnceLock<Served> = OnceLock::new();
    SERVED.get_or_init(|| {
        let (spool, dir) = (TestSpool::new(), tempfile::tempdir().unwrap());
        let place = dir.path().join("http");
        let listen = format!("unix:{}", place.display());
        let relay = format!("maildir:{}", dir.path().join("out").display());
        let _program =
            Program::run_with(spool.path(), &["--relay", &relay], &[("SYMPA_DIST_HTTP_LISTEN", listen.as_str())]);
        let text = || scrape(&place).filter(|text| text.contains("sympa_dist_relay_up{")).unwrap_or_default();
        wait_until("it serves metrics", || !text().is_empty(), String::new);
        let mut served = Served::new();
        for line in text().lines().filter(|line| line.starts_with("sympa_dist_")) {
            let series = named(line).pop().unwrap();
            let labels = served.entry(series.0).or_default();
            for (label, _, value) in series.1 {
                labels.entry(label).or_default().insert(value);
            }
        }
        served
    })
}

/// What /metrics answers, if anything does.
fn scrape(socket: &Path) -> Option<String> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.starts_with("HTTP/1.1 200 ").then_some(answer)
}

/// A metric and its matchers or labels: name, operator, value.
type Series = (String, Vec<(String, String, String)>);

/// The metrics that a text names, each with what is in the braces behind it.
fn named(text: &str) -> Vec<Series> {
    let of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (at, _) in text.match_indices("sympa_dist_") {
        let rest = &text[at..];
        let end = rest.find(|c| !of_name(c)).unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        let braces = behind.strip_prefix('{').and_then(|behind| behind.split('}').next()).unwrap_or_default();
        let matcher = |text: &str| {
            let (label, rest) = text.split_at(text.find(['=', '!']).unwrap());
            let (operator, value) = rest.split_at(rest.find('"').unwrap());
            (label.to_owned(), operator.to_owned(), value.trim_matches('"').to_owned())
        };
        found.push((name.to_owned(), braces.split(',').filter(|part| !part.is_empty()).map(matcher).collect()));
    }
    found
}

/// That the program serves what the text asks for: metrics, labels, and values that labels are compared with.
#[track_caller]
fn is_served(text: &str) {
    for (name, matchers) in named(text) {
        let Some(labels) = served().get(&name) else { panic!("{name} is not served: {text}") };
        for (label, operator, value) in matchers {
            if OF_THE_SCRAPE.contains(&label.as_str()) {
                continue;
            }
            let Some(values) = labels.get(&label) else { panic!("{name} has no label {label}: {text}") };
            let expected: Vec<&str> = match operator.as_str() {
                "=~" | "!~" if !value.contains('[') => value.split('|').collect(),
                "=" | "!=" => vec![&value],
                _ => Vec::new(),
            };
            for value in expected {
                assert!(values.contains(value), "{name}: {label} is never {value}, only {values:?}: {text}");
            }
        }
    }
}

#[test]
fn every_metric_that_the_dashboard_asks_for_is_served() {
    let queries = queries();
    assert!(queries.len() > 10);
    for (title, query) in &queries {
        assert!(!named(query).is_empty(), "{title} asks for no metric: {query}");
        is_served(query);
    }
    is_served(&dashboard()["templating"].to_string());
}

#[test]
fn every_metric_that_an_alert_asks_for_is_served() {
    let rules = rules();
    assert!(named(&rules).len() > 5);
    is_served(&rules);
}

#[test]
fn every_panel_has_a_title_a_description_and_a_place_of_its_own() {
    let dashboard = dashboard();
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(!panel["description"].as_str().unwrap().is_empty(), "{title}");
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24, "{title} is wider than the screen");
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(taken.insert((x, y)), "{title} lies on another panel");
            }
        }
    }
}

#[test]
fn prometheus_takes_the_alert_rules() {
    printed(Command::new("promtool").args(["check", "rules"]).arg(packaging("prometheus/sympa-dist.rules.yml")));
}

#[test]
fn prometheus_can_read_every_query_of_the_dashboard() {
    // As recording rules, with what Grafana would put in place of its variables.
    let rule = |(n, (_, query)): (usize, (String, String))| {
        let query = query.replace("$__rate_interval", "5m").replace("$instance", ".*");
        assert!(!query.contains('$'), "{query}");
        json!({"record": format!("query:{n}"), "expr": query})
    };
    let rules: Vec<Value> = queries().into_iter().enumerate().map(rule).collect();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("queries.yml");
    // JSON is YAML.
    fs::write(&file, json!({"groups": [{"name": "dashboard", "rules": rules}]}).to_string()).unwrap();
    printed(Command::new("promtool").args(["check", "rules"]).arg(file));
}

/// What a series has each minute, in promtool's notation.
fn series(series: &str, values: &str) -> Value {
    json!({"series": series, "values": values})
}

/// At `at`, `alert` is raised for these instances and priorities, and no others.
fn raised(alert: &str, at: &str, labels: Value) -> Value {
    let raised = labels.as_array().unwrap().iter().map(|labels| json!({"exp_labels": labels})).collect::<Vec<_>>();
    json!({"alertname": alert, "eval_time": at, "exp_alerts": raised})
}

#[test]
fn alerts_are_raised_when_they_should_be_and_not_otherwise() {
    let tests = json!([{
        "interval": "1m",
        "input_series": [
            series(r#"up{job="sympa-dist",instance="gone"}"#, "0x60"),
            series(r#"up{job="sympa-dist",instance="works"}"#, "1x60"),
            // One has mail and sends it, one has mail and doesn't, one has held and deferred mail only, one was told not to send;
            // one sees what another scheduler on its spool sends.
            series(r#"sympa_dist_queue_messages{instance="works",priority="5",state="active"}"#, "1000x60"),
            series(r#"sympa_dist_queue_messages{instance="stuck",priority="5",state="waiting"}"#, "1000x60"),
            series(r#"sympa_dist_queue_messages{instance="rests",priority="z",state="held"}"#, "1000x60"),
            series(r#"sympa_dist_queue_messages{instance="rests",priority="5",state="deferred"}"#, "1000x60"),
            series(r#"sympa_dist_queue_messages{instance="told",priority="5",state="waiting"}"#, "1000x60"),
            series(r#"sympa_dist_queue_messages{instance="beside",priority="5",state="elsewhere"}"#, "1000x60"),
            series(r#"sympa_dist_queue_messages{instance="beside",priority="5",state="waiting"}"#, "0x60"),
            series(r#"sympa_dist_queue_stuck_messages{instance="beside",priority="5",reason="paused"}"#, "0x60"),
            series(r#"sympa_dist_recipients_total{instance="beside",priority="5",result="sent"}"#, "70x60"),
            series(r#"sympa_dist_queue_stuck_messages{instance="works",priority="5",reason="paused"}"#, "0x60"),
            series(r#"sympa_dist_queue_stuck_messages{instance="stuck",priority="5",reason="no_relay"}"#, "900x60"),
            series(r#"sympa_dist_queue_stuck_messages{instance="stuck",priority="5",reason="paused"}"#, "100x60"),
            series(r#"sympa_dist_queue_stuck_messages{instance="told",priority="5",reason="paused"}"#, "700x60"),
            series(r#"sympa_dist_queue_stuck_messages{instance="told",priority="5",reason="relay_paused"}"#, "200x60"),
            series(r#"sympa_dist_queue_stuck_messages{instance="told",priority="5",reason="window_closed"}"#, "100x60"),
            series(r#"sympa_dist_recipients_total{instance="told",priority="5",result="sent"}"#, "70x60"),
            series(r#"sympa_dist_recipients_total{instance="works",priority="5",result="sent"}"#, "0+100x60"),
            series(r#"sympa_dist_recipients_total{instance="works",priority="5",result="deferred"}"#, "0+10x60"),
            series(r#"sympa_dist_recipients_total{instance="stuck",priority="5",result="sent"}"#, "70x60"),
            series(r#"sympa_dist_recipients_total{instance="stuck",priority="5",result="deferred"}"#, "0x60"),
            series(r#"sympa_dist_recipients_total{instance="rests",priority="5",result="sent"}"#, "70x60"),
            series(r#"sympa_dist_ready{instance="stuck"}"#, "0x60"),
            series(r#"sympa_dist_ready{instance="works"}"#, "1x60"),
            // Minutes old at level 1, hours at level 5.
            series(r#"sympa_dist_queue_oldest_message_age_seconds{instance="works",priority="1"}"#, "0+60x60"),
            series(r#"sympa_dist_queue_oldest_message_age_seconds{instance="works",priority="5"}"#, "7200+60x60"),
        ],
        "alert_rule_test": [
            raised("SympaDistDown", "4m", json!([])),
            raised("SympaDistDown", "10m", json!([{"severity": "critical", "job": "sympa-dist", "instance": "gone"}])),
            raised("SympaDistStuck", "40m", json!([{"severity": "critical", "instance": "stuck"}])),
            raised("SympaDistUrgentMailWaits", "9m", json!([])),
            raised("SympaDistUrgentMailWaits", "30m", json!([{"severity": "warning", "instance": "works", "priority": "1"}])),
            raised("SympaDistMailIsOld", "59m", json!([])),
            raised("SympaDistMostIsDeferred", "59m", json!([])),
            raised("SympaDistNotReady", "59m", json!([{"severity": "critical", "instance": "stuck"}])),
        ],
    }]);
    let dir = tempfile::tempdir().unwrap();
    // promtool compares annotations too; what they say to people is not this test's matter.
    let without: Vec<String> = rules().lines().filter(|line| !is_annotation(line)).map(str::to_owned).collect();
    fs::write(dir.path().join("rules.yml"), without.join("\n")).unwrap();
    let file = dir.path().join("tests.yml");
    let all = json!({"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": tests});
    fs::write(&file, all.to_string()).unwrap();
    printed(Command::new("promtool").args(["test", "rules"]).arg(file));
}

fn is_annotation(line: &str) -> bool {
    ["annotations:", "summary:", "description:"].iter().any(|word| line.trim_start().starts_with(word))
}
