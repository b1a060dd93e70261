//! A recording origin that speaks HTTP/2 by way of another implementation, which also judges what
//! Weir sends. A script answers each request; what came is kept for the test to look at.

use crate::support::files::free_port;
use crate::support::reader::{Fields, Length, Message};
use crate::support::upstream::tag;
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use std::future::{Future, poll_fn};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the origin says in its SETTINGS, and over what it speaks.
#[derive(Clone, Default)]
pub(crate) struct Options {
    pub(crate) max_streams: Option<u32>,
    pub(crate) window: Option<u32>,
    /// Extended CONNECT (RFC 8441).
    pub(crate) connect: bool,
    pub(crate) tls: Option<Arc<rustls::ServerConfig>>,
}

/// A request as it came so far. Pseudo-header fields stand among the fields.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Position of its connection among those of this origin.
    pub(crate) connection: usize,
    pub(crate) message: Message,
    /// The body came to its end.
    pub(crate) whole: bool,
    /// Weir reset the stream, with this code.
    pub(crate) reset: Option<u32>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    open_connections: AtomicUsize,
    live: AtomicUsize,
    most_live: AtomicUsize,
    faults: Mutex<Vec<String>>,
}

type Script = dyn Fn(Exchange) -> Pin<Box<dyn Future<Output = ()>>> + Send + Sync;

/// The origin; stops with its owner.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Origin {
    /// Answers everything with tags.
    pub(crate) fn tagged() -> Self {
        Self::start(|mut exchange| async move {
            exchange.serve().await;
        })
    }

    /// Runs `script` for each request.
    pub(crate) fn start<F>(script: impl Fn(Exchange) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        Self::with(Options::default(), script)
    }

    /// With these settings.
    pub(crate) fn with<F>(
        options: Options,
        script: impl Fn(Exchange) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let listener = TcpListener::bind(address).unwrap_or_else(|e| panic!("{address}: {e}"));
        listener.set_nonblocking(true).expect("a socket can be told not to block");
        let shared = Arc::new(Shared::default());
        let (stop, stopped) = watch::channel(false);
        let script: Arc<Script> = Arc::new(move |exchange| Box::pin(script(exchange)));
        let inner = shared.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let tasks = tokio::task::LocalSet::new();
            let serving = listen(listener, options, inner, script, stopped);
            tasks.block_on(&runtime.expect("a runtime can be built"), serving);
        });
        Self { address, shared, stop, thread: Some(thread) }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Everything that came.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.seen).clone()
    }

    /// The only request with this path.
    #[track_caller]
    pub(crate) fn request(&self, path: &str) -> Seen {
        let mut found = self.seen().into_iter().filter(|seen| seen.message.target == path);
        let first = found.next().unwrap_or_else(|| panic!("{path} did not come"));
        assert!(found.next().is_none(), "{path} came twice");
        first
    }

    pub(crate) fn count(&self) -> usize {
        lock(&self.shared.seen).len()
    }

    /// Requests that Weir reset.
    pub(crate) fn resets(&self) -> usize {
        lock(&self.shared.seen).iter().filter(|seen| seen.reset.is_some()).count()
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Acquire)
    }

    /// Connections that are open.
    pub(crate) fn open_connections(&self) -> usize {
        self.shared.open_connections.load(Ordering::Acquire)
    }

    /// Requests whose script runs.
    pub(crate) fn live(&self) -> usize {
        self.shared.live.load(Ordering::Acquire)
    }

    /// The most of them at once.
    pub(crate) fn most_live(&self) -> usize {
        self.shared.most_live.load(Ordering::Acquire)
    }

    /// Connection errors that Weir caused, in the words of the implementation.
    pub(crate) fn faults(&self) -> Vec<String> {
        lock(&self.shared.faults).clone()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        // The thread may have ended already.
        let _ended = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

async fn listen(
    listener: TcpListener,
    options: Options,
    shared: Arc<Shared>,
    script: Arc<Script>,
    mut stopped: watch::Receiver<bool>,
) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("it does not block");
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => return,
        };
        let Ok((stream, _)) = stream else { continue };
        drop(stream.set_nodelay(true));
        let id = shared.connections.fetch_add(1, Ordering::AcqRel);
        let (options, shared, script) = (options.clone(), shared.clone(), script.clone());
        tokio::task::spawn_local(async move {
            shared.open_connections.fetch_add(1, Ordering::AcqRel);
            match options.tls.clone() {
                None => serve(stream, id, &options, &shared, &script).await,
                Some(config) => {
                    let acceptor = tokio_rustls::TlsAcceptor::from(config);
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(stream, id, &options, &shared, &script).await;
                    }
                }
            }
            shared.open_connections.fetch_sub(1, Ordering::AcqRel);
        });
    }
}

