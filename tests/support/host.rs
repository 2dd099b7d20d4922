//! Hosts, as far as one machine can have several: each with a network, a host name and process numbers of its own, which
//! are namespaces of the kernel's, and with a view of its own of a directory that all share. Takes root.
//!
//! A host has two lines: one to the mail relay and the other hosts, one to the database. A process in it is a child of the
//! test like any other.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use super::program::Program;
use super::spool::wait_until;

#[track_caller]
fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().unwrap_or_else(|error| {
        panic!("ip {arguments}: {error}: these tests need the packages iproute2, bindfs and util-linux")
    });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {said}: these tests make network namespaces, which takes root");
}

/// Two bridges: what the hosts' lines end at. On this side of them are the test, its relay and its database.
pub struct Wires {
    name: String,
    net: u8,
}

impl Wires {
    pub fn new() -> Arc<Wires> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // Of a network that is kept for tests of networks (RFC 2544), one that nobody here has.
        let taken = Command::new("ip").args(["-o", "-4", "address"]).output().map(|output| output.stdout);
        let taken = String::from_utf8_lossy(&taken.unwrap_or_default()).into_owned();
        let first = (std::process::id() * 16 + number) % 250;
        let net = (0..250).map(|n| ((first + n) % 250) as u8).find(|net| !taken.contains(&format!("198.18.{net}.")));
        let wires = Wires { name: format!("sd{:x}{number:x}", std::process::id()), net: net.expect("a free network") };
        for (bridge, address) in [(wires.bridge("m"), wires.relay()), (wires.bridge("d"), wires.database())] {
            ip(&format!("link add {bridge} type bridge"));
            ip(&format!("address add {address}/24 dev {bridge}"));
            ip(&format!("link set {bridge} up"));
        }
        Arc::new(wires)
    }

    fn bridge(&self, which: &str) -> String {
        format!("{}{which}", self.name)
    }

    /// Where hosts find what the test has for mail.
    pub fn relay(&self) -> IpAddr {
        Ipv4Addr::new(198, 18, self.net, 1).into()
    }

    /// Where hosts find what the test has for databases.
    pub fn database(&self) -> IpAddr {
        Ipv4Addr::new(198, 19, self.net, 1).into()
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        for bridge in [self.bridge("m"), self.bridge("d")] {
            let _ = Command::new("ip").args(["link", "delete", &bridge]).status();
        }
    }
}

/// See the module. Dropped, all that runs in it is killed.
pub struct Host {
    pub name: String,
    wires: Arc<Wires>,
    number: u8,
    /// Process 1 of the host is its child, and ends with it.
    keeper: Child,
    first: u32,
    shared: PathBuf,
    _view: Option<View>,
}

/// By what means hosts share a directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sharing {
    /// A mount of its own for each, through FUSE. Neither inotify nor flock(2) reach from one such mount to another, a
    /// rename never says that the name is taken, names are remembered for a second, and what is removed while it is open
    /// stays for a while under another name: as on a network file system. But an open folder that another host renames is
    /// lost from sight, as on none whose server knows files by number.
    Fuse,
    /// The directory itself.
    Plain,
}

/// A host's own mount of the shared directory.
struct View {
    mount: TempDir,
    bindfs: Child,
}

impl View {
    fn of(shared: &Path) -> View {
        let mount = tempfile::tempdir().unwrap();
        let mut bindfs = Command::new("setpriv");
        bindfs.args(["--pdeathsig=KILL", "bindfs", "-f"]).arg(shared).arg(mount.path()).stdin(Stdio::null());
        let bindfs = bindfs.spawn().unwrap_or_else(|error| panic!("bindfs: {error}: these tests need that package"));
        let view = View { mount, bindfs };
        let device = |path: &Path| fs::metadata(path).map(|found| std::os::unix::fs::MetadataExt::dev(&found)).ok();
        let outside = device(&std::env::temp_dir());
        let is_mounted = || device(view.mount.path()) != outside;
        wait_until("bindfs has mounted the directory, which takes root and /dev/fuse", is_mounted, String::new);
        view
    }
}

