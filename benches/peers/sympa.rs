//! Sympa's own distribution: bulk.pl of the package sympa, one process, with an embedded SQLite and a `sendmail` that hands
//! each message to the sink.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::packages::{self, Layer};
use crate::record::scratch;
use crate::sinks::{Far, Kind};
use crate::subject::message;

/// Makes this program a sendmail: a port, then what Sympa gives, `-f SENDER -- RECIPIENT…`.
pub const SENDMAIL: &str = "--be-a-sendmail";

const BULK: &str = "/usr/lib/sympa/bin/bulk.pl";

pub struct Sympa {
    layer: Layer,
}

/// Puts the message into bulk.pl's spool, the way Sympa's own distribution does.
const PACK: &str = r#"
use lib '/usr/share/sympa/lib';
use strict; use warnings;
use Conf; use Sympa::Message; use Sympa::Spool::Outgoing;
$Conf::sympa_config = '/bench/sympa.conf';
Conf::load() or die 'no configuration';
open my $post, '<', '/bench/post' or die $!;
my $text = do { local $/; <$post> };
open my $members, '<', '/bench/members' or die $!;
chomp(my @members = <$members>);
my $message = Sympa::Message->new($text, context => 'lists.example.org', priority => 5,
    envelope_sender => 'big-owner@lists.example.org');
Sympa::Spool::Outgoing->new->store($message, \@members) or die 'not stored';
"#;

/// Dropped, it is killed.
struct Bulk(Child);

impl Drop for Bulk {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Sympa {
    pub fn get() -> Result<Sympa, String> {
        Ok(Sympa { layer: packages::layer("sympa", BULK)? })
    }

    pub fn version(&self) -> &str {
        &self.layer.version
    }

    /// Lets one bulk.pl distribute a message to so many: recipients a second, from the first transaction to the last.
    pub fn rate(&self, recipients: u64) -> f64 {
        let dir = tempfile::tempdir_in(scratch()).expect("a directory for Sympa");
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).expect("it is ours");
        let mut sink = Far::start(Kind::Own);
        let configuration = format!(
            "domain lists.example.org\nlistmaster listmaster@lists.example.org\nlang en\n\
             wwsympa_url http://lists.example.org/wws\ndb_type SQLite\ndb_name /bench/sympa.sqlite\n\
             sendmail /bench/sendmail\nsendmail_args {SENDMAIL} {}\nbulk_max_count 1\nbulk_sleep 1\nsyslog local1\n",
            sink.port
        );
        let members: String = (0..recipients).map(|n| format!("user{n:07}@d{:04}.example.org\n", n % 5000)).collect();
        for (name, content) in
            [("sympa.conf", configuration), ("pack.pl", PACK.to_owned()), ("post", message()), ("members", members)]
        {
            std::fs::write(dir.path().join(name), content).expect("a file");
        }
        let own = std::env::current_exe().expect("this program has a path");
        std::fs::copy(own, dir.path().join("sendmail")).expect("a copy");
        // What an earlier run that was cut short left is not to be counted in this one.
        let script = "
            chroot root chown -R sympa:sympa /bench
            rm -rf root/var/spool/sympa/bulk
            chroot root setpriv --reuid sympa --regid sympa --clear-groups perl /bench/pack.pl
            exec chroot root /usr/lib/sympa/bin/bulk.pl --config /bench/sympa.conf --foreground";
        let log = std::fs::File::create(scratch().join("sympa.log")).expect("a log file");
        let mut command = self.layer.command(dir.path(), script, &[]);
        let mut bulk = Bulk(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("unshare"));
        let patience = Instant::now() + Duration::from_secs(60 + recipients / 20);
        let mut first = None;
        loop {
            let taken = sink.recipients();
            if taken > 0 && first.is_none() {
                first = Some((taken, Instant::now()));
            }
            if taken >= recipients {
                break;
            }
            assert!(Instant::now() < patience, "bulk.pl has sent to {taken} of {recipients}");
            assert!(
                bulk.0.try_wait().expect("its end").is_none(),
                "bulk.pl has ended, see sympa.log in {:?}",
                scratch()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        let (before, since) = first.expect("somebody got it");
        let rate = (recipients - before) as f64 / since.elapsed().as_secs_f64();
        kill_process(Pid::from_child(&bulk.0), Signal::TERM).expect("TERM");
        bulk.0.wait().expect("its end");
        assert_eq!(sink.recipients(), recipients, "the receiving end's own count");
        rate
    }
}

/// What a sendmail does: the message on standard input goes to those named, one command and one reply at a time.
pub fn sendmail(arguments: &[String]) {
    let port: u16 = arguments[0].parse().expect("a port");
    let dashes = arguments.iter().position(|argument| argument == "--").expect("-- before the recipients");
    let sender = &arguments[dashes - 1];
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).expect("a message");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the sink listens");
    stream.set_nodelay(true).expect("a TCP socket");
    let mut replies = BufReader::new(stream.try_clone().expect("a descriptor"));
    let mut reply = |class: char| {
        let mut line = String::new();
        replies.read_line(&mut line).expect("the sink answers");
        assert!(line.starts_with(class), "{line}");
    };
    reply('2');
    let mut say = |command: String, class: char| {
        stream.write_all(command.as_bytes()).expect("the sink reads");
        reply(class);
    };
    say("HELO sendmail\r\n".into(), '2');
    say(format!("MAIL FROM:<{sender}>\r\n"), '2');
    for recipient in &arguments[dashes + 1..] {
        say(format!("RCPT TO:<{recipient}>\r\n"), '2');
    }
    say("DATA\r\n".into(), '3');
    let body: String =
        text.lines().map(|line| format!("{}{line}\r\n", if line.starts_with('.') { "." } else { "" })).collect();
    say(format!("{body}.\r\n"), '2');
    say("QUIT\r\n".into(), '2');
}
