//! What can go wrong between an edge and its control planes, and who is to do what.

use control_api::publish::{FrameError, Refusal, TokenError};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why an edge could not join, follow, or keep what it got.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// No plane was named.
    #[error("no control plane is named: set `urls` in [control], or start with --control URL")]
    NoPlane,
    /// The state folder cannot be used.
    #[error("{}: {step} failed: the service user must be able to write the state folder \
             (`state` in [control], or --state DIR)", path.display())]
    Folder {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        step: &'static str,
        /// The kernel's reason.
        #[source]
        cause: io::Error,
    },
    /// Another process is this edge.
    #[error("{}: {process} has this state folder: stop it, or give each edge one of its own \
             (`state` in [control], or --state DIR)", folder.display())]
    Shared {
        /// The state folder.
        folder: PathBuf,
        /// The other process, as far as it is known.
        process: String,
    },
    /// The identity on disk cannot be read.
    #[error("{}: not an identity that this version knows: remove it and join anew with a token \
             from `weir edge token create`", path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// What was found.
        #[source]
        cause: serde_json::Error,
    },
    /// There is neither an identity nor a token.
    #[error("{}: this edge has not joined yet: start it with --join TOKEN, or with \
             `join_token_file` in [control]; `weir edge token create` makes a token",
            folder.display())]
    NoIdentity {
        /// The state folder.
        folder: PathBuf,
    },
    /// The token is none.
    #[error("the join token cannot be used")]
    Token(#[from] TokenError),
    /// A key or a request for a certificate cannot be made.
    #[error("a key for this edge cannot be made")]
    Key(#[source] rcgen::Error),
    /// The certificate of this edge has ended.
    #[error("this edge's certificate ended {ago} ago, so no control plane lets it in: make a token \
             with `weir edge token create`, and start this edge with --join TOKEN",
            ago = days(*ago))]
    Ended {
        /// How long ago.
        ago: Duration,
    },
    /// What the identity holds is no TLS material.
    #[error("this edge's identity cannot be used for TLS: remove it and join anew: {0}")]
    Material(String),
    /// A plane cannot be reached.
    #[error("{url} cannot be reached: {cause}")]
    Connect {
        /// The plane.
        url: String,
        /// The kernel's reason.
        cause: io::Error,
    },
    /// TLS with a plane failed.
    #[error("{url}: TLS failed: {cause}{}", hint(cause))]
    Tls {
        /// The plane.
        url: String,
        /// What TLS says.
        cause: io::Error,
    },
    /// A plane took too long.
    #[error("{url}: no answer within {} s while {step}", within.as_secs())]
    Slow {
        /// The plane.
        url: String,
        /// What was tried.
        step: &'static str,
        /// The limit.
        within: Duration,
    },
    /// HTTP/2 with a plane failed.
    #[error("{url}: the connection failed: {cause}")]
    Http {
        /// The plane.
        url: String,
        /// What HTTP/2 says.
        cause: h2::Error,
    },
    /// A plane refuses.
    #[error("{url} refuses ({status}): {why}")]
    Refused {
        /// The plane.
        url: String,
        /// The status of its answer.
        status: u16,
        /// Its reason, for programs.
        refusal: Refusal,
        /// Its reason, and what to do.
        why: String,
    },
    /// A plane's answer makes no sense.
    #[error("{url}: an answer that is none: {what}: is it the listener of `[edges]`?")]
    Answer {
        /// The plane.
        url: String,
        /// What was found.
        what: String,
    },
    /// Messages of a plane cannot be read.
    #[error("{url}: messages that cannot be read: {cause}")]
    Frames {
        /// The plane.
        url: String,
        /// What is wrong with them.
        cause: FrameError,
    },
    /// A plane's messages do not follow each other.
    #[error("{url}: messages in the wrong order: {what}")]
    Order {
        /// The plane.
        url: String,
        /// What was wrong.
        what: String,
    },
    /// A plane said nothing for too long.
    #[error("{url}: nothing was heard for {} ms", silent.as_millis())]
    Silent {
        /// The plane.
        url: String,
        /// How long.
        silent: Duration,
    },
    /// A plane ended the stream.
    #[error("{url} ended the stream")]
    Closed {
        /// The plane.
        url: String,
    },
}

fn days(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds >= 2 * 86_400 => format!("{} days", seconds / 86_400),
        seconds if seconds >= 7_200 => format!("{} hours", seconds / 3_600),
        seconds => format!("{seconds} s"),
    }
}

fn hint(cause: &io::Error) -> &'static str {
    let tls = cause.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer)) => {
            " (another authority than the one this edge trusts: a plane of another store, or a \
             token of one)"
        }
        Some(rustls::Error::InvalidCertificate(
            rustls::CertificateError::NotValidForName
            | rustls::CertificateError::NotValidForNameContext { .. },
        )) => " (add the name to `names` in [edges] of the control plane)",
        _ => "",
    }
}
