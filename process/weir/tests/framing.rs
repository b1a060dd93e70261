//! HTTP/1 framing recipes that broke other proxies, one test for each, named by the row of the
//! project's list of them. Each sends its bytes over real sockets in many segmentations.

mod body;
mod head;
mod reply;
pub(crate) mod rig;
mod slow;
mod upgrade;
