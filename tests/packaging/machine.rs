//! A copy of this machine that forgets: an overlay over its root, in namespaces of their own. Nothing of the machine is
//! written to, and every process in there ends with the test. Takes root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::printed;
use crate::support::PATIENCE;
use crate::support::mount::Mount;

/// Makes `$1/root` the root of this mount namespace.
const ENTER: &str = r#"
    cd "$1"
    mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work overlay root
    cd root
    mount -t proc proc proc
    mount --rbind /dev dev
    mount -t tmpfs tmpfs run
    mount -t tmpfs tmpfs tmp
    # So that no installation reads all of the machine's manual pages.
    rm -f var/lib/man-db/auto-update
    # Not chroot: whoever is in one can make no user namespace, which the unit asks for.
    mkdir oldroot
    pivot_root . oldroot
    umount --lazy /oldroot
    rmdir /oldroot
"#;

/// What a systemd could change of the machine's kernel is not to be written to, and nothing starts by itself.
const CONFINE: &str = "
    mount --bind /proc/sys /proc/sys
    mount -o remount,bind,ro /proc/sys
    mount -t sysfs -o ro sysfs /sys
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    rm -rf /lib/systemd/system/*.target.wants /etc/systemd/system/*.target.wants /usr/sbin/policy-rc.d
";
const TARGET: &str = "[Unit]\nDefaultDependencies=no\nWants=test.service systemd-journald.service\nAllowIsolate=yes\n";
const SERVICE: &str = "[Unit]\nDefaultDependencies=no\nAfter=systemd-journald.service\n\
    [Service]\nType=oneshot\nExecStart=/bin/sh -c 'sh -eu /script > /told 2>&1; echo $$? > /ended'\n\
    ExecStopPost=systemctl poweroff --force --force\n";

/// The package, of the binary that is tested here; built once.
pub fn package() -> &'static Path {
    static BUILT: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    &BUILT.get_or_init(build).1
}

fn build() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    // cargo-deb packs what a release build has left in the target directory.
    fs::create_dir(dir.path().join("release")).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_sympa-dist"), dir.path().join("release/sympa-dist")).unwrap();
    let package = dir.path().join("sympa-dist.deb");
    let mut command = Command::new(cargo_deb());
    command.args(["--no-build", "--strip", "--fast", "--offline", "--locked", "--output"]).arg(&package);
    printed(command.current_dir(env!("CARGO_MANIFEST_DIR")).env("CARGO_TARGET_DIR", dir.path()));
    (dir, package)
}

/// Where tests/run installs it, or where the path says.
fn cargo_deb() -> PathBuf {
    let binary = Path::new(env!("CARGO_BIN_EXE_sympa-dist"));
    let beside = binary.ancestors().map(|dir| dir.join("tools/bin/cargo-deb")).find(|path| path.exists());
    beside.unwrap_or_else(|| "cargo-deb".into())
}

/// A copy of this machine. Unmounted, and forgotten, when dropped.
pub struct Machine(Mount);

impl Machine {
    pub fn new() -> Machine {
        let machine = Machine(Mount::new("size=1g"));
        for dir in ["upper", "work", "root"] {
            fs::create_dir(machine.0.path().join(dir)).unwrap();
        }
        fs::copy(package(), machine.0.path().join("upper/sympa-dist.deb")).unwrap();
        machine
    }

    /// Runs a shell script on it as root; what it prints.
    #[track_caller]
    pub fn runs(&self, script: &str) -> String {
        let enter = format!("{ENTER} exec /bin/sh -euc \"$2\"");
        // Mounts, processes and the network are the script's own, and end with it.
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--net", "--ipc", "--fork", "--kill-child", "sh", "-euc", &enter, "sh"]);
        command.arg(self.0.path()).arg(script).env("DEBIAN_FRONTEND", "noninteractive").env_remove("TMPDIR");
        printed(&mut command)
    }

    /// Boots it, with nothing but a journal and this shell script; what it prints, errors too.
    #[track_caller]
    pub fn boots(&self, script: &str) -> String {
        let upper = |path: &str| self.0.path().join("upper").join(path);
        fs::create_dir_all(upper("etc/systemd/system")).unwrap();
        fs::write(upper("etc/systemd/system/test.target"), TARGET).unwrap();
        fs::write(upper("etc/systemd/system/test.service"), SERVICE).unwrap();
        fs::write(upper("script"), script).unwrap();
        // systemd is given a cgroup of its own, as a container would be: the machine's stay as they are. It ends by force when
        // the script has, or when it takes too long.
        let boot = format!(
            r#"
            cgroups="$1/cgroups"
            mkdir "$cgroups"
            mount -t cgroup2 cgroup2 "$cgroups"
            own="$cgroups/sympa-dist-test-$$"
            mkdir "$own"
            echo $$ > "$own/cgroup.procs"
            unshare --mount --pid --net --ipc --uts --cgroup --fork --kill-child sh -euc "$2" sh "$1" > "$1/boot" 2>&1 &
            booted=$!
            timeout --signal KILL {patience} tail --pid $booted --follow /dev/null || kill -KILL $booted
            wait $booted || true
            echo $$ > "$cgroups/cgroup.procs"
            until find "$own" -depth -type d -exec rmdir {{}} +; do sleep 0.1; done
            "#,
            patience = 2 * PATIENCE.as_secs(),
        );
        let enter = format!("{ENTER} {CONFINE} exec env container=other /lib/systemd/systemd --unit=test.target");
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-euc", &boot, "sh"]).arg(self.0.path()).arg(enter).env_remove("TMPDIR");
        printed(&mut command);
        let read = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
        let told = read(upper("told"));
        assert_eq!(read(upper("ended")), "0\n", "{told}\n{}", read(self.0.path().join("boot")));
        told
    }

    /// A path on it, of which something was written.
    pub fn written(&self, path: &str) -> PathBuf {
        self.0.path().join("upper").join(path)
    }
}
