//! The life of a call: limits, route, authentication, authorisation, body, handler, audit, reply.

use super::auth::{self, Caller, Place};
use super::handle;
use super::metrics::{self, Hit};
use super::query::Query;
use super::reply::{Beside, Refusal, Reply, response};
use super::route::{self, BASE, Miss, Route};
use super::{Site, token};
use crate::store::Who;
use bytes::Bytes;
use control_api::{Message, Method, Resource, code};
use http::header::IF_MATCH;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use process_runtime::operator_log;
use serde_json::Value;
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Bytes of a body: Cloudflare's largest objects have some hundred kilobytes.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// Bytes of a configuration that is applied whole: 10,000 load balancers with 50,000 origins take
/// some ten million.
pub const APPLY_BYTES_MAX: usize = 32 << 20;
/// How long a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a path that the log shows.
const PATH_MAX: usize = 512;

/// A call that may be done.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    /// What serves it.
    pub(crate) site: &'a Site,
    /// What it asks for.
    pub(crate) route: &'a Route,
    /// Who calls; nobody where everybody may.
    pub(crate) caller: Option<&'a Caller>,
    /// Where it acts.
    pub(crate) place: Place,
    /// Its query.
    pub(crate) query: Query,
    /// Its body; null where there is none.
    pub(crate) body: Value,
    /// The revisions that the object may have for a change.
    pub(crate) if_match: Option<String>,
    /// Where it came from.
    pub(crate) source: IpAddr,
    /// What history keeps of it.
    pub(crate) what: String,
    /// When it came, in microseconds since 1970.
    pub(crate) now_us: u64,
}

impl Call<'_> {
    /// Who calls, where somebody must.
    pub(crate) fn caller(&self) -> Result<&Caller, Refusal> {
        self.caller.ok_or_else(Refusal::denied)
    }

    /// Who history says it was.
    pub(crate) fn who(&self) -> Who {
        let actor = self.caller.map_or("nobody".to_owned(), |c| format!("token:{}", c.token.id));
        Who { actor, address: Some(self.source) }
    }
}

/// Answers one request.
pub(crate) async fn serve(
    site: &Site,
    source: IpAddr,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    if let Some(metrics) = metrics::asked(site, source, &parts) {
        return metrics;
    }
    let ray = token::random::<8>().map(|octets| token::hex(&octets)).unwrap_or_default();
    let mut beside = Beside { left: None, ray };
    let answer = answer(site, source, &parts, body, &mut beside).await;
    if let Err(refusal) = &answer {
        audit(source, &parts, refusal, &beside);
    }
    let code = answer.as_ref().err().and_then(|refusal| refusal.errors.first());
    let code = code.map(|error| error.code);
    let response = response(answer, &beside);
    site.metrics.answered(response.status(), code);
    response
}

/// The stages of a call.
async fn answer(
    site: &Site,
    source: IpAddr,
    parts: &Parts,
    body: Incoming,
    beside: &mut Beside,
) -> Result<Reply, Refusal> {
    let now = Instant::now();
    admit(site, source, now, beside)?;
    let route = route_of(parts)?;
    let now_us = micros();
    let public = route.operation.resource == Some(Resource::Ips);
    let caller = match public {
        true => None,
        false => Some(authenticate(site, source, parts, now, now_us)?),
    };
    if let Some(caller) = &caller {
        admit_token(site, caller, now, beside)?;
    }
    if route.operation.resource.is_none() {
        return Err(Refusal::new(
            code::NO_ROUTE,
            "No route for that URI: Weir does not have it yet",
        ));
    }
    let place = match &caller {
        None => Place::default(),
        Some(caller) => auth::authorise(caller, &route, &site.keeper.state())?,
    };
    let most = match route.operation.resource {
        Some(Resource::Apply) => APPLY_BYTES_MAX,
        _ => BODY_BYTES_MAX,
    };
    let body = read(route.operation.method, body, most).await?;
    let call = Call {
        site,
        route: &route,
        caller: caller.as_ref(),
        place,
        query: Query::parse(parts.uri.query().unwrap_or_default()),
        body,
        if_match: parts.headers.get(IF_MATCH).and_then(|v| v.to_str().ok()).map(str::to_owned),
        source,
        what: format!("{} {}", parts.method, shown_path(parts)),
        now_us,
    };
    handle::handle(&call).await
}

