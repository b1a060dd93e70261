//! The stages of a request, one file each, in the order of `lifecycle`.

pub(crate) mod gate;
pub(crate) mod origin;
pub(crate) mod record;
pub(crate) mod reply;
pub(crate) mod route;
