//! UDP: flows to a service that connects its sockets, and single questions as DNS has them.

use std::net::SocketAddr;

use tokio::net::UdpSocket;
use tokio::time::{Duration, Instant, sleep, timeout};

use super::{ARRIVAL, Client, ROUND, own, recorded};
use crate::content;
use crate::ledger::{Entry, Kind, STALL_LIMIT};
use crate::service::{DATAGRAM_MAX, FLOW_PORT, QUESTION_PORT, split_id};

/// Octets of the content of a datagram.
const CONTENT_MAX: usize = 1100;

/// Questions, one after the other began.
pub(super) async fn arrivals(mut client: Client) {
    let mut tasks = tokio::task::JoinSet::new();
    while !client.stopped() {
        let one = client.clone();
        tasks.spawn_local(async move {
            recorded(&one.clone(), Kind::Question, |entry| question(one, entry)).await;
        });
        while tasks.try_join_next().is_some() {}
        client.pause(ARRIVAL).await;
    }
    while tasks.join_next().await.is_some() {}
}

/// A connected socket of the client.
pub(super) async fn connected(client: &Client, port: u16) -> Result<UdpSocket, String> {
    let vip = client.family.vip();
    let any = match vip.is_ipv4() {
        true => SocketAddr::from(([0, 0, 0, 0], 0)),
        false => SocketAddr::from(([0_u16; 8], 0)),
    };
    let open = async {
        let socket = UdpSocket::bind(any).await?;
        socket.connect((vip, port)).await?;
        std::io::Result::Ok(socket)
    };
    open.await.map_err(|error| format!("opening a UDP socket: {error}"))
}

/// Sends a datagram until a reply comes that ends in `ending`; gives that reply.
pub(super) async fn ask(
    client: &Client,
    socket: &UdpSocket,
    entry: &Entry,
    datagram: &[u8],
    ending: &[u8],
) -> Result<Vec<u8>, String> {
    let start = Instant::now();
    let mut buffer = vec![0; DATAGRAM_MAX + 100];
    while start.elapsed() < STALL_LIMIT {
        // An error here is one that an earlier datagram met (ICMP); what matters is the reply.
        let _ = socket.send(datagram).await;
        let until = Instant::now() + client.patience;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            let Ok(Ok(read)) = timeout(left, socket.recv(&mut buffer)).await else { break };
            let reply = buffer.get(..read).unwrap_or_default();
            if reply.ends_with(ending) {
                return Ok(reply.to_vec());
            }
        }
        if entry.is_lost() {
            return Err("its server was killed".to_owned());
        }
        entry.resent();
    }
    Err(format!("no reply for {STALL_LIMIT:?}"))
}

/// A flow that lasts.
pub(super) async fn flow(mut client: Client, entry: Entry) -> Result<(), String> {
    let socket = connected(&client, FLOW_PORT).await?;
    let seed = content::mix(entry.number());
    let mut answered = None;
    for round in 0_u64.. {
        let random = usize::try_from(content::mix(seed ^ round) >> 40).unwrap_or_default();
        let mut datagram = vec![0; 8 + random % CONTENT_MAX];
        content::fill(seed ^ round, 0, &mut datagram);
        let reply = ask(&client, &socket, &entry, &datagram, &datagram).await?;
        let (server, rest) = split_id(&reply).map_err(|error| error.to_string())?;
        own(&entry, server)?;
        let count = rest.split_first_chunk().map(|(count, _)| u64::from_be_bytes(*count));
        // The count is the state of the flow in the server: one that begins anew was lost.
        if count <= answered {
            return Err(format!("the server counts {count:?} after {answered:?}"));
        }
        answered = count;
        if client.ends(&entry, round) {
            break;
        }
        client.pause(ROUND).await;
    }
    Ok(())
}

/// Between the tries of a question that an error came back for: the fleet learns within that time
/// of a server that is gone, and a client in a loop would use up its tries before.
const REFUSED: Duration = Duration::from_millis(50);

/// Asks until an answer comes, from a new port each time, as resolvers do.
async fn question(client: Client, entry: Entry) -> Result<(), String> {
    let seed = content::mix(entry.number());
    let mut datagram = vec![0; 12 + usize::try_from(seed % 60).unwrap_or_default()];
    content::fill(seed, 0, &mut datagram);
    let mut buffer = vec![0; DATAGRAM_MAX];
    let start = Instant::now();
    while start.elapsed() < STALL_LIMIT {
        let socket = connected(&client, QUESTION_PORT).await?;
        let _ = socket.send(&datagram).await;
        match timeout(client.patience, socket.recv(&mut buffer)).await {
            Ok(Ok(read)) => {
                let reply = split_id(buffer.get(..read).unwrap_or_default());
                let (server, content) = reply.map_err(|error| error.to_string())?;
                if content != datagram {
                    return Err("the answer has other content".to_owned());
                }
                let _ = entry.answered(server);
                return Ok(());
            }
            Ok(Err(_)) => sleep(REFUSED).await,
            Err(_) => {}
        }
        entry.resent();
    }
    Err(format!("no answer for {STALL_LIMIT:?}"))
}
