//! What reads octets that somebody else wrote, given octets that nobody should have written.
//!
//! Each target holds what is read against a second, naive reader, or against what was put in. Its cases are random
//! octets and, mostly, valid input that was changed in a few places: flipped, cut, inserted into, duplicated. A target
//! runs for a moment; with `TEST_SECONDS` in the environment it goes on that long, with seeds that are always fresh.
//! What a target found stays beside it as a plain test.
//!
//! ```text
//! TEST_SECONDS=600 cargo test --test hostile -- --test-threads=14
//! ```

mod checkpoints;
mod configuration;
mod environment;
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
