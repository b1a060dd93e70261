//! A way to etcd that loses answers: the request arrives, its reply does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A relay that loses the answers of some transactions.
pub(super) struct Lossy {
    /// Where it listens, as an endpoint.
    pub(super) endpoint: String,
    left: Arc<AtomicU32>,
}

impl Lossy {
    /// A relay to `host:port`.
    pub(super) async fn before(upstream: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let left = Arc::new(AtomicU32::new(0));
        let counter = left.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&upstream).await else { continue };
                tokio::spawn(relay(client, server, counter.clone()));
            }
        });
        Self { endpoint, left }
    }

    /// Loses the answers of the next `count` transactions.
    pub(super) fn lose(&self, count: u32) {
        self.left.store(count, SeqCst);
    }

    /// How many it is still to lose.
    pub(super) fn left(&self) -> u32 {
        self.left.load(SeqCst)
    }
}

async fn relay(mut client: TcpStream, mut server: TcpStream, left: Arc<AtomicU32>) {
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    let mut lose = false;
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(count @ 1..) = read else { return };
                if up[..count].starts_with(b"POST /v3/kv/txn ") {
                    lose = left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
                }
                if server.write_all(&up[..count]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut down) => {
                let Ok(count @ 1..) = read else { return };
                // The transaction is done: etcd has answered, and nobody hears it.
                if lose || client.write_all(&down[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}
