//! `--since` and `--until`: a time that was.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use crate::cli::configuration;
use crate::cli::inject::when;
use crate::mail::Epoch;

/// Reads a duration before `now`, a date, a date and time of this machine's zone, or what `inject --at` takes.
pub fn parse(text: &str, now: Epoch) -> Result<Epoch, String> {
    if let Ok(ago) = configuration::duration(text) {
        return Ok(Epoch(now.0.saturating_sub(ago.as_secs())));
    }
    if let Ok(at) = when::parse(text, now) {
        return Ok(at);
    }
    let civil = text.parse::<DateTime>().or_else(|_| text.parse::<Date>().map(|date| date.at(0, 0, 0, 0)));
    // Of an hour that comes twice the first, of one that doesn't exist what is behind it.
    let at = civil.ok().and_then(|at| TimeZone::system().to_ambiguous_timestamp(at).compatible().ok());
    at.and_then(|at| u64::try_from(at.as_second()).ok()).map(Epoch).ok_or_else(|| {
        format!(
            "{text:?} is no time: expected 2h (ago), 2026-12-01, 2026-12-01T18:00, 2026-12-01T18:00[Europe/Paris], \
             2026-12-01T18:00:00+01:00, or unix seconds"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_was_may_be_written_in_several_ways() {
        let now = Epoch(1_796_144_400);
        for (text, epoch) in [
            ("2h", 1_796_137_200),
            ("1d", 1_796_058_000),
            ("1192680000", 1_192_680_000),
            ("2026-12-01T17:00:00Z", 1_796_144_400),
            ("2026-12-01T18:00[Europe/Paris]", 1_796_144_400),
        ] {
            assert_eq!(parse(text, now), Ok(Epoch(epoch)), "{text}");
        }
        let local = |text: &str| parse(text, now).unwrap().0;
        assert_eq!(local("2026-12-01T18:00") - local("2026-12-01"), 18 * 3600);
        assert_eq!(local("2026-12-01 18:00"), local("2026-12-01T18:00:00"));
        for text in ["", "yesterday", "-2h", "2026-13-01", "1960-01-01", "99999999999999999999"] {
            assert!(parse(text, now).is_err(), "{text:?}");
        }
    }
}
