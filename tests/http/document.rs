//! The OpenAPI document says what is answered: every answer that it names is provoked here, and read with its schema.
//!
//! Answers may get more members later, and the document allows them. The test does not: what is answered today is in it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use sympa_dist::daemon::events::{Event, Happening, Why};
use sympa_dist::mail::{MessageId, Moment, Priority};

use crate::served::{BIG, HELD, PATIENCE, Served, TOKEN, two_messages};
use crate::support::relay::{Dot, Policy, Rcpt, Relay};
use crate::support::spool::{TestSpool, members, wait_until};

/// As it is in the program.
pub fn document() -> Value {
    serde_json::from_str(include_str!("../../src/monitor/http/openapi.json")).unwrap()
}

/// What is written `$ref`, in place.
fn resolved<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    match value["$ref"].as_str() {
        Some(place) => document.pointer(&place[1..]).unwrap_or_else(|| panic!("{place} is nowhere")),
        None => value,
    }
}

/// Takes no member that it doesn't name.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            members.values_mut().for_each(close);
            if members.contains_key("properties") {
                members.insert("additionalProperties".into(), false.into());
            }
        }
        Value::Array(all) => all.iter_mut().for_each(close),
        _ => {}
    }
}

/// Reads what `schema`, which may name components of the document, describes.
#[track_caller]
pub fn fits(document: &Value, schema: &Value, value: &Value) {
    let mut schemas = document["components"]["schemas"].clone();
    schemas.as_object_mut().unwrap().values_mut().for_each(close);
    let all = json!({"allOf": [schema], "components": {"schemas": schemas}});
    let validator = jsonschema::draft202012::new(&all).unwrap();
    let wrong: Vec<String> =
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(wrong.is_empty(), "{wrong:#?}\n{value:#}");
}

/// Answers that were seen: path, method, status.
struct Seen<'s> {
    document: Value,
    served: &'s Served,
    seen: BTreeSet<(String, String, String)>,
}

impl Seen<'_> {
    /// Asks, and compares what comes with what the document says of `path`, a template.
    #[track_caller]
    fn ask(
        &mut self,
        method: &str,
        path: &str,
        named: &str,
        expected: u16,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Value {
        let at = ["{id}", "{name}", "{entry}"].iter().fold(path.to_owned(), |at, what| at.replace(what, named));
        let (status, head, text) = self.served.ask(method, &at, headers, body);
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        assert_eq!(status, expected, "{method} {at}: {text}");
        let operation = &self.document["paths"][path][method.to_ascii_lowercase()];
        let response = &operation["responses"][status.to_string()];
        assert!(response.is_object(), "{method} {path} {query}: {status} is not in the document");
        let response = resolved(&self.document, response);
        let kind = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap();
        let media = &response["content"][kind];
        assert!(media.is_object(), "{method} {path}: {status} with {kind} is not in the document");
        for (name, header) in response["headers"].as_object().into_iter().flatten() {
            let value = head.lines().find_map(|line| line.strip_prefix(&format!("{}: ", name.to_ascii_lowercase())));
            assert!(value.is_some() || header["required"] != true, "{method} {path}: {status} without {name}");
        }
        self.seen.insert((path.to_owned(), method.to_ascii_lowercase(), status.to_string()));
        let value = if kind.ends_with("json") { serde_json::from_str(&text).unwrap() } else { Value::String(text) };
        fits(&self.document, &media["schema"], &value);
        value
    }

    fn get(&mut self, path: &str, named: &str, expected: u16) -> Value {
        self.ask("GET", path, named, expected, &[], "")
    }

    fn post(&mut self, path: &str, named: &str, expected: u16, body: Value) -> Value {
        let bearer = format!("Bearer {TOKEN}");
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        self.ask("POST", path, named, expected, &headers, &body.to_string())
    }
}

