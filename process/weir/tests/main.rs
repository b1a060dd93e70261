//! Integration tests of the `weir` binary over real sockets, one module per subject. One binary
//! holds all of them, so that the harness in `support` is built and linked once.

#[cfg(test)]
mod control;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod differential;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod features;
#[cfg(test)]
mod fleet;
#[cfg(test)]
mod framing;
#[cfg(test)]
mod h2;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod origin_faults;
#[cfg(test)]
mod packet;
#[cfg(test)]
mod peers;
#[cfg(test)]
mod pooling;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod rows;
#[cfg(test)]
mod simulate;
#[cfg(test)]
mod splice;
#[cfg(test)]
mod store;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod upgrade;
