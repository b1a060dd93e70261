//! What survives from plan to plan beside the live table: identities of connections to origins,
//! ticket keys, and the counts of sources.

use crate::sources::Sources;
use crate::tls::{self, Tickets, TlsError};
use core_model::config::{
    Listener, Origin, Pool, ProxyProtocolOut, UpstreamProtocols, UpstreamTls,
};
use hashbrown::HashMap;
use process_runtime::handover::TicketKeys;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Everything that changes who an origin's connection speaks for or what was proved on it.
/// Two connections may stand for each other only when this is equal.
#[derive(Debug)]
pub(crate) struct Transport {
    tls: Option<Arc<UpstreamTls>>,
    pub(crate) protocols: UpstreamProtocols,
    pub(crate) server_name: Option<ServerName<'static>>,
    pub(crate) proxy: Option<ProxyProtocolOut>,
    pub(crate) source: Option<IpAddr>,
    pub(crate) client: Option<Arc<ClientConfig>>,
    /// As `client`, for connections on which HTTP/1.1 must be spoken.
    pub(crate) client_http1: Option<Arc<ClientConfig>>,
}

/// What a transport is wanted for, beside the name.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    tls: Option<&'a Arc<UpstreamTls>>,
    protocols: UpstreamProtocols,
    proxy: Option<ProxyProtocolOut>,
    source: Option<IpAddr>,
}

impl Wanted<'_> {
    fn is(&self, made: &Transport) -> bool {
        let same_tls = match (self.tls, &made.tls) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other) || one == other,
            (one, other) => one.is_none() && other.is_none(),
        };
        same_tls
            && made.protocols == self.protocols
            && made.proxy == self.proxy
            && made.source == self.source
    }
}

/// Transports by the name that is verified.
#[derive(Debug, Default)]
struct Transports {
    by_name: HashMap<Option<ServerName<'static>>, Vec<Arc<Transport>>>,
    /// Settings that others of the same authorities and certificate start from.
    clients: Vec<(Arc<UpstreamTls>, UpstreamProtocols, Arc<ClientConfig>)>,
    /// How many were made since those were forgotten that nobody uses.
    made: usize,
}

impl Transports {
    fn of(
        &mut self,
        pool: &Pool,
        wanted: Wanted<'_>,
        server_name: Option<ServerName<'static>>,
    ) -> Result<Arc<Transport>, TlsError> {
        let found = self.by_name.get(&server_name);
        if let Some(found) = found.and_then(|all| all.iter().find(|made| wanted.is(made))) {
            return Ok(found.clone());
        }
        if self.made > self.by_name.len() {
            self.forget_unused();
        }
        let client = match wanted.tls {
            Some(tls) => Some(self.client(pool, tls, wanted.protocols)?),
            None => None,
        };
        let made = Arc::new(Transport {
            tls: wanted.tls.cloned(),
            protocols: wanted.protocols,
            server_name: server_name.clone(),
            proxy: wanted.proxy,
            source: wanted.source,
            client_http1: client.as_ref().map(tls::client::http1_only),
            client,
        });
        self.by_name.entry(server_name).or_default().push(made.clone());
        self.made += 1;
        Ok(made)
    }

    /// The settings of one name: authorities are shared, and the sessions that are remembered are
    /// its own.
    fn client(
        &mut self,
        pool: &Pool,
        tls: &Arc<UpstreamTls>,
        protocols: UpstreamProtocols,
    ) -> Result<Arc<ClientConfig>, TlsError> {
        let same = |(other, p, _): &&(Arc<UpstreamTls>, UpstreamProtocols, _)| {
            *p == protocols && (Arc::ptr_eq(other, tls) || other == tls)
        };
        if let Some((.., found)) = self.clients.iter().find(same) {
            return Ok(tls::client::with_own_sessions(found));
        }
        let made = tls::client::client_config(pool, tls)?;
        self.clients.push((tls.clone(), protocols, made.clone()));
        Ok(made)
    }

    /// Forgets what no plan and no connection uses.
    fn forget_unused(&mut self) {
        self.by_name.retain(|_, all| {
            all.retain(|made| Arc::strong_count(made) > 1);
            !all.is_empty()
        });
        let used = |tls: &Arc<UpstreamTls>, protocols: UpstreamProtocols| {
            let mut all = self.by_name.values().flatten();
            all.any(|made| made.protocols == protocols && made.tls.as_ref() == Some(tls))
        };
        let mut clients = std::mem::take(&mut self.clients);
        clients.retain(|(tls, protocols, _)| used(tls, *protocols));
        self.clients = clients;
        self.made = 0;
    }
}

