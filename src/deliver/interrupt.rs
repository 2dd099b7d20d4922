//! How TERM reaches a worker that waits for a relay.
//!
//! One eventfd for all workers: whoever waits for a socket waits for it as well, so an interrupt is seen at once and
//! without periodic wake-ups. It is raised once and never lowered.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// See the module.
#[derive(Debug)]
pub struct Interrupt {
    event: OwnedFd,
    /// Until when an answer to a final dot that is out may still be waited for. Set when raised.
    deadline: OnceLock<Instant>,
}

impl Interrupt {
    pub fn new() -> io::Result<Interrupt> {
        use rustix::event::{EventfdFlags, eventfd};
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Interrupt { event, deadline: OnceLock::new() })
    }

    /// No new transaction, nothing more before the dot; answers to dots that are out are waited for during `grace`.
    pub fn raise(&self, grace: Duration) {
        if self.deadline.set(Instant::now() + grace).is_ok() {
            // The counter can't overflow: it is written once.
            let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
        }
    }

    pub fn is_raised(&self) -> bool {
        self.deadline.get().is_some()
    }

    /// The end of the grace, once raised.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline.get().copied()
    }

    /// Readable once raised: something to poll(2) beside a socket.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
