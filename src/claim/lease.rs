//! A lease in a worker's hands: a claim with an end.
//!
//! The end is known by a clock that nobody sets and that goes on while the machine sleeps. It counts from before the
//! database was asked, so it comes before any other host's idea of it: no two clocks are ever compared. A lease that is
//! over is not lost yet: only the database knows whether somebody else has taken the packet, and tells when it is renewed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Time since the machine was started, sleep included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Instant(Duration);

impl Instant {
    pub fn now() -> Instant {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Instant(Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32))
    }

    pub fn plus(self, time: Duration) -> Instant {
        Instant(self.0.saturating_add(time))
    }

    pub fn since(self, earlier: Instant) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    fn micros(self) -> u64 {
        self.0.as_micros() as u64
    }
}

/// What is leased: a packet of a message, or something that is shared beyond packets.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Key {
    /// A message id; empty: the spool's own.
    pub message: Box<str>,
    /// A packet's file name, or what is shared.
    pub part: Box<str>,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.message {
            "" => f.write_str(&self.part),
            message => write!(f, "{message} {}", self.part),
        }
    }
}

/// Why a lease does not hold.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotHeld {
    /// Another process has taken the packet.
    #[error("another process has taken it over")]
    Lost,
    /// The database can't be asked.
    #[error("{0}")]
    Away(String),
}

/// What a lease's holder and its keeper share.
pub struct Held {
    pub key: Key,
    /// Of all who ever had the packet, the newest has the highest number.
    pub fence: u64,
    pub lasts: Duration,
    /// Whoever had it before has given it back, or was shut out: nobody else believes in it.
    pub clean: bool,
    /// Whoever may have believed in it was shut out by this holder.
    shut_out: AtomicBool,
    /// When it ends; microseconds of [`Instant`].
    until: AtomicU64,
    lost: AtomicBool,
}

impl Held {
    /// The database was asked for it at `asked`.
    pub fn new(key: Key, fence: u64, clean: bool, asked: Instant, lasts: Duration) -> Held {
        let until = AtomicU64::new(asked.plus(lasts).micros());
        Held { key, fence, lasts, clean, shut_out: AtomicBool::new(false), until, lost: AtomicBool::new(false) }
    }

    /// Whether the next holder need shut nobody out.
    pub fn leaves_clean(&self) -> bool {
        self.clean || self.shut_out.load(Ordering::Acquire)
    }

    /// The database was asked at `asked` to renew it, and has.
    pub fn renewed(&self, asked: Instant) {
        self.until.fetch_max(asked.plus(self.lasts).micros(), Ordering::Release);
    }

    /// Somebody else has the packet.
    pub fn is_lost(&self) {
        self.lost.store(true, Ordering::Release);
    }

    fn left(&self) -> Duration {
        if self.lost.load(Ordering::Acquire) {
            return Duration::ZERO;
        }
        Duration::from_micros(self.until.load(Ordering::Acquire).saturating_sub(Instant::now().micros()))
    }
}

/// Whom the holder turns to.
pub trait Keeper: Send + Sync {
    /// Renews all leases of this process, and waits for that.
    fn renew(&self) -> Result<(), NotHeld>;
    /// Takes the lease back. It must not wait.
    fn release(&self, held: Arc<Held>, finished: bool);
}

/// See the module. Dropped, it is given back.
pub struct Lease {
    held: Arc<Held>,
    keeper: Arc<dyn Keeper>,
    finished: bool,
}

impl Lease {
    pub fn new(held: Arc<Held>, keeper: Arc<dyn Keeper>) -> Lease {
        Lease { held, keeper, finished: false }
    }

    /// How long it certainly holds.
    pub fn left(&self) -> Duration {
        self.held.left()
    }

    pub fn lasts(&self) -> Duration {
        self.held.lasts
    }

    pub fn is_clean(&self) -> bool {
        self.held.leaves_clean()
    }

    pub fn has_shut_out(&self) {
        self.held.shut_out.store(true, Ordering::Release);
    }

    pub fn is_first(&self) -> bool {
        self.held.fence == 1
    }

    pub fn renew(&self) -> Result<(), NotHeld> {
        self.keeper.renew()?;
        match self.held.left() {
            Duration::ZERO if self.held.lost.load(Ordering::Acquire) => Err(NotHeld::Lost),
            Duration::ZERO => Err(NotHeld::Away("the database answers more slowly than a lease lasts".to_owned())),
            _ => Ok(()),
        }
    }

    pub fn finished(&mut self) {
        self.finished = true;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.keeper.release(self.held.clone(), self.finished);
    }
}
