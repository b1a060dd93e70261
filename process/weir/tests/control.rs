//! The control plane as its users meet it: the command line, Cloudflare's own clients, and
//! schemathesis over Cloudflare's schema.

mod clients;
mod command_line;
mod declare;
mod drift;
mod edges;
pub(crate) mod rig;
