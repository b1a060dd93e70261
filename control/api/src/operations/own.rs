//! Operations of Weir's own, beside Cloudflare's: objects of the packet path, and configurations
//! that are applied whole.

use super::{Method, Operation, Resource};

const fn own(
    method: Method,
    path: &'static str,
    id: &'static str,
    resource: Resource,
) -> Operation {
    Operation { method, path, id, resource: Some(resource) }
}

/// All of them, below `/weir/v1`.
pub static OWN_OPERATIONS: &[Operation] = &[
    own(Method::Post, "/apply", "apply", Resource::Apply),
    own(Method::Get, "/packet", "packet-get", Resource::Packet),
    own(Method::Put, "/packet", "packet-put", Resource::Packet),
    own(Method::Delete, "/packet", "packet-delete", Resource::Packet),
    own(Method::Get, "/packet/{kind}", "packet-list", Resource::Packet),
    own(Method::Get, "/packet/{kind}/{name}", "packet-object-get", Resource::Packet),
    own(Method::Put, "/packet/{kind}/{name}", "packet-object-put", Resource::Packet),
    own(Method::Delete, "/packet/{kind}/{name}", "packet-object-delete", Resource::Packet),
];
