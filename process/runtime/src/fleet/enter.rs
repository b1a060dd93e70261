//! The start of an edge: who it is and what is published, from the state folder where it stands
//! there, else from a control plane. It happens before sockets are bound and rights are dropped, on
//! one thread, so that a process that starts as root keeps nothing open from it; what comes from
//! it is given to the service user.

use super::client::Talk;
use super::folder::SNAPSHOT;
use super::link::{Link, Trust};
use super::{
    FOLDER_DEFAULT, FleetError, Folder, Found, Identity, Kept, Lock, PLANES_MAX, PlaneUrl,
};
use crate::accounts::ServiceUser;
use crate::operator_log;
use control_api::publish::{Certified, Enrol, Items, JOIN_PATH, JoinToken, RENEW_PATH, Renew};
use core_model::config;
use rcgen::{CertificateParams, KeyPair};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long the first start waits for what is published.
const FIRST_WITHIN: Duration = Duration::from_secs(10);
/// How long joining is tried while no plane can be reached.
const JOIN_WITHIN: Duration = Duration::from_secs(10);
/// From one round of tries to the next.
const TRY_AGAIN: Duration = Duration::from_millis(250);
/// How long threads that have ended are waited for.
const THREADS_WITHIN: Duration = Duration::from_secs(1);
/// Bytes of an edge's name, which is cut to it.
const NAME_MAX: usize = 64;

/// What the command line says of it; the file says the rest.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Planes in place of those of the file.
    pub urls: Vec<PlaneUrl>,
    /// A join token.
    pub token: Option<String>,
    /// The state folder.
    pub state: Option<PathBuf>,
    /// What the edge is to be called.
    pub name: Option<String>,
}

/// How an edge finds its control planes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The planes, at least one.
    pub urls: Vec<PlaneUrl>,
    /// A token to join with.
    pub token: Option<JoinToken>,
    /// The state folder.
    pub state: PathBuf,
    /// What the edge is to be called.
    pub name: String,
}

impl Settings {
    /// What command line and file say together; none where neither names a control plane.
    ///
    /// # Errors
    /// A token that is none, or a state folder without a plane.
    pub fn of(
        options: &Options,
        file: Option<&config::Control>,
    ) -> Result<Option<Self>, FleetError> {
        let given = options.token.is_some() || options.state.is_some() || options.name.is_some();
        let mut urls = options.urls.clone();
        if urls.is_empty() {
            let named = file.map(|file| &file.urls[..]).unwrap_or_default();
            urls.extend(named.iter().filter_map(|url| url.parse().ok()));
        }
        urls.truncate(PLANES_MAX);
        if urls.is_empty() {
            return if given || file.is_some() { Err(FleetError::NoPlane) } else { Ok(None) };
        }
        let token = match (&options.token, file.and_then(|file| file.join_token_file.as_ref())) {
            (Some(token), _) => Some(token.parse()?),
            (None, None) => None,
            (None, Some(path)) => match std::fs::read_to_string(path) {
                Ok(text) => Some(text.parse()?),
                // The token is needed once, and may be taken away then.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
                // Who has joined needs none, and may be another user than who starts as root.
                Err(error) => {
                    operator_log::warn(
                        "join_token_unread",
                        "the join token cannot be read, and only who has joined needs none",
                        &[("file", &path.display()), ("error", &error)],
                    );
                    None
                }
            },
        };
        let state = options.state.clone().or_else(|| file.and_then(|file| file.state.clone()));
        let name = options.name.clone().or_else(|| file.and_then(|file| file.name.clone()));
        Ok(Some(Self {
            urls,
            token,
            state: state.unwrap_or_else(folder_of_service),
            name: name.unwrap_or_else(host_name),
        }))
    }
}

/// The state folder that the service manager made, else the usual one.
fn folder_of_service() -> PathBuf {
    let named = std::env::var("STATE_DIRECTORY").ok();
    let first = named.as_deref().and_then(|all| all.split(':').next());
    PathBuf::from(first.filter(|first| !first.is_empty()).unwrap_or(FOLDER_DEFAULT))
}

fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let fit = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name: String = name.chars().filter(fit).take(NAME_MAX).collect();
    if name.is_empty() { "edge".to_owned() } else { name }
}

