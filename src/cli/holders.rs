//! Who works on which packet, where hosts share the spool: the kernel knows of this host's processes alone, the database
//! of all.

use std::collections::{HashMap, HashSet};

#[cfg(feature = "cluster")]
use super::CliError;
#[cfg(feature = "cluster")]
use super::cluster::{self, Member};
#[cfg(feature = "cluster")]
use crate::claim::settings::ClusterSettings;
use crate::daemon::settings::Settings;
use crate::mail::{MessageId, PacketName};
use crate::spool::Spool;
use crate::spool::census::Message;
use crate::spool::disk::DiskError;
use crate::spool::layout::packet_file;
use crate::spool::running::{self, Scheduler};

/// How long the database is waited for.
#[cfg(feature = "cluster")]
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);

/// See the module.
#[derive(Default)]
pub struct Holders {
    /// By message id and packet's file name: host, process, worker.
    by_packet: HashMap<(String, String), String>,
    /// Host and pid of those that have been heard of lately.
    processes: HashSet<(String, u32)>,
}

impl Holders {
    /// Asks the database. `None`: the spool is one machine's. An error is no reason to show nothing: what is on disk is there.
    #[cfg(feature = "cluster")]
    pub fn ask(settings: &Settings) -> Option<Result<Holders, String>> {
        settings.cluster.database.as_ref()?;
        let (answer, answered) = crossbeam_channel::bounded(1);
        let settings = settings.cluster.clone();
        // What is on disk can be shown at once; a database that hangs is not worth waiting for.
        std::thread::spawn(move || {
            let _ = answer.send(Holders::of_cluster(&settings).map_err(|error| error.to_string()));
        });
        let late = |_| Err(format!("the claims' database has not answered for {PATIENCE:?}"));
        Some(answered.recv_timeout(PATIENCE).unwrap_or_else(late))
    }

    #[cfg(not(feature = "cluster"))]
    pub fn ask(_: &Settings) -> Option<Result<Holders, String>> {
        None
    }

    #[cfg(feature = "cluster")]
    fn of_cluster(settings: &ClusterSettings) -> Result<Holders, CliError> {
        let mut holders = Holders::default();
        for Member { process, leases } in cluster::members(&mut *cluster::connect(settings)?)? {
            for lease in leases {
                let who = format!("{} {} {}", process.host, process.pid, lease.worker);
                holders.by_packet.insert((lease.message, lease.part), who);
            }
            if process.last_seen < cluster::LATELY.as_secs_f64() {
                holders.processes.insert((process.host, process.pid));
            }
        }
        Ok(holders)
    }

    /// The schedulers that run, on whichever host.
    pub fn schedulers(&self, spool: &Spool) -> Result<Vec<Scheduler>, DiskError> {
        running::list_with(spool, |name| self.processes.contains(&(name.host.clone(), name.pid)))
    }

    fn of(&self, id: &MessageId, packet: &PacketName) -> Option<&str> {
        let part = packet_file(packet);
        self.by_packet.get(&(id.to_string(), part)).map(String::as_str)
    }

    /// Notes in a message's figures which of its packets somebody has; who that is.
    pub fn note(&self, message: &mut Message) -> Vec<String> {
        let mut who = Vec::new();
        for packet in &mut message.packets {
            if let Some(holder) = self.of(&message.name.id, &packet.name) {
                packet.claimed = true;
                who.push(format!("{holder}: {}", packet_file(&packet.name)));
            }
        }
        who
    }
}
