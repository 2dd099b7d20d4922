//! A line of the event log: an event, and which process has seen it.
//!
//! What is read back may be damaged, or somebody else's. A line is believed as a whole or not at all: it is one JSON object,
//! no member is there twice, its time is credible, and every figure and name in it is one that this program might have written.

use std::ops::RangeInclusive;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::daemon::MAX_WORKERS;
use crate::daemon::events::{Event, Happening};
use crate::daemon::settings::MAX_EXPRESS;
use crate::mail::Moment;
use crate::spool::layout::{self, FileName};

/// Recipients, or packets, that no message has.
const TOO_MANY: usize = 1_000_000_000;
/// Seconds that nothing lasts: ten years.
pub(super) const TOO_LONG: f64 = 3650.0 * 86_400.0;
/// The last second that a name in the spool can have.
const LAST_SECOND: u64 = 999_999_999_999_999;
/// Octets of a host's or a relay's name.
const LONGEST_NAME: usize = 1024;

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Line {
    #[serde(flatten)]
    pub event: Event,
    /// `None` where the event itself says it.
    #[serde(flatten)]
    writer: Option<Writer>,
}

/// A scheduler.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Writer {
    pub host: String,
    pub pid: u32,
}

/// What a line can be instead.
#[derive(Debug, PartialEq, Eq)]
pub enum BadLine {
    /// An event that this version does not know.
    Unknown,
    /// Cut short, overwritten, absurd, or no event at all.
    Damaged(String),
}

impl Line {
    pub fn new(event: Event, writer: &Writer) -> Line {
        Line { writer: (!says_who(&event)).then(|| writer.clone()), event }
    }

    /// Whose line it is.
    pub fn writer(&self) -> Writer {
        match (&self.event.what, &self.writer) {
            (Happening::SchedulerStarted { host, pid, .. } | Happening::SchedulerStopped { host, pid }, _) => {
                Writer { host: host.clone(), pid: *pid }
            }
            (_, Some(writer)) => writer.clone(),
            (_, None) => unreachable!("every line says who has written it"),
        }
    }

    /// Appends it.
    pub fn write(&self, text: &mut Vec<u8>) {
        serde_json::to_writer(&mut *text, self).expect("strings and numbers are always JSON");
        text.push(b'\n');
    }

    /// Reads one back; without its newline. `credible`: when something may have happened.
    pub fn read(line: &[u8], credible: &RangeInclusive<Moment>) -> Result<Line, BadLine> {
        let damaged = |error: serde_json::Error| BadLine::Damaged(error.to_string());
        let Members(members) = serde_json::from_slice(line).map_err(damaged)?;
        let members = Value::Object(members);
        let event = Event::deserialize(&members).map_err(|error| {
            let why = error.to_string();
            // serde's words for a tag that is none of the enum's; the test below holds it to them.
            if why.starts_with("unknown variant") { BadLine::Unknown } else { BadLine::Damaged(why) }
        })?;
        let writer = Writer::deserialize(&members).map_err(damaged)?;
        let absurd = |why: String| Err(BadLine::Damaged(why));
        if !credible.contains(&event.at) {
            return absurd(format!("nothing of this can have happened at {:.0}", event.at.seconds()));
        }
        if writer.host.is_empty() || writer.host.len() > LONGEST_NAME || !writer.host.chars().all(layout::is_of_host) {
            return absurd("host: no host's name".into());
        }
        if let Some(what) = absurdity(&event.what) {
            return absurd(format!("{what}: nothing that this program writes"));
        }
        Ok(Line::new(event, &writer))
    }
}