/// Ticket keys with the listener and the settings they were made for.
type KeptTickets = (Arc<str>, core_model::config::Tls, Arc<Tickets>);

/// What survives from plan to plan beside the live table.
#[derive(Debug, Default)]
pub struct Kept {
    transports: Mutex<Transports>,
    tickets: Mutex<Vec<KeptTickets>>,
    /// Keys of the process before this one, for listeners that make their own.
    inherited: Vec<TicketKeys>,
    sources: Mutex<Vec<(Arc<str>, Arc<Sources>)>>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kept {
    /// With the ticket keys of the process before this one.
    pub(crate) fn inheriting(tickets: Vec<TicketKeys>) -> Self {
        Self { inherited: tickets, ..Self::default() }
    }

    /// After the first plan: keys that nobody took would stay valid without ever being changed.
    pub(crate) fn forget_inherited(&mut self) {
        self.inherited = Vec::new();
    }

    /// The ticket keys that listeners in force made for themselves.
    pub(crate) fn ticket_keys(&self) -> Vec<TicketKeys> {
        let kept = locked(&self.tickets);
        kept.iter().filter_map(|(listener, _, tickets)| tickets.export(listener)).collect()
    }

    /// The identity of connections to `origin`: equal ones are the same object.
    pub(super) fn transport(
        &self,
        pool: &Pool,
        origin: &Origin,
    ) -> Result<Arc<Transport>, TlsError> {
        let tls = pool.tls_at(origin.port);
        let server_name = match tls {
            None => None,
            Some(tls) => Some(server_name(pool, tls, origin)?),
        };
        let wanted = Wanted {
            tls,
            protocols: pool.protocols_at(origin.port),
            proxy: pool.proxy_protocol,
            source: pool.source_address,
        };
        locked(&self.transports).of(pool, wanted, server_name)
    }

    pub(super) fn tickets(&self, listener: &Listener) -> Option<Arc<Tickets>> {
        let tls = listener.tls.as_ref()?;
        let mut kept = locked(&self.tickets);
        let same = |(name, old, _): &&KeptTickets| {
            *name == listener.name
                && old.ticket_keys == tls.ticket_keys
                && old.ticket_rotation == tls.ticket_rotation
                && old.client_auth == tls.client_auth
                && old.crls == tls.crls
        };
        if let Some((_, _, tickets)) = kept.iter().find(same) {
            return Some(tickets.clone());
        }
        let (auth, crls, keys) = (&tls.client_auth, &tls.crls, &tls.ticket_keys);
        let made = Tickets::new(&listener.name, auth, crls, keys, tls.ticket_rotation)?;
        let before = self.inherited.iter().find(|keys| *keys.listener == *listener.name);
        before.into_iter().for_each(|keys| made.inherit(keys));
        let made = Arc::new(made);
        kept.retain(|(name, _, _)| *name != listener.name);
        kept.push((listener.name.clone(), tls.clone(), made.clone()));
        Some(made)
    }

    pub(super) fn sources(&self, listener: &Listener) -> Arc<Sources> {
        let mut kept = locked(&self.sources);
        if let Some((_, sources)) = kept.iter().find(|(name, _)| *name == listener.name) {
            return sources.clone();
        }
        let made = Arc::new(Sources::default());
        kept.retain(|(_, sources)| Arc::strong_count(sources) > 1);
        kept.push((listener.name.clone(), made.clone()));
        made
    }
}

fn server_name(
    pool: &Pool,
    tls: &UpstreamTls,
    origin: &Origin,
) -> Result<ServerName<'static>, TlsError> {
    let host = origin.host_header.as_deref().map(|host| match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    });
    let address = origin.address.to_string();
    let name = tls.server_name.as_deref().or(host).unwrap_or(&address);
    let bare = name.trim_start_matches('[').trim_end_matches(']').to_owned();
    ServerName::try_from(bare).map_err(|error| TlsError::Settings {
        owner: format!("pool {}, origin {}", pool.name, origin.name),
        cause: format!("`{name}` cannot be verified in a certificate: {error}"),
    })
}
