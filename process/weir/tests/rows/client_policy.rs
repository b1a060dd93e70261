//! Rows 76 and 77: what was agreed for one host of a listener says nothing about another one that
//! asks for more, neither by a session ticket nor by the name in a request.

use crate::support::client::Client;
use crate::support::edge::{Edge, origin};
use crate::support::process::Weir;
use crate::support::tls::{Authority, VALID};
use crate::support::upstream::Upstream;
use crate::tls::only;
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, NamedGroup};
use std::sync::{Arc, Mutex};

const REQUIRE: &str = "tls = { require_client_certificate = true }";

/// Sessions that a dishonest client collects at one host and shows to every other.
#[derive(Debug, Default)]
struct Sessions {
    old: Mutex<Option<Tls12ClientSessionValue>>,
    new: Mutex<Vec<Tls13ClientSessionValue>>,
}

/// Collects sessions, or shows those collected.
#[derive(Debug)]
struct Store {
    sessions: Arc<Sessions>,
    show: bool,
}

const UNHURT: &str = "no test panics while it holds the lock";

impl ClientSessionStore for Store {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, session: Tls12ClientSessionValue) {
        if !self.show {
            *self.sessions.old.lock().expect(UNHURT) = Some(session);
        }
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.show.then(|| self.sessions.old.lock().expect(UNHURT).clone()).flatten()
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, session: Tls13ClientSessionValue) {
        if !self.show {
            self.sessions.new.lock().expect(UNHURT).push(session);
        }
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.show.then(|| self.sessions.new.lock().expect(UNHURT).pop()).flatten()
    }
}

/// A client that collects sessions, and the same one showing them.
fn collector(config: &ClientConfig) -> (Arc<ClientConfig>, Arc<ClientConfig>) {
    let sessions = Arc::new(Sessions::default());
    let with = |show| {
        let mut config = config.clone();
        let store = Store { sessions: sessions.clone(), show };
        config.resumption = Resumption::store(Arc::new(store));
        Arc::new(config)
    };
    (with(false), with(true))
}

/// A server with the hosts `a.test` (anybody) and `b.test`, `c.test` (certificates), each at an
/// origin of its own, and what a client needs to speak to it.
struct Rig {
    weir: Weir,
    open: Upstream,
    closed: Upstream,
    ca: Authority,
    clients: Authority,
}

impl Rig {
    fn new() -> Self {
        let (ca, clients) = (Authority::new(), Authority::new());
        let (open, closed) = (Upstream::tagged(), Upstream::tagged());
        let names = ["a.test", "b.test", "c.test", "z.test", "127.0.0.1"];
        let edge = Edge::new();
        let certificate = edge.certificate("all", &ca.issue(&names, VALID));
        let file = edge.file("clients.pem", &clients.pem);
        let key = edge.dir.write("ticket.key", [9; 80]);
        let tls = |auth: &str| {
            format!(
                "tls = {{ certificates = [{certificate}], ticket_keys = [{key:?}], \
                 client_auth = \"{auth}\", client_ca = {file:?} }}"
            )
        };
        let edge = edge
            .listener("web", &tls("optional"))
            .listener("strict", &tls("required"))
            .listener("plain", "")
            .pool("open", "", &[origin("o", open.port())])
            .pool("closed", "", &[origin("c", closed.port())])
            .balance("a.test", "open", "")
            .balance("b.test", "closed", REQUIRE)
            .balance("c.test", "closed", REQUIRE);
        Self { weir: Weir::start(edge), open, closed, ca, clients }
    }

    fn resumed(&self) -> f64 {
        self.weir.metric("weir_tls_handshakes_total", &[("result", "resumed")])
    }
}

/// Sends a GET for `authority` and gives the status; 0 where none came.
fn ask(client: &mut Client, authority: &str) -> u16 {
    let sent = client.send(format!("GET /a HTTP/1.1\r\nHost: {authority}\r\n\r\n"));
    let bound = crate::support::wait::SOON;
    sent.map_or(0, |()| client.reply_within("GET", bound).map_or(0, |reply| reply.status))
}

