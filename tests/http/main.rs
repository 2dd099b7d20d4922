//! What `run` serves over HTTP, from outside: the built program, a real spool, real sockets.

#[path = "../support/mod.rs"]
mod support;

mod abuse;
mod answers;
mod document;
mod preempted;
mod prometheus;
mod put_back;
mod rates;
mod schemathesis;
mod served;
mod socket;
mod stuck;
mod tls;
mod two_schedulers;
