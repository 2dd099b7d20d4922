//! What reads octets that somebody else wrote, given octets that nobody should have written.
//!
//! Each target holds what is read against a second, naive reader, or against what was put in. Its cases are random
//! octets and, mostly, valid input that was changed in a few places: flipped, cut, inserted into, duplicated. A target
//! runs for a moment; with `TEST_SECONDS` in the environment it goes on that long, with seeds that are always fresh.
//! What a target found stays beside it as a plain test.
//!
//! ```text
//! TEST_SECONDS=600 cargo test --test hostile -- --test-threads=20
//! ```
//!
//! On two busy cores, unoptimized, all targets at once, that was in ten minutes and cases:
//!
//! | target | cases | target | cases |
//! | --- | --- | --- | --- |
//! | names, hostile | 165,000 | heads, hostile | 124,000 |
//! | names, made | 59,000 | heads, put on | 90,000 |
//! | names, parents | 241,000 | heads, stripped | 124,000 |
//! | packets | 51,000 | recipients | 22,000 |
//! | checkpoints, made | 502,500 | configuration | 99,000 |
//! | checkpoints, hostile | 264,000 | environment | 93,400 |
//! | checkpoints, resumed | 36,000 | notes | 148,500 |
//! | checkpoints, written | 22,500 | running | 152,800 |
//! | replies | 168,000 | failures | 74,400 |
//! | replies, silence | 47,100 | replies, unasked | 108,900 |
//!
//! `events` came later, and had in 40 seconds 220,000 lines and 24,800 logs. It found an id of 1973 that made a message take 50 years.
//!
//! They found, before that run and all mended: a packet with the greatest count of deferrals taken for the parent of a
//! fresh one; a mode called `recipients` that made flat drops unreadable; configurations without a relay, durations that
//! were not shown as they are, keys with newlines, variables that are no text; a failure that lacked its newline and could
//! not be taken back; a directory in `running/` that kept the scheduler from starting. In the run itself, only mistakes of
//! the targets' own. `environment`, `failures`, `replies` and `running` were mended so, and run again by themselves.

mod checkpoints;
mod configuration;
mod environment;
mod events;
mod heads;
mod inputs;
mod memory;
mod names;
mod oracle;
mod packets;
mod recipients;
mod records;
mod replies;
mod server;
#[path = "../support/mod.rs"]
mod support;
mod target;