#[test]
fn row_76_a_ticket_is_good_for_the_host_and_listener_it_came_from() {
    let rig = Rig::new();
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let (collects, shows) = collector(&only(&rig.ca, &[version]));
        let web = rig.weir.web();
        for _ in 0..3 {
            let mut client = Client::tls(web, "a.test", collects.clone()).expect("TLS");
            assert_eq!(ask(&mut client, "a.test"), 200, "{version:?}");
        }
        let before = rig.resumed();
        let mut same = Client::tls(web, "a.test", shows.clone()).expect("TLS");
        assert_eq!(ask(&mut same, "a.test"), 200, "{version:?}");
        assert_eq!(rig.resumed() - before, 1.0, "{version:?}: the same host resumes");
        let mut other = Client::tls(web, "b.test", shows.clone()).expect("TLS");
        assert_eq!(ask(&mut other, "b.test"), 403, "{version:?}: no certificate was shown");
        assert_eq!(rig.resumed() - before, 1.0, "{version:?}: a full handshake for another host");
        let strict = rig.weir.address("strict");
        let served = Client::tls(strict, "a.test", shows).map_or(0, |mut c| ask(&mut c, "a.test"));
        assert_eq!(served, 0, "{version:?}: a ticket of another listener shows no certificate");
        assert_eq!(rig.resumed() - before, 1.0, "{version:?}: though the ticket keys are the same");
    }
    assert!(rig.closed.take().requests.is_empty(), "I1: nobody without a certificate came through");
}

#[test]
fn row_77_the_name_of_the_handshake_and_of_the_request_have_one_policy() {
    let mut rig = Rig::new();
    let anybody = rig.ca.client();
    let known = rig.ca.client_with(&rig.clients.issue(&["client.test"], VALID));
    for (sni, config, authority, expect) in [
        ("a.test", &anybody, "a.test", 200),
        ("a.test", &known, "a.test", 200),
        ("a.test", &anybody, "b.test", 421),
        ("a.test", &known, "b.test", 421),
        ("a.test", &known, "B.tEsT:443", 421),
        ("b.test", &anybody, "b.test", 403),
        ("b.test", &known, "b.test", 200),
        ("B.TEST", &known, "b.test", 200),
        ("b.test", &known, "B.tEsT:443", 200),
        ("b.test", &known, "c.test", 200),
        ("b.test", &anybody, "c.test", 403),
        ("b.test", &known, "a.test", 421),
        // A name that no host has, and none at all: under the policy of no host.
        ("z.test", &known, "b.test", 421),
        ("127.0.0.1", &known, "b.test", 421),
        ("127.0.0.1", &anybody, "a.test", 200),
        ("a.test", &known, "z.test", 404),
    ] {
        let what = format!("handshake for {sni}, request for {authority}");
        let mut client = Client::tls(rig.weir.web(), sni, config.clone()).expect(&what);
        for _ in 0..2 {
            assert_eq!(ask(&mut client, authority), expect, "{what}");
        }
        let own = if sni.eq_ignore_ascii_case("b.test") { "b.test" } else { "a.test" };
        let whole = ask(&mut client, own);
        let certified = own == "a.test" || Arc::ptr_eq(config, &known);
        assert_eq!(whole, if certified { 200 } else { 403 }, "{what}: the connection goes on");
        let (open, closed) = (rig.open.take().requests, rig.closed.take().requests);
        let right = |host: &str| host.starts_with('a');
        assert!(open.iter().all(|r| right(r.field("host").unwrap_or_default())), "I1: {what}");
        if !Arc::ptr_eq(config, &known) {
            assert!(closed.is_empty(), "I1: {what}: without a certificate: {closed:?}");
        }
        let expected = if expect == 200 { 2 } else { 0 } + usize::from(whole == 200);
        assert_eq!(open.len() + closed.len(), expected, "I1: {what}");
    }
    let mut client = Client::connect(rig.weir.address("plain"));
    assert_eq!(ask(&mut client, "b.test"), 403, "plain text shows no certificate");
    assert_eq!(ask(&mut client, "a.test"), 200);

    // The policy of an open connection is the one of its handshake.
    let mut open = Client::tls(rig.weir.web(), "a.test", known.clone()).expect("TLS");
    assert_eq!(ask(&mut open, "a.test"), 200);
    let stricter = rig.weir.edge.clone().balance("a.test", "open", REQUIRE);
    rig.weir.reload(stricter);
    assert_eq!(ask(&mut open, "a.test"), 421, "agreed before certificates were needed");
    let mut fresh = Client::tls(rig.weir.web(), "a.test", known).expect("TLS");
    assert_eq!(ask(&mut fresh, "a.test"), 200);
    let mut without = Client::tls(rig.weir.web(), "a.test", anybody).expect("TLS");
    assert_eq!(ask(&mut without, "a.test"), 403);
}