#[test]
fn every_answer_is_as_the_document_says() {
    let served = Served::idle(two_messages());
    served.wait_until_counted(2);
    // While it is tried, it is not said to be down.
    let is_down = || served.ask("GET", "/readyz", &[], "").0 == 503;
    wait_until("the relay is down", is_down, String::new);
    let mut seen = Seen { document: served.get("/api/v1/openapi.json"), served: &served, seen: BTreeSet::new() };
    assert_eq!(seen.document, document());

    seen.get("/readyz", "", 503);
    seen.get("/healthz", "", 200);
    seen.get("/", "", 200);
    for name in ["page.css", "main.js", "icon.svg", "uplot.LICENSE"] {
        seen.get("/assets/{name}", name, 200);
    }
    seen.get("/assets/{name}", "../page.css", 404);
    seen.get("/assets/{name}", "%ff", 404);
    seen.get("/metrics", "", 200);
    seen.ask("GET", "/metrics", "", 200, &[("Accept", "application/openmetrics-text;version=1.0.0")], "");
    seen.get("/api/v1/openapi.json", "", 200);
    seen.get("/api/v1/queue", "", 200);
    seen.get("/api/v1/preemptions", "", 200);
    assert_eq!(seen.get("/api/v1/messages", "", 200)["total"], 2);
    for wrong in [
        "limit=0",
        "limit=-1",
        "limit=99999999999999999999",
        "limit=1&limit=2",
        "offset=4294967296",
        "priority=10",
        "state=gone",
        "sort=size",
        "lists=x",
        "limit=%ff",
    ] {
        seen.get(&format!("/api/v1/messages?{wrong}"), "", 400);
    }
    seen.get("/api/v1/messages/{id}", BIG, 200);
    for wrong in ["no@such.message.1.1", "x", "%ff", "%00", "..%2f..%2fetc%2fpasswd", &"9".repeat(300)] {
        seen.get("/api/v1/messages/{id}", wrong, 404);
    }

    let message = "/api/v1/messages/{id}";
    let reason = || json!({"reason": "a test"});
    let orders =
        [("requeue", json!({"priority": "3"})), ("hold", reason()), ("release", json!({})), ("cancel", reason())];
    for (order, body) in orders {
        let path = format!("{message}/{order}");
        seen.post(&path, "no@such.message.1.1", 404, body.clone());
        every_refusal(&mut seen, &path, &body);
        seen.post(&path, BIG, 200, body);
        if order == "hold" {
            seen.post(&path, BIG, 200, reason());
        }
    }
    let retry = "/api/v1/bad/{entry}/retry";
    for body in [json!({}), json!({"priority": "4"})] {
        seen.post(retry, "no@such.message.1.1", 404, body.clone());
        every_refusal(&mut seen, retry, &body);
        let status = served.spool.path().join("bad").join(BIG).join("recipients.mail.0001.status");
        std::fs::write(&status, "nobody@example.org\n").unwrap();
        seen.post(retry, BIG, 409, body.clone());
        std::fs::remove_file(&status).unwrap();
        seen.post(retry, BIG, 200, body);
        assert_eq!(seen.post(&format!("{message}/cancel"), BIG, 200, reason())["entry"], BIG);
    }
    for reason in ["", " \u{1}\n", &"x".repeat(4001)] {
        seen.post(&format!("{message}/hold"), HELD, 400, json!({"reason": reason}));
    }
    assert_eq!(seen.get(message, HELD, 200)["state"], "held");
    let what = [
        json!({}),
        json!({"list": "held@http.example.org"}),
        json!({"priority": "7"}),
        json!({"relay": "smtp://127.0.0.1:1"}),
    ];
    for what in what {
        let mut pause = what.clone();
        pause["reason"] = "a test".into();
        every_refusal(&mut seen, "/api/v1/pause", &pause);
        pause["for"] = 3600.into();
        seen.post("/api/v1/pause", "", 200, pause);
        let paused = || served.get("/api/v1/queue")["pauses"].as_array().unwrap().len() == 1;
        wait_until("it is shown", paused, String::new);
        seen.get("/api/v1/queue", "", 200);
        every_refusal(&mut seen, "/api/v1/resume", &what);
        seen.post("/api/v1/resume", "", 200, what.clone());
        seen.post("/api/v1/resume", "", 404, what);
        let resumed = || served.get("/api/v1/queue")["pauses"] == json!([]);
        wait_until("it is seen to have gone", resumed, String::new);
    }
    for relay in ["nobody's", "smtp://nobody.example.org"] {
        seen.post("/api/v1/pause", "", 404, json!({"relay": relay, "reason": "a test"}));
    }

    let paths: Vec<(String, String)> = operations(&seen.document).map(|(path, method, _)| (path, method)).collect();
    for (path, method) in paths {
        let host = [("Host", "evil.example")];
        seen.ask(&method.to_ascii_uppercase(), &path, "x", 421, &host, "");
    }
    // Listeners, as many as are let in.
    let listeners: Vec<TcpStream> = (0..128)
        .map(|_| {
            let mut stream = TcpStream::connect(&served.address).unwrap();
            stream.write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            let mut hello = [0; 12];
            stream.read_exact(&mut hello).unwrap();
            assert_eq!(&hello, b"HTTP/1.1 200");
            stream
        })
        .collect();
    seen.get("/api/v1/events", "", 503);
    drop(listeners);
    // What it is to act on is not there.
    std::fs::rename(served.spool.path().join("distribute"), served.spool.path().join("elsewhere")).unwrap();
    for (order, body) in
        [("requeue", json!({"priority": "3"})), ("hold", reason()), ("release", json!({})), ("cancel", reason())]
    {
        seen.post(&format!("{message}/{order}"), HELD, 500, body);
    }
    seen.post(retry, BIG, 500, json!({}));
    seen.post("/api/v1/pause", "", 500, reason());
    seen.post("/api/v1/resume", "", 500, json!({}));

    let only_shows = Served::start(two_messages(), "smtp://127.0.0.1:1", &[("SYMPA_DIST_HTTP_TOKEN_FILE", "")]);
    let Seen { document, seen, .. } = seen;
    let mut seen = Seen { document, served: &only_shows, seen };
    let all = operations(&seen.document);
    for (path, method, _) in all.filter(|(_, method, _)| method == "post") {
        seen.ask(&method.to_ascii_uppercase(), &path, HELD, 403, &[], "");
    }
    let nowhere = [("SYMPA_DIST_HTTP_TOKEN_FILE", "/nowhere/token")];
    let token_is_wrong = Served::start(two_messages(), "smtp://127.0.0.1:1", &nowhere);
    let Seen { document, seen, .. } = seen;
    let mut seen = Seen { document, served: &token_is_wrong, seen };
    let all = operations(&seen.document);
    for (path, method, _) in all.filter(|(_, method, _)| method == "post") {
        seen.ask(&method.to_ascii_uppercase(), &path, HELD, 503, &[], "");
    }
    let ready = || only_shows.ask("GET", "/readyz", &[], "").0;
    assert_eq!(ready(), 503);
    let relay = Relay::start(Policy::new());
    let works = Served::start(TestSpool::new(), &relay.url().to_string(), &[]);
    let is_ready = || works.ask("GET", "/readyz", &[], "").0 == 200;
    wait_until("it is ready", is_ready, String::new);
    let Seen { document, seen, .. } = seen;
    let mut seen = Seen { document, served: &works, seen };
    seen.get("/readyz", "", 200);

    let documented: BTreeSet<(String, String, String)> = operations(&seen.document)
        .flat_map(|(path, method, operation)| {
            let statuses: Vec<String> = operation["responses"].as_object().unwrap().keys().cloned().collect();
            statuses.into_iter().map(move |status| (path.clone(), method.clone(), status))
        })
        .collect();
    let unseen: Vec<_> = documented.difference(&seen.seen).collect();
    // The stream has a test of its own.
    assert_eq!(unseen, [&("/api/v1/events".to_owned(), "get".to_owned(), "200".to_owned())]);
}

