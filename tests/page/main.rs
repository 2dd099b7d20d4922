//! The page in a real browser: Debian's chromium, driven by its chromedriver, on a real spool with a real scheduler.
//!
//! What is on the screen is compared with what lies in the spool, and what is done on the page with what it does there.

#[path = "../support/mod.rs"]
mod support;

mod browser;
mod connection;
mod house;
mod many;
mod moving;
mod order;
mod pausing;
mod pictures;
mod preemption;
mod reader;
mod values;
