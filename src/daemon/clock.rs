//! The only place that asks what time it is.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::mail::{Epoch, Moment};

/// The wall clock.
pub fn now() -> Moment {
    // Before 1970 there is no mail; a clock that says so is treated as saying 1970.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment(since.as_micros() as u64)
}

pub fn epoch() -> Epoch {
    now().epoch()
}
