//! When a list's messages may be sent: points in time, and windows.
//!
//! `Mon..Fri 18:00 Europe/Paris` is a point: what is queued waits for the next one, and goes on from there until it is
//! done. `20:00..06:00` is a window: outside it nothing is sent, also not the rest of what was begun. Days and zone may be
//! left out: every day, this machine's zone. The days are those on which a window opens.
//!
//! Where clocks are put forward, a time that does not exist is the instant of the change; where they are put back, a time
//! that comes twice is its first one. So of two times of a day the later one is never earlier, each window opens once, and
//! a point comes once. A window that lies in the hour that does not exist opens at the change, and lasts as long as ever.
//!
//! Told the time as all of this part: a clock that was put back closes what it had opened.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use crate::mail::Epoch;

/// At least one of these.
#[derive(Clone, Debug)]
pub struct Windows(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    /// As it was written.
    text: String,
    /// Monday first.
    days: [bool; 7],
    start: Time,
    /// `None`: a point.
    end: Option<Time>,
    zone: TimeZone,
}

pub const EXPECTED: &str = "a point in time such as \"Mon..Fri 18:00 Europe/Paris\", or a window such as \"20:00..06:00\" or \"Sat,Sun 08:00..24:00\"";

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
/// A week and, for days that a zone has skipped, some more.
const AHEAD: usize = 16;

impl Windows {
    /// Several: each of them opens. `zone` knows zones by name, and the one that holds where none is named.
    pub fn parse<'t>(
        texts: impl IntoIterator<Item = &'t str>,
        zone: impl Fn(Option<&str>) -> Result<TimeZone, String>,
    ) -> Result<Windows, String> {
        let rules: Vec<Rule> = texts.into_iter().map(|text| Rule::parse(text, &zone)).collect::<Result<_, _>>()?;
        if rules.is_empty() { Err(format!("expected {EXPECTED}")) } else { Ok(Windows(rules)) }
    }

    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|rule| rule.text.as_str())
    }

    /// Whether there is no point among them: then nothing is sent outside of them.
    pub fn close(&self) -> bool {
        self.0.iter().all(|rule| rule.end.is_some())
    }

    /// Whether something that was begun may be sent on at `now`.
    pub fn is_open(&self, now: Epoch) -> bool {
        !self.close() || self.next_opening(now) <= now
    }

    /// From when on something that is ready at `now` may be sent: `now`, if a window is open.
    pub fn next_opening(&self, now: Epoch) -> Epoch {
        // A clock that far off has no calendar.
        self.0.iter().filter_map(|rule| rule.next_opening(now)).min().unwrap_or(now)
    }
}

impl Rule {
    fn next_opening(&self, now: Epoch) -> Option<Epoch> {
        let today = self.zone.to_datetime(Timestamp::from_second(now.0.try_into().ok()?).ok()?).date();
        // One that opened yesterday may still be open; two days where a zone has skipped one.
        let mut day = today.yesterday().ok()?.yesterday().ok()?;
        for _ in 0..AHEAD {
            if self.days[day.weekday().to_monday_zero_offset() as usize] {
                let (start, end) = self.on(day)?;
                match end {
                    None if start >= now => return Some(start),
                    Some(end) if end > now => return Some(start.max(now)),
                    _ => {}
                }
            }
            day = day.tomorrow().ok()?;
        }
        None
    }

    /// The point, or the window that opens, on that day.
    fn on(&self, day: Date) -> Option<(Epoch, Option<Epoch>)> {
        let opens = self.start.to_datetime(day);
        let start = self.instant(opens)?;
        let Some(end) = self.end else { return Some((start, None)) };
        let closes = end.to_datetime(if end > self.start { day } else { day.tomorrow().ok()? });
        let mut until = self.instant(closes)?;
        if until <= start {
            until = start.plus(opens.duration_until(closes).as_secs().try_into().ok()?);
        }
        Some((start, Some(until)))
    }

    fn instant(&self, at: DateTime) -> Option<Epoch> {
        let ambiguous = self.zone.to_ambiguous_timestamp(at);
        let instant = match ambiguous.offset() {
            AmbiguousOffset::Gap { .. } => {
                let behind = ambiguous.later().ok()?.checked_add(SignedDuration::from_secs(1)).ok()?;
                self.zone.preceding(behind).next()?.timestamp()
            }
            _ => ambiguous.earlier().ok()?,
        };
        Some(Epoch(instant.as_second().try_into().ok()?))
    }
}

