//! The Debian package: built, installed, run, upgraded, removed and purged; and its service under a real systemd.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use crate::machine::{Machine, package};
use crate::printed;

/// A message that the producer puts where it is not sent.
const HELD: &str = "my-list@my.dom.1192613090.973";
const INSTALL: &str = "dpkg --force-confold --install /sympa-dist.deb";
/// A scheduler of the package's user; `out/` gets a file for each recipient.
const SCHEDULER: &str = "
    install -d -o sympa-dist -g sympa-dist /out
    setpriv --reuid sympa-dist --regid sympa-dist --clear-groups sh -c '
        umask 007; exec sympa-dist --log-format json run --relay maildir:/out
    ' &
    scheduler=$!
";
/// A list manager's software: a user of its own in the package's group, which writes the spool itself.
const PRODUCER: &str = "
    useradd --system --groups sympa-dist producer
    setpriv --reuid producer --regid producer --init-groups sh -euc '
        umask 007
        cd /var/spool/sympa-dist
        put() {
            mkdir incoming/$2
            printf \"a@example.org\\nb@example.org\\n\" > incoming/$2/recipients.mail.0001
            printf \"From: a@example.org\\nSubject: hello\\n\\nHello.\\n\" > incoming/$2/message
            mv incoming/$2 distribute/$1/$2
        }
        put 3 my-list@my.dom.1192613090.972
        put z my-list@my.dom.1192613090.973
    '
";

#[test]
fn the_package_holds_what_a_distributions_package_would() {
    let list = printed(Command::new("dpkg-deb").arg("--contents").arg(package()));
    for path in [
        "./usr/bin/sympa-dist",
        "./usr/lib/systemd/system/sympa-dist.service",
        "./usr/lib/sysusers.d/sympa-dist.conf",
        "./usr/lib/tmpfiles.d/sympa-dist.conf",
        "./etc/sympa-dist.toml",
        "./usr/share/man/man1/sympa-dist.1.gz",
        "./usr/share/man/man1/sympa-dist-run.1.gz",
        "./usr/share/bash-completion/completions/sympa-dist",
        "./usr/share/zsh/vendor-completions/_sympa-dist",
        "./usr/share/fish/vendor_completions.d/sympa-dist.fish",
        "./usr/share/sympa-dist/prometheus/sympa-dist.rules.yml",
        "./usr/share/sympa-dist/grafana/sympa-dist.json",
        "./usr/share/doc/sympa-dist/spool-layout.md",
        "./usr/share/doc/sympa-dist/copyright",
    ] {
        let is_there = list.lines().any(|line| line.ends_with(&format!(" {path}")));
        assert!(is_there, "{path} is missing:\n{list}");
    }
    let field =
        |name: &str| printed(Command::new("dpkg-deb").arg("--field").arg(package()).arg(name)).trim().to_owned();
    assert_eq!(field("Package"), "sympa-dist");
    assert!(field("Version").starts_with(env!("CARGO_PKG_VERSION")));
    assert!(field("Depends").contains("libc6"), "the libraries were looked for: {}", field("Depends"));
    let conffiles = printed(Command::new("dpkg-deb").arg("--info").arg(package()).arg("conffiles"));
    assert_eq!(conffiles.trim(), "/etc/sympa-dist.toml");
}

