//! Runs the cases of a row and holds each to four invariants:
//! I1 the origin gets exactly the requests that Weir decided about, and they parse strictly;
//! I2 a reply reaches only the client whose request it answers;
//! I3 memory and descriptors return to where they were;
//! I4 after a refusal the connection ends within a second and the origin got nothing of it.

use crate::support::client::{Client, Cut, End};
use crate::support::edge::Edge;
use crate::support::meter;
use crate::support::process::Weir;
use crate::support::reader::Message;
use crate::support::upstream::{Conn, Taken, Upstream};
use crate::support::wait::{self, SOON};
use std::time::Duration;

/// Until a connection that was refused is closed.
const CLOSED: Duration = Duration::from_secs(1);
/// What the memory of a row may grow by: buffers that the allocator keeps.
const GROWTH_KIB: u64 = 48 * 1024;

/// Asked of the origin itself: whatever connected before was accepted before.
pub(crate) const BARRIER: &str = "/barrier";

/// Bytes that must never reach the origin unless Weir read them as a request.
pub(crate) const X: &str = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";

/// Weir with a recording origin, and a count of the cases run through them.
pub(crate) struct Rig {
    pub(crate) weir: Weir,
    pub(crate) upstream: Upstream,
    row: u32,
    cases: usize,
    fences: usize,
    rss: u64,
    descriptors: usize,
}

impl Rig {
    /// Origin that answers with tags.
    pub(crate) fn new(row: u32) -> Self {
        Self::with(row, Conn::serve, |edge| edge)
    }

    /// Origin that runs `script`; `/fence` requests are answered with tags before it is asked.
    pub(crate) fn scripted(
        row: u32,
        script: impl Fn(&mut Conn, Message) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self::with(row, by_request(script), |edge| edge)
    }

    pub(crate) fn with(
        row: u32,
        script: impl Fn(&mut Conn) + Send + Sync + 'static,
        change: impl FnOnce(Edge) -> Edge,
    ) -> Self {
        let upstream = Upstream::start(script);
        let weir = Weir::start(change(Edge::simple(upstream.port())));
        let mut rig = Self { weir, upstream, row, cases: 0, fences: 0, rss: 0, descriptors: 0 };
        rig.fence("before the first case");
        rig.upstream.take();
        rig.rss = meter::rss_kib(rig.weir.pid());
        rig.descriptors = meter::descriptors(rig.weir.pid());
        rig
    }

    /// A request of another client, behind everything before it: it must get its own reply (I2).
    #[track_caller]
    pub(crate) fn fence(&mut self, what: &str) {
        self.fences += 1;
        let target = format!("/fence{}", self.fences);
        let reply = self.weir.get(&target).unwrap_or_else(|e| panic!("{what}: fence: {e}"));
        assert_eq!(reply.text(), format!("GET {target} 0"), "I2: {what}");
    }

    /// What the origin got in a case, without the fence that closes it.
    #[track_caller]
    pub(crate) fn taken(&mut self, what: &str) -> Taken {
        self.fence(what);
        let mut taken = self.upstream.take();
        taken.requests.retain(|request| request.target != BARRIER);
        let fence = format!("/fence{}", self.fences);
        let before = taken.requests.len();
        taken.requests.retain(|request| request.target != fence);
        assert_eq!(taken.requests.len() + 1, before, "I1: {what}: the fence came once");
        taken
    }

    pub(crate) fn count(&mut self) {
        self.cases += 1;
    }

    /// Sends `bytes` in every segmentation and expects a refusal with one of `statuses`.
    #[track_caller]
    pub(crate) fn refused(&mut self, bytes: impl AsRef<[u8]>, statuses: &[u16]) {
        let bytes = bytes.as_ref();
        for cut in Cut::all(bytes.len()) {
            let what = show(bytes, cut);
            let mut client = self.weir.client();
            client.send_cut(bytes, cut);
            refusal(&mut client, statuses, &what);
            let taken = self.taken(&what);
            assert!(taken.requests.is_empty(), "I4: {what}: reached the origin: {taken:?}");
            assert!(taken.partial.is_empty(), "I4: {what}: reached the origin: {taken:?}");
            self.count();
        }
    }

