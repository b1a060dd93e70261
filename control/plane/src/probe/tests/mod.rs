//! Tests of the prober against origins on loopback sockets.

mod http;
mod http2;
mod life;
mod support;
mod tls;