impl Drop for View {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.mount.path()).status();
        let _ = self.bindfs.kill();
        let _ = self.bindfs.wait();
    }
}

impl Host {
    /// The n-th host at those wires, from 0, with its view of `shared`.
    pub fn new(wires: &Arc<Wires>, number: u8, shared: &Path, sharing: Sharing) -> Host {
        let name = format!("host-{}", (b'a' + number) as char);
        let view = (sharing == Sharing::Fuse).then(|| View::of(shared));
        let shared = view.as_ref().map_or(shared, |view| view.mount.path()).to_owned();
        let mut keeper = Command::new("setpriv");
        keeper.args([
            "--pdeathsig=KILL",
            "unshare",
            "--net",
            "--uts",
            "--pid",
            "--mount",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "sh",
            "-c",
        ]);
        let mut keeper = keeper
            .arg(format!("hostname {name} && ip link set lo up && echo up && exec sleep infinity"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare is in util-linux");
        let mut said = String::new();
        BufReader::new(keeper.stdout.take().expect("piped")).read_line(&mut said).unwrap();
        assert_eq!(said, "up\n", "a host is made of namespaces, which takes root");
        let first = children(keeper.id())[0];
        let host = Host { name, wires: wires.clone(), number, keeper, first, shared, _view: view };
        for (which, net) in [("m", 18), ("d", 19)] {
            let (outside, bridge) = (host.line(which), wires.bridge(which));
            let address = Ipv4Addr::new(198, net, wires.net, 10 + number);
            ip(&format!("link add {outside} type veth peer name {which}0 netns {first}"));
            ip(&format!("link set {outside} master {bridge} up"));
            host.inside("ip", &["address", "add", &format!("{address}/24"), "dev", &format!("{which}0")]);
            host.inside("ip", &["link", "set", &format!("{which}0"), "up"]);
        }
        host
    }

    /// Its line's end at the bridge.
    fn line(&self, which: &str) -> String {
        format!("{}{which}{}", self.wires.name, self.number)
    }

    #[track_caller]
    fn inside(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(program);
        let status = self.spawn(command.args(arguments)).wait().unwrap();
        assert!(status.success(), "{program} {arguments:?} in {}", self.name);
    }

    /// The shared directory, as it sees it.
    pub fn shared(&self) -> &Path {
        &self.shared
    }

    /// Starts a process in it.
    pub fn spawn(&self, command: &mut Command) -> Child {
        let open = |which: &str| File::open(format!("/proc/{}/ns/{which}", self.first)).expect("the host is up");
        let pids = open("pid");
        let rest =
            [(open("net"), libc::CLONE_NEWNET), (open("uts"), libc::CLONE_NEWUTS), (open("mnt"), libc::CLONE_NEWNS)];
        // SAFETY: only system calls, between fork and exec.
        unsafe {
            command.pre_exec(move || rest.iter().try_for_each(|(space, kind)| enter(space, *kind)));
        }
        // The namespace of process numbers is that of the children of the thread that enters it.
        let spawn = || {
            enter(&pids, libc::CLONE_NEWPID).expect("the host is up");
            command.spawn().expect("it starts")
        };
        std::thread::scope(|scope| scope.spawn(spawn).join().expect("no panic"))
    }

    pub fn start(&self, command: &mut Command) -> Program {
        Program::of(self.spawn(command.stdin(Stdio::null())))
    }

    /// It does not reach the database any more, and does not notice.
    pub fn cut_off_database(&self) {
        ip(&format!("link set {} down", self.line("d")));
    }

    pub fn mend_database(&self) {
        ip(&format!("link set {} up", self.line("d")));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
        // Lines end with the namespace, which the kernel takes away when it likes.
        for which in ["m", "d"] {
            let _ = Command::new("ip").args(["link", "delete", &self.line(which)]).stderr(Stdio::null()).status();
        }
    }
}

fn enter(space: &File, kind: libc::c_int) -> io::Result<()> {
    // SAFETY: two numbers go in.
    match unsafe { libc::setns(space.as_raw_fd(), kind) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("it runs");
    text.split_whitespace().map(|pid| pid.parse().expect("the kernel writes numbers")).collect()
}