/// An edge that has joined, before it serves.
#[derive(Debug)]
pub struct Member {
    /// How it finds its planes.
    pub settings: Settings,
    /// Who it is.
    pub identity: Identity,
    /// Where it keeps that.
    pub folder: Folder,
    /// What keeps others from it.
    pub lock: Lock,
    /// The snapshot on disk.
    pub kept: Kept,
    /// What is published, where it is known.
    pub found: Option<Found>,
    /// Whether that is from disk, and so was in force here before.
    pub from_disk: bool,
    /// Starts that nobody ordered, the first one counted.
    pub starts: u64,
}

/// Becomes an edge: joins where it has not, and finds what is published.
///
/// # Errors
/// It is no edge yet and cannot become one, or its folder cannot be used. That no plane answers is
/// none where it has joined before.
pub fn enter(
    settings: Settings,
    owner: Option<&ServiceUser>,
    takes_over: bool,
) -> Result<Member, FleetError> {
    let folder = Folder::open(&settings.state, owner)?;
    let lock = Lock::take(&folder, takes_over)?;
    let failed = folder.failed("", "making a runtime");
    let threads = threads();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(failed)?;
    let member = runtime.block_on(entered(settings, folder, lock, takes_over));
    // Waits for a lookup of a name that may be under way.
    drop(runtime);
    let begun = Instant::now();
    // A thread that has ended is in the kernel's list for a moment longer, and rights are dropped
    // while there is one thread only.
    while self::threads() > threads && begun.elapsed() < THREADS_WITHIN {
        std::thread::yield_now();
    }
    let member = member?;
    if let Some(owner) = owner {
        // What was written as root.
        member.folder.give_all(owner)?;
    }
    Ok(member)
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

async fn entered(
    settings: Settings,
    folder: Folder,
    lock: Lock,
    takes_over: bool,
) -> Result<Member, FleetError> {
    let identity = match folder.identity()? {
        Some(identity) if !anew(&identity, settings.token.as_ref()) => identity,
        _ => {
            let none = || FleetError::NoIdentity { folder: settings.state.clone() };
            let token = settings.token.as_ref().ok_or_else(none)?;
            let identity = join(&settings, token).await?;
            folder.keep_identity(&identity)?;
            operator_log::info(
                "control_joined",
                "this edge belongs to a fleet",
                &[("edge", &identity.edge), ("name", &settings.name)],
            );
            identity
        }
    };
    let starts = folder.started(takes_over)?;
    let (kept, found, damage) = Kept::open(&folder)?;
    if let Some(damage) = damage {
        operator_log::error(
            "snapshot_damaged",
            "what is published is not on disk as it should be, and is asked for anew",
            &[("file", &folder.file(SNAPSHOT).display()), ("error", &damage)],
        );
    }
    let from_disk = found.is_some();
    let found = match found {
        Some(found) => Some(found),
        None => first(&settings, &identity, starts).await,
    };
    Ok(Member { settings, identity, folder, lock, kept, found, from_disk, starts })
}

/// Whether to join anew: with a token that is not the one it joined with.
fn anew(identity: &Identity, token: Option<&JoinToken>) -> bool {
    token.is_some_and(|token| token.id != identity.token)
}

/// A key and the request for its certificate, both PEM.
pub(super) fn request_for_key() -> Result<(String, String), FleetError> {
    let key = KeyPair::generate().map_err(FleetError::Key)?;
    let params = CertificateParams::new(Vec::new()).map_err(FleetError::Key)?;
    let request = params.serialize_request(&key).map_err(FleetError::Key)?;
    Ok((key.serialize_pem(), request.pem().map_err(FleetError::Key)?))
}

fn identity_of(certified: Certified, key: String, token: String) -> Identity {
    Identity {
        edge: certified.edge,
        certificate: certified.certificate,
        key,
        authorities: certified.authorities,
        ends: certified.ends,
        renew: certified.renew,
        token,
    }
}

async fn join(settings: &Settings, token: &JoinToken) -> Result<Identity, FleetError> {
    let (key, request) = request_for_key()?;
    let enrol = Enrol { token: token.to_string(), name: settings.name.clone(), request };
    let begun = Instant::now();
    loop {
        let (mut last, mut hopeless) = (FleetError::NoPlane, true);
        for url in &settings.urls {
            let trust = Trust::Token(token.authority);
            match ask::<Certified>(url, &trust, JOIN_PATH, &enrol).await {
                Ok(certified) => return Ok(identity_of(certified, key, token.id.clone())),
                // A plane that refuses the token speaks for all of them.
                Err(error @ FleetError::Refused { refusal, .. }) if !refusal.passes() => {
                    return Err(error);
                }
                Err(error) => {
                    // Another authority does not become the right one.
                    hopeless &= matches!(error, FleetError::Tls { .. });
                    last = error;
                }
            }
        }
        if hopeless || begun.elapsed() >= JOIN_WITHIN {
            return Err(last);
        }
        tokio::time::sleep(TRY_AGAIN).await;
    }
}

async fn ask<A: serde::de::DeserializeOwned>(
    url: &PlaneUrl,
    trust: &Trust,
    path: &str,
    question: &impl serde::Serialize,
) -> Result<A, FleetError> {
    let link = Link::open(url, trust).await?;
    ask_on(&link, path, question).await
}

async fn ask_on<A: serde::de::DeserializeOwned>(
    link: &Link,
    path: &str,
    question: &impl serde::Serialize,
) -> Result<A, FleetError> {
    let wrong = |error: serde_json::Error| FleetError::Answer {
        url: link.url().to_owned(),
        what: error.to_string(),
    };
    let answer = link.ask(path, serde_json::to_vec(question).map_err(wrong)?).await?;
    serde_json::from_slice(&answer).map_err(wrong)
}

/// A certificate that lasts longer, for a new key.
pub(super) async fn renewed(link: &Link, old: &Identity) -> Result<Identity, FleetError> {
    let (key, request) = request_for_key()?;
    let certified: Certified = ask_on(link, RENEW_PATH, &Renew { request }).await?;
    Ok(identity_of(certified, key, old.token.clone()))
}

/// What is published, asked of each plane in turn for a while.
async fn first(settings: &Settings, identity: &Identity, starts: u64) -> Option<Found> {
    let asked = async {
        loop {
            let mut told = None;
            for url in &settings.urls {
                match whole(url, identity, starts).await {
                    Ok(found) => return found,
                    Err(error) => told = Some(error),
                }
            }
            if let Some(error) = told {
                operator_log::debug(
                    "control_unreached",
                    "what is published is not known yet",
                    &[("error", &error)],
                );
            }
            tokio::time::sleep(TRY_AGAIN).await;
        }
    };
    let found = tokio::time::timeout(FIRST_WITHIN, asked).await.ok();
    if found.is_none() {
        operator_log::warn(
            "snapshot_missing",
            "no control plane told what is published: what the file says is served until one does",
            &[("waited_s", &FIRST_WITHIN.as_secs())],
        );
    }
    found
}

async fn whole(url: &PlaneUrl, identity: &Identity, starts: u64) -> Result<Found, FleetError> {
    let mut talk = Talk::open(url, identity, None, starts).await?;
    loop {
        let Some(arrived) = talk.next_snapshot().await? else { continue };
        let mut items = Items::default();
        arrived.changes.into_iter().for_each(|change| items.apply(change));
        if arrived.base.is_none() && items.hash() == arrived.snapshot.hash {
            return Ok(Found { snapshot: arrived.snapshot, items });
        }
        let url = url.to_string();
        return Err(FleetError::Order { url, what: "a first snapshot that is not whole".into() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use control_api::publish::Hash;

    #[test]
    fn another_token_is_an_order_to_join_anew() {
        let token = |id: &str| JoinToken {
            id: id.to_owned(),
            secret: String::new(),
            authority: Hash::of(b"authority"),
        };
        let identity = identity_of(
            Certified {
                edge: "e".into(),
                certificate: String::new(),
                authorities: String::new(),
                ends: 0,
                renew: 0,
            },
            String::new(),
            "first".into(),
        );
        for (given, expect) in
            [(None, false), (Some(token("first")), false), (Some(token("second")), true)]
        {
            assert_eq!(anew(&identity, given.as_ref()), expect, "{given:?}");
        }
    }
}
