//! Serves requests of HTTP/2 from memory, 16 streams a read: the figure of instructions that a
//! request costs in the connection, with its head decoded and its reply encoded.
//!
//! `valgrind --tool=callgrind --toggle-collect=h2_requests::serve` counts what lies between.

use std::hint::black_box;

use core_wire::h1::Framing;
use core_wire::h1::head::{HeadLimits, Known, RequestHead};
use core_wire::h2::connection::{Connection, Event, Limits, Role};
use core_wire::h2::message;
use core_wire::h2::section::Section;
use core_wire::write::{Scheme, WriteHead};

const STREAMS: usize = 16;
const READS: usize = 500;
const AGENT: &[u8] = b"Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Firefox/130.0";
const CONTENT: [u8; 1000] = [b'x'; 1000];
/// A WINDOW_UPDATE of the connection for the content of one read.
const UPDATE: [u8; 13] = [0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0x3e, 0x80];

#[inline(never)]
fn serve(it: &mut Connection, section: &mut Section, head: &mut RequestHead, mut read: &[u8]) {
    let limits = HeadLimits::default();
    loop {
        let step = it.receive(read, section, 0).expect("the client breaks no rule");
        read = read.get(step.consumed..).unwrap_or_default();
        match step.event {
            Some(Event::Head { stream, ends }) => {
                let meaning = message::request(section, head, ends, &limits).expect("it is sound");
                black_box(meaning);
                let reply = it.head(stream, false, |writer| {
                    writer.status(200)?;
                    writer.own(Known::Server, b"weir")?;
                    writer.date(b"Sun, 06 Nov 1994 08:49:37 GMT");
                    writer.own(Known::ContentType, b"text/html; charset=utf-8")?;
                    writer.own(Known::CacheControl, b"no-cache")?;
                    writer.framing(Framing::Exact(1000));
                    Ok(())
                });
                reply.expect("the head is sound");
                assert_eq!(it.data(stream, &CONTENT), Ok(1000));
                it.finish(stream, &[]).expect("the reply ends");
                it.close(stream);
            }
            None if step.consumed == 0 => break,
            _ => {}
        }
    }
    while it.next_writable().is_some() {}
    black_box(it.output());
    it.sent(it.output().len());
}

fn reads() -> Vec<Vec<u8>> {
    let limits = Limits { requests_max: u64::MAX, ..Limits::default() };
    let mut client = Connection::new(Role::Client, &limits, 0);
    let (mut reads, mut keys) = (Vec::new(), Vec::new());
    for _ in 0..READS {
        for nth in 0..STREAMS {
            let key = client.open().expect("a stream is free");
            let path: &[u8] = if nth % 2 == 0 { b"/index.html?page=1" } else { b"/style/main.css" };
            let request = client.head(key, true, |writer| {
                writer.request(b"GET", Scheme::Https, b"www.example.com", path)?;
                writer.own(Known::UserAgent, AGENT)?;
                writer.own(Known::Accept, b"text/html,application/xhtml+xml")?;
                writer.own(Known::AcceptEncoding, b"gzip, deflate, br")?;
                writer.own(Known::AcceptLanguage, b"en-US,en;q=0.5")
            });
            request.expect("the request is sound");
            keys.push(key);
        }
        let read = [client.output(), &UPDATE].concat();
        client.sent(client.output().len());
        keys.drain(..).for_each(|key| client.close(key));
        client.sent(client.output().len());
        reads.push(read);
    }
    reads
}

fn main() {
    let limits = Limits { requests_max: u64::MAX, ..Limits::default() };
    let mut server = Connection::new(Role::Server, &limits, 0);
    let (mut section, mut head) = (Section::default(), RequestHead::default());
    let reads = reads();
    for read in &reads {
        serve(&mut server, &mut section, &mut head, read);
    }
    println!("{} requests", READS * STREAMS);
}
