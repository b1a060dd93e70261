//! What an edge asks of a control plane over HTTP: to join, to renew its certificate, to follow.

use super::count::word;
use super::identity::{Claim, Denied, known};
use super::join::{self, Issue};
use super::listen::Gate;
use super::tls::seconds;
use super::{Identity, StreamBody};
use bytes::Bytes;
use control_api::publish::{
    Certified, Enrol, JOIN_PATH, RENEW_PATH, Refusal, Refused, Renew, STREAM_PATH,
};
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use process_runtime::operator_log;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Bytes of a request to join or to renew: a token, a name and a request for a certificate.
const BODY_BYTES_MAX: usize = 8 * 1024;
/// How long such a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Answers one request.
pub(super) async fn answer(
    gate: &Gate,
    peer: SocketAddr,
    claim: Option<&Claim>,
    request: Request<Incoming>,
) -> Response<StreamBody> {
    let source = peer.ip().to_canonical();
    match done(gate, peer, source, claim, request).await {
        Ok(response) => response,
        Err(denied) => {
            let reason = denied.reason();
            gate.metrics.denied(reason);
            let edge = claim.map_or("none", |claim| claim.id.as_str());
            let fields: [(&'static str, &dyn Display); 3] =
                [("address", &source), ("edge", &edge), ("reason", &word(reason))];
            operator_log::warn("edge_denied", denied.to_string(), &fields);
            refused(&denied)
        }
    }
}

async fn done(
    gate: &Gate,
    peer: SocketAddr,
    source: IpAddr,
    claim: Option<&Claim>,
    request: Request<Incoming>,
) -> Result<Response<StreamBody>, Denied> {
    let now = Instant::now();
    if let Err(left) = gate.calls.count(source, now) {
        return Err(Denied::Limited(left.reset));
    }
    let post = request.method() == Method::POST;
    match request.uri().path() {
        // Bodies are read before anything is refused: a client whose body is cut off may take the
        // answer for a failure of the connection.
        JOIN_PATH if post => {
            let asked = read(request.into_body()).await;
            if let Some(wait) = gate.denials.wait(&source, now) {
                return Err(Denied::Limited(wait));
            }
            let joined = enrol(gate, source, asked).await;
            if let Err(Denied::Token | Denied::TokenEnded | Denied::TokenUsed) = joined {
                gate.denials.count(source, now);
            }
            json(StatusCode::OK, &joined?)
        }
        RENEW_PATH if post => {
            let asked = read(request.into_body()).await;
            let renewed = renew(gate, source, &who(gate, claim)?, &asked?)?;
            json(StatusCode::OK, &renewed)
        }
        STREAM_PATH if post => {
            let edge = who(gate, claim)?;
            if request.version() != Version::HTTP_2 {
                return Err(Denied::Request("streams of edges take HTTP/2".to_owned()));
            }
            let streams = gate.streams.clone();
            Ok(Response::new(streams.attach(edge, peer, request.into_body())))
        }
        _ => {
            let what = format!("no such request: POST to {JOIN_PATH}, {RENEW_PATH}, {STREAM_PATH}");
            Err(Denied::Request(what))
        }
    }
}

/// The edge that asks. Its certificate was checked by TLS; whether it may come is for the store.
fn who(gate: &Gate, claim: Option<&Claim>) -> Result<Identity, Denied> {
    let claim = claim.ok_or(Denied::NoCertificate)?;
    if claim.ends < seconds() {
        return Err(Denied::Ended);
    }
    known(&gate.keeper.state(), &claim.id)
}

async fn enrol(
    gate: &Gate,
    source: IpAddr,
    asked: Result<Enrol, Denied>,
) -> Result<Certified, Denied> {
    let enrol = asked?;
    let certified = join::join(&gate.keeper, issue(gate), &enrol, source).await?;
    gate.metrics.joins.fetch_add(1, Ordering::Relaxed);
    let fields: [(&'static str, &dyn Display); 3] =
        [("edge", &certified.edge), ("name", &enrol.name), ("address", &source)];
    operator_log::info("edge_joined", "an edge has joined", &fields);
    Ok(certified)
}

fn renew(gate: &Gate, source: IpAddr, edge: &Identity, asked: &Renew) -> Result<Certified, Denied> {
    let certified = join::renew(issue(gate), &edge.id, asked)?;
    gate.metrics.renewals.fetch_add(1, Ordering::Relaxed);
    let fields: [(&'static str, &dyn Display); 3] =
        [("edge", &edge.id), ("name", &edge.name), ("address", &source)];
    operator_log::info("edge_renewed", "an edge has a new certificate", &fields);
    Ok(certified)
}

fn issue(gate: &Gate) -> Issue<'_> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    Issue { authority: &gate.authority, life: gate.life, now_ms }
}

async fn read<T: DeserializeOwned>(body: Incoming) -> Result<T, Denied> {
    let wrong = |what: String| Denied::Request(what);
    let read = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, BODY_BYTES_MAX).collect());
    let read = read
        .await
        .map_err(|_| wrong(format!("the body did not come within {} s", BODY_TIMEOUT.as_secs())))?;
    let read = read.map_err(|_| wrong(format!("no body of at most {BODY_BYTES_MAX} bytes")))?;
    // What was sent is not shown: it has a token.
    serde_json::from_slice(&read.to_bytes()).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        wrong(format!("the body is not what is asked for, at line {line} column {column}"))
    })
}

fn refused(denied: &Denied) -> Response<StreamBody> {
    let status = match denied.reason() {
        Refusal::NoCertificate => StatusCode::UNAUTHORIZED,
        Refusal::Request => StatusCode::BAD_REQUEST,
        Refusal::Limited => StatusCode::TOO_MANY_REQUESTS,
        Refusal::Full | Refusal::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::FORBIDDEN,
    };
    let body = Refused { reason: denied.reason(), message: denied.to_string() };
    let mut response = json(status, &body).unwrap_or_default();
    if let Denied::Limited(wait) = denied {
        let seconds = HeaderValue::from(wait.as_secs().max(1));
        response.headers_mut().insert(RETRY_AFTER, seconds);
    }
    response
}

fn json(status: StatusCode, body: &impl Serialize) -> Result<Response<StreamBody>, Denied> {
    let text = serde_json::to_vec(body).map_err(|e| Denied::Unavailable(e.to_string()))?;
    let mut response = Response::new(StreamBody::new(Full::new(Bytes::from(text))));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