/// Microseconds since 1970.
pub(crate) fn micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Limits by address.
fn admit(site: &Site, source: IpAddr, now: Instant, beside: &mut Beside) -> Result<(), Refusal> {
    if let Some(wait) = site.denials.wait(&source, now) {
        site.metrics.hit(Hit::Denials);
        return Err(later("Too many wrong tokens from this address", wait));
    }
    match site.by_address.count(source, now) {
        Ok(_) => Ok(()),
        Err(left) => {
            site.metrics.hit(Hit::Address);
            beside.left = Some(left);
            Err(later("Too many calls from this address", left.reset))
        }
    }
}

/// Limits by token, which clients are told of.
fn admit_token(
    site: &Site,
    caller: &Caller,
    now: Instant,
    beside: &mut Beside,
) -> Result<(), Refusal> {
    let counted = site.by_token.count(caller.token.id.clone(), now);
    beside.left = Some(counted.unwrap_or_else(|left| left));
    match counted {
        Ok(_) => Ok(()),
        Err(left) => {
            site.metrics.hit(Hit::Token);
            Err(later("Too many calls with this token", left.reset))
        }
    }
}

fn later(what: &str, wait: Duration) -> Refusal {
    let seconds = wait.as_secs_f64().ceil();
    let message = format!("{what}. Please wait {seconds} seconds and try again.");
    let mut refusal = Refusal::new(code::RATE_LIMITED, message);
    refusal.retry_after = Some(wait);
    refusal
}

fn route_of(parts: &Parts) -> Result<Route, Refusal> {
    let method = Method::ALL.into_iter().find(|method| method.as_str() == parts.method.as_str());
    route::find_whole(method, parts.uri.path()).map_err(|miss| match miss {
        Miss::Path => {
            let message = format!("No route for that URI; the API stands below {BASE}");
            Refusal::new(code::NO_ROUTE, message)
        }
        Miss::Method(methods) => {
            let allow: Vec<_> = methods.iter().map(|method| method.as_str()).collect();
            let allow = allow.join(", ");
            let message = format!("Method {} not available for that URI", parts.method);
            Refusal { allow: Some(allow), ..Refusal::new(code::NO_METHOD, message) }
        }
    })
}

fn authenticate(
    site: &Site,
    source: IpAddr,
    parts: &Parts,
    now: Instant,
    now_us: u64,
) -> Result<Caller, Refusal> {
    let found = auth::authenticate(site, &parts.headers, source, now_us);
    found.inspect_err(|refusal| {
        // A call without any token is no search for one.
        if refusal.errors.iter().any(|error| error.code == code::AUTHENTICATION) {
            site.denials.count(source, now);
        }
    })
}

/// The body as JSON; a method that has none is not read.
async fn read(method: Method, body: Incoming, most: usize) -> Result<Value, Refusal> {
    if method == Method::Get {
        return Ok(Value::Null);
    }
    let whole = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, most).collect());
    let malformed = |what: String| {
        Refusal::new(code::MALFORMED, format!("Malformed JSON in request body: {what}"))
    };
    let bytes = match whole.await {
        Err(_) => return Err(malformed("it took too long".to_owned())),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let message = format!("The request body has more than {most} bytes");
            return Err(Refusal::new(code::TOO_LARGE, message));
        }
        Ok(Err(_)) => return Err(malformed("it ended early".to_owned())),
        Ok(Ok(whole)) => whole.to_bytes(),
    };
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))
}

/// Tells the operator of calls that were denied. Changes are told by the store's history.
fn audit(source: IpAddr, parts: &Parts, refusal: &Refusal, beside: &Beside) {
    let Some(Message { code, message, .. }) = refusal.errors.first() else { return };
    let path = shown_path(parts);
    let fields: [operator_log::Field<'_>; 5] = [
        ("source", &source),
        ("method", &parts.method),
        ("path", &path),
        ("code", code),
        ("ray", &beside.ray),
    ];
    match *code {
        code::AUTHENTICATION | code::HEADERS | code::RATE_LIMITED => {
            operator_log::warn("api_denied", message, &fields);
        }
        code::UNAVAILABLE | code::INTERNAL => operator_log::error("api_failed", message, &fields),
        _ => operator_log::debug("api_refused", message, &fields),
    }
}

/// The path without its query, which may hold what no log should.
fn shown_path(parts: &Parts) -> String {
    let path = parts.uri.path();
    path.get(..path.floor_char_boundary(PATH_MAX)).unwrap_or_default().to_owned()
}
