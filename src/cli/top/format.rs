//! Figures in few columns.

use super::super::words::age;

/// At most six columns: `123456`, `1234k`, `1234M`.
pub fn count(n: u64) -> String {
    match n {
        0..=999_999 => n.to_string(),
        1_000_000..=9_999_999_999 if n < 10_000_000 => format!("{}k", n / 1_000),
        1_000_000..=9_999_999_999 => format!("{}M", n / 1_000_000),
        _ => format!("{}G", n / 1_000_000_000),
    }
}

/// At most six columns: `0.4/s`, `12/s`, `1234/s`, `12k/s`.
pub fn rate(rate: f64) -> String {
    match rate {
        rate if rate < 0.05 => "-".into(),
        rate if rate < 9.95 => format!("{rate:.1}/s"),
        rate if rate < 9_999.5 => format!("{rate:.0}/s"),
        rate => format!("{:.0}k/s", rate / 1_000.0),
    }
}

/// A duration in at most six columns: `40s`, `2h5m`, `3d4h`, `1234d`.
pub fn span(seconds: u64) -> String {
    const DAY: u64 = 86_400;
    if seconds < 100 * DAY { age(seconds) } else { format!("{}d", (seconds / DAY).min(99_999)) }
}

/// At most six columns.
pub fn time_left(seconds: Option<f64>) -> String {
    match seconds {
        None => "-".into(),
        Some(seconds) => span(seconds.ceil() as u64),
    }
}

/// All is done only when it is.
pub fn percent(done: u64, total: u64) -> String {
    match total {
        0 => "-".into(),
        total => format!("{}%", (done.min(total) as u128 * 100 / total as u128)),
    }
}

/// In so many columns, without its middle if need be: an id's number tells it from its neighbours.
pub fn fit(id: &str, columns: usize, unicode: bool) -> String {
    let length = id.chars().count();
    if length <= columns {
        return id.to_owned();
    }
    let gap = if unicode { "…" } else { ".." };
    let Some(room) = columns.checked_sub(gap.chars().count()).filter(|room| *room > 1) else {
        return id.chars().take(columns).collect();
    };
    let (head, tail) = (room - room / 2, room / 2);
    let head: String = id.chars().take(head).collect();
    let tail: String = id.chars().skip(length - tail).collect();
    format!("{head}{gap}{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stay_within_their_columns() {
        for (n, text) in [(999_999, "999999"), (1_000_000, "1000k"), (12_345_678, "12M"), (10_000_000_000, "10G")] {
            assert_eq!(count(n), text);
        }
        for (n, text) in [(0.0, "-"), (0.44, "0.4/s"), (9.99, "10/s"), (1234.5, "1234/s"), (123_456.0, "123k/s")] {
            assert_eq!(rate(n), text);
        }
        assert_eq!(
            (time_left(None), time_left(Some(59.2)), time_left(Some(1e12))),
            ("-".into(), "1m0s".into(), "99999d".into())
        );
        assert_eq!((percent(999, 1000), percent(0, 0), percent(5, 5)), ("99%".into(), "-".into(), "100%".into()));
    }

    #[test]
    fn an_id_keeps_its_ends() {
        let id = "my-list@my.dom.1192613090.972";
        assert_eq!(fit(id, 29, true), id);
        assert_eq!(fit(id, 15, true), "my-list…090.972");
        assert_eq!(fit(id, 15, false), "my-list..90.972");
        assert_eq!(fit(id, 2, false), "my");
    }
}
