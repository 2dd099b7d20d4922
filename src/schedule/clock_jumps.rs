//! A clock that goes backwards or forwards by hours sends nothing early and loses nothing.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::{Arrival, Backlog, Key};
use crate::mail::{Epoch, Level, Moment};

proptest! {
    #[test]
    fn a_clock_that_jumps_sends_nothing_early_and_loses_nothing(
        dues in prop::collection::vec(prop::option::of(0u64..100_000), 1..30),
        clock in prop::collection::vec(0u64..100_000, 1..60),
    ) {
        let mut backlog = Backlog::new();
        let seen = Moment::from(Epoch(clock[0]));
        let due: HashMap<Key, Epoch> = dues
            .into_iter()
            .map(|due| {
                let due = due.map(Epoch);
                let key = backlog.arrive(Arrival { level: Level::FIRST, arrived: Epoch(1), due, seen, group: None });
                (key, due.unwrap_or_default())
            })
            .collect();
        let mut taken = HashSet::new();
        for now in clock.into_iter().chain([100_000]) {
            while let Some(key) = backlog.take(Epoch(now).into()) {
                prop_assert!(due[&key] <= Epoch(now), "early");
                prop_assert!(taken.insert(key), "handed out twice");
            }
        }
        prop_assert_eq!(taken.len(), due.len());
    }
}