/// What any action answers to who may not, and to what it can't read.
fn every_refusal(seen: &mut Seen, path: &str, body: &Value) {
    let bearer = format!("Bearer {TOKEN}");
    let token = ("Authorization", bearer.as_str());
    seen.ask("POST", path, HELD, 401, &[], &body.to_string());
    seen.ask("POST", path, HELD, 413, &[token], &"x".repeat(100_000));
    seen.ask("POST", path, HELD, 415, &[token, ("Content-Type", "text/plain")], &body.to_string());
    for wrong in ["{", "[]", "null", "\"x\"", "{\"surprise\": 1}", "\u{0}", &"[".repeat(60_000)] {
        seen.ask("POST", path, HELD, 400, &[token], wrong);
    }
}

/// Path, method, operation.
fn operations(document: &Value) -> impl Iterator<Item = (String, String, Value)> + use<> {
    let paths = document["paths"].as_object().unwrap().clone();
    paths.into_iter().flat_map(|(path, operations)| {
        let methods = operations.as_object().unwrap().clone().into_iter().filter(|(name, _)| name != "parameters");
        methods.map(move |(method, operation)| (path.clone(), method, operation))
    })
}

#[test]
fn examples_and_names_in_the_document_are_right() {
    let document = document();
    let mut names = BTreeMap::new();
    for (path, method, operation) in operations(&document) {
        let name = operation["operationId"].as_str().unwrap().to_owned();
        assert!(names.insert(name, (path, method)).is_none(), "two are called so: {operation}");
    }
    let linked = [("/api/v1/messages", "get"), ("/api/v1/messages/{id}/cancel", "post")];
    let links = linked.map(|(path, method)| document["paths"][path][method]["responses"]["200"]["links"].clone());
    for link in links.iter().flat_map(|links| links.as_object().unwrap().values()) {
        assert!(names.contains_key(link["operationId"].as_str().unwrap()), "{link}");
    }
    let example = &document["components"]["schemas"]["MessageId"]["examples"][0];
    assert!(example.as_str().unwrap().parse::<MessageId>().is_ok());
    // Every reference leads somewhere.
    let text = document.to_string();
    for place in text.split("\"$ref\":\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(document.pointer(place).is_some(), "{place}");
    }
    jsonschema::draft202012::new(&json!({"components": document["components"]})).unwrap();
}

