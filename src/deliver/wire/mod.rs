//! One connected socket, in the clear or under TLS, and the only place where a worker waits for a relay.
//!
//! It promises:
//! - **Every wait is one poll(2)** on the socket and the interrupt, until a deadline: nothing here wakes up now and
//!   then to look around, and nothing waits for ever.
//! - **Writing never stops reading.** Where the socket takes no more, what the relay says meanwhile is read: a pipelined
//!   group larger than both windows would otherwise lock both sides up (RFC 2920 §3.1).
//! - **It says how many octets the kernel took**, which is what decides whether a final dot may have left.
//! - **Memory is bounded** by one input buffer, whatever the relay sends.
//!
//! It knows nothing of SMTP. A crash in here leaves a socket that the kernel closes.

mod connect;
pub(crate) mod tls;

use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::Interrupt;

/// Why a wire is of no more use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("the relay closed the connection")]
    Closed,
    #[error("no answer within {}", seconds(.0))]
    TimedOut(Duration),
    #[error("no answer within the time left at shutdown")]
    GraceOver,
    /// Only before a final dot: see [`Patience::dot_is_out`].
    #[error("interrupted")]
    Interrupted,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("TLS: {0}")]
    Tls(String),
    #[error("octets in the clear came behind the answer to STARTTLS (from somebody in between?); not believed")]
    Injected,
    #[error("cannot find its address: {0}")]
    Unresolved(String),
}

fn seconds(time: &Duration) -> String {
    if time.subsec_millis() == 0 { format!("{} s", time.as_secs()) } else { format!("{} ms", time.as_millis()) }
}

/// How long to wait, and what an interrupt means meanwhile.
#[derive(Clone, Copy)]
pub(crate) struct Patience<'a> {
    pub interrupt: &'a Interrupt,
    pub timeout: Duration,
    pub deadline: Instant,
    /// False: an interrupt ends the wait at once. True: it shortens the wait to the interrupt's grace.
    pub dot_is_out: bool,
}

impl<'a> Patience<'a> {
    pub fn until_interrupted(timeout: Duration, interrupt: &'a Interrupt) -> Patience<'a> {
        Patience { interrupt, timeout, deadline: Instant::now() + timeout, dot_is_out: false }
    }

    pub fn behind_the_dot(timeout: Duration, interrupt: &'a Interrupt) -> Patience<'a> {
        Patience { dot_is_out: true, ..Patience::until_interrupted(timeout, interrupt) }
    }

    /// Waits until `file` is as wanted.
    pub fn wait(&self, file: BorrowedFd<'_>, want: PollFlags) -> Result<PollFlags, Fault> {
        loop {
            let grace = self.interrupt.deadline();
            if grace.is_some() && !self.dot_is_out {
                return Err(Fault::Interrupted);
            }
            let deadline = grace.map_or(self.deadline, |grace| grace.min(self.deadline));
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            };
            let mut files =
                [PollFd::from_borrowed_fd(file, want), PollFd::from_borrowed_fd(self.interrupt.as_fd(), PollFlags::IN)];
            // An interrupt that is already known stays readable: waiting for it again would spin.
            let watched = if grace.is_some() { 1 } else { 2 };
            let ready = match poll(&mut files[..watched], Some(&left)) {
                Ok(ready) => ready,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(Fault::Io(error.into())),
            };
            let came = files[0].revents();
            let interrupted = grace.is_none() && !files[1].revents().is_empty();
            if ready == 0 {
                let by_grace = grace.is_some_and(|grace| grace < self.deadline);
                return Err(if by_grace { Fault::GraceOver } else { Fault::TimedOut(self.timeout) });
            }
            if interrupted && !self.dot_is_out {
                return Err(Fault::Interrupted);
            }
            if !came.is_empty() {
                return Ok(came);
            }
        }
    }
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Socket::Tcp(stream) => stream.as_fd(),
            Socket::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Read for &Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => (&mut &*stream).read(into),
            Socket::Unix(stream) => (&mut &*stream).read(into),
        }
    }
}

