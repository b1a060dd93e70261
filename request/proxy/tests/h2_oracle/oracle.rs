//! A connection of ours and one of the `h2` crate, in either role, with bytes between them that are
//! cut anywhere: a script says what their owners do. Neither may accuse the other, and each stream
//! carries what was sent.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io::{self, Cursor};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use core_wire::h2::connection::{Connection, Event, Limits, Role, StreamKey};
use core_wire::h2::frame::ErrorCode;
use core_wire::h2::section::Section;
use core_wire::write::{Scheme, WriteHead};
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

type Data = Cursor<Vec<u8>>;

/// Resets that a script gets, few enough for the crate's own limits. In streams.
const RESETS_MAX: u32 = 10;

/// Streams of one script, for speed.
const STREAMS_MAX: usize = 24;

/// The bytes between the two.
#[derive(Default)]
struct Bytes {
    down: VecDeque<u8>,
    up: Vec<u8>,
}

#[derive(Clone, Default)]
struct Pipe(Rc<RefCell<Bytes>>);

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = self.0.borrow_mut();
        if bytes.down.is_empty() {
            return Poll::Pending;
        }
        let n = bytes.down.len().min(into.remaining());
        let part: Vec<u8> = bytes.down.drain(..n).collect();
        into.put_slice(&part);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().up.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The connection of the crate.
enum Theirs {
    Client(SendRequest<Data>, Box<h2::client::Connection<Pipe, Data>>),
    Server(Box<h2::server::Connection<Pipe, Data>>),
}

/// One stream at both ends.
#[derive(Default)]
struct Stream {
    ours: Option<StreamKey>,
    headed: bool,
    /// Bytes and end that we sent, and that they read.
    sent: usize,
    ended: bool,
    read: usize,
    end_read: bool,
    /// Bytes and end that they sent, and that we took.
    their_sent: usize,
    their_ended: bool,
    taken: usize,
    end_taken: bool,
    cut: bool,
    awaited: Option<ResponseFuture>,
    reply: Option<SendResponse<Data>>,
    send: Option<SendStream<Data>>,
    recv: Option<RecvStream>,
}

struct World {
    it: Connection,
    section: Section,
    waiting: Vec<u8>,
    pipe: Pipe,
    theirs: Theirs,
    streams: BTreeMap<u32, Stream>,
    resets: u32,
}

/// Runs a script: the first byte chooses the roles, then three bytes each are a step.
///
/// # Panics
/// Where the two do not agree.
pub(crate) fn h2_connection(data: &[u8]) {
    let Some((&first, data)) = data.split_first() else { return };
    let mut world = World::new(first);
    for step in data.chunks_exact(3).take(400) {
        let &[what, nth, amount] = step else { continue };
        world.step(what, usize::from(nth), usize::from(amount));
    }
    world.settle();
}

fn content(id: u32, side: u32, from: usize, len: usize) -> Vec<u8> {
    let byte = |at: usize| (at as u32).wrapping_mul(31).wrapping_add(id * 7 + side) as u8;
    (from..from + len).map(byte).collect()
}

