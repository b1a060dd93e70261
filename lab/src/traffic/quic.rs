//! Packets with QUIC's connection ids: a client that changes its address stays with its server,
//! since the id that the server gave it names that server (draft-ietf-quic-load-balancers,
//! plaintext).
//!
//! No QUIC is spoken past the headers: the service echoes, and says which server it is.

use super::datagram::{ask, connected};
use super::{Client, ROUND, own};
use crate::content;
use crate::ledger::Entry;
use crate::service::{QUIC_PORT, TRAILER_LEN, split_id};

/// The config id of the connection ids: their first three bits.
pub const CONFIG_ID: u8 = 1;
/// Octets of the server id in a connection id.
pub const SERVER_ID_LEN: usize = 2;
/// Octets of the nonce in a connection id.
pub const NONCE_LEN: usize = 6;
/// Octets of a connection id.
const CID_LEN: usize = 1 + SERVER_ID_LEN + NONCE_LEN;
/// Rounds from one address; then the client has another, as a phone that changes networks.
const ROUNDS_PER_ADDRESS: u64 = 5;
/// QUIC version 1 (RFC 9000 §15).
const VERSION: [u8; 4] = [0, 0, 0, 1];
/// Octets of an Initial: what RFC 9000 §14.1 demands at least.
const INITIAL_LEN: usize = 1200;
/// Octets of the content of other packets.
const CONTENT_MAX: u64 = 800;

/// A flow that lasts.
pub(super) async fn flow(mut client: Client, entry: Entry) -> Result<(), String> {
    let seed = content::mix(entry.number() ^ 0x51);
    let mut socket = connected(&client, QUIC_PORT).await?;
    let mut owner = None;
    for round in 0_u64.. {
        if round > 0 && round.is_multiple_of(ROUNDS_PER_ADDRESS) {
            socket = connected(&client, QUIC_PORT).await?;
        }
        let mut trailer = [0; TRAILER_LEN];
        content::fill(seed ^ round, 0, &mut trailer);
        let packet = match owner {
            None => initial(seed, &trailer),
            Some(server) => short(server, seed ^ round, &trailer),
        };
        let reply = ask(&client, &socket, &entry, &packet, &trailer).await?;
        let (server, _) = split_id(&reply).map_err(|error| error.to_string())?;
        own(&entry, server)?;
        owner = Some(server);
        if client.ends(&entry, round) {
            break;
        }
        client.pause(ROUND).await;
    }
    Ok(())
}

/// An Initial: a long header with a connection id that the client has chosen, so that it says
/// nothing about servers.
fn initial(seed: u64, trailer: &[u8]) -> Vec<u8> {
    let mut packet = vec![0xc0];
    packet.extend_from_slice(&VERSION);
    packet.push(8);
    // The first three bits are ones: no config has that id, so no server can be read from it.
    packet.extend_from_slice(&(seed | 0xe0 << 56).to_be_bytes());
    packet.push(0);
    let at = packet.len();
    packet.resize(INITIAL_LEN - trailer.len(), 0);
    if let Some(rest) = packet.get_mut(at..) {
        content::fill(seed, 0, rest);
    }
    packet.extend_from_slice(trailer);
    packet
}

/// A packet of an established connection: a short header with an id that names its server.
fn short(server: u16, seed: u64, trailer: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x40];
    packet.extend_from_slice(&connection_id(server, seed));
    let at = packet.len();
    let len = usize::try_from(content::mix(seed) % CONTENT_MAX).unwrap_or_default();
    packet.resize(at + len, 0);
    if let Some(rest) = packet.get_mut(at..) {
        content::fill(seed, 0, rest);
    }
    packet.extend_from_slice(trailer);
    packet
}

/// Config id and length, server id, nonce.
fn connection_id(server: u16, nonce: u64) -> [u8; CID_LEN] {
    let [high, low] = server.to_be_bytes();
    let [a, b, c, d, e, f, ..] = nonce.to_be_bytes();
    [CONFIG_ID << 5 | (CID_LEN as u8 - 1), high, low, a, b, c, d, e, f]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_id_is_laid_out_as_the_draft_says() {
        let expect = [0x28, 0x01, 0x02, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff];
        assert_eq!(connection_id(0x0102, 0xaabb_ccdd_eeff_0000), expect);
        assert_eq!(initial(7, &[9; TRAILER_LEN]).len(), INITIAL_LEN);
        assert!(short(3, 7, &[9; TRAILER_LEN]).ends_with(&[9; TRAILER_LEN]));
    }
}
