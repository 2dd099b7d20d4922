//! By what means packets are claimed: the kernel's on one machine, a database's among several.
//!
//! The spool's mark has to agree with the configuration: two means on one spool are two workers on one packet.

use std::sync::Arc;

use crate::claim::Claims;
use crate::claim::flock::Flock;
use crate::spool::Spool;
use crate::spool::mark::Mark;

use super::hints::Desk;
use super::settings::Settings;

/// The claims of this spool, or why there are none.
pub fn claims(spool: &Spool, settings: &Settings, desk: &Arc<Desk>) -> Result<Arc<dyn Claims>, String> {
    let mark = Mark::read(spool).map_err(|error| error.to_string())?;
    match (mark, settings.cluster.database.is_some()) {
        (None, false) => Ok(Arc::new(Flock)),
        (None, true) => {
            Err("cluster.database is set, and this spool is not marked as shared through it: run `sympa-dist \
                             cluster init`, while no scheduler runs on it"
                .to_owned())
        }
        (Some(_), false) => Err("this spool is marked as shared through a database (its file `cluster`), and \
                                 cluster.database is not set: without it members would get messages twice; `sympa-dist \
                                 cluster leave` makes it one machine's again"
            .to_owned()),
        (Some(mark), true) => join(&mark, settings, desk),
    }
}

#[cfg(feature = "cluster")]
fn join(mark: &Mark, settings: &Settings, desk: &Arc<Desk>) -> Result<Arc<dyn Claims>, String> {
    use crate::claim::cluster::Cluster;
    use crate::claim::database::Access;
    use crate::spool::running;

    let access = Access::from_settings(&settings.cluster).map_err(|error| error.to_string())?;
    let access = access.expect("a database is named");
    let workers = settings.run.workers.get() + settings.run.express_workers;
    let cluster = Cluster::join(access, &mark.identity, &running::host(), workers, desk.clone())?;
    Ok(Arc::new(cluster))
}

#[cfg(not(feature = "cluster"))]
fn join(_: &Mark, _: &Settings, _: &Arc<Desk>) -> Result<Arc<dyn Claims>, String> {
    Err("this program was built without claims through a database (feature cluster)".to_owned())
}

#[cfg(feature = "cluster")]
impl crate::claim::cluster::Told for Desk {
    fn news(&self, news: crate::claim::database::News) {
        use super::hints::{Hints, PAUSES, heard};
        use crate::claim::database::News;

        match news {
            News::Everything => self.drop_in(Hints::everything),
            News::Names(names) => self.drop_in(|hints| {
                for name in names {
                    match heard(&name) {
                        Some((priority, name)) => hints.note(priority, name),
                        None => hints.pauses |= name == PAUSES,
                    }
                }
            }),
        }
    }

    fn back(&self) {
        self.drop_in(|hints| hints.claims = true);
    }
}
