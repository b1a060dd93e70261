//! TCP: long connections and many short ones, with an echo whose content is checked.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{ARRIVAL, Client, ROUND, again, bounded, own, recorded};
use crate::content;
use crate::ledger::{Entry, Kind};
use crate::service::{GREETING, STREAM_PORT};

/// Octets of the largest round: several segments, so that segments of one round may take different
/// ways.
const BLOCK_MAX: usize = 12 * 1024;
/// Rounds of a short connection.
const SHORT_ROUNDS: u64 = 2;

/// A connection that lasts.
pub(super) async fn long(client: Client, entry: Entry) -> Result<(), String> {
    talk(client, entry, u64::MAX).await
}

/// Short connections, one after the other began.
pub(super) async fn arrivals(mut client: Client) {
    let mut tasks = tokio::task::JoinSet::new();
    while !client.stopped() {
        let one = client.clone();
        tasks.spawn_local(async move {
            recorded(&one.clone(), Kind::Short, |entry| talk(one, entry, SHORT_ROUNDS)).await;
        });
        while tasks.try_join_next().is_some() {}
        client.pause(ARRIVAL).await;
    }
    while tasks.join_next().await.is_some() {}
}

async fn talk(mut client: Client, entry: Entry, rounds: u64) -> Result<(), String> {
    let (mut stream, server) = again(&entry, || begin(&client, &entry)).await?;
    own(&entry, server)?;
    let seed = content::mix(entry.number());
    let mut sent = 0;
    for round in 0..rounds {
        let len = block_len(seed, round);
        let mut block = vec![0; len];
        content::fill(seed, sent, &mut block);
        bounded(&entry, "a round", exchange(&mut stream, &block)).await?;
        own(&entry, server)?;
        sent += len as u64;
        if client.ends(&entry, round) {
            break;
        }
        if rounds == u64::MAX {
            client.pause(ROUND).await;
        }
    }
    bounded(&entry, "the end", finish(&mut stream)).await
}

/// A connection whose server has answered, and that server.
async fn begin(client: &Client, entry: &Entry) -> Result<(TcpStream, u16), String> {
    let to = (client.family.vip(), STREAM_PORT);
    let mut stream = bounded(entry, "connecting", TcpStream::connect(to)).await?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    bounded(entry, "the greeting", stream.write_all(GREETING)).await?;
    let server = bounded(entry, "the server's id", stream.read_u16()).await?;
    Ok((stream, server))
}

fn block_len(seed: u64, round: u64) -> usize {
    // Most are small, each eighth is large.
    let random = usize::try_from(content::mix(seed ^ round) >> 40).unwrap_or_default();
    if random.is_multiple_of(8) { 1 + random % BLOCK_MAX } else { 1 + random % 900 }
}

async fn exchange(stream: &mut TcpStream, block: &[u8]) -> io::Result<()> {
    let mut back = vec![0; block.len()];
    let (mut read, mut write) = stream.split();
    let sends = write.write_all(block);
    let receives = read.read_exact(&mut back);
    tokio::try_join!(sends, receives)?;
    match back == block {
        true => Ok(()),
        false => Err(io::Error::other("the echo has other content")),
    }
}

async fn finish(stream: &mut TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    match stream.read(&mut [0]).await? {
        0 => Ok(()),
        _ => Err(io::Error::other("the echo sent more than it got")),
    }
}
