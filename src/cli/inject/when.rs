//! `--at`: when a message may be sent at the earliest.

use jiff::{Timestamp, ZonedDateTime};

use crate::cli::configuration;
use crate::mail::Epoch;

/// As many digits as a name in the spool may have.
const LAST: u64 = 999_999_999_999_999;

/// Reads unix seconds, RFC 3339 (perhaps with a time zone's name behind it), or `+` and a duration from `now`.
pub fn parse(text: &str, now: Epoch) -> Result<Epoch, String> {
    let epoch = if let Some(text) = text.strip_prefix('+') {
        now.plus(configuration::duration(text)?.as_secs())
    } else if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        Epoch(text.parse().map_err(|_| format!("{text} is further away than this program can count"))?)
    } else {
        // As a timestamp, what names a zone would be read without it: also one that is not there, or not so far from UTC.
        let timestamp = match text.contains('[') {
            true => text.parse::<ZonedDateTime>().map(|zoned| zoned.timestamp()),
            false => text.parse::<Timestamp>(),
        };
        let timestamp = timestamp.map_err(|why| {
            format!(
                "{text:?} is no time: expected unix seconds, 2026-12-01T18:00:00+01:00, \
                 2026-12-01T18:00[Europe/Paris], or +2h ({why})"
            )
        })?;
        Epoch(u64::try_from(timestamp.as_second()).map_err(|_| format!("{text} is before 1970"))?)
    };
    if epoch.0 > LAST { Err(format!("{text} is further away than this program can count")) } else { Ok(epoch) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_may_be_written_in_several_ways() {
        let now = Epoch(1_000_000_000);
        for (text, epoch) in [
            ("1192680000", 1_192_680_000),
            ("0", 0),
            ("+2h", 1_000_007_200),
            ("+90s", 1_000_000_090),
            ("+1d", 1_000_086_400),
            ("2026-12-01T18:00:00+01:00", 1_796_144_400),
            ("2026-12-01T17:00:00Z", 1_796_144_400),
            ("2026-12-01 17:00:00.5Z", 1_796_144_400),
            ("2026-12-01T18:00[Europe/Paris]", 1_796_144_400),
            ("2026-12-01T18:00+01:00[Europe/Paris]", 1_796_144_400),
            // Clocks go from 02:00 to 03:00: as long behind the change as it would be behind 02:00.
            ("2027-03-28T02:30[Europe/Paris]", 1_806_197_400),
            // And from 03:00 to 02:00: the first one, unless it says which.
            ("2027-10-31T02:30[Europe/Paris]", 1_824_942_600),
            ("2027-10-31T02:30+01:00[Europe/Paris]", 1_824_946_200),
        ] {
            assert_eq!(parse(text, now), Ok(Epoch(epoch)), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        let texts =
            ["", "soon", "+", "+-2h", "+2", "-5", "2026-12-01T18:00", "1960-01-01T00:00:00Z", "9999999999999999"];
        let more = [
            "99999999999999999999999",
            "1.5",
            "2026-13-01T00:00:00Z",
            "2026-12-01T18:00Z[Europe/Atlantis]",
            "2026-12-01T18:00+03:00[Europe/Paris]",
        ];
        for text in texts.into_iter().chain(more) {
            assert!(parse(text, Epoch(0)).is_err(), "{text:?}");
        }
    }
}
