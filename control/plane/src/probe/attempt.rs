//! One probe: a try, and further ones at once where time ran out.

use super::http::{self, Answer, Request};
use super::http2;
use super::place::{Place, Scheme};
use super::plan::Plan;
use super::reason::{Failure, Phase, Reason};
use super::tls::Session;
use core_model::config::{MonitorKind, Protocol, ProxyProtocolOut};
use process_runtime::live::OriginLive;
use rustls_pki_types::ServerName;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

/// Redirects followed by one try; browsers give up at 20, health endpoints have one or two.
const REDIRECTS_MAX: u32 = 5;

/// How often an origin's name is looked at while it has no address yet.
const ADDRESS_POLL: Duration = Duration::from_millis(20);

/// What a proxy sends that asks for itself: no client is behind the connection.
const PROXY_V1_SELF: &[u8] = b"PROXY UNKNOWN\r\n";
const PROXY_V2_SELF: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

/// Probes an origin: how long the successful try took, or why the last one failed.
pub(crate) async fn probe(
    plan: &Plan,
    session: &Result<Session, String>,
    live: &OriginLive,
) -> Result<Duration, Failure> {
    let session = match session {
        Ok(session) => session,
        Err(why) => return Err(Failure::new(Reason::MonitorConfigError, why)),
    };
    let mut tries_left = plan.monitor.retries;
    loop {
        let begun = Instant::now();
        let mut phase = Phase::Lookup;
        let one = timeout(plan.monitor.timeout, one_try(plan, session, live, &mut phase)).await;
        match one.unwrap_or_else(|_| Err(phase.timed_out())) {
            Ok(()) => return Ok(begun.elapsed()),
            Err(failure) if failure.timed_out && tries_left > 0 => tries_left -= 1,
            Err(failure) => return Err(failure),
        }
    }
}

async fn one_try(
    plan: &Plan,
    session: &Session,
    live: &OriginLive,
    phase: &mut Phase,
) -> Result<(), Failure> {
    let mut place = plan.start();
    let mut method = plan.monitor.method.clone();
    for redirects_left in (0..=REDIRECTS_MAX).rev() {
        *phase = Phase::Lookup;
        let address = locate(plan, live, &place).await?;
        *phase = Phase::Connect;
        let tcp = connect(plan, &place, address).await.map_err(|e| phase.failed(&e))?;
        if plan.monitor.kind == MonitorKind::Tcp {
            return Ok(());
        }
        let follow = plan.monitor.follow_redirects && redirects_left > 0;
        let request = Request { plan, place: &place, method: &method, follow };
        match ask(&request, session, tcp, phase).await? {
            Answer::Accepted => return Ok(()),
            Answer::Redirect { status, location } => {
                place = place.follow(&location).ok_or_else(|| {
                    let detail = format!("{status} redirects to `{location}`");
                    Failure::new(Reason::ResponseCodeMismatch, detail)
                })?;
                // RFC 9110 §15.4: a redirected POST is asked for with GET but for 307 and 308.
                if method != "HEAD" && (status == 303 || (status < 303 && method == "POST")) {
                    "GET".clone_into(&mut method);
                }
            }
        }
    }
    // The last round follows nothing, so that its answer is no redirect.
    Err(Failure::new(Reason::ResponseCodeMismatch, "too many redirects"))
}

/// One request over a new connection, in TLS where the place asks for it.
async fn ask(
    request: &Request<'_>,
    session: &Session,
    mut tcp: TcpStream,
    phase: &mut Phase,
) -> Result<Answer, Failure> {
    let Request { plan, place, .. } = *request;
    if let Some(version) = plan.proxy_protocol.filter(|_| place.own) {
        let header = match version {
            ProxyProtocolOut::V1 => PROXY_V1_SELF,
            ProxyProtocolOut::V2 => PROXY_V2_SELF,
        };
        tcp.write_all(header).await.map_err(|e| phase.failed(&e))?;
    }
    let protocols = plan.protocols(place);
    if place.scheme == Scheme::Http {
        *phase = Phase::Exchange;
        return exchange(&mut tcp, request, !protocols.http1, *phase).await;
    }
    *phase = Phase::Handshake;
    let wrong = |detail: String| Failure::new(Reason::MonitorConfigError, detail);
    let config = if place.own { &session.own } else { &session.other };
    let config = config.clone().ok_or_else(|| wrong("no TLS settings".to_owned()))?;
    let name = plan.server_name(place);
    let server_name = ServerName::try_from(name.to_owned())
        .map_err(|_| wrong(format!("`{name}` is no name for TLS")))?;
    let connecting = TlsConnector::from(config).connect(server_name, tcp);
    let mut stream = connecting.await.map_err(|e| phase.failed(&e))?;
    let http2 = stream.get_ref().1.alpn_protocol() == Some(Protocol::Http2.alpn());
    if !http2 && !protocols.http1 {
        let detail = "the origin does not offer HTTP/2 by ALPN";
        return Err(Failure::new(Reason::TlsProtocolError, detail));
    }
    *phase = Phase::Exchange;
    exchange(&mut stream, request, http2, *phase).await
}

/// The request and its reply in one of the two protocols.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    request: &Request<'_>,
    http2: bool,
    phase: Phase,
) -> Result<Answer, Failure> {
    if !http2 {
        return http::exchange(stream, request, phase).await;
    }
    // In a box, as the task of every origin has room for its largest state all the time.
    Box::pin(http2::exchange(stream, request, phase)).await
}

/// The address of a place. The origin's own are looked up elsewhere and waited for here.
async fn locate(plan: &Plan, live: &OriginLive, place: &Place) -> Result<SocketAddr, Failure> {
    if place.own {
        loop {
            let first = live.addresses.load().first().copied();
            match first {
                Some(address) => return Ok(SocketAddr::new(address.ip(), place.port)),
                None => sleep(ADDRESS_POLL).await,
            }
        }
    }
    let host = place.host();
    let found: Vec<SocketAddr> = match host.parse::<IpAddr>() {
        Ok(ip) => vec![SocketAddr::new(ip, place.port)],
        Err(_) => tokio::net::lookup_host((host, place.port))
            .await
            .map_err(|e| Phase::Lookup.failed(&e))?
            .collect(),
    };
    let denied = |a: &SocketAddr| plan.deny_addresses.iter().any(|net| net.contains(a.ip()));
    let allowed = found.iter().find(|address| !denied(address)).copied();
    allowed.ok_or_else(|| {
        let detail = format!("`{host}`, where a redirect leads, has no address that is allowed");
        Failure::new(Reason::DnsUnknownHost, detail)
    })
}

async fn connect(plan: &Plan, place: &Place, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    let source = plan.source_address.filter(|ip| place.own && ip.is_ipv4() == to.is_ipv4());
    if let Some(ip) = source {
        socket.bind(SocketAddr::new(ip, 0))?;
    }
    socket.connect(to).await
}
