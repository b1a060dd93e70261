//! Asks the API of a control plane, or Cloudflare's: one call after the other, with the patience
//! that it asks for.

mod http;
#[cfg(test)]
mod tests;

pub(crate) use http::{Connection, Endpoint, Reply};

use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// What the base URL of Cloudflare's API ends in, and that of Weir's own.
const BASES: [&str; 2] = ["/client/v4", "/weir/v1"];
/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a call is made that is told to come later, or is not answered.
const TRIES_MAX: u32 = 8;
/// The longest that a call waits because it was told to; limits of calls have windows of five
/// minutes.
const WAIT_MAX: Duration = Duration::from_secs(300);
/// How long a call waits that was told nothing, times the tries before it.
const WAIT_STEP: Duration = Duration::from_secs(1);
/// Rows that are asked for in one page: what every list takes.
const ROWS: usize = 50;
/// Pages of one list: half a million objects.
const PAGES_MAX: usize = 10_000;
/// Faults of a refused call that are told.
const TOLD_MAX: usize = 100;

/// Why a call was not done.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL is none that can be asked.
    #[error("`{0}` is no base URL: http://HOST:PORT/client/v4 or https://HOST/client/v4")]
    Url(String),
    /// The system's certificates cannot be used.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// No answer.
    #[error("{method} {url}: {cause}; is that where the API is served?")]
    Unreachable {
        /// The method.
        method: &'static str,
        /// Where it went.
        url: String,
        /// What the connection came to.
        cause: io::Error,
    },
    /// The API says no.
    #[error("{method} {url}: {status}: {}", .told.join("\n"))]
    Refused {
        /// The method.
        method: &'static str,
        /// Where it went.
        url: String,
        /// The status.
        status: u16,
        /// Its reasons.
        told: Vec<String>,
    },
    /// A list does not end.
    #[error("{0}: more than {PAGES_MAX} pages")]
    Endless(String),
}

/// An API, and the token that opens it.
pub struct Api {
    endpoint: Endpoint,
    /// What stands before a path.
    base: String,
    authorization: String,
    tls: Arc<ClientConfig>,
    idle: Option<Connection>,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Api {
    /// The API with this base URL, which ends in `/client/v4`.
    ///
    /// # Errors
    /// The URL is none, or the system's certificates cannot be used.
    pub fn new(url: &str, token: &str) -> Result<Self, ClientError> {
        let wrong = || ClientError::Url(url.to_owned());
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let port = match (scheme, authority.ends_with(']') || !authority.contains(':')) {
            ("https", true) => ":443",
            ("http", true) => ":80",
            _ => "",
        };
        let endpoint = Endpoint::parse(&format!("{scheme}://{authority}{port}"));
        let mut base = path.trim_end_matches('/').to_owned();
        if let Some(before) = BASES.iter().find_map(|end| base.strip_suffix(end)) {
            base = before.to_owned();
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            endpoint: endpoint.ok_or_else(wrong)?,
            base,
            authorization: format!("Bearer {token}"),
            tls: Arc::new(tls),
            idle: None,
        })
    }