impl Write for &Socket {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => (&mut &*stream).write(octets),
            Socket::Unix(stream) => (&mut &*stream).write(octets),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Holds several of the longest lines that are believed, so that taking complete lines out always makes room.
const INPUT: usize = 16 * 1024;

/// See the module.
pub(crate) struct Wire {
    socket: Socket,
    tls: Option<Box<ClientConnection>>,
    /// What has come and was not consumed is `input[start..end]`.
    input: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Wire {
    fn new(socket: Socket) -> Wire {
        Wire { socket, tls: None, input: vec![0; INPUT].into_boxed_slice(), start: 0, end: 0 }
    }

    pub fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// The other side's address; none on a Unix socket, and none if it has hung up already.
    pub fn peer(&self) -> Option<IpAddr> {
        match &self.socket {
            Socket::Tcp(stream) => stream.peer_addr().ok().map(|address| address.ip()),
            Socket::Unix(_) => None,
        }
    }

    /// Whether what is said here stays on this machine.
    pub fn is_local(&self) -> bool {
        matches!(self.socket, Socket::Unix(_)) || self.peer().is_some_and(is_loopback)
    }

    pub fn buffered(&self) -> &[u8] {
        &self.input[self.start..self.end]
    }

    pub fn consume(&mut self, octets: usize) {
        assert!(octets <= self.end - self.start, "consumed more than had come");
        self.start += octets;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Waits until something more has come.
    pub fn fill(&mut self, patience: &Patience<'_>) -> Result<(), Fault> {
        // Under TLS, decrypted octets may lie ready while the socket is silent.
        if self.tls.is_some() && self.read_ready()? > 0 {
            return Ok(());
        }
        loop {
            patience.wait(self.socket.as_fd(), PollFlags::IN)?;
            if self.read_ready()? > 0 {
                return Ok(());
            }
        }
    }

    /// Hands over as many octets as the kernel takes and says how many; where it takes none, waits for room and reads
    /// what comes meanwhile. Under TLS an octet counts as handed over as soon as a record with it may have left.
    pub fn send_some(&mut self, octets: &[u8], patience: &Patience<'_>) -> Result<usize, Fault> {
        let before = self.end - self.start;
        match self.write_ready(octets) {
            Ok(0) if !octets.is_empty() || self.has_unsent() => {}
            Ok(taken) => return Ok(taken),
            Err(error) => {
                // The relay may have said why before it hung up.
                while matches!(self.read_ready(), Ok(1..)) {}
                return Err(Fault::Io(error));
            }
        }
        let mut want = PollFlags::OUT;
        if before < INPUT {
            want |= PollFlags::IN;
        }
        let came = patience.wait(self.socket.as_fd(), want)?;
        if came.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            self.read_ready()?;
        }
        Ok(0)
    }

    /// Whether encrypted octets wait for room. Without TLS nothing is kept back.
    pub fn has_unsent(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Whether the other side has hung up or said something, without waiting for either.
    pub fn is_disturbed(&mut self) -> bool {
        if self.start != self.end {
            return true;
        }
        let mut files = [PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN)];
        match poll(&mut files, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
            Ok(0) => false,
            // A TLS 1.3 server sends session tickets unasked: only what is behind the encryption counts.
            Ok(_) if self.tls.is_some() => !matches!(self.read_ready(), Ok(0)),
            _ => true,
        }
    }

    /// Says some last words if the socket takes them at once, and hangs up.
    pub fn close(mut self, last_words: &[u8]) {
        let _ = self.write_ready(last_words);
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = tls.write_tls(&mut &self.socket);
        }
    }

