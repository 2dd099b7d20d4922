//! What is compared with comes from the distribution's packages (Debian's apt).
//!
//! Only what several scenarios need is installed into the machine, as `tests/run` does. Exim would push Postfix out and
//! Sympa brings a hundred packages and a user along, so these two stay apart: one is only unpacked, the other is installed
//! into a layer above the machine's own file system that nobody else sees. Both lie under cargo's target directory.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::record::output;

/// Answers for packages that ask.
const ANSWERS: &str = "\
postfix postfix/main_mailer_type select No configuration
sympa sympa/hostname string lists.example.org
sympa sympa/listmaster string listmaster@lists.example.org
sympa sympa/use_soap boolean false
sympa sympa/dbconfig-install boolean false
sympa wwsympa/wwsympa_url string http://lists.example.org/wws
sympa wwsympa/webserver_type select Other
sympa wwsympa/fastcgi boolean false
";

/// Installs what is missing of these, as root; else says what is missing.
pub fn require(packages: &[&str]) -> Result<(), String> {
    let missing: Vec<&str> = packages.iter().copied().filter(|package| version(package).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.join(" ");
    if !rustix::process::geteuid().is_root() {
        return Err(format!("not installed: {missing}; run this as root, or install them first"));
    }
    eprintln!("installing {missing} …");
    shell(
        "printf %s \"$1\" | grep '^postfix ' | debconf-set-selections && apt-get update -q &&
         DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $2",
        &[ANSWERS, &missing],
    )
}

/// The version of a package that is installed.
pub fn version(package: &str) -> Option<String> {
    let said = output("dpkg-query", &["-W", "-f", "${db:Status-Status} ${Version}", package]);
    said.strip_prefix("installed ").map(str::to_owned)
}

/// Packages, unpacked side by side without being installed: where, and the version of the first.
pub fn unpack(packages: &[&str]) -> Result<(PathBuf, String), String> {
    let place = place(packages[0]);
    let (files, root) = (place.join("files"), place.join("root"));
    if !root.exists() {
        eprintln!("fetching {} …", packages.join(" "));
        std::fs::create_dir_all(&files).expect("a directory for packages");
        // Last of all it gets its name: an attempt that was cut short is made again.
        shell(
            "cd \"$1\" && apt-get update -q && apt-get -o APT::Sandbox::User=root download -q $2 &&
             rm -rf ../new && for file in *.deb; do dpkg -x \"$file\" ../new; done && mv ../new ../root",
            &[&files.display().to_string(), &packages.join(" ")],
        )?;
    }
    let name = std::fs::read_dir(&files).expect("the packages").flatten();
    let name = name.filter_map(|file| file.file_name().into_string().ok());
    let version =
        name.filter(|name| name.starts_with(packages[0])).find_map(|name| Some(name.split('_').nth(1)?.into()));
    Ok((root, version.unwrap_or_default()))
}

/// A layer above the machine's file system with a package installed in it.
pub struct Layer {
    place: PathBuf,
    pub version: String,
}

/// Mounts the layer over the machine's `/`, in a mount namespace of this shell's own. What the bench has to do with it is
/// bound to `/bench`. Packages' scripts that want a Postfix with a configuration find a `newaliases` that does nothing.
const MOUNT: &str = "
    set -e
    cd \"$1\"; bench=$2; shift 2
    mount -t overlay overlay -o lowerdir=/,upperdir=\"$PWD/upper\",workdir=\"$PWD/work\" root
    mount -t proc proc root/proc
    mount --rbind /dev root/dev
    mkdir -p root/bench
    mount --bind \"$bench\" root/bench
    printf '#!/bin/sh\\n' > root/usr/local/sbin/newaliases
    chmod 755 root/usr/local/sbin/newaliases
";

/// Installs a package into a layer of its own, of which `there` must then be a part.
pub fn layer(package: &str, there: &str) -> Result<Layer, String> {
    if !rustix::process::geteuid().is_root() {
        return Err(format!("{package} is installed into a layer above the file system, which takes root"));
    }
    let place = place(package);
    let mut layer = Layer { place, version: String::new() };
    if !layer.place.join("ready").exists() {
        eprintln!("installing {package} into a layer of its own, which takes a minute …");
        let _ = std::fs::remove_dir_all(&layer.place);
        for part in ["upper", "work", "root", "bench"] {
            std::fs::create_dir_all(layer.place.join(part)).expect("a directory for the layer");
        }
        // Its configuration script may fail without a database: what it should have set up is not used here.
        let script = "
            printf %s \"$1\" | chroot root debconf-set-selections
            chroot root apt-get update -q
            DEBIAN_FRONTEND=noninteractive chroot root apt-get install -q -y --no-install-recommends \"$2\" || true
            test -e \"root$3\"
            chroot root dpkg-query -W -f '${Version}' \"$2\" > ready";
        let mut command = layer.command(&layer.place.join("bench"), script, &[ANSWERS, package, there]);
        finish(&mut command)?;
    }
    layer.version = std::fs::read_to_string(layer.place.join("ready")).map_err(|error| error.to_string())?;
    Ok(layer)
}

impl Layer {
    /// A shell script with the layer mounted at `root`, and `bench` at `/bench` in it. The script's last command may `exec`:
    /// then it is the child itself.
    pub fn command(&self, bench: &Path, script: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &format!("{MOUNT}{script}"), "sh"]).arg(&self.place).arg(bench);
        command.args(arguments);
        command
    }
}

fn place(package: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages").join(package)
}

fn shell(script: &str, arguments: &[&str]) -> Result<(), String> {
    finish(Command::new("sh").args(["-c", script, "sh"]).args(arguments))
}

/// Runs it to its end; what it said last, if that is no good one.
fn finish(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it failed").to_owned())
}