    /// Reads below `/client/v4`: the whole envelope.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn get(&mut self, path: &str) -> Result<Value, ClientError> {
        self.call("GET", &format!("/client/v4{path}"), None).await
    }

    /// Posts below `/weir/v1`: the result.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn post_own(&mut self, path: &str, body: &Value) -> Result<Value, ClientError> {
        let mut envelope = self.call("POST", &format!("/weir/v1{path}"), Some(body)).await?;
        Ok(envelope.get_mut("result").map(Value::take).unwrap_or_default())
    }

    /// All rows of a list below `/client/v4`, page by page.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn list(&mut self, path: &str) -> Result<Vec<Value>, ClientError> {
        let mut rows: Vec<Value> = Vec::new();
        let glue = if path.contains('?') { '&' } else { '?' };
        for page in 1..=PAGES_MAX {
            let asked = format!("{path}{glue}page={page}&per_page={ROWS}");
            let envelope = self.get(&asked).await?;
            let found = envelope.get("result").and_then(Value::as_array).cloned();
            let found = found.unwrap_or_default();
            // A list that has no pages is whole, whatever page was asked for.
            let first = |rows: &[Value]| rows.first().and_then(|row| row.get("id").cloned());
            if found.is_empty() || (page > 1 && first(&found) == first(&rows)) {
                return Ok(rows);
            }
            let short = found.len() < ROWS;
            rows.extend(found);
            let total = envelope.pointer("/result_info/total_pages").and_then(Value::as_u64);
            match total {
                Some(total) if page as u64 >= total => return Ok(rows),
                None if short => return Ok(rows),
                _ => {}
            }
        }
        Err(ClientError::Endless(path.to_owned()))
    }

    async fn call(
        &mut self,
        method: &'static str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ClientError> {
        let body = body.map(Value::to_string);
        let target = format!("{}{path}", self.base);
        let url = format!("{}{target}", self.endpoint.text);
        for tried in 1_u32.. {
            let reused = self.idle.is_some();
            let asked = self.ask(method, &target, body.as_deref());
            let late = || Err(io::ErrorKind::TimedOut.into());
            let asked = tokio::time::timeout(CALL_TIMEOUT, asked).await.unwrap_or_else(|_| late());
            // A change whose answer was lost may have been made, so that only reads come again.
            let again = tried < TRIES_MAX;
            let wait = match asked {
                Ok((200..=299, _, answer)) => return Ok(answer),
                Ok((429, wait, _)) if again => wait.map(Duration::from_secs),
                Ok((500..=599, wait, _)) if again && method == "GET" => {
                    wait.map(Duration::from_secs)
                }
                Ok((status, _, answer)) => {
                    return Err(ClientError::Refused { method, url, status, told: told(&answer) });
                }
                // The server may have closed a connection that nobody used.
                Err(_) if again && method == "GET" && reused => Some(Duration::ZERO),
                Err(cause) => return Err(ClientError::Unreachable { method, url, cause }),
            };
            let wait = wait.unwrap_or(WAIT_STEP * tried).min(WAIT_MAX);
            tokio::time::sleep(wait).await;
        }
        Err(ClientError::Endless(url))
    }

    /// One request: status, seconds to wait, and the body.
    async fn ask(
        &mut self,
        method: &str,
        target: &str,
        body: Option<&str>,
    ) -> io::Result<(u16, Option<u64>, Value)> {
        let connection = match self.idle.take() {
            Some(idle) => idle,
            None => Connection::open(&self.endpoint, self.tls.clone()).await?,
        };
        let token = Some(self.authorization.as_str());
        let reply = connection.ask(method, target, token, body.map(str::as_bytes)).await?;
        let (status, retry_after) = (reply.status, reply.retry_after);
        let (body, idle) = reply.whole().await?;
        self.idle = idle;
        let answer = match serde_json::from_slice(&body) {
            Ok(answer) => answer,
            Err(error) if (200..300).contains(&status) => {
                return Err(io::Error::other(format!("no JSON in the answer: {error}")));
            }
            Err(_) => Value::Null,
        };
        Ok((status, retry_after, answer))
    }
}

/// The reasons of a refusal.
fn told(answer: &Value) -> Vec<String> {
    let errors = answer.get("errors").and_then(Value::as_array).into_iter().flatten();
    let one = |error: &Value| {
        let text = error.get("message").and_then(Value::as_str).unwrap_or("no reason given");
        let pointer = error.pointer("/source/pointer").and_then(Value::as_str).unwrap_or_default();
        // What a server says does not get to speak to the terminal.
        let text: String = text.chars().filter(|c| *c == '\n' || !c.is_control()).collect();
        if pointer.is_empty() { text } else { format!("{text} ({})", pointer.escape_debug()) }
    };
    errors.take(TOLD_MAX).map(one).collect()
}
