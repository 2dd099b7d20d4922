//! A line of the event log: an event, and which process has seen it.

use serde::{Deserialize, Serialize};

use crate::daemon::events::{Event, Happening};

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
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
    /// Cut short, overwritten, or no event at all.
    Damaged(String),
}

impl Line {
    pub fn new(event: Event, writer: &Writer) -> Line {
        Line { writer: (!says_who(&event)).then(|| writer.clone()), event }
    }

    /// Whose line it is.
    pub fn writer(&self) -> Writer {
        match &self.event.what {
            Happening::SchedulerStarted { host, pid, .. } | Happening::SchedulerStopped { host, pid } => {
                Writer { host: host.clone(), pid: *pid }
            }
            _ => self.writer.clone().unwrap_or_else(|| Writer { host: "?".into(), pid: 0 }),
        }
    }

    /// Appends it.
    pub fn write(&self, text: &mut Vec<u8>) {
        serde_json::to_writer(&mut *text, self).expect("strings and numbers are always JSON");
        text.push(b'\n');
    }

    /// Reads one back; without its newline.
    pub fn read(line: &[u8]) -> Result<Line, BadLine> {
        let read: Result<Line, _> = serde_json::from_slice(line);
        match read {
            Ok(Line { event, writer }) => Ok(Line { writer: writer.filter(|_| !says_who(&event)), event }),
            Err(error) => {
                let why = error.to_string();
                // serde's words for a tag that is none of the enum's; the test below holds it to them.
                Err(if why.starts_with("unknown variant") { BadLine::Unknown } else { BadLine::Damaged(why) })
            }
        }
    }
}

/// Whether the event itself names the process.
fn says_who(event: &Event) -> bool {
    matches!(event.what, Happening::SchedulerStarted { .. } | Happening::SchedulerStopped { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Moment;

    fn line(what: Happening) -> (Line, String) {
        let writer = Writer { host: "mail.example.org".into(), pid: 17 };
        let line = Line::new(Event { at: Moment(1_192_613_090_500_000), what }, &writer);
        let mut text = Vec::new();
        line.write(&mut text);
        (line, String::from_utf8(text).unwrap())
    }

    #[test]
    fn a_line_says_once_who_has_written_it_and_reads_back() {
        let (gone, text) = line(Happening::Gone { message: "l@d.org.1.2".parse().unwrap() });
        let expected = "{\"at\":1192613090.5,\"event\":\"gone\",\"message\":\"l@d.org.1.2\",\"host\":\"mail.example.org\",\"pid\":17}\n";
        assert_eq!(text, expected);
        assert_eq!(Line::read(text.trim_end().as_bytes()), Ok(gone));
        let (stopped, text) = line(Happening::SchedulerStopped { host: "other".into(), pid: 5 });
        assert_eq!(text, "{\"at\":1192613090.5,\"event\":\"scheduler-stopped\",\"host\":\"other\",\"pid\":5}\n");
        let read = Line::read(text.trim_end().as_bytes()).unwrap();
        assert_eq!((&read, read.writer()), (&stopped, Writer { host: "other".into(), pid: 5 }));
    }

    #[test]
    fn what_a_newer_version_says_is_told_from_damage() {
        assert_eq!(Line::read(br#"{"at":1,"event":"split","host":"h","pid":1}"#), Err(BadLine::Unknown));
        for damaged in
            [&b"{\"at\":1,\"event\":\"go"[..], b"", b"\0\0\0", b"[]", b"{\"at\":1,\"event\":\"gone\"}", b"\xff"]
        {
            assert!(matches!(Line::read(damaged), Err(BadLine::Damaged(_))), "{damaged:?}");
        }
        assert!(matches!(Line::read(br#"{"at":1,"event":"gone","message":"../x"}"#), Err(BadLine::Damaged(_))));
    }
}
