//! How long something takes or has lasted, for people.

/// A duration in the two largest units that say something: `3d4h`, `2h5m`, `40s`.
pub fn age(seconds: u64) -> String {
    let (d, h, m, s) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    match (d, h, m) {
        (1.., ..) => format!("{d}d{h}h"),
        (0, 1.., _) => format!("{h}h{m}m"),
        (0, 0, 1..) => format!("{m}m{s}s"),
        _ => format!("{s}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_two_units_at_most() {
        for (seconds, text) in [(0, "0s"), (61, "1m1s"), (3_600, "1h0m"), (100_000, "1d3h")] {
            assert_eq!(age(seconds), text);
        }
    }
}
