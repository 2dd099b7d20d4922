//! A relay that is far away: what goes through here arrives half a round trip later, in both directions and on each
//! connection by itself. (Like `tc netem delay`, which few kernels of build machines have.)

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

/// A port that leads to another one, so far away.
pub struct Distance {
    pub port: u16,
    stop: Arc<AtomicBool>,
}

impl Distance {
    pub fn start(to: u16, round_trip: Duration) -> Distance {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("a port").port();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let far = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).expect("the relay listens");
                near.set_nodelay(true).and_then(|()| far.set_nodelay(true)).expect("TCP sockets");
                carry(&near, &far, round_trip / 2);
                carry(&far, &near, round_trip / 2);
            }
        });
        Distance { port, stop }
    }
}

impl Drop for Distance {
    /// Connections end when one of their ends hangs up.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

/// One direction: a thread takes in what comes and when, another hands it on when it is due. So what is under way delays
/// nothing that comes behind it.
fn carry(from: &TcpStream, to: &TcpStream, delay: Duration) {
    let (sender, under_way) = mpsc::channel();
    let (from, to) = (from.try_clone().expect("a descriptor"), to.try_clone().expect("a descriptor"));
    std::thread::spawn(move || depart(from, &sender, delay));
    std::thread::spawn(move || arrive(&under_way, to));
}

fn depart(mut from: TcpStream, under_way: &Sender<(Instant, Vec<u8>)>, delay: Duration) {
    let mut buffer = vec![0; 65536];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if under_way.send((Instant::now() + delay, buffer[..read].to_vec())).is_err() {
            return;
        }
    }
}

fn arrive(under_way: &Receiver<(Instant, Vec<u8>)>, mut to: TcpStream) {
    for (due, octets) in under_way {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&octets).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