impl Rule {
    fn parse(text: &str, zone: impl Fn(Option<&str>) -> Result<TimeZone, String>) -> Result<Rule, String> {
        let expected = || format!("expected {EXPECTED}");
        let words: Vec<&str> = text.split_whitespace().collect();
        let at = words.iter().position(|word| word.starts_with(|c: char| c.is_ascii_digit())).ok_or_else(expected)?;
        let days = match words[..at] {
            [] => [true; 7],
            [days] => parse_days(days).ok_or_else(expected)?,
            _ => return Err(expected()),
        };
        let zone = match words[at + 1..] {
            [] => zone(None)?,
            [name] => zone(Some(name))?,
            _ => return Err(expected()),
        };
        let (start, end) = match words[at].split_once("..") {
            None => (words[at], None),
            Some((start, end)) => (start, Some(end)),
        };
        let start = parse_time(start).ok_or_else(expected)?;
        let end = match end {
            None => None,
            Some("24:00") => Some(Time::midnight()),
            Some(end) => Some(parse_time(end).ok_or_else(expected)?),
        };
        if end == Some(start) && words[at] != "00:00..24:00" {
            return Err(format!("a window ends at another time than it begins; {}", expected()));
        }
        Ok(Rule { text: words.join(" "), days, start, end, zone })
    }
}

/// `Mon..Fri`, `Sat,Sun`, `Fri..Mon,Wed`
fn parse_days(text: &str) -> Option<[bool; 7]> {
    let day = |text: &str| DAYS.iter().position(|day| day.eq_ignore_ascii_case(text));
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once("..").unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        for n in 0..=(last + 7 - first) % 7 {
            days[(first + n) % 7] = true;
        }
    }
    Some(days)
}

