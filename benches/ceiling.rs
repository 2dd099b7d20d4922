//! How much the receiving end and the disk allow: a bare pipelined client. No spool, no scheduler, no packet; the same
//! transactions, and the same checkpoint writes behind each.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What the client sends.
pub struct Load<'l> {
    pub port: u16,
    pub connections: usize,
    pub transactions: u64,
    pub recipients: usize,
    /// Encoded, with the final dot.
    pub body: &'l [u8],
    /// Sync each checkpoint.
    pub sync: bool,
}

/// Sends it; how long that took.
pub fn run(load: &Load<'_>) -> Duration {
    let left = AtomicU64::new(load.transactions);
    let dir = tempfile::tempdir_in(super::record::scratch()).expect("a directory for checkpoints");
    let started = Instant::now();
    std::thread::scope(|scope| {
        for n in 0..load.connections {
            let (left, path) = (&left, dir.path().join(n.to_string()));
            scope.spawn(move || client(load, left, &File::create(path).expect("a checkpoint file")));
        }
    });
    started.elapsed()
}

fn client(load: &Load<'_>, left: &AtomicU64, checkpoint: &File) {
    let mut stream = TcpStream::connect(("127.0.0.1", load.port)).expect("the sink listens");
    stream.set_nodelay(true).expect("a TCP socket");
    let mut buffer = vec![0; 65536];
    read_lines(&mut stream, &mut buffer, 1);
    stream.write_all(b"EHLO ceiling\r\n").expect("the sink reads");
    read_until_last(&mut stream, &mut buffer);
    let mut group = b"MAIL FROM:<l-owner@x.org>\r\n".to_vec();
    for n in 0..load.recipients {
        group.extend_from_slice(format!("RCPT TO:<user{n:07}@d{n:04}.example.org>\r\n").as_bytes());
    }
    group.extend_from_slice(b"DATA\r\n");
    let record = [b'\n'; 256];
    checkpoint.write_all_at(&record, 0).expect("a checkpoint");
    while left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
        stream.write_all(&group).expect("the sink reads");
        read_lines(&mut stream, &mut buffer, load.recipients + 2);
        stream.write_all(load.body).expect("the sink reads");
        read_lines(&mut stream, &mut buffer, 1);
        checkpoint.write_all_at(&record, 0).expect("a checkpoint");
        if load.sync {
            checkpoint.sync_data().expect("a synced checkpoint");
        }
    }
}

/// Reads until so many lines have come.
fn read_lines(stream: &mut TcpStream, buffer: &mut [u8], mut lines: usize) {
    while lines > 0 {
        let read = stream.read(buffer).expect("the sink answers");
        assert!(read > 0, "the sink hung up");
        lines -= memchr::memchr_iter(b'\n', &buffer[..read]).count().min(lines);
    }
}

/// Reads a multi-line reply.
fn read_until_last(stream: &mut TcpStream, buffer: &mut [u8]) {
    let mut text = Vec::new();
    while !text.split(|&b| b == b'\n').any(|line| line.len() > 3 && line.ends_with(b"\r") && line[3] == b' ') {
        let read = stream.read(buffer).expect("the sink answers");
        assert!(read > 0, "the sink hung up");
        text.extend_from_slice(&buffer[..read]);
    }
}
