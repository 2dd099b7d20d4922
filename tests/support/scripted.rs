//! A relay that says what a test wants it to say, over real sockets.
//!
//! The script is a function from a command line to what happens then. `""` stands for a new connection (the greeting)
//! and `"."` for the final dot. Everything heard is kept, in order, for the test to look at.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What the relay does about a line.
pub enum Act {
    Say(Vec<u8>),
    /// Says it and closes the connection.
    Bye(Vec<u8>),
    /// Says it, then handshakes.
    Tls(Vec<u8>, Arc<ServerConfig>),
    /// Handshakes at once, then asks the script for the greeting again.
    TlsFirst(Arc<ServerConfig>),
    /// Says nothing more and reads nothing more until the client hangs up.
    Hang,
    /// Says something, reads that many octets of what follows, says something more, and closes.
    Cut(&'static str, usize, &'static str),
    /// Says something, reads that many octets of what follows, does something, and hangs.
    Then(&'static str, usize, Box<dyn Fn()>),
}

pub fn say(text: &str) -> Act {
    Act::Say(format!("{text}\r\n").into_bytes())
}

pub fn bye(text: &str) -> Act {
    let text = if text.is_empty() { String::new() } else { format!("{text}\r\n") };
    Act::Bye(text.into_bytes())
}

/// What a relay without peculiarities does. `capabilities` are EHLO's lines.
pub fn usual(line: &str, capabilities: &[&str]) -> Act {
    let verb = line.split([' ', ':']).next().unwrap_or("").to_ascii_uppercase();
    match verb.as_str() {
        "" => say("220 relay.test ready"),
        "EHLO" | "LHLO" => {
            let lines: Vec<&str> = std::iter::once("relay.test").chain(capabilities.iter().copied()).collect();
            let (last, front) = lines.split_last().expect("one line at least");
            let front: String = front.iter().map(|line| format!("250-{line}\r\n")).collect();
            say(&format!("{front}250 {last}"))
        }
        "DATA" => say("354 go ahead"),
        "QUIT" => bye("221 bye"),
        "." => say("250 2.0.0 queued"),
        _ => say("250 ok"),
    }
}

type Script = dyn Fn(&str) -> Act + Send + Sync;

/// See the module. Dropping it hangs up everywhere and waits for its threads.
pub struct Scripted {
    /// As in a relay's URL: `127.0.0.1:PORT`.
    pub place: String,
    heard: Arc<Mutex<Vec<String>>>,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
    stop: Box<dyn Fn()>,
    thread: Option<JoinHandle<()>>,
}

trait Stream: Read + Write + Send {
    fn hang_up(&self);
    fn wait_for_hang_up(&self);
}

fn wait_for_hang_up(stream: &impl AsFd) {
    use rustix::event::{PollFd, PollFlags, poll};
    let _ = poll(&mut [PollFd::new(stream, PollFlags::RDHUP)], None);
}

impl Stream for TcpStream {
    fn hang_up(&self) {
        let _ = self.shutdown(Shutdown::Both);
    }
    fn wait_for_hang_up(&self) {
        wait_for_hang_up(self);
    }
}

impl Stream for UnixStream {
    fn hang_up(&self) {
        let _ = self.shutdown(Shutdown::Both);
    }
    fn wait_for_hang_up(&self) {
        wait_for_hang_up(self);
    }
}

impl Stream for StreamOwned<ServerConnection, Box<dyn Stream>> {
    fn hang_up(&self) {
        self.sock.hang_up();
    }
    fn wait_for_hang_up(&self) {
        self.sock.wait_for_hang_up();
    }
}

impl Scripted {
    pub fn start(script: impl Fn(&str) -> Act + Send + Sync + 'static) -> Scripted {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let stop = Box::new(move || drop(TcpStream::connect(address)));
        Scripted::serve(address.to_string(), stop, script, move || {
            let (stream, _) = listener.accept().unwrap();
            let clone = stream.try_clone().unwrap();
            (Box::new(stream) as Box<dyn Stream>, Box::new(clone) as Box<dyn Stream>)
        })
    }

    pub fn start_unix(path: PathBuf, script: impl Fn(&str) -> Act + Send + Sync + 'static) -> Scripted {
        let listener = UnixListener::bind(&path).unwrap();
        let place = path.display().to_string();
        let stop = Box::new(move || drop(UnixStream::connect(&path)));
        Scripted::serve(place, stop, script, move || {
            let (stream, _) = listener.accept().unwrap();
            let clone = stream.try_clone().unwrap();
            (Box::new(stream) as Box<dyn Stream>, Box::new(clone) as Box<dyn Stream>)
        })
    }

