//! How commands say times, durations and other people's words.

pub use crate::monitor::age::age;
use crate::spool::layout::PauseName;

/// Somebody else's text, without what a terminal would obey.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if is_unprintable(c) { '?' } else { c }).collect()
}

/// What a terminal would obey, or what turns text around or hides in it.
pub fn is_unprintable(c: char) -> bool {
    c.is_control() || {
        matches!(c, '\u{ad}' | '\u{feff}' | '\u{200b}'..='\u{200f}')
            || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
    }
}

/// Local time, as in a log.
pub fn local_time(at: u64) -> String {
    let timestamp = i64::try_from(at).ok().and_then(|at| jiff::Timestamp::from_second(at).ok());
    match timestamp {
        Some(at) => at.to_zoned_datetime(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        None => at.to_string(),
    }
}

/// What is paused, for people.
pub fn paused(name: &PauseName) -> String {
    match name {
        PauseName::Everything => "everything".into(),
        PauseName::Level(level) => format!("priority {level}"),
        PauseName::List(list) => format!("list {list}"),
        PauseName::Relay(relay) => format!("relay {relay}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_turns_text_around_or_hides_in_it_is_not_printed() {
        assert_eq!(printable("a\u{202e}b\u{200b}c\u{2028}d\u{1b}é"), "a?b?c?d?é");
    }
}
