//! HTTP/2 towards clients and towards origins: recipes that broke other proxies, named by the row
//! of the project's list of them, what the protocol offers, and programs of others as peers.

mod features;
mod floods;
mod flow;
mod heads;
mod lengths;
mod peers;
mod rig;
mod traps;
mod upstream;
mod websocket;