/// An object's members, each there once.
struct Members(Map<String, Value>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Map::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if members.insert(name, value).is_some() {
                        return Err(A::Error::custom("a member is there twice"));
                    }
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

/// The member that can't be, if there is one.
fn absurdity(what: &Happening) -> Option<&'static str> {
    use Happening as H;
    let count = |name, count: usize| (count >= TOO_MANY).then_some(name);
    let lasts = |name, seconds: f64| (!(0.0..TOO_LONG).contains(&seconds)).then_some(name);
    let time = |name, at: Option<u64>| at.filter(|at| *at > LAST_SECOND).map(|_| name);
    let worker = |worker: usize| (worker >= MAX_WORKERS + MAX_EXPRESS).then_some("worker");
    let progress = |recipients, done| count("recipients", recipients).or((done > recipients).then_some("done"));
    let packet = |name: &str| (!matches!(layout::parse(name.as_ref()), Ok(FileName::Packet(_)))).then_some("packet");
    let relay = |name: &str| (name.len() > LONGEST_NAME || name.chars().any(char::is_control)).then_some("relay");
    let over = |name: &Option<String>| name.as_deref().and_then(relay);
    match what {
        H::SchedulerStarted { workers, .. } => worker(*workers),
        H::Arrived { not_before, .. } | H::Rescheduled { not_before, .. } => time("not_before", *not_before),
        H::Started { packets, recipients, .. } => {
            let recipients = recipients.map_or(0, |n| n.try_into().unwrap_or(usize::MAX));
            count("packets", *packets).or(count("recipients", recipients))
        }
        H::PacketTaken { packet: name, worker: n, recipients, done, relay, .. } => {
            packet(name).or(worker(*n)).or(progress(*recipients, *done)).or(over(relay))
        }
        H::PacketLeft { packet: name, worker: n, recipients, done, claimed_for, relay, .. } => packet(name)
            .or(worker(*n))
            .or(progress(*recipients, *done))
            .or(lasts("claimed_for", *claimed_for))
            .or(over(relay)),
        H::Preempted { packet: name, worker: n, latency, .. } => {
            packet(name).or(worker(*n)).or(lasts("latency", *latency))
        }
        H::Resumed { packet: name, worker: n, lasted, .. } => packet(name).or(worker(*n)).or(lasts("lasted", *lasted)),
        H::Deferred { packet: name, recipients, relay: over, until, .. } => {
            packet(name).or(count("recipients", *recipients)).or(relay(over)).or(time("until", Some(*until)))
        }
        H::Failed { packet: name, recipients, relay: over, .. } => {
            packet(name).or(count("recipients", *recipients)).or(relay(over))
        }
        H::Uncertain { packet: name, recipients, .. } => packet(name).or(count("recipients", *recipients)),
        H::RelayDown { relay: name, pause, .. } => relay(name).or(lasts("pause", *pause)),
        H::RelayUp { relay: name } => relay(name),
        H::SchedulerStopped { .. } | H::Reloaded | H::PausesChanged { .. } | H::Scanned | H::Lost { .. } => None,
        H::Requeued { .. } | H::Held { .. } | H::SetAside { .. } | H::Gone { .. } | H::Done { .. } => None,
    }
}

