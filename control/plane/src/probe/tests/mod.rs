//! Tests of the prober against origins on loopback sockets.

mod http;
mod life;
mod support;
mod tls;
