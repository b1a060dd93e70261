//! Puts the packet programs into the kernel and keeps what they need: programs, maps, tables,
//! counters. Everything is pinned, so that packets go on when the process dies.
//!
//! ```text
//! load ──► publish ──► go live ──► publish … ──► count
//! │ programs verified, maps made or taken over   (load)
//! │        │ tables into the spare half, checked, one store   (publish)
//! │        │           │ redirector, director, root: replaced in place   (attach, upgrade)
//! ```
//!
//! ```no_run
//! # fn run(image: &core_forwarding::Image) -> Result<(), Box<dyn std::error::Error>> {
//! use packet_abi::{Address, HashKey};
//! use packet_loader::{Capacities, Counters, EMBEDDED, Home, Mode, Settings};
//!
//! let home = Home::at(packet_loader::pins::ROOT.as_ref(), packet_loader::pins::DEFAULT_NAME)?;
//! let address = Address::v4(u32::from_ne_bytes([192, 0, 2, 1]));
//! let settings = Settings::new(HashKey::of([7; 16]), 1, address);
//! let mut loaded = packet_loader::load(&home, EMBEDDED, &settings, &Capacities::default())?;
//! let mut tables = loaded.tables()?;
//! let generation = tables.descriptor().generation + 1;
//! tables.publish(generation, image)?;
//! loaded.go_live(&["eth0"], Mode::Native)?;
//! for (reason, count) in Counters::open(&home)?.read()? {
//!     println!("{} {}", reason.word(), count.packets);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A second `load` under the same name, by the same or a later build, goes on from the pins: the
//! tables serve on, and `go_live` replaces the programs between two packets.

pub mod attach;
pub mod capture;
pub mod cookies;
pub mod counters;
pub mod explain;
pub mod features;
pub mod layout;
pub mod load;
pub mod measure;
pub mod object;
pub mod pins;
pub mod publish;
pub mod settings;
pub mod shield;
pub mod sys;
mod upgrade;
mod words;

pub use attach::{Attached, Mode, attached, detach};
pub use counters::Counters;
pub use load::{Loaded, load};
pub use object::EMBEDDED;
pub use pins::Home;
pub use publish::{Published, Tables};
pub use settings::{Capacities, Settings};
pub use sys::ethtool::set_tx_checksum_offload;
