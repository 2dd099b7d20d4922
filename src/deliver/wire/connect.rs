//! Reaching a relay: its addresses, and a connection to the first of them that answers.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::{Fault, Patience, Socket, Wire};
use crate::deliver::Interrupt;

impl Wire {
    /// Tries the host's addresses one after another, in the resolver's order. Those that are left share the time that
    /// is left, so that a first address that swallows packets leaves some for the second.
    pub fn connect_tcp(host: &str, port: u16, timeout: Duration, interrupt: &Interrupt) -> Result<Wire, Fault> {
        let whole = Patience::until_interrupted(timeout, interrupt);
        let addresses = addresses(host, port, &whole)?;
        let mut last = Fault::Unresolved(format!("{host} has none"));
        for (tried, address) in addresses.iter().enumerate() {
            let left = whole.deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
            let patience = Patience { deadline: Instant::now() + share, ..whole };
            match connect_to(address, &patience) {
                Ok(stream) => return Ok(Wire::new(Socket::Tcp(stream))),
                Err(Fault::Interrupted) => return Err(Fault::Interrupted),
                Err(fault) => last = fault,
            }
        }
        Err(last)
    }

    pub fn connect_unix(path: &Path, timeout: Duration, interrupt: &Interrupt) -> Result<Wire, Fault> {
        let patience = Patience::until_interrupted(timeout, interrupt);
        let address = SocketAddrUnix::new(path).map_err(io::Error::from)?;
        loop {
            if interrupt.is_raised() {
                return Err(Fault::Interrupted);
            }
            let socket = open(AddressFamily::UNIX)?;
            match rustix::net::connect(&socket, &address) {
                Ok(()) => return Ok(Wire::new(Socket::Unix(UnixStream::from(socket)))),
                // The listener's backlog is full. A Unix socket offers nothing to wait for in this case, so this is
                // the one place that looks again and again; the interrupt still ends it at once.
                Err(Errno::AGAIN) if Instant::now() < patience.deadline => {
                    let pause = Instant::now() + Duration::from_millis(10);
                    match (Patience { deadline: pause, ..patience }).wait(interrupt.as_fd(), PollFlags::IN) {
                        Err(Fault::TimedOut(_)) => {}
                        Err(fault) => return Err(fault),
                        Ok(_) => return Err(Fault::Interrupted),
                    }
                }
                Err(error) => return Err(io::Error::from(error).into()),
            }
        }
    }
}

fn open(family: AddressFamily) -> io::Result<std::os::fd::OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(rustix::net::socket_with(family, SocketType::STREAM, flags, None)?)
}

fn connect_to(address: &SocketAddr, patience: &Patience<'_>) -> Result<TcpStream, Fault> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = open(family)?;
    match rustix::net::connect(&socket, address) {
        Ok(()) => {}
        Err(Errno::INPROGRESS | Errno::INTR) => {
            patience.wait(socket.as_fd(), PollFlags::OUT)?;
            rustix::net::sockopt::socket_error(&socket).and_then(|result| result).map_err(io::Error::from)?;
        }
        Err(error) => return Err(io::Error::from(error).into()),
    }
    let stream = TcpStream::from(socket);
    // Without it a small write waits for the acknowledgement of the one before, 40 ms a transaction.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// getaddrinfo(3) can't be interrupted and may take half a minute. It runs in a thread of its own, which is left to
/// itself if the answer is no longer wanted.
fn addresses(host: &str, port: u16, patience: &Patience<'_>) -> Result<Vec<SocketAddr>, Fault> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    type Answer = OnceLock<io::Result<Vec<SocketAddr>>>;
    let answer: Arc<Answer> = Arc::default();
    let (ours, mut theirs) = UnixStream::pair()?;
    let question = (host.to_owned(), port);
    let slot = Arc::clone(&answer);
    std::thread::Builder::new().name("resolve".into()).spawn(move || {
        let found = (question.0.as_str(), question.1).to_socket_addrs().map(Iterator::collect);
        let _ = slot.set(found);
        let _ = theirs.write_all(b"!");
    })?;
    patience.wait(ours.as_fd(), PollFlags::IN)?;
    match answer.get() {
        Some(Ok(found)) => Ok(found.clone()),
        Some(Err(error)) => Err(Fault::Unresolved(error.to_string())),
        None => Err(Fault::Unresolved("the resolver died".into())),
    }
}
