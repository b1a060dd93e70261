//! Every operation of Cloudflare's API that Weir knows by name, built or not.
//!
//! The table is complete over the part of Cloudflare's OpenAPI document that Weir's products are
//! in. What is not built is in it too, so that a list says so. What an operation does is the
//! business of who serves it.

mod own;
mod table;

pub use own::OWN_OPERATIONS;
pub use table::OPERATIONS;

/// Method of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// Read.
    Get,
    /// Create, or run.
    Post,
    /// Replace whole.
    Put,
    /// Change the properties given.
    Patch,
    /// Remove.
    Delete,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 5] = [Self::Get, Self::Post, Self::Put, Self::Patch, Self::Delete];

    /// As it stands in a request line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// What an operation is about; one handler serves all operations of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// Accounts.
    Account,
    /// Zones.
    Zone,
    /// Whoever asks.
    User,
    /// Whether the token that asks is good.
    TokenVerify,
    /// How origins are probed.
    Monitor,
    /// Monitors that decide together.
    MonitorGroup,
    /// Origins.
    Pool,
    /// Health of a pool's origins.
    PoolHealth,
    /// A probe on request, and its result.
    Preview,
    /// What refers to a monitor, a group or a pool.
    References,
    /// Load balancers of zones and of accounts.
    LoadBalancer,
    /// Regions that are probed from.
    Region,
    /// Pools and load balancers by name.
    Search,
    /// Counts of an account's load-balancing objects.
    Usage,
    /// Health checks of zones.
    Healthcheck,
    /// A health check on request, and its result.
    HealthcheckPreview,
    /// Kinds of alerts.
    AvailableAlerts,
    /// Alerts that were sent.
    AlertHistory,
    /// Where notifications go.
    Webhook,
    /// Which alerts are notified of, and where.
    Policy,
    /// Addresses of the edge.
    Ips,
    /// Objects of the packet path.
    Packet,
    /// A configuration that is applied whole.
    Apply,
}

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its method.
    pub method: Method,
    /// Template of its path below the base URL; `{name}` stands for one segment.
    pub path: &'static str,
    /// Cloudflare's operationId, or words of its summary where it has none.
    pub id: &'static str,
    /// What serves it. None: it is not built and answered with 404 and
    /// [`crate::code::NO_ROUTE`].
    pub resource: Option<Resource>,
}

/// Makes [`OPERATIONS`] of paths, methods, resources and ids.
macro_rules! operations {
    (@resource -) => { None };
    (@resource $resource:ident) => { Some(super::Resource::$resource) };
    ($($path:expr => { $($method:ident $resource:tt => $id:expr,)* })*) => {
        /// All operations, sorted by chapter and path.
        pub static OPERATIONS: &[super::Operation] = &[$($(super::Operation {
            method: super::Method::$method,
            path: $path,
            id: $id,
            resource: super::operations!(@resource $resource),
        },)*)*];
    };
}
use operations;
