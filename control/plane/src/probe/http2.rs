//! A probe in HTTP/2: the only stream of a connection of its own, in the codec that requests use
//! too. What is asked for and how the reply is judged is in `http`.

use super::http::{
    self, Answer, BODY_SEARCHED, HEAD_LIMITS, INTERIM_MAX, Reply, Request, Search, invalid,
};
use super::reason::{Failure, Phase, Reason};
use core_wire::h1::Framing;
use core_wire::h1::head::{Method, ResponseHead};
use core_wire::h1::write::WriteError;
use core_wire::h2::connection::{Connection, Event, Limits, Role, StreamEnd, StreamKey};
use core_wire::h2::frame::ErrorCode;
use core_wire::h2::message;
use core_wire::h2::section::{Section, SectionLimits};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite};

/// Bytes of a reply that may come: the window that every connection starts with (RFC 9113 §6.9.2).
/// It is never opened further.
const WINDOW: u32 = 65_535;

/// Milliseconds in a tick of the codec's clock.
const TICK_MS: u128 = 100;

// The text is found, or known not to come, before the window is used up.
const _: () = assert!(BODY_SEARCHED < WINDOW as usize);

fn limits() -> Limits {
    Limits {
        max_concurrent_streams: 1,
        stream_window: WINDOW,
        connection_window: WINDOW,
        section: SectionLimits { bytes: HEAD_LIMITS.section_bytes, fields: HEAD_LIMITS.fields },
        requests_max: 1,
        ..Limits::default()
    }
}

/// Sends `request` and judges the reply.
pub(crate) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    request: &Request<'_>,
    phase: Phase,
) -> Result<Answer, Failure> {
    let mut conn = Connection::new(Role::Client, &limits(), 0);
    let refused = |detail: String| Failure::new(Reason::Other, detail);
    let key = conn.open().map_err(|e| refused(e.to_string()))?;
    let mut written = Ok(());
    let sent = conn.head(key, true, |head| {
        written = request.write(head);
        // Why there is no head is told by what was written.
        if written.is_ok() { Ok(()) } else { Err(WriteError::Value) }
    });
    written?;
    sent.map_err(|e| refused(e.to_string()))?;
    let mut link = Link {
        stream,
        conn,
        key,
        section: Section::default(),
        buf: Vec::new(),
        unsent: None,
        goodbye: None,
        begun: Instant::now(),
        phase,
    };
    let answer = link.answer(request).await;
    link.leave().await;
    answer
}

/// The connection of a probe.
struct Link<'a, S> {
    stream: &'a mut S,
    conn: Connection,
    key: StreamKey,
    /// The head that came last.
    section: Section,
    /// Bytes read that are not used up: less than a frame, and one read.
    buf: Vec<u8>,
    /// Why nothing can be written any more.
    unsent: Option<io::Error>,
    /// The code of the origin's GOAWAY.
    goodbye: Option<ErrorCode>,
    begun: Instant,
    phase: Phase,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<'_, S> {
    async fn answer(&mut self, request: &Request<'_>) -> Result<Answer, Failure> {
        let reply = self.final_head(request.method()).await?;
        if let Some(answer) = request.judge(&reply)? {
            return Ok(answer);
        }
        self.search_body(reply.framing, request.search()).await?;
        Ok(Answer::Accepted)
    }

    /// Reads the head of the final reply.
    async fn final_head(&mut self, method: Method) -> Result<Reply, Failure> {
        let mut interim = 0;
        while interim <= INTERIM_MAX {
            let ends = match self.event().await? {
                Event::Head { ends, .. } => ends,
                Event::Reset(_) => return Err(self.cut_off()),
                _ => continue,
            };
            let mut head = ResponseHead::default();
            let meaning = message::response(&mut self.section, &mut head, ends, method)
                .map_err(|fault| invalid(fault.to_string()))?;
            if !meaning.interim {
                if let Framing::Exact(length) = meaning.framing {
                    self.conn.expect(self.key, length);
                }
                return Ok(Reply::new(&head, &self.section.bytes, meaning.framing));
            }
            interim += 1;
        }
        Err(http::too_many_interim())
    }

    /// Reads until the search is over.
    async fn search_body(&mut self, framing: Framing, mut search: Search) -> Result<(), Failure> {
        let mut data = Vec::new();
        loop {
            let inbox = self.conn.take(self.key, &mut data);
            if inbox.reset.is_some() {
                return Err(self.cut_off());
            }
            search.add(&data);
            if search.look(inbox.ends || framing == Framing::None)? {
                return Ok(());
            }
            self.event().await?;
        }
    }

    /// Reads until something happens, and sends what the origin is owed on the way.
    async fn event(&mut self) -> Result<Event, Failure> {
        loop {
            let tick = u32::try_from(self.begun.elapsed().as_millis() / TICK_MS);
            let tick = tick.unwrap_or(u32::MAX);
            let step = self.conn.receive(&self.buf, &mut self.section, tick);
            let step = step.map_err(|fault| match self.conn.is_greeted() {
                true => invalid(fault.to_string()),
                false => invalid(format!("the origin does not speak HTTP/2: {fault}")),
            })?;
            self.buf.drain(..step.consumed.min(self.buf.len()));
            if let Some(event) = step.event {
                if let Event::GoAway { code, .. } = event {
                    self.goodbye = Some(code);
                }
                return Ok(event);
            }
            let choked = self.conn.is_choked();
            self.send().await;
            if !choked && !http::read_more(self.stream, &mut self.buf, self.phase).await? {
                return Err(self.closed());
            }
        }
    }

    /// Writes what waits. What an origin that closes early said before still counts.
    async fn send(&mut self) {
        let output = self.conn.output();
        if output.is_empty() {
            return;
        }
        if self.unsent.is_none() {
            self.unsent = http::send(self.stream, output).await.err();
        }
        self.conn.sent(self.conn.output().len());
    }

    /// Why the stream of the request is over before its reply is.
    fn cut_off(&self) -> Failure {
        invalid(match self.conn.status(self.key) {
            Some(StreamEnd::Reset { code }) => format!("the stream was reset with code {}", code.0),
            Some(StreamEnd::Refused) => "the origin refused the stream".to_owned(),
            Some(StreamEnd::Unprocessed) => "the origin said goodbye to the request".to_owned(),
            Some(StreamEnd::Lost) | None => "the stream ended before its reply".to_owned(),
        })
    }

    /// Why the connection is over before the reply is.
    fn closed(&self) -> Failure {
        match (self.goodbye, &self.unsent) {
            (Some(code), _) => {
                invalid(format!("the connection was closed after a GOAWAY with code {}", code.0))
            }
            (None, Some(error)) => self.phase.failed(error),
            (None, None) => invalid("the connection was closed without a whole reply"),
        }
    }

    /// Gives the stream up and says goodbye, as far as that needs no waiting: the answer stands.
    async fn leave(mut self) {
        self.conn.close(self.key);
        self.conn.shut_down_now();
        poll_fn(|cx| {
            let _ = Pin::new(&mut *self.stream).poll_write(cx, self.conn.output());
            let _ = Pin::new(&mut *self.stream).poll_shutdown(cx);
            Poll::Ready(())
        })
        .await;
    }
}