/// One of each kind, with all that it can have.
fn happenings() -> Vec<Happening> {
    use Happening as H;
    let message = || -> MessageId { BIG.parse().unwrap() };
    let (priority, held): (Priority, Priority) = ("5".parse().unwrap(), "z".parse().unwrap());
    let packet = || "recipients.mail.0001".to_owned();
    let text = || "x".to_owned();
    let not_before = Some(1);
    let left = |why, relay| H::PacketLeft {
        message: message(),
        packet: packet(),
        worker: 0,
        recipients: 1,
        done: 1,
        claimed_for: 0.5,
        why,
        relay,
    };
    vec![
        H::SchedulerStarted { host: text(), pid: 1, workers: 1 },
        H::SchedulerStopped { host: text(), pid: 1 },
        H::Reloaded,
        H::PausesChanged { paused: vec![text()] },
        H::Scanned,
        H::Arrived { message: message(), priority, not_before },
        H::Arrived { message: message(), priority, not_before: None },
        H::Requeued { message: message(), from: priority, to: held, why: Some(text()) },
        H::Requeued { message: message(), from: held, to: priority, why: None },
        H::Rescheduled { message: message(), priority, not_before },
        H::Started { message: message(), priority, packets: 1, recipients: Some(1) },
        H::Started { message: message(), priority, packets: 1, recipients: None },
        H::PacketTaken { message: message(), packet: packet(), worker: 0, recipients: 1, done: 0, relay: Some(text()) },
        H::PacketTaken { message: message(), packet: packet(), worker: 0, recipients: 1, done: 0, relay: None },
        left(Why::Finished, Some(text())),
        left(Why::NotHeld, None),
        left(Why::Other, None),
        H::Preempted {
            message: message(),
            priority,
            packet: packet(),
            worker: 0,
            by: message(),
            by_priority: priority,
            latency: 0.5,
        },
        H::Resumed { message: message(), priority, packet: packet(), worker: 0, lasted: 0.5 },
        H::Deferred { message: message(), packet: packet(), recipients: 1, relay: text(), reply: text(), until: 1 },
        H::Failed { message: message(), packet: packet(), recipients: 1, relay: text(), reply: text() },
        H::Uncertain { message: message(), packet: packet(), recipients: 1, why: text() },
        H::Held { message: message(), from: priority, why: text() },
        H::SetAside { message: message(), why: text() },
        H::Gone { message: message(), why: Some(text()) },
        H::Gone { message: message(), why: None },
        H::Done { message: message(), priority },
        H::RelayDown { relay: text(), why: text(), pause: 0.5 },
        H::RelayUp { relay: text() },
    ]
}