/// Whether the event itself names the process.
fn says_who(event: &Event) -> bool {
    matches!(event.what, Happening::SchedulerStarted { .. } | Happening::SchedulerStopped { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &[u8]) -> Result<Line, BadLine> {
        Line::read(line, &(Moment(1_000_000)..=Moment(1_800_000_000_000_000)))
    }

    fn line(what: Happening) -> (Line, String) {
        let writer = Writer { host: "mail.example.org".into(), pid: 17 };
        let line = Line::new(Event { at: Moment(1_192_613_090_500_000), what }, &writer);
        let mut text = Vec::new();
        line.write(&mut text);
        (line, String::from_utf8(text).unwrap())
    }

    #[test]
    fn a_line_says_once_who_has_written_it_and_reads_back() {
        let (gone, text) = line(Happening::Gone { message: "l@d.org.1.2".parse().unwrap(), why: None });
        let expected = "{\"at\":1192613090.5,\"event\":\"gone\",\"message\":\"l@d.org.1.2\",\"host\":\"mail.example.org\",\"pid\":17}\n";
        assert_eq!(text, expected);
        assert_eq!(read(text.trim_end().as_bytes()), Ok(gone));
        let (stopped, text) = line(Happening::SchedulerStopped { host: "other".into(), pid: 5 });
        assert_eq!(text, "{\"at\":1192613090.5,\"event\":\"scheduler-stopped\",\"host\":\"other\",\"pid\":5}\n");
        let read = read(text.trim_end().as_bytes()).unwrap();
        assert_eq!((&read, read.writer()), (&stopped, Writer { host: "other".into(), pid: 5 }));
    }

    #[test]
    fn what_a_newer_version_says_is_told_from_damage() {
        assert_eq!(read(br#"{"at":1,"event":"split","host":"h","pid":1}"#), Err(BadLine::Unknown));
        for damaged in
            [&b"{\"at\":1,\"event\":\"go"[..], b"", b"\0\0\0", b"[]", b"{\"at\":1,\"event\":\"gone\"}", b"\xff"]
        {
            assert!(matches!(read(damaged), Err(BadLine::Damaged(_))), "{damaged:?}");
        }
    }

    #[test]
    fn what_this_program_would_not_have_written_is_not_believed() {
        let gone = r#"{"at":1700000000.5,"event":"gone","message":"l@d.org.1.2","host":"h","pid":1}"#;
        let left = r#"{"at":1700000000,"event":"packet-left","message":"l@d.org.1.2","packet":"recipients.mail.0001","worker":3,"recipients":10,"done":10,"claimed_for":1.5,"why":"finished","relay":"r","host":"h","pid":1}"#;
        let down = r#"{"at":1,"event":"relay-down","relay":"r","why":"","pause":5.0,"host":"h","pid":1}"#;
        let deferred = r#"{"at":1,"event":"deferred","message":"l@d.org.1.2","packet":"recipients.mail.0001","recipients":1,"relay":"r","reply":"\u001b","until":7,"host":"h","pid":1}"#;
        for (line, part, others) in [
            (
                gone,
                "1700000000.5",
                &["-1", "0.9", "1e300", "1e400", "1900000000", "\"1\"", "null", "99999999999999999999"][..],
            ),
            (gone, "\"h\"", &["\"\"", "\"a b\"", "\"\\u001b[2J\"", "7"]),
            (gone, "\"pid\":1", &["\"pid\":-1", "\"pid\":4294967296", "\"pid\":1,\"pid\":1", "\"pdi\":1"]),
            (gone, "{", &["{\"at\":1,", "{\"event\":\"gone\",", "{\"host\":\"h\",", "{\"x\":1,\"x\":1,", "[{", "{{"]),
            (gone, "}", &["", "},", "}{}"]),
            (gone, "l@d.org.1.2", &["../x", "l@d.org.1.2:at7", ""]),
            (gone, "gone", &["go\u{1}ne"]),
            (left, "recipients.mail.0001", &["message", "../recipients.mail.0001", "", "recipients.mail.0001.status"]),
            (left, "\"worker\":3", &["\"worker\":1088", "\"worker\":-1", "\"worker\":1.5"]),
            (left, "\"recipients\":10", &["\"recipients\":9", "\"recipients\":1000000000", "\"recipients\":1e30"]),
            (left, "1.5", &["-1.5", "1e9", "1e400"]),
            (left, "\"r\"", &["\"\\n\"", "\"\\u009b31m\""]),
            (down, "5.0", &["-5.0", "1e308"]),
            (deferred, "\"until\":7", &["\"until\":1000000000000000", "\"until\":-7"]),
        ] {
            assert!(read(line.as_bytes()).is_ok(), "{line}: {:?}", read(line.as_bytes()));
            for other in others {
                let damaged = line.replacen(part, other, 1);
                assert!(matches!(read(damaged.as_bytes()), Err(BadLine::Damaged(_))), "{damaged}");
            }
        }
        // Members of a later version are none of ours.
        assert!(read(gone.replace('{', "{\"x\":{\"y\":1},").as_bytes()).is_ok());
    }
}