    /// As [`Rig::refused`] for a fault in a body, whose sound beginning may have gone upstream:
    /// the origin must not get a whole request, nor bytes that `forbidden` holds.
    #[track_caller]
    pub(crate) fn refused_in_body(
        &mut self,
        bytes: impl AsRef<[u8]>,
        statuses: &[u16],
        forbidden: &[u8],
    ) {
        let bytes = bytes.as_ref();
        for cut in Cut::all(bytes.len()) {
            let what = show(bytes, cut);
            let mut client = self.weir.client();
            client.send_cut(bytes, cut);
            refusal(&mut client, statuses, &what);
            let taken = self.taken(&what);
            assert!(taken.requests.is_empty(), "I1: {what}: the origin got all: {taken:?}");
            for partial in &taken.partial {
                let found = partial.windows(forbidden.len().max(1)).any(|w| w == forbidden);
                assert!(!found, "I4: {what}: the origin got the faulty part: {taken:?}");
            }
            self.count();
        }
    }

    /// Sends `bytes` in every segmentation; `check` gets the client and then what the origin got.
    #[track_caller]
    pub(crate) fn each<T>(
        &mut self,
        bytes: impl AsRef<[u8]>,
        read: impl Fn(&mut Client, &str) -> T,
        check: impl Fn(T, Taken, &str),
    ) {
        let bytes = bytes.as_ref();
        for cut in Cut::all(bytes.len()) {
            let what = show(bytes, cut);
            let mut client = self.weir.client();
            client.send_cut(bytes, cut);
            let got = read(&mut client, &what);
            drop(client);
            let taken = self.taken(&what);
            check(got, taken, &what);
            self.count();
        }
    }

    /// Sends a request in every segmentation, expects its tagged reply, and shows `check` what
    /// the origin got.
    #[track_caller]
    pub(crate) fn passes(&mut self, bytes: impl AsRef<[u8]>, check: impl Fn(&Message, &str)) {
        let bytes = bytes.as_ref();
        let first = bytes.split(|&b| b == b' ').next().unwrap_or_default();
        let method = String::from_utf8_lossy(first).into_owned();
        self.each(
            bytes,
            |client, what| {
                let reply = client.reply_within(&method, SOON);
                reply.unwrap_or_else(|e| panic!("{what}: {e}"))
            },
            |reply, taken, what| {
                assert_eq!(reply.status, 200, "{what}: {reply:?}");
                let [request] = &taken.requests[..] else {
                    panic!("I1: {what}: the origin got {taken:?}")
                };
                assert!(taken.partial.is_empty(), "I1: {what}: {taken:?}");
                check(request, what);
            },
        );
    }

    /// I3, and the count of the row.
    #[track_caller]
    pub(crate) fn finish(self) {
        assert!(self.cases > 0, "row {} ran nothing", self.row);
        println!("row {}: {} cases", self.row, self.cases);
        let pid = self.weir.pid();
        // Idle connections to the origin may stay: one for each that was open at once.
        let most = self.descriptors + 16;
        let came_back = wait::holds(SOON, || meter::descriptors(pid) <= most);
        assert!(came_back, "I3: {} descriptors, {most} allowed", meter::descriptors(pid));
        let rss = meter::rss_kib(pid);
        let grown = rss.saturating_sub(self.rss);
        assert!(grown < GROWTH_KIB, "I3: memory grew from {} to {rss} KiB", self.rss);
    }
}

/// An origin script from one that takes a request at a time; false ends the connection.
pub(crate) fn by_request(
    script: impl Fn(&mut Conn, Message) -> bool + Send + Sync + 'static,
) -> impl Fn(&mut Conn) + Send + Sync + 'static {
    move |conn| {
        while let Some(mut request) = conn.head() {
            let go_on = if request.target.starts_with("/fence") {
                conn.body(&mut request) && conn.answer(&request)
            } else {
                script(conn, request)
            };
            if !go_on {
                return;
            }
        }
    }
}

/// Expects one reply with one of `statuses`, then the end of the connection within a second.
#[track_caller]
pub(crate) fn refusal(client: &mut Client, statuses: &[u16], what: &str) {
    let reply = client.reply_within("GET", SOON).unwrap_or_else(|e| panic!("{what}: {e}"));
    let status = reply.status;
    assert!(statuses.contains(&status), "{what}: {status}, expected one of {statuses:?}");
    let connection = reply.field("connection").unwrap_or_default();
    assert!(connection.eq_ignore_ascii_case("close"), "{what}: Connection: {connection:?}");
    match client.end(CLOSED) {
        End::Closed(rest) => assert!(rest.is_empty(), "I2: {what}: more came: {rest:?}"),
        end => panic!("I4: {what}: {end:?} after the refusal"),
    }
}

/// A case for people.
pub(crate) fn show(bytes: &[u8], cut: Cut) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(300)]);
    format!("{text:?} ({} bytes, {cut:?})", bytes.len())
}

/// Whether Weir parsed the request that the origin got: a tunnelled one lacks its marks.
pub(crate) fn parsed(request: &Message) -> bool {
    request.has("x-forwarded-for")
}