#[test]
fn every_event_is_in_the_document_and_no_other() {
    let document = document();
    let event = json!({"$ref": "#/components/schemas/Event"});
    let mut told = BTreeSet::new();
    for what in happenings() {
        let value = serde_json::to_value(Event { at: Moment(1_700_000_000_000_000), what }).unwrap();
        fits(&document, &event, &value);
        told.insert(value["event"].as_str().unwrap().to_owned());
    }
    let documented: BTreeSet<String> = document["components"]["schemas"]["Event"]["oneOf"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["properties"]["event"]["enum"][0].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(told, documented);
}

#[test]
fn what_the_stream_tells_is_as_the_document_says() {
    // One is refused for now, one for good.
    let policy = Policy::new().rcpt(|address, _| match address.split('@').next() {
        Some("m000003") => Rcpt::Say("450 4.2.1 later"),
        Some("m000007") => Rcpt::Say("550 5.1.1 nobody"),
        _ => Rcpt::Take,
    });
    // So long that there is a rate when nobody is at work any more.
    let relay = Relay::start(policy.dot(|_| Dot::TakeAfter(Duration::from_millis(800))));
    let served = Served::start(TestSpool::new(), &relay.url().to_string(), &[]);
    let mut stream = TcpStream::connect(&served.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    let head: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    assert!(head.iter().any(|line| line == "content-type: text/event-stream"), "{head:?}");
    let document = document();
    let media = resolved(&document, &document["paths"]["/api/v1/events"]["get"]["responses"]["200"]);
    let schema = &media["content"]["text/event-stream"]["x-itemSchema"];
    served.spool.put_packets("3", BIG, &[members("m", 120)]);
    let mut kinds = BTreeSet::new();
    let (mut kind, mut number) = (String::new(), 0u64);
    while !["hello", "arrived", "packet-taken", "deferred", "failed", "packet-left", "progress"]
        .iter()
        .all(|kind| kinds.contains(*kind))
    {
        let line = lines.next().expect("it has no end");
        if let Some(told) = line.strip_prefix("event: ") {
            kind = told.to_owned();
        } else if let Some(id) = line.strip_prefix("id: ") {
            let id = id.parse().unwrap();
            assert!(number == 0 || id == number + 1, "{id} follows {number}");
            number = id;
        } else if let Some(data) = line.strip_prefix("data: ") {
            let data: Value = serde_json::from_str(data).unwrap();
            fits(&document, schema, &data);
            assert!(data["event"].is_null() || data["event"] == kind.as_str(), "{kind}: {data}");
            if kind == "progress" {
                assert!(data["rate"].as_f64().unwrap().is_sign_positive(), "{data}");
                // As the queue has it: also when nobody is at work any more.
                if data["messages"] != json!([]) || data["rate"] == 0.0 {
                    continue;
                }
            }
            kinds.insert(kind.clone());
        }
    }
}
