//! The mark of a spool whose packets are claimed through a database: which one.
//!
//! Two processes that claim by different means would both send the same packet. So the spool says which tables its claims
//! are in, and whoever claims otherwise keeps its hands off it.

use serde::{Deserialize, Serialize};

use super::Spool;
use super::disk::{DiskError, Op, Result, unless_gone};
use super::layout::CLUSTER;

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Mark {
    /// Of the tables.
    pub identity: String,
    /// Unix seconds.
    pub since: u64,
    pub by: String,
}

impl Mark {
    /// The spool's mark; `None`: one machine, claims are the kernel's.
    pub fn read(spool: &Spool) -> Result<Option<Mark>> {
        let Some(content) = unless_gone(spool.root.read(CLUSTER, 64 * 1024))? else { return Ok(None) };
        serde_json::from_slice(&content).map(Some).map_err(|error| {
            let error = std::io::Error::new(std::io::ErrorKind::InvalidData, error);
            DiskError::new(Op::Read, spool.root.path(), CLUSTER.as_ref(), error)
                .fate("nothing is sent from this spool: whether it has other hosts is not known")
        })
    }

    /// Marks the spool, on which nobody sends, unless somebody else has done so: `false`. A crash leaves it unmarked.
    pub fn write(&self, spool: &Spool) -> Result<bool> {
        let draft = format!(".{CLUSTER}.{}", self.identity);
        unless_gone(spool.root.remove(&draft))?;
        let file = spool.root.create(&draft)?;
        let mut text = serde_json::to_vec(self).expect("strings and numbers are always JSON");
        text.push(b'\n');
        file.write_at(&text, 0)?;
        file.belong_to_owner_of(&spool.distribute)?;
        file.sync_data()?;
        // A link is never made onto a name that is there, on any file system.
        let linked = spool.root.link(&draft, &spool.root, CLUSTER);
        spool.root.remove(&draft)?;
        match linked {
            Err(error) if error.is_exists() => Ok(false),
            linked => {
                linked?;
                spool.root.sync()?;
                Ok(true)
            }
        }
    }

    /// Takes this mark off, and no other.
    pub fn remove(&self, spool: &Spool) -> Result<()> {
        if Mark::read(spool)?.is_some_and(|mark| mark.identity == self.identity) {
            unless_gone(spool.root.remove(CLUSTER))?;
            spool.root.sync()?;
        }
        Ok(())
    }
}
