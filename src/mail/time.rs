//! Points in time as the spool and the scheduler speak of them. Nobody in this layer asks what time it is.

use std::fmt;

/// Whole seconds since 1970-01-01 UTC, as they stand in names (`…972:at1192680000`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Epoch(pub u64);

impl Epoch {
    pub const fn plus(self, seconds: u64) -> Epoch {
        Epoch(self.0.saturating_add(seconds))
    }

    /// Seconds from `earlier` to here; 0 if `earlier` is the later one (clocks are set back at times).
    pub const fn since(self, earlier: Epoch) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Microseconds since 1970-01-01 UTC: fine enough to tell how long an urgent message waited.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Moment(pub u64);

impl Moment {
    /// The last whole second.
    pub const fn epoch(self) -> Epoch {
        Epoch(self.0 / 1_000_000)
    }

    /// Unix seconds, to the microsecond.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// From `earlier` to here; zero if `earlier` is the later one.
    pub const fn since(self, earlier: Moment) -> std::time::Duration {
        std::time::Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    pub fn minus(self, time: std::time::Duration) -> Moment {
        Moment(self.0.saturating_sub(u64::try_from(time.as_micros()).unwrap_or(u64::MAX)))
    }

    pub fn plus(self, time: std::time::Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl From<Epoch> for Moment {
    fn from(epoch: Epoch) -> Moment {
        Moment(epoch.0.saturating_mul(1_000_000))
    }
}
