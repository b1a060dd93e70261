//! What happens to a connection and a request in user space: the edge's request plane.
//!
//! A connection goes through `listen`, `sniff`, `tls` and a codec; each request through the stages
//! of `lifecycle`. Nothing here decides by itself what `core` can decide, and nothing here knows
//! of the control plane: what is to be served comes as a `Snapshot`.

mod buffers;
mod codec;
mod edge;
mod exchange;
mod knock;
mod lifecycle;
mod link;
mod listen;
mod plan;
mod reason;
mod relay;
mod sniff;
mod sources;
mod splice;
mod stage;
mod stream;
mod tcp;
mod timer;
mod tls;
mod tunnel;
mod upstream;
mod websocket;
mod worker;

pub use edge::{ApplyError, Bound, Edge, Legacy};
pub use knock::KnockError;
pub use plan::{Kept, Plan};
pub use tls::TlsError;
pub use upstream::resolve::Resolver;
pub use worker::{Phase, Shared};