    /// Turns the connection into an encrypted one.
    ///
    /// Refuses if anything has come that was not consumed: it came in the clear, possibly from somebody in between, and
    /// would be believed as if it had come encrypted.
    pub fn start_tls(
        &mut self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        patience: &Patience<'_>,
    ) -> Result<(), Fault> {
        if self.start != self.end {
            return Err(Fault::Injected);
        }
        let mut tls = Box::new(ClientConnection::new(config, name).map_err(tls_fault)?);
        while tls.is_handshaking() {
            if tls.wants_write() {
                match tls.write_tls(&mut &self.socket) {
                    Ok(_) => continue,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        patience.wait(self.socket.as_fd(), PollFlags::OUT)?;
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            patience.wait(self.socket.as_fd(), PollFlags::IN)?;
            match tls.read_tls(&mut &self.socket) {
                Ok(0) => return Err(Fault::Closed),
                Ok(_) => {}
                Err(error) if is_passing(&error) => continue,
                Err(error) => return Err(error.into()),
            }
            if let Err(error) = tls.process_new_packets() {
                // The alert tells the relay's operator what was wrong.
                let _ = tls.write_tls(&mut &self.socket);
                return Err(tls_fault(error));
            }
        }
        self.tls = Some(tls);
        // The handshake's last flight leaves with the first command otherwise, if ever.
        while self.has_unsent() {
            self.send_some(b"", patience)?;
        }
        Ok(())
    }

    /// Reads what has come without waiting; 0 if nothing has.
    fn read_ready(&mut self) -> Result<usize, Fault> {
        if self.end == self.input.len() {
            self.input.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let room = &mut self.input[self.end..];
        if room.is_empty() {
            return Ok(0);
        }
        let read = match &mut self.tls {
            None => read_clear(&self.socket, room)?,
            Some(tls) => read_encrypted(&self.socket, tls, room)?,
        };
        self.end += read;
        Ok(read)
    }

    /// Writes what the socket takes without waiting; 0 if it takes nothing.
    fn write_ready(&mut self, octets: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            if octets.is_empty() {
                return Ok(0);
            }
            return passing_is_nothing((&self.socket).write(octets));
        };
        while tls.wants_write() {
            if passing_is_nothing(tls.write_tls(&mut &self.socket))? == 0 {
                return Ok(0);
            }
        }
        let taken = tls.writer().write(octets)?;
        while tls.wants_write() {
            match passing_is_nothing(tls.write_tls(&mut &self.socket)) {
                Ok(1..) => {}
                // Octets that became a record count as gone: the next call will see the error again.
                Ok(0) | Err(_) => break,
            }
        }
        Ok(taken)
    }
}

fn read_clear(mut socket: &Socket, room: &mut [u8]) -> Result<usize, Fault> {
    match socket.read(room) {
        Ok(0) => Err(Fault::Closed),
        Ok(read) => Ok(read),
        Err(error) if is_passing(&error) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

fn read_encrypted(socket: &Socket, tls: &mut ClientConnection, room: &mut [u8]) -> Result<usize, Fault> {
    loop {
        match tls.reader().read(room) {
            Ok(0) => return Err(Fault::Closed),
            Ok(read) => return Ok(read),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(Fault::Closed),
            Err(error) => return Err(error.into()),
        }
        match tls.read_tls(&mut &*socket) {
            Ok(_) => {
                tls.process_new_packets().map_err(tls_fault)?;
            }
            Err(error) if is_passing(&error) => return Ok(0),
            Err(error) => return Err(error.into()),
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

fn passing_is_nothing(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if is_passing(&error) => Ok(0),
        other => other,
    }
}

fn tls_fault(error: rustls::Error) -> Fault {
    Fault::Tls(error.to_string())
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_itself_is_told_secrets_in_the_clear() {
        for (ip, local) in [
            ("127.0.0.1", true),
            ("127.8.9.10", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.0.0.1", false),
            ("192.168.1.1", false),
            ("::ffff:10.0.0.1", false),
            ("fe80::1", false),
            ("0.0.0.0", false),
        ] {
            assert_eq!(is_loopback(ip.parse().unwrap()), local, "{ip}");
        }
    }
}