async fn serve<T: AsyncRead + AsyncWrite + Unpin>(
    stream: T,
    id: usize,
    options: &Options,
    shared: &Arc<Shared>,
    script: &Arc<Script>,
) {
    let mut builder = h2::server::Builder::new();
    if let Some(streams) = options.max_streams {
        builder.max_concurrent_streams(streams);
    }
    if let Some(window) = options.window {
        builder.initial_window_size(window);
    }
    if options.connect {
        builder.enable_connect_protocol();
    }
    let mut connection = match builder.handshake::<_, Bytes>(stream).await {
        Ok(connection) => connection,
        // A connection that was made and closed, as probes do.
        Err(error) if error.is_io() => return,
        Err(error) => return lock(&shared.faults).push(error.to_string()),
    };
    let (goodbye, mut goodbyes) = mpsc::unbounded_channel();
    let goodbye = Rc::new(goodbye);
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            Some(()) = goodbyes.recv() => {
                connection.graceful_shutdown();
                continue;
            }
        };
        match accepted {
            None => return,
            Some(Err(error)) if error.is_io() || error.is_go_away() && error.is_remote() => return,
            Some(Err(error)) => return lock(&shared.faults).push(error.to_string()),
            Some(Ok((request, respond))) => {
                let exchange = Exchange::new(id, request, respond, shared, &goodbye);
                tokio::task::spawn_local(script(exchange));
            }
        }
    }
}

/// One request in the hands of the script.
pub(crate) struct Exchange {
    /// Head, and what was read of the rest.
    pub(crate) request: Message,
    at: usize,
    body: RecvStream,
    respond: SendResponse<Bytes>,
    reply: Option<SendStream<Bytes>>,
    shared: Arc<Shared>,
    goodbye: Rc<mpsc::UnboundedSender<()>>,
}

impl Exchange {
    fn new(
        connection: usize,
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
        shared: &Arc<Shared>,
        goodbye: &Rc<mpsc::UnboundedSender<()>>,
    ) -> Self {
        let (head, body) = request.into_parts();
        let part = |name: &str, value: Option<&str>| {
            value.map(|value| (name.to_owned(), value.to_owned()))
        };
        let protocol = head.extensions.get::<h2::ext::Protocol>();
        let mut fields: Fields = [
            part(":scheme", head.uri.scheme_str()),
            part(":authority", head.uri.authority().map(http::uri::Authority::as_str)),
            part(":protocol", protocol.map(h2::ext::Protocol::as_str)),
        ]
        .into_iter()
        .flatten()
        .collect();
        fields.extend(plain(&head.headers));
        let target = head.uri.path_and_query().map_or("", |target| target.as_str());
        let request = Message {
            method: head.method.to_string(),
            target: target.to_owned(),
            status: 0,
            version: "HTTP/2.0".into(),
            fields,
            length: Length::None,
            body: Vec::new(),
            trailers: Vec::new(),
            interim: Vec::new(),
        };
        let at = {
            let mut seen = lock(&shared.seen);
            let whole = body.is_end_stream();
            seen.push(Seen { connection, message: request.clone(), whole, reset: None });
            seen.len() - 1
        };
        let live = shared.live.fetch_add(1, Ordering::AcqRel) + 1;
        shared.most_live.fetch_max(live, Ordering::AcqRel);
        let (shared, goodbye) = (shared.clone(), goodbye.clone());
        Self { request, at, body, respond, reply: None, shared, goodbye }
    }

