//! Claims among hosts: leases in a SQL database, one row a claimed packet.
//!
//! What a worker asks goes to one thread ([`super::keeper`]), which has the connection; what others announce comes by
//! another one ([`super::listener`]). A worker waits for an answer only when it takes a packet; giving one back waits for
//! nobody, and renewals are the keeper's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;

use crossbeam_channel::{Sender, bounded, unbounded};
use parking_lot::Mutex;
use tracing::error;

use crate::mail::PacketName;
use crate::spool::disk::unless_gone;
use crate::spool::folder::Folder;
use crate::spool::layout::packet_file;

use super::database::{Access, News, PATIENCE};
use super::keeper::{self, Order};
use super::lease::{self, Held, Key, Lease, NotHeld};
use super::settings::Kind;
use super::{Attempt, Claim, ClaimError, Claims, Shared, Turn};

/// See the module.
pub struct Cluster {
    orders: Arc<Orders>,
    hears_by: String,
    process: Arc<AtomicI64>,
    is_over: Arc<AtomicBool>,
}

struct Orders {
    sender: Sender<Order>,
    /// Names that nobody has announced yet.
    announced: Arc<Mutex<Vec<String>>>,
    is_away: Arc<AtomicBool>,
}

/// What a cluster tells the process that has joined it.
pub trait Told: Send + Sync {
    /// What others announced.
    fn news(&self, news: News);
    /// The database is back: claims are to be had again.
    fn back(&self);
}

impl Cluster {
    /// Joins the cluster of the spool with that identity. A database that is away is waited for, by the workers; one that
    /// an operator has to do something about first is an error.
    pub fn join(
        access: Access,
        identity: &str,
        host: &str,
        workers: usize,
        told: Arc<dyn Told>,
    ) -> Result<Cluster, String> {
        let (sender, orders) = unbounded();
        let announced = Arc::<Mutex<Vec<String>>>::default();
        let (process, is_over) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicBool::new(false)));
        let hears_by = match access.url.kind() {
            Kind::Postgres => "PostgreSQL's notifications".to_owned(),
            Kind::MariaDb => format!("a table in MariaDB, looked at every {:?}", access.settings.poll),
        };
        let back = told.clone();
        let me = keeper::this_process(host, workers);
        let on_back = Box::new(move || back.back());
        let mut keeper = keeper::Keeper::new(
            access.clone(),
            me,
            identity.to_owned(),
            process.clone(),
            orders,
            announced.clone(),
            on_back,
        );
        let is_away = keeper.is_away.clone();
        keeper.begin().map_err(|why| format!("cluster.database {}: {why}", access.url))?;
        let cannot = |error: std::io::Error| format!("cannot start a thread: {error}");
        thread::Builder::new()
            .name("leases".into())
            .spawn(move || {
                let _end = EndsTheProcess;
                keeper.run();
            })
            .map_err(cannot)?;
        let (known, over) = (process.clone(), is_over.clone());
        let listen = move || super::listener::run(&access, &known, &over, &|news| told.news(news));
        thread::Builder::new().name("news".into()).spawn(listen).map_err(cannot)?;
        Ok(Cluster { orders: Arc::new(Orders { sender, announced, is_away }), hears_by, process, is_over })
    }

    fn claim(&self, key: Key) -> Result<Option<Lease>, ClaimError> {
        let worker = thread::current().name().unwrap_or_default().to_owned();
        let held = self.orders.ask(|reply| Order::Claim { key, worker, reply }).map_err(ClaimError::Away)?;
        Ok(held.map(|held| Lease::new(held, self.orders.clone())))
    }
}

/// A keeper that panics takes the process with it: its workers would wait for claims for ever, and nobody would start it anew.
struct EndsTheProcess;

impl Drop for EndsTheProcess {
    fn drop(&mut self) {
        if thread::panicking() {
            error!("the thread that keeps the leases has panicked: the process ends; what was in flight is sent again");
            std::process::abort();
        }
    }
}

impl Orders {
    /// Waits no longer than the database may take.
    fn ask<T>(&self, order: impl FnOnce(Sender<Result<T, String>>) -> Order) -> Result<T, String> {
        // Without room: an answer is either heard or known not to have been. A lease that waits in a channel is nobody's.
        let (reply, answer) = bounded(0);
        // Whoever asks while it is away would wait until the next try to reach it is over.
        if self.is_away.load(Ordering::Relaxed) {
            return Err("the claims' database cannot be reached".to_owned());
        }
        if self.sender.send(order(reply)).is_err() {
            return Err("this process has left the cluster".to_owned());
        }
        let late = |_| Err(format!("the claims' database has not answered for {PATIENCE:?}"));
        answer.recv_timeout(PATIENCE).unwrap_or_else(late)
    }
}

impl lease::Keeper for Orders {
    fn renew(&self) -> Result<(), NotHeld> {
        let asked = lease::Instant::now();
        self.ask(|reply| Order::Renew { asked, reply }).map_err(NotHeld::Away)
    }

    fn release(&self, held: Arc<Held>, finished: bool) {
        // Nobody takes orders any more: all was given back.
        let _ = self.sender.send(Order::Release { held, finished });
    }
}

impl Claims for Cluster {
    fn try_claim(&self, folder: &Folder, packet: &PacketName) -> Result<Attempt, ClaimError> {
        let name = packet_file(packet);
        // First, since a packet that is finished needs no lease to be told so.
        if unless_gone(folder.dir().open(&name))?.is_none() {
            return Ok(Attempt::Gone);
        }
        let key = Key { message: folder.id().as_str().into(), part: name.as_str().into() };
        let Some(mut lease) = self.claim(key)? else { return Ok(Attempt::Taken) };
        // Opened under the lease: between the two, the last holder may have finished it.
        Ok(match unless_gone(folder.dir().open(&name))? {
            Some(file) => Attempt::Won(Claim { file, lease: Some(lease) }),
            None => {
                lease.finished();
                Attempt::Gone
            }
        })
    }

    fn try_turn(&self, what: &Shared<'_>) -> Result<Option<Turn>, ClaimError> {
        let (message, part) = match what {
            Shared::Incoming => ("", "incoming"),
            Shared::Reports(id) => (id.as_str(), "reports"),
            Shared::Failures(id) => (id.as_str(), "failures"),
        };
        let lease = self.claim(Key { message: message.into(), part: part.into() })?;
        Ok(lease.map(|mut lease| {
            lease.finished();
            Turn(Some(lease))
        }))
    }

    fn announce(&self, name: &str) {
        let mut announced = self.orders.announced.lock();
        announced.push(name.to_owned());
        if announced.len() == 1 {
            let _ = self.orders.sender.send(Order::Announce);
        }
    }

    fn hears_by(&self) -> Option<String> {
        Some(self.hears_by.clone())
    }

    /// Processes have consecutive numbers, and their multiples of the golden ratio lie evenly apart.
    fn start_at(&self, packets: usize) -> usize {
        const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
        let part = self.process.load(Ordering::Relaxed).cast_unsigned().wrapping_mul(GOLDEN);
        ((u128::from(part) * packets as u128) >> 64) as usize
    }

    fn leave(&self) {
        self.is_over.store(true, Ordering::Relaxed);
        let (reply, left) = bounded(1);
        if self.orders.sender.send(Order::Leave { reply }).is_ok() {
            let _ = left.recv_timeout(PATIENCE);
        }
    }
}