#[test]
fn it_is_installed_runs_and_is_purged_and_mail_that_waits_outlives_that() {
    let machine = Machine::new();
    let told = machine.runs(&format!(
        "{INSTALL}
        sympa-dist config check
        stat --format '%U:%G %a' /var/spool/sympa-dist
        getent passwd sympa-dist | cut -d: -f6,7
        systemctl is-enabled sympa-dist
        systemd-analyze verify --man=no sympa-dist.service
        man --path sympa-dist-run >&2
        {SCHEDULER}
        until [ -d /var/spool/sympa-dist/distribute/z ]; do sleep 0.05; done
        {PRODUCER}
        until [ \"$(find /out -type f -path '*/new/*' | wc -l)\" = 2 ]; do sleep 0.05; done
        kill -TERM $scheduler
        wait $scheduler && echo stopped with $?"
    ));
    for line in [
        "/etc/sympa-dist.toml: in order",
        "sympa-dist:sympa-dist 2770",
        "/var/spool/sympa-dist:/usr/sbin/nologin",
        "enabled",
        "stopped with 0",
    ] {
        assert!(told.lines().any(|told| told == line), "{line} is missing:\n{told}");
    }
    let message = machine.written(&format!("var/spool/sympa-dist/distribute/z/{HELD}"));
    let owner = fs::metadata(message.join("message")).unwrap().uid();

    // An upgrade leaves what the operator has written.
    let told = machine.runs(&format!(
        "echo 'run.workers = 3' > /etc/sympa-dist.toml
        {INSTALL}
        cat /etc/sympa-dist.toml
        dpkg --remove sympa-dist
        test -e /etc/sympa-dist.toml && test ! -e /usr/bin/sympa-dist && echo removed
        dpkg --purge sympa-dist
        test ! -e /etc/sympa-dist.toml && test ! -e /var/log/sympa-dist && echo purged
        ls /etc/systemd/system/multi-user.target.wants | grep -c sympa-dist || true
        getent passwd sympa-dist > /dev/null && echo the user stays"
    ));
    for line in ["run.workers = 3", "removed", "purged", "0", "the user stays"] {
        assert!(told.lines().any(|told| told == line), "{line} is missing:\n{told}");
    }
    assert_eq!(fs::read_to_string(message.join("recipients.mail.0001")).unwrap(), "a@example.org\nb@example.org\n");
    assert_eq!(fs::metadata(message.join("message")).unwrap().uid(), owner, "whose it is has not changed");

    // Installed again, it goes on where it was.
    let told = machine.runs(&format!(
        "{INSTALL} > /dev/null
        rm -rf /out
        {SCHEDULER}
        setpriv --reuid sympa-dist --regid sympa-dist --clear-groups sympa-dist release {HELD} --to 5
        until [ \"$(find /out -type f -path '*/new/*' | wc -l)\" = 2 ]; do sleep 0.05; done
        echo sent
        kill -TERM $scheduler
        wait $scheduler"
    ));
    assert!(told.ends_with("sent\n"), "{told}");
}

#[test]
fn a_spool_without_a_file_in_it_is_purged_with_the_package() {
    let machine = Machine::new();
    let told = machine.runs(&format!(
        "{INSTALL} > /dev/null
        {SCHEDULER}
        until [ -d /var/spool/sympa-dist/distribute/z ]; do sleep 0.05; done
        kill -TERM $scheduler
        wait $scheduler
        dpkg --purge sympa-dist > /dev/null
        test ! -e /var/spool/sympa-dist && echo gone"
    ));
    assert!(told.ends_with("gone\n"), "{told}");
}

#[test]
fn a_spool_that_is_a_link_to_elsewhere_is_not_purged() {
    let machine = Machine::new();
    let told = machine.runs(&format!(
        "{INSTALL} > /dev/null
        mkdir --parents /srv/spool/distribute
        rmdir /var/spool/sympa-dist
        ln --symbolic /srv/spool /var/spool/sympa-dist
        dpkg --purge sympa-dist > /dev/null
        test -d /srv/spool/distribute && test -L /var/spool/sympa-dist && echo stays"
    ));
    assert!(told.ends_with("stays\n"), "{told}");
}

#[test]
fn under_systemd_the_confined_service_sends_reloads_and_is_started_anew_when_it_hangs() {
    let machine = Machine::new();
    let told = machine.boots(
        "dpkg --install /sympa-dist.deb
        state() { systemctl show --property=SubState,NRestarts,StatusText sympa-dist | tr '\\n' ' '; echo; }
        echo \"installed: $(state)\"

        install -d -o sympa-dist -g sympa-dist /out
        drop_in=/run/systemd/system/sympa-dist.service.d
        mkdir -p $drop_in
        printf '[Service]\\nReadWritePaths=/out\\nEnvironment=SYMPA_DIST_RELAY=maildir:/out\\nWatchdogSec=2\\nRestartSec=0\\n' \\
            > $drop_in/test.conf
        systemctl daemon-reload
        systemctl restart sympa-dist
        printf 'From: a@example.org\\nSubject: hello\\n\\nHello.\\n' > /post
        echo a@example.org > /members
        runuser -u sympa-dist -- sympa-dist inject --list my-list@my.dom --message /post --recipients mail=/members
        until [ \"$(find /out -type f -path '*/new/*' | wc -l)\" = 1 ]; do sleep 0.05; done
        echo sent

        echo '[run' > /etc/sympa-dist.toml
        systemctl reload sympa-dist
        until state | grep -q 'not reloaded'; do sleep 0.05; done
        echo '# empty' > /etc/sympa-dist.toml
        systemctl reload sympa-dist
        until state | grep -q 'StatusText=distributing NRestarts='; do sleep 0.05; done
        echo reloaded

        kill -STOP $(systemctl show --property=MainPID --value sympa-dist)
        until state | grep -q 'NRestarts=1 SubState=running'; do sleep 0.05; done
        echo started anew

        echo '[run' > /etc/sympa-dist.toml
        systemctl restart sympa-dist || true
        until state | grep -q SubState=failed; do sleep 0.05; done
        echo \"a bad configuration is not tried again: $(state)\"
        echo '# empty' > /etc/sympa-dist.toml
        systemctl start sympa-dist
        systemctl stop sympa-dist
        echo \"stopped: $(systemctl show --property=Result --value sympa-dist)\"",
    );
    let has = |line: &str| assert!(told.lines().any(|told| told.starts_with(line)), "{line} is missing:\n{told}");
    ["sent", "reloaded", "started anew", "a bad configuration is not tried again: ", "stopped: success"]
        .into_iter()
        .for_each(has);
    let installed = told.lines().find(|line| line.starts_with("installed: ")).unwrap();
    assert!(installed.contains("SubState=running") && installed.contains("StatusText=distributing"), "{installed}");
}