    fn record(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut lock(&self.shared.seen)[self.at]);
    }

    /// Position of the connection among those of this origin.
    pub(crate) fn connection(&self) -> usize {
        lock(&self.shared.seen)[self.at].connection
    }

    fn failed(&self, error: &h2::Error) {
        let code = error.reason().map_or(u32::MAX, u32::from);
        self.record(|seen| seen.reset = Some(code));
    }

    /// A piece of the body; `None` at its end or when the stream was reset.
    pub(crate) async fn piece(&mut self) -> Option<Bytes> {
        match self.body.data().await {
            Some(Ok(piece)) => {
                // A stream that was reset needs no credit.
                let _ended = self.body.flow_control().release_capacity(piece.len());
                self.request.body.extend(&piece);
                self.record(|seen| seen.message.body.extend(&piece));
                Some(piece)
            }
            Some(Err(error)) => {
                self.failed(&error);
                None
            }
            None => {
                match self.body.trailers().await {
                    Ok(trailers) => {
                        self.request.trailers = trailers.as_ref().map(plain).unwrap_or_default();
                        let trailers = self.request.trailers.clone();
                        self.record(|seen| {
                            seen.message.trailers = trailers;
                            seen.whole = true;
                        });
                    }
                    Err(error) => self.failed(&error),
                }
                None
            }
        }
    }

    /// Reads the body; whether it came to its end.
    pub(crate) async fn read(&mut self) -> bool {
        while self.piece().await.is_some() {}
        lock(&self.shared.seen)[self.at].whole
    }

    /// Reads the body and answers with the tag of the request.
    pub(crate) async fn serve(&mut self) {
        if self.read().await {
            let tag = tag(&self.request);
            let body = if self.request.method == "HEAD" { "" } else { &tag };
            let (length, connection) = (tag.len().to_string(), self.connection().to_string());
            let fields =
                [("content-length", &length[..]), ("x-tag", &tag), ("x-conn", &connection)];
            self.reply(200, &fields, body.as_bytes()).await;
        }
    }

    /// Sends an interim reply.
    pub(crate) fn interim(&mut self, status: u16, fields: &[(&str, &str)]) {
        self.respond.send_informational(response(status, fields)).expect("the stream is open");
    }

    /// Sends the head of the reply; false when the stream was reset.
    pub(crate) fn head(&mut self, status: u16, fields: &[(&str, &str)], ends: bool) -> bool {
        match self.respond.send_response(response(status, fields), ends) {
            Ok(stream) => {
                self.reply = Some(stream);
                true
            }
            Err(_) => false,
        }
    }

    /// Sends a piece of the body within the windows; false when the stream was reset.
    pub(crate) async fn write(&mut self, mut piece: &[u8], ends: bool) -> bool {
        let Some(mut reply) = self.reply.take() else { return false };
        let mut good = true;
        if piece.is_empty() {
            good = reply.send_data(Bytes::new(), ends).is_ok();
        }
        while good && !piece.is_empty() {
            reply.reserve_capacity(piece.len());
            match poll_fn(|context| reply.poll_capacity(context)).await {
                Some(Ok(room)) => {
                    let (now, later) = piece.split_at(room.min(piece.len()));
                    let last = ends && later.is_empty();
                    good = reply.send_data(Bytes::copy_from_slice(now), last).is_ok();
                    piece = later;
                }
                Some(Err(error)) => {
                    self.failed(&error);
                    good = false;
                }
                None => {
                    good = false;
                    if let Ok(code) = poll_fn(|context| reply.poll_reset(context)).await {
                        self.record(|seen| seen.reset = Some(code.into()));
                    }
                }
            }
        }
        self.reply = Some(reply);
        good
    }

    /// Ends the reply with trailers.
    pub(crate) fn trailers(&mut self, fields: &[(&str, &str)]) {
        if let Some(reply) = &mut self.reply {
            // The stream may have been reset, which the test looks at.
            let _reset = reply.send_trailers(response(200, fields).into_parts().0.headers);
        }
    }

    /// A whole reply.
    pub(crate) async fn reply(&mut self, status: u16, fields: &[(&str, &str)], body: &[u8]) {
        if self.head(status, fields, body.is_empty()) && !body.is_empty() {
            self.write(body, true).await;
        }
    }

    /// Says goodbye on the connection, in two steps; what is open goes on.
    pub(crate) fn go_away(&self) {
        // The connection may have ended.
        let _ended = self.goodbye.send(());
    }

    /// Waits until Weir resets the stream, before a reply was begun.
    pub(crate) async fn until_reset(&mut self) {
        if let Ok(code) = poll_fn(|context| self.respond.poll_reset(context)).await {
            self.record(|seen| seen.reset = Some(code.into()));
        }
    }

    /// Waits; the stream may be reset meanwhile, which ends the wait.
    pub(crate) async fn pause(&mut self, time: Duration) -> bool {
        tokio::select! {
            () = self.until_reset() => false,
            () = tokio::time::sleep(time) => true,
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.shared.live.fetch_sub(1, Ordering::AcqRel);
    }
}

fn plain(map: &HeaderMap) -> Fields {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    map.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect()
}

fn response(status: u16, fields: &[(&str, &str)]) -> Response<()> {
    let response = Response::builder().status(status);
    let response = fields.iter().fold(response, |r, (name, value)| r.header(*name, *value));
    response.body(()).expect("the fields of a test are sound")
}