    fn serve(
        place: String,
        wake: Box<dyn Fn()>,
        script: impl Fn(&str) -> Act + Send + Sync + 'static,
        accept: impl Fn() -> (Box<dyn Stream>, Box<dyn Stream>) + Send + 'static,
    ) -> Scripted {
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let bodies: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let stopping = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let script: Arc<Script> = Arc::new(script);
        let (hears, keeps, stops) = (Arc::clone(&heard), Arc::clone(&bodies), Arc::clone(&stopping));
        let thread = std::thread::spawn(move || {
            let mut open = Vec::new();
            loop {
                let (stream, clone) = accept();
                if stops.load(std::sync::atomic::Ordering::SeqCst) {
                    break;
                }
                let (script, hears, keeps) = (Arc::clone(&script), Arc::clone(&hears), Arc::clone(&keeps));
                let thread = std::thread::spawn(move || converse(stream, &*script, &hears, &keeps));
                open.push((clone, thread));
            }
            for (stream, thread) in open {
                stream.hang_up();
                thread.join().expect("the script did not panic");
            }
        });
        let stop = Box::new(move || {
            stopping.store(true, std::sync::atomic::Ordering::SeqCst);
            wake();
        });
        Scripted { place, heard, bodies, stop, thread: Some(thread) }
    }

    /// All lines so far, greetings and bodies left out.
    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    /// All messages so far, as they came over the wire, without their final dot.
    pub fn bodies(&self) -> Vec<Vec<u8>> {
        self.bodies.lock().unwrap().clone()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        (self.stop)();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.expect("the script did not panic");
            }
        }
    }
}

/// Errors of the sockets end the conversation: the client hung up, which is the test's to judge.
fn converse(stream: Box<dyn Stream>, script: &Script, heard: &Mutex<Vec<String>>, bodies: &Mutex<Vec<Vec<u8>>>) {
    let mut stream = BufReader::new(stream);
    let mut act = script("");
    loop {
        let in_data = match &act {
            Act::Say(text) => text.starts_with(b"354"),
            _ => false,
        };
        match act {
            Act::Say(text) => {
                if stream.get_mut().write_all(&text).is_err() {
                    return;
                }
            }
            Act::Bye(text) => {
                let _ = stream.get_mut().write_all(&text);
                stream.get_ref().hang_up();
                return;
            }
            Act::Tls(text, config) => {
                if stream.get_mut().write_all(&text).is_err() {
                    return;
                }
                assert!(stream.buffer().is_empty(), "the client talked on before the handshake");
                let tls = StreamOwned::new(ServerConnection::new(config).unwrap(), stream.into_inner());
                stream = BufReader::new(Box::new(tls));
            }
            Act::TlsFirst(config) => {
                let tls = StreamOwned::new(ServerConnection::new(config).unwrap(), stream.into_inner());
                stream = BufReader::new(Box::new(tls));
                act = script("");
                continue;
            }
            Act::Hang => {
                wait_for_the_end(&mut stream);
                return;
            }
            Act::Then(first, octets, then) => {
                let _ = stream.get_mut().write_all(first.as_bytes());
                let mut sunk = vec![0; octets];
                let _ = stream.read_exact(&mut sunk);
                then();
                wait_for_the_end(&mut stream);
                return;
            }
            Act::Cut(first, octets, last) => {
                let _ = stream.get_mut().write_all(first.as_bytes());
                let mut sunk = vec![0; octets];
                let _ = stream.read_exact(&mut sunk);
                let _ = stream.get_mut().write_all(last.as_bytes());
                stream.get_ref().hang_up();
                return;
            }
        }
        let line = if in_data {
            let Some(body) = read_body(&mut stream) else { return };
            bodies.lock().unwrap().push(body);
            ".".to_owned()
        } else {
            let Some(line) = read_line(&mut stream) else { return };
            heard.lock().unwrap().push(line.clone());
            line
        };
        act = script(&line);
    }
}

/// Until the test ends or the client hangs up. Nothing more is read, so that windows fill.
fn wait_for_the_end(stream: &mut BufReader<Box<dyn Stream>>) {
    stream.get_ref().wait_for_hang_up();
}

fn read_line(stream: &mut BufReader<Box<dyn Stream>>) -> Option<String> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line).ok().filter(|&read| read > 0)?;
    let line = line.strip_suffix(b"\r\n")?;
    Some(String::from_utf8_lossy(line).into_owned())
}

fn read_body(stream: &mut BufReader<Box<dyn Stream>>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = Vec::new();
        stream.read_until(b'\n', &mut line).ok().filter(|&read| read > 0)?;
        if line == b".\r\n" {
            return Some(body);
        }
        body.extend_from_slice(&line);
    }
}
