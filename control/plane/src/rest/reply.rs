//! What a call is answered with: a result or a refusal, in Cloudflare's envelope.

use super::limit::Left;
use crate::store::{ChangeError, Fault, Revision, StoreError};
use bytes::Bytes;
use control_api::{Envelope, Message, ResultInfo, code};
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, RETRY_AFTER,
};
use http::{Response, StatusCode};
use http_body_util::Full;
use process_runtime::operator_log;
use serde_json::Value;
use std::time::{Duration, SystemTime};

/// A call that did what it says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reply {
    /// 200, or 201 where Cloudflare says so.
    pub(crate) status: StatusCode,
    /// The object, the list, or null.
    pub(crate) result: Value,
    /// Which part of a list it is.
    pub(crate) info: Option<ResultInfo>,
    /// Remarks.
    pub(crate) messages: Vec<Message>,
    /// The revision that changed the object last.
    pub(crate) revision: Option<Revision>,
}

impl Reply {
    /// An answer without more.
    pub(crate) fn of(result: Value) -> Self {
        let (info, messages, revision) = (None, Vec::new(), None);
        Self { status: StatusCode::OK, result, info, messages, revision }
    }

    /// A list, or a page of it.
    pub(crate) fn list(rows: Vec<Value>, info: ResultInfo) -> Self {
        Self { info: Some(info), ..Self::of(Value::Array(rows)) }
    }
}

/// A call that was not done, and why.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    /// At least one; the first decides the status.
    pub(crate) errors: Vec<Message>,
    /// When it may go better.
    pub(crate) retry_after: Option<Duration>,
    /// Methods that the path has.
    pub(crate) allow: Option<String>,
}

impl Refusal {
    /// One reason.
    pub(crate) fn new(code: u32, message: impl Into<String>) -> Self {
        Self::all(vec![Message::new(code, message)])
    }

    /// Several reasons, at least one.
    pub(crate) fn all(errors: Vec<Message>) -> Self {
        Self { errors, retry_after: None, allow: None }
    }

    /// A fault of the call's parameters or body.
    pub(crate) fn invalid(what: impl Into<String>, pointer: Option<&str>) -> Self {
        let mut message =
            Message::new(code::VALIDATION, format!("{}: validation failed", what.into()));
        message.pointer = pointer.map(str::to_owned);
        Self::all(vec![message])
    }

    /// The object is not there.
    pub(crate) fn not_found() -> Self {
        Self::new(code::NOT_FOUND, "Object not found.")
    }

    /// Whoever calls may not do this.
    pub(crate) fn denied() -> Self {
        Self::new(code::AUTHENTICATION, "Authentication error")
    }

    /// The status that it is sent with.
    pub(crate) fn status(&self) -> StatusCode {
        let first = self.errors.first().map_or(code::INTERNAL, |error| error.code);
        let status = control_api::error::status(first);
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// How long a client waits before it asks a store again that did not answer.
const STORE_RETRY: Duration = Duration::from_secs(1);

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        operator_log::error("store_failed", &error, &[]);
        match error {
            StoreError::TooLarge { why, .. } => Self::new(code::TOO_LARGE, why),
            _ => {
                // Addresses and files of the operator are not the client's business.
                let message = "The store does not take changes at the moment; try again later.";
                let mut refusal = Self::new(code::UNAVAILABLE, message);
                refusal.retry_after = Some(STORE_RETRY);
                refusal
            }
        }
    }
}

impl From<ChangeError<Self>> for Refusal {
    fn from(error: ChangeError<Self>) -> Self {
        match error {
            ChangeError::Edit(refusal) => refusal,
            ChangeError::Invalid(faults) => Self::all(faults.iter().map(message_of).collect()),
            ChangeError::Store(error) => error.into(),
            ChangeError::Contended { .. } => {
                let message = "Others change the same store all the time; try again.";
                let mut refusal = Self::new(code::UNAVAILABLE, message);
                refusal.retry_after = Some(STORE_RETRY);
                refusal
            }
        }
    }
}

fn message_of(fault: &Fault) -> Message {
    let mut message = Message::new(code::VALIDATION, format!("{}: validation failed", fault.what));
    message.pointer.clone_from(&fault.pointer);
    message
}

/// What a client is told beside the answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beside {
    /// What is left of its window.
    pub(crate) left: Option<Left>,
    /// The number of the call, by which the operator log names it.
    pub(crate) ray: String,
}

/// The names of Cloudflare's headers.
const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The response on the wire.
pub(crate) fn response(answer: Result<Reply, Refusal>, beside: &Beside) -> Response<Full<Bytes>> {
    let (mut envelope, status, revision, retry, allow) = match answer {
        Ok(reply) => {
            let mut envelope = Envelope::success(reply.result);
            (envelope.messages, envelope.result_info) = (reply.messages, reply.info);
            (envelope, reply.status, reply.revision, None, None)
        }
        Err(refusal) => {
            let status = refusal.status();
            let envelope = Envelope::failure(refusal.errors);
            (envelope, status, None, refusal.retry_after, refusal.allow)
        }
    };
    // Schemas ask for distinct messages.
    envelope.messages.dedup();
    envelope.errors.dedup();
    let body = Bytes::from(envelope.to_value().to_string());
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let mut text = |name: HeaderName, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            fields.insert(name, value);
        }
    };
    text(REQUEST_ID, beside.ray.clone());
    if let Some(revision) = revision {
        text(ETAG, format!("\"{revision}\""));
    }
    if let Some(allow) = allow {
        text(ALLOW, allow);
    }
    if let Some(retry) = retry {
        text(RETRY_AFTER, retry.as_secs_f64().ceil().to_string());
    }
    if let Some(left) = beside.left {
        text(LIMIT, left.limit.to_string());
        text(REMAINING, left.remaining.to_string());
        text(RESET, httpdate(SystemTime::now() + left.reset));
    }
    response
}

/// A time as HTTP has it (RFC 9110 §5.6.7).
fn httpdate(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since)
}