/// Polls once, with a waker that nobody needs: the script polls again.
fn poll<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Option<T> {
    match Pin::new(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

impl World {
    fn new(how: u8) -> Self {
        let limits = Limits {
            stream_window: if how & 2 == 0 { 65_535 } else { 1_000 },
            reset_burst: 10_000,
            control_burst: 10_000,
            enable_connect: how & 4 == 0,
            ..Limits::default()
        };
        let pipe = Pipe::default();
        let window = if how & 8 == 0 { 65_535 } else { 500 };
        let role = if how & 1 == 0 { Role::Server } else { Role::Client };
        let mut it = Connection::new(role, &limits, 0);
        let theirs = match role {
            Role::Server => {
                let mut builder = h2::client::Builder::new();
                let shake = builder.initial_window_size(window).handshake(pipe.clone());
                let opened = poll(&mut Box::pin(shake)).expect("it does not wait");
                let (send, connection) = opened.expect("it opens");
                Theirs::Client(send, Box::new(connection))
            }
            Role::Client => {
                let mut builder = h2::server::Builder::new();
                let shake = builder.initial_window_size(window).handshake(pipe.clone());
                pipe.0.borrow_mut().down.extend(it.output());
                it.sent(it.output().len());
                let opened = poll(&mut Box::pin(shake)).expect("the preface is there");
                Theirs::Server(Box::new(opened.expect("it opens")))
            }
        };
        let (section, waiting, streams) = (Section::default(), Vec::new(), BTreeMap::new());
        Self { it, section, waiting, pipe, theirs, streams, resets: 0 }
    }

    fn step(&mut self, what: u8, nth: usize, amount: usize) {
        let what = what % 12;
        if what == 0 {
            return self.open(amount.is_multiple_of(3));
        }
        if what < 4 {
            return self.turn(if amount > 200 { usize::MAX } else { amount * 4 });
        }
        let Some(id) = self.streams.keys().nth(nth % self.streams.len().max(1)).copied() else {
            return;
        };
        match what {
            4 => self.send(id, amount * 50),
            5 => self.finish(id, amount),
            6 => self.take(id, amount * 64),
            7 | 8 => self.their_send(id, amount * 50, what == 8 && amount.is_multiple_of(2)),
            9 => self.their_read(id),
            10 if amount.is_multiple_of(4) && self.resets < RESETS_MAX => {
                self.cut(id, amount.is_multiple_of(8));
            }
            _ => {}
        }
    }

    fn open(&mut self, ends: bool) {
        if self.streams.len() >= STREAMS_MAX {
            return;
        }
        if let Theirs::Client(send, _) = &mut self.theirs {
            let mut context = Context::from_waker(Waker::noop());
            if !matches!(send.poll_ready(&mut context), Poll::Ready(Ok(()))) {
                return;
            }
            let request = http::Request::post("https://a.example/x").header("a", "b").body(());
            let request = request.expect("the request is sound");
            let (awaited, stream) = send.send_request(request, ends).expect("it is ready");
            let id = stream.stream_id().as_u32();
            let entry = self.streams.entry(id).or_default();
            (entry.awaited, entry.send, entry.their_ended) = (Some(awaited), Some(stream), ends);
        } else if let Ok(key) = self.it.open() {
            let head = self.it.head(key, ends, |writer| {
                writer.request(b"POST", Scheme::Https, b"a.example", b"/x")?;
                writer.field(b"user-agent", b"weir")
            });
            head.expect("a request can be sent");
            let entry = self.streams.entry(key.id).or_default();
            (entry.ours, entry.headed, entry.ended) = (Some(key), true, ends);
        }
    }

    /// Moves up to `n` bytes each way, and lets both deal with them.
    fn turn(&mut self, n: usize) {
        let down = self.it.output().len().min(n);
        self.pipe.0.borrow_mut().down.extend(&self.it.output()[..down]);
        self.it.sent(down);
        self.drive();
        let up = {
            let mut bytes = self.pipe.0.borrow_mut();
            let n = bytes.up.len().min(n);
            bytes.up.drain(..n).collect::<Vec<u8>>()
        };
        self.waiting.extend_from_slice(&up);
        loop {
            let step = self.it.receive(&self.waiting, &mut self.section, 0);
            let step = step.expect("the crate breaks no rule");
            self.waiting.drain(..step.consumed);
            match step.event {
                Some(Event::Head { stream, .. }) => {
                    assert!(self.section.fault.is_none(), "{:?}", self.section.fault);
                    self.streams.entry(stream.id).or_default().ours = Some(stream);
                }
                Some(Event::Reset(key)) => {
                    assert!(self.streams[&key.id].cut, "nobody reset {key:?}");
                }
                None if step.consumed == 0 => break,
                _ => {}
            }
        }
        while self.it.next_writable().is_some() {}
    }

    /// Lets the crate work on what it has.
    fn drive(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        match &mut self.theirs {
            Theirs::Client(_, connection) => {
                if let Some(result) = poll(connection) {
                    result.expect("we break no rule");
                }
            }
            Theirs::Server(connection) => {
                while let Poll::Ready(Some(accepted)) = connection.poll_accept(&mut context) {
                    let (request, reply) = accepted.expect("we break no rule");
                    assert_eq!(request.headers()["user-agent"], "weir");
                    let id = reply.stream_id().as_u32();
                    let entry = self.streams.entry(id).or_default();
                    (entry.recv, entry.reply) = (Some(request.into_body()), Some(reply));
                }
            }
        }
        for stream in self.streams.values_mut() {
            let Some(awaited) = &mut stream.awaited else { continue };
            match poll(awaited) {
                Some(Ok(response)) => {
                    assert_eq!(response.status(), 200);
                    stream.recv = Some(response.into_body());
                }
                Some(Err(error)) => assert!(stream.cut, "{error}"),
                None => continue,
            }
            stream.awaited = None;
        }
    }

    fn send(&mut self, id: u32, amount: usize) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let Some(key) = stream.ours else { return };
        if !stream.headed && self.it.head(key, false, |writer| writer.status(200)).is_ok() {
            stream.headed = true;
        }
        match self.it.data(key, &content(id, 0, stream.sent, amount)) {
            Ok(sent) => stream.sent += sent,
            Err(error) => assert!(stream.cut || stream.ended, "{error}"),
        }
    }

    fn finish(&mut self, id: u32, amount: usize) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let Some(key) = stream.ours else { return };
        let trailers: &[u8] = if amount.is_multiple_of(2) { b"" } else { b"x-sum: 1\r\n" };
        stream.ended |= self.it.finish(key, trailers).is_ok();
    }

    fn take(&mut self, id: u32, credit: usize) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let Some(key) = stream.ours else { return };
        let mut into = Vec::new();
        let inbox = self.it.take(key, &mut into);
        assert_eq!(into, content(id, 1, stream.taken, into.len()), "bytes come as they were sent");
        stream.taken += into.len();
        if inbox.ends && inbox.reset.is_none() && !stream.cut {
            assert!(stream.their_ended, "an end comes where there was one");
            assert_eq!(stream.taken, stream.their_sent);
            stream.end_taken = true;
        }
        self.it.release(key, credit);
    }

    fn their_send(&mut self, id: u32, amount: usize, ends: bool) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if let Some(reply) = &mut stream.reply {
            match reply.send_response(http::Response::new(()), false) {
                Ok(send) => stream.send = Some(send),
                Err(error) => assert!(stream.cut, "{error}"),
            }
            stream.reply = None;
        }
        let (false, Some(send)) = (stream.their_ended, &mut stream.send) else { return };
        let data = Cursor::new(content(id, 1, stream.their_sent, amount));
        let trailers = ends && amount.is_multiple_of(3);
        let sent = send.send_data(data, ends && !trailers).and_then(|()| {
            let mut fields = http::HeaderMap::new();
            fields.insert("x-sum", http::HeaderValue::from_static("1"));
            if trailers { send.send_trailers(fields) } else { Ok(()) }
        });
        match sent {
            Ok(()) => {
                stream.their_sent += amount;
                stream.their_ended = ends;
            }
            Err(error) => assert!(stream.cut, "{error}"),
        }
    }

    fn their_read(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let Some(recv) = &mut stream.recv else { return };
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(read) = recv.poll_data(&mut context) {
            match read {
                Some(Ok(data)) => {
                    assert_eq!(data[..], content(id, 0, stream.read, data.len()));
                    stream.read += data.len();
                    // A stream that was cut off has no window to open.
                    let released = recv.flow_control().release_capacity(data.len());
                    assert!(released.is_ok() || stream.cut, "{released:?}");
                }
                Some(Err(error)) => {
                    assert!(stream.cut, "{error}");
                    break;
                }
                None => {
                    assert!(stream.cut || (stream.ended && stream.read == stream.sent));
                    stream.end_read = true;
                    break;
                }
            }
        }
    }

    fn cut(&mut self, id: u32, ours: bool) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if ours {
            let Some(key) = stream.ours else { return };
            self.it.reset(key, ErrorCode::CANCEL);
        } else if let Some(send) = &mut stream.send {
            send.send_reset(h2::Reason::CANCEL);
        } else {
            return;
        }
        stream.cut = true;
        self.resets += 1;
    }

    /// All that is under way arrives and is read; then every stream is what both say it is.
    fn settle(&mut self) {
        let ids: Vec<u32> = self.streams.keys().copied().collect();
        let mut before = None;
        loop {
            self.turn(usize::MAX);
            for &id in &ids {
                self.take(id, usize::MAX);
                self.their_read(id);
            }
            let sum: usize = self.streams.values().map(|s| s.taken + s.read).sum();
            let ends = self.streams.values().filter(|s| s.end_read || s.end_taken).count();
            let way = self.it.output().len() + self.pipe.0.borrow().up.len();
            if way == 0 && before == Some((sum, ends)) {
                break;
            }
            before = Some((sum, ends));
        }
        for (id, stream) in self.streams.iter().filter(|(_, stream)| !stream.cut) {
            if stream.ours.is_some() && stream.recv.is_some() {
                assert_eq!(stream.read, stream.sent, "stream {id}");
                assert_eq!(stream.end_read, stream.ended, "stream {id}");
            }
            if stream.ours.is_some() {
                assert_eq!(stream.taken, stream.their_sent, "stream {id}");
                assert_eq!(stream.end_taken, stream.their_ended, "stream {id}");
            }
        }
        for key in self.streams.values().filter_map(|stream| stream.ours) {
            self.it.close(key);
        }
        assert_eq!(self.it.active(), 0, "every stream was told of");
        self.it.sent(self.it.output().len());
        self.it.shrink();
        assert!(self.it.ledger_bytes() < 16 << 10, "what is closed holds nothing");
    }
}