fn parse_time(text: &str) -> Option<Time> {
    let mut parts = text.split(':');
    let number =
        |text: &str| (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?;
    let (hour, minute) = (number(parts.next()?)?, number(parts.next()?)?);
    let second = parts.next().map_or(Some(0), number)?;
    if parts.next().is_some() { None } else { Time::new(hour, minute, second, 0).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Epoch {
        Epoch(text.parse::<jiff::ZonedDateTime>().unwrap().timestamp().as_second() as u64)
    }

    fn zone(name: Option<&str>) -> Result<TimeZone, String> {
        name.map_or(Ok(TimeZone::UTC), |name| TimeZone::get(name).map_err(|error| error.to_string()))
    }

    fn windows(text: &str) -> Windows {
        Windows::parse(text.split(" | "), zone).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[track_caller]
    fn opens(text: &str, now: &str, then: &str) {
        let zone = "[Europe/Paris]";
        let found = windows(text).next_opening(at(&format!("{now}{zone}")));
        assert_eq!(found, at(&format!("{then}{zone}")), "{text} from {now}");
    }

    #[test]
    fn a_point_is_waited_for_and_a_window_that_is_open_is_not() {
        // 2026-12-04 is a Friday.
        let point = "Mon..Fri 18:00 Europe/Paris";
        opens(point, "2026-12-04T17:59:59", "2026-12-04T18:00");
        opens(point, "2026-12-04T18:00", "2026-12-04T18:00");
        opens(point, "2026-12-04T18:00:01", "2026-12-07T18:00");
        let night = "20:00..06:00 Europe/Paris";
        opens(night, "2026-12-04T05:59:59", "2026-12-04T05:59:59");
        opens(night, "2026-12-04T06:00", "2026-12-04T20:00");
        opens("Fri 20:00..06:00 Europe/Paris", "2026-12-05T05:00", "2026-12-05T05:00");
        opens("Fri 20:00..06:00 Europe/Paris", "2026-12-05T06:00", "2026-12-11T20:00");
        opens("Sat,Sun 08:00..24:00 Europe/Paris", "2026-12-06T23:59:59", "2026-12-06T23:59:59");
        opens("Sat,Sun 08:00..24:00 Europe/Paris", "2026-12-07T00:00", "2026-12-12T08:00");
        opens("12:00..13:00 Europe/Paris | 18:00..19:00 Europe/Paris", "2026-12-04T13:00", "2026-12-04T18:00");
        opens("00:00..24:00 Europe/Paris", "2026-12-04T13:00", "2026-12-04T13:00");
        opens("Sun..Mon 18:00 Europe/Paris", "2026-12-04T13:00", "2026-12-06T18:00");
    }

    #[test]
    fn a_point_never_closes_and_a_window_does() {
        let open = |text: &str, now: &str| windows(text).is_open(at(&format!("{now}[Europe/Paris]")));
        assert!(open("18:00 Europe/Paris", "2026-12-04T19:00"));
        assert!(open("20:00..06:00 Europe/Paris", "2026-12-04T05:59:59"));
        assert!(!open("20:00..06:00 Europe/Paris", "2026-12-04T06:00"));
        assert!(!open("20:00..06:00 Europe/Paris", "2026-12-04T19:59:59"));
    }

    #[test]
    fn the_hour_that_does_not_exist_is_the_instant_of_the_change() {
        // 2026-03-29: 02:00 is 03:00.
        opens("02:30 Europe/Paris", "2026-03-29T01:00", "2026-03-29T03:00");
        opens("02:30 Europe/Paris", "2026-03-29T03:00:01", "2026-03-30T02:30");
        opens("02:30..04:00 Europe/Paris", "2026-03-29T01:00", "2026-03-29T03:00");
        opens("01:00..02:30 Europe/Paris", "2026-03-29T01:59:59", "2026-03-29T01:59:59");
        opens("01:00..02:30 Europe/Paris", "2026-03-29T03:00", "2026-03-30T01:00");
        // All of it: it lasts as long as ever.
        opens("02:10..02:40 Europe/Paris", "2026-03-29T01:00", "2026-03-29T03:00");
        opens("02:10..02:40 Europe/Paris", "2026-03-29T03:29:59", "2026-03-29T03:29:59");
        opens("02:10..02:40 Europe/Paris", "2026-03-29T03:30", "2026-03-30T02:10");
    }

    #[test]
    fn of_the_hour_that_comes_twice_the_first_one_counts() {
        // 2026-10-25: 03:00 is 02:00 again.
        opens("02:30 Europe/Paris", "2026-10-25T01:00", "2026-10-25T02:30+02:00");
        opens("02:30 Europe/Paris", "2026-10-25T02:30+01:00", "2026-10-26T02:30");
        opens("02:00..02:30 Europe/Paris", "2026-10-25T02:29:59+02:00", "2026-10-25T02:29:59+02:00");
        opens("02:00..02:30 Europe/Paris", "2026-10-25T02:00+01:00", "2026-10-26T02:00");
        opens("02:30..04:00 Europe/Paris", "2026-10-25T02:10+01:00", "2026-10-25T02:10+01:00");
    }

    #[test]
    fn a_day_that_a_zone_skipped_is_passed_over() {
        // Samoa went from 2011-12-29 to 2011-12-31.
        let zone = "[Pacific/Apia]";
        let found = windows("12:00 Pacific/Apia").next_opening(at(&format!("2011-12-29T12:00:01{zone}")));
        assert_eq!(found, at(&format!("2011-12-31T00:00{zone}")));
    }

    #[test]
    fn what_is_neither_is_refused() {
        for text in [
            "",
            "soon",
            "18",
            "18:0",
            "25:00",
            "18:00..",
            "18:00..25:00",
            "18:00..18:00",
            "24:00",
            "Mon",
            "Mon..Xyz 18:00",
            "Mon Tue 18:00",
            "18:00 Europe/Atlantis",
            "18:00 Europe Paris",
            "-1:00",
            "18:+1",
            "18:00:60",
            "18:00:00:00",
        ] {
            assert!(Windows::parse([text], zone).is_err(), "{text:?}");
        }
        assert!(Windows::parse([], zone).is_err());
    }

    proptest! {
        #[test]
        fn the_next_opening_is_never_past_is_open_and_nothing_opens_before_it(
            days in prop::sample::select(vec!["", "Mon..Fri ", "Sat,Sun ", "Wed ", "Fri..Mon "]),
            (start, end) in (0u32..1440, 0u32..1440).prop_filter("two times", |(start, end)| start != end),
            is_point in any::<bool>(),
            zone in prop::sample::select(vec![
                "Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia", "UTC",
            ]),
            now in 1_300_000_000u64..2_200_000_000,
            before in 0u64..90_000,
        ) {
            let time = |minute: u32| format!("{:02}:{:02}", minute / 60, minute % 60);
            let times = if is_point { time(start) } else { format!("{}..{}", time(start), time(end)) };
            let windows = windows(&format!("{days}{times} {zone}"));
            let now = Epoch(now);
            let then = windows.next_opening(now);
            prop_assert!(then >= now);
            prop_assert!(then.since(now) <= 9 * 86_400, "{} s", then.since(now));
            prop_assert_eq!(windows.next_opening(then), then, "it is open then");
            // From anywhere in between, it is the same one.
            let between = Epoch(now.0 + before.min(then.since(now)));
            prop_assert_eq!(windows.next_opening(between), then);
            if !is_point {
                prop_assert!(windows.is_open(then));
                prop_assert_eq!(windows.is_open(now), then == now);
            }
        }
    }
}
