//! What connections are like that a listening socket gives, on the loopback.

use super::*;
use process_runtime::sockets::KEEPALIVE_IDLE;
use rustix::net::sockopt;
use std::net::Ipv4Addr;

fn listener() -> TcpListener {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

fn client(listener: &TcpListener) -> TcpStream {
    TcpStream::connect(listener.local_addr().unwrap()).unwrap()
}

/// Takes the next connection, which is that of `client`, and looks at it.
async fn check(what: &str, queue: &Queue, client: TcpStream) {
    let (tcp, peer) = queue.take().await.unwrap();
    assert_eq!(peer, client.local_addr().unwrap(), "{what}");
    assert!(sockopt::tcp_nodelay(&tcp).unwrap(), "{what}: small writes wait for acknowledgements");
    assert!(sockopt::socket_keepalive(&tcp).unwrap(), "{what}: no probes");
    assert_eq!(sockopt::tcp_keepidle(&tcp).unwrap(), KEEPALIVE_IDLE, "{what}");
}

#[tokio::test]
async fn connections_inherit_what_their_socket_was_told() {
    let own = listener();
    let queue = Queue::watch(own.try_clone().unwrap()).unwrap();
    check("the first client of a socket", &queue, client(&own)).await;
    // The worker looks into the queue until it is empty.
    assert!(is_empty(&queue).await);
    assert!(!queue.unprepared.get(), "nobody came before the socket was prepared");
    check("a later one, which costs no calls", &queue, client(&own)).await;
}

#[tokio::test]
async fn clients_that_came_before_the_process_are_served_alike() {
    let inherited = listener();
    let early = [client(&inherited), client(&inherited), client(&inherited)];
    let [first, second, third] = early;
    let queue = Queue::watch(inherited.try_clone().unwrap()).unwrap();
    check("the first of a queue that was there", &queue, first).await;
    check("the second", &queue, second).await;
    let other = Queue::watch(inherited).unwrap();
    check("the third, by another worker that shares the queue", &other, third).await;
}

/// Whether nobody is in the queue.
async fn is_empty(queue: &Queue) -> bool {
    tokio::select! {
        biased;
        _ = queue.take() => false,
        () = tokio::task::yield_now() => true,
    }
}
