//! Several processes on one spool, among which a real PostgreSQL or a real MariaDB decides who has which packet: on one
//! machine, and on three hosts that are namespaces of the kernel's.
//!
//! All of it is real: servers and programs are processes, mail goes over TCP, and what befalls them is done with signals and
//! to network devices. Takes root, and a kernel that lets it make namespaces and mount FUSE.
//!
//! `CLUSTER_RECIPIENTS` says how many drain through three hosts, `CHAOS_ROUNDS` and `CHAOS_SEED` how often what goes wrong;
//! `CLUSTER_LOGS` is a directory for the logs of the processes of a test that fails.

#![cfg(feature = "cluster")]

#[path = "../support/mod.rs"]
mod support;

mod chaos;
mod commands;
mod encryption;
mod hosts;
mod leases;
mod outages;
mod sink;
mod site;

/// Tests that are the same with both databases.
macro_rules! on_both {
    ($($name:ident;)*) => {
        mod postgresql {
            $(#[test] fn $name() { super::$name(crate::support::database::Kind::Postgres) })*
        }
        mod mariadb {
            $(#[test] fn $name() { super::$name(crate::support::database::Kind::MariaDb) })*
        }
    };
}
pub(crate) use on_both;
