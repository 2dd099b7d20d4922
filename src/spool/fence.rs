//! Shutting out whoever had a packet before, and may not know yet that it has lost it.
//!
//! A process that was halted between its look at the lease and its next write wakes up with the files open. It writes
//! through those descriptors: so the packet's checkpoint, and the retry packets that nobody has begun, are copied and the
//! copies put in their place. What it writes after that, nobody reads. A crash in between leaves the one or the other.

use crate::mail::PacketName;

use super::Spool;
use super::disk::{Result, unless_gone};
use super::folder::Folder;
use super::layout::{FileName, packet_file};
use super::progress::MAX_PACKET;

/// To be done by the packet's new holder, before anything of it is read.
pub fn shut_out(spool: &Spool, folder: &Folder, packet: &PacketName) -> Result<()> {
    let contents = folder.contents()?;
    let retries =
        contents.packets.iter().filter(|child| packet.is_parent_of(child) && !contents.statuses.contains(child));
    let mut names: Vec<String> = retries.map(packet_file).collect();
    let status = FileName::Status(packet.clone()).to_string();
    if contents.statuses.contains(packet) {
        names.push(status);
    } else {
        // Whoever would create it later finds that somebody else has.
        match folder.dir().create(&status) {
            Err(error) if error.is_exists() => copy_into_place(spool, folder, &status)?,
            created => drop(created?),
        }
    }
    for name in &names {
        copy_into_place(spool, folder, name)?;
    }
    folder.dir().sync()
}

fn copy_into_place(spool: &Spool, folder: &Folder, name: &str) -> Result<()> {
    let Some(content) = unless_gone(folder.dir().read(name, MAX_PACKET))? else { return Ok(()) };
    let draft = format!(".{}.{name}", folder.id());
    unless_gone(spool.incoming.remove(&draft))?;
    let file = spool.incoming.create(&draft)?;
    file.write_at(&content, 0)?;
    file.sync_data()?;
    spool.incoming.replace_in(&draft, folder.dir(), name)
}

#[cfg(test)]
mod tests {
    use super::super::disk::Disk;
    use super::super::progress::{Progress, Sync};
    use super::*;

    #[test]
    fn what_the_last_holder_writes_after_that_nobody_reads() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::create(&Disk::default(), dir.path()).unwrap();
        let name = "l@x.org.1.2".parse().unwrap();
        let place = dir.path().join("distribute/4/l@x.org.1.2");
        std::fs::create_dir(&place).unwrap();
        std::fs::write(place.join("recipients.mail.1"), "a@x.org\nb@x.org\nc@x.org\n").unwrap();
        std::fs::write(place.join("recipients.mail.1.status"), "\n").unwrap();
        let folder = Folder::open(&spool, "4".parse().unwrap(), &name).unwrap().unwrap();
        let packet: PacketName = folder.contents().unwrap().packets.pop().unwrap();
        let open = || {
            let file = folder.dir().open("recipients.mail.1").unwrap();
            Progress::open(&folder, &packet, &file, Sync::Data).unwrap()
        };
        let mut halted = open();
        halted.advance(&folder, 1).unwrap();
        let retry = halted.begin_retry(&folder, crate::mail::Epoch(9)).unwrap();
        shut_out(&spool, &folder, &packet).unwrap();
        let mut holder = open();
        assert_eq!(holder.next(), 1, "what was on record stays");
        holder.advance(&folder, 2).unwrap();
        let reply = crate::mail::Reply::new(450, "later");
        let why = super::super::deferral::Deferral::new("relay", &reply, crate::mail::Epoch(5));
        halted.defer(&[(1, why)]).unwrap();
        halted.advance(&folder, 2).unwrap();
        drop(halted);
        assert_eq!(open().next(), 2);
        let retry = std::fs::read(place.join(FileName::Packet(retry).to_string())).unwrap();
        assert_eq!(retry, b"", "nobody is in it");
        assert_eq!(spool.incoming.list().unwrap().len(), 0);
    }
}
