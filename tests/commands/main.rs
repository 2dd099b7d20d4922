//! The built program as operators run it: each command on a real spool, also while a scheduler sends from it.

#[path = "../support/mod.rs"]
mod support;

mod bad;
mod bench;
mod cancel;
mod check;
mod config;
mod demo;
mod events;
mod hold;
mod lists;
mod log;
mod pause;
mod queue;
mod report;
mod requeue;
mod reschedule;
mod run;
mod show;
mod windows;
