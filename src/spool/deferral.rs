//! Why a recipient waits in a retry packet: what the relay said when it was last tried.
//!
//! It stands in the recipient's line, as a member of the JSON object behind the address, so that recipient and reason
//! come to disk, are cut off and go away together, with one write. It is for people; nothing is decided by it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::mail::{Epoch, Reply};

/// The member's name. No field of a producer's begins with a dollar sign.
const MEMBER: &str = "$deferred";

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Deferral {
    pub relay: String,
    /// SMTP reply code.
    pub code: u16,
    /// RFC 3463, as `4.2.1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    pub text: String,
    /// Unix seconds.
    pub time: u64,
}

impl Deferral {
    pub fn new(relay: &str, reply: &Reply, now: Epoch) -> Deferral {
        Deferral {
            relay: relay.to_owned(),
            code: reply.code,
            status: reply.enhanced.map(|status| status.to_string()),
            text: reply.text.to_string(),
            time: now.0,
        }
    }

    /// Appends `line`, a recipient's in its packet, to `lines` with this reason in it, and a newline.
    pub(super) fn write_line(&self, line: &[u8], lines: &mut Vec<u8>) {
        let (address, fields) = split(line);
        let mut fields: Map<String, Value> = match fields.map(serde_json::from_slice) {
            None => Map::new(),
            Some(Ok(fields)) => fields,
            Some(Err(_)) => {
                // Whatever it is, it is the producer's, and more use than our reason.
                lines.extend_from_slice(line);
                lines.push(b'\n');
                return;
            }
        };
        let reason = serde_json::to_value(self).expect("strings and numbers are always JSON");
        fields.insert(MEMBER.to_owned(), reason);
        lines.extend_from_slice(address);
        lines.push(b'\t');
        serde_json::to_writer(&mut *lines, &fields).expect("what was JSON still is");
        lines.push(b'\n');
    }

    /// The reason in a recipient's line, if there is one.
    pub fn of_line(line: &[u8]) -> Option<Deferral> {
        let mut fields: Map<String, Value> = serde_json::from_slice(split(line).1?).ok()?;
        serde_json::from_value(fields.remove(MEMBER)?).ok()
    }
}

fn split(line: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'\t', line) {
        None => (line, None),
        Some(tab) => (&line[..tab], Some(&line[tab + 1..])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_stands_beside_a_producers_fields_and_the_latest_one_counts() {
        let reason = |text| Deferral::new("smtp://relay", &Reply::new(450, text), Epoch(7));
        let mut lines = Vec::new();
        reason("4.2.1 busy").write_line(b"a@x.org\t{\"name\":\"A\"}", &mut lines);
        let first = lines.strip_suffix(b"\n").unwrap().to_vec();
        assert_eq!(Deferral::of_line(&first), Some(reason("4.2.1 busy")));
        lines.clear();
        reason("4.2.2 full").write_line(&first, &mut lines);
        assert_eq!(Deferral::of_line(&lines), Some(reason("4.2.2 full")));
        let fields: Map<String, Value> = serde_json::from_slice(split(&lines).1.unwrap()).unwrap();
        assert_eq!((fields.len(), fields["name"].as_str()), (2, Some("A")));
    }

    #[test]
    fn fields_that_are_no_json_are_kept_as_they_are() {
        let mut lines = Vec::new();
        let deferral = Deferral::new("smtp://relay", &Reply::new(450, "x"), Epoch(7));
        deferral.write_line(b"a@x.org\tnonsense", &mut lines);
        assert_eq!(lines, b"a@x.org\tnonsense\n");
        assert_eq!(Deferral::of_line(&lines), None);
    }
}
