//! A stream over a socket, with a client of rustls at the other end, in a thread of its own.

use super::*;
use crate::tls::testing::{OLD_SUITE, SUITES, pair};
use rustls::{ClientConnection, SupportedCipherSuite};
use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

/// No step of these tests takes as long.
const BOUND: Duration = Duration::from_secs(20);

/// The client's end.
struct Client {
    tls: ClientConnection,
    tcp: TcpStream,
}

impl Client {
    fn write(&mut self, data: &[u8]) {
        rustls::Stream::new(&mut self.tls, &mut self.tcp).write_all(data).unwrap();
    }

    #[track_caller]
    fn reads(&mut self, expect: &[u8]) {
        let mut got = vec![0; expect.len()];
        rustls::Stream::new(&mut self.tls, &mut self.tcp).read_exact(&mut got).unwrap();
        assert!(got == expect, "{} bytes differ", got.len());
    }

    /// What is sealed for the server and not sent.
    fn sealed(&mut self, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.tls.writer().write_all(data).unwrap();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    /// How the server's direction ends.
    fn end(&mut self) -> io::Result<usize> {
        rustls::Stream::new(&mut self.tls, &mut self.tcp).read(&mut [0])
    }
}

/// The server's end.
struct Server(TlsStream);

impl Server {
    async fn read(&mut self, into: &mut Lent) -> io::Result<usize> {
        poll_fn(|cx| self.0.poll_read(cx, into)).await
    }

    /// Reads until `len` bytes are there.
    async fn reads(&mut self, len: usize) -> Vec<u8> {
        let mut got = Vec::new();
        while got.len() < len {
            let mut buffer = Lent::take();
            assert_ne!(self.read(&mut buffer).await.unwrap(), 0, "an early end");
            got.extend_from_slice(buffer.filled());
        }
        got
    }

    async fn writes(&mut self, data: &[u8]) {
        let mut rest = data;
        while !rest.is_empty() {
            let n = poll_fn(|cx| self.0.poll_write(cx, &[IoSlice::new(rest)])).await.unwrap();
            rest = &rest[n..];
        }
        poll_fn(|cx| self.0.poll_flush(cx)).await.unwrap();
    }

    fn is_ours(&self) -> bool {
        matches!(self.0.session, Session::Records(_))
    }
}

/// Runs a client in a thread and a server here, which have shaken hands; the server first reads
/// one byte and writes one, as often as `RUSTLS_RECORDS` says if `warm`.
fn talk(
    suite: SupportedCipherSuite,
    warm: bool,
    client: impl FnOnce(&mut Client) + Send + 'static,
    server: impl AsyncFnOnce(&mut Server),
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (config, tls) = pair(suite);
    let thread = thread::spawn(move || {
        let tcp = TcpStream::connect(address).unwrap();
        tcp.set_read_timeout(Some(BOUND)).unwrap();
        let mut end = Client { tls, tcp };
        end.tls.complete_io(&mut end.tcp).unwrap();
        for _ in 0..if warm { RUSTLS_RECORDS } else { 0 } {
            end.write(b"?");
            end.reads(b"!");
        }
        client(&mut end);
    });
    runtime.block_on(async move {
        let tcp = listener.accept().unwrap().0;
        tcp.set_nonblocking(true).unwrap();
        let session = UnbufferedServerConnection::new(config).unwrap();
        let mut stream = TlsStream::new(Tcp::from(tcp), Session::Server(session));
        poll_fn(|cx| stream.poll_handshake(cx, super::super::HANDSHAKE_BYTES_MAX)).await.unwrap();
        let mut end = Server(stream);
        for _ in 0..if warm { RUSTLS_RECORDS } else { 0 } {
            assert!(!end.is_ours());
            assert_eq!(end.reads(1).await, b"?");
            end.writes(b"!").await;
        }
        assert_eq!(end.is_ours(), warm && suite != OLD_SUITE);
        server(&mut end).await;
    });
    thread.join().unwrap();
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

#[test]
fn data_goes_both_ways_before_and_after_the_keys_are_taken() {
    const BYTES: usize = 300_000;
    for suite in SUITES.into_iter().chain([OLD_SUITE]) {
        for warm in [false, true] {
            let client = |end: &mut Client| {
                end.write(&pattern(BYTES));
                end.reads(&pattern(BYTES));
                assert_eq!(end.tls.alpn_protocol(), Some(&b"h2"[..]));
            };
            talk(suite, warm, client, async |end| {
                assert!(end.reads(BYTES).await == pattern(BYTES));
                end.writes(&pattern(BYTES)).await;
                assert_eq!(end.is_ours(), suite != OLD_SUITE);
                assert_eq!(end.0.alpn(), Some(&b"h2"[..]));
                assert_eq!(end.0.agreed().suite, Some(suite));
                assert!(end.0.is_clean());
            });
        }
    }
}

#[test]
fn slices_leave_together_and_in_order() {
    talk(
        SUITES[0],
        true,
        |end| end.reads(b"head body"),
        async |end| {
            let slices = [IoSlice::new(b"head "), IoSlice::new(b""), IoSlice::new(b"body")];
            let n = poll_fn(|cx| end.0.poll_write(cx, &slices)).await.unwrap();
            assert_eq!(n, 9);
        },
    );
}

#[test]
fn a_buffer_with_little_room_loses_nothing() {
    let client = |end: &mut Client| {
        end.write(&pattern(40_000));
        end.reads(b".");
    };
    talk(SUITES[0], true, client, async |end| {
        let mut got = Vec::new();
        let mut buffer = Lent::take();
        buffer.extend(&vec![1; BUFFER_BYTES - 1000]);
        let kept = buffer.len();
        while got.len() < 40_000 {
            assert!(end.read(&mut buffer).await.unwrap() > 0);
            got.extend_from_slice(&buffer.filled()[kept..]);
            buffer.truncate(kept);
        }
        assert!(got == pattern(40_000));
        end.writes(b".").await;
    });
}

#[test]
fn a_record_that_has_begun_leaves_the_keys_with_rustls() {
    let client = |end: &mut Client| {
        let record = end.sealed(b"two");
        let (front, back) = record.split_at(9);
        end.tcp.write_all(front).unwrap();
        end.reads(b"abc");
        end.tcp.write_all(back).unwrap();
        end.reads(b"d");
    };
    talk(SUITES[0], false, client, async |end| {
        // Readable stays ready while a part of a record is held.
        let mut buffer = Lent::take();
        poll_fn(|cx| {
            assert!(end.0.poll_read(cx, &mut buffer).is_pending());
            match end.0.sealed_in.as_ref().is_some_and(|held| held.len() == 9) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
        for byte in [b"a", b"b", b"c"] {
            end.writes(byte).await;
            assert!(!end.is_ours());
        }
        assert_eq!(end.reads(3).await, b"two");
        end.writes(b"d").await;
        assert!(end.is_ours());
    });
}

#[test]
fn a_key_update_before_the_keys_are_taken_is_answered() {
    for suite in SUITES {
        let client = |end: &mut Client| {
            end.tls.refresh_traffic_keys().unwrap();
            end.write(b"x");
            end.reads(b"abc");
            end.tls.refresh_traffic_keys().unwrap();
            end.write(b"y");
            end.reads(b"def");
        };
        talk(suite, false, client, async |end| {
            assert_eq!(end.reads(1).await, b"x");
            for byte in [b"a", b"b", b"c"] {
                end.writes(byte).await;
            }
            assert!(end.is_ours());
            assert_eq!(end.reads(1).await, b"y");
            for byte in [b"d", b"e", b"f"] {
                end.writes(byte).await;
            }
        });
    }
}

#[test]
fn each_direction_ends_cleanly() {
    for warm in [false, true] {
        let client = |end: &mut Client| {
            end.write(b"last");
            end.tls.send_close_notify();
            end.tls.complete_io(&mut end.tcp).unwrap();
            end.reads(b"reply");
            assert_eq!(end.end().unwrap(), 0, "the server said that it ends");
        };
        talk(SUITES[0], warm, client, async |end| {
            assert_eq!(end.reads(4).await, b"last");
            assert_eq!(end.read(&mut Lent::take()).await.unwrap(), 0);
            assert_eq!(end.read(&mut Lent::take()).await.unwrap(), 0);
            end.writes(b"reply").await;
            poll_fn(|cx| end.0.poll_shutdown(cx)).await.unwrap();
        });
    }
}

#[test]
fn records_without_data_are_counted_as_a_limit() {
    let client = |end: &mut Client| {
        for _ in 0..=tls_record::IDLE_RECORDS_MAX {
            end.tls.refresh_traffic_keys().unwrap();
        }
        // The server may be gone before all of them are.
        let _ = end.tls.write_tls(&mut end.tcp);
        let error = end.end().unwrap_err();
        assert!(error.to_string().contains("UnexpectedMessage"), "{error}");
    };
    talk(SUITES[0], true, client, async |end| {
        assert!(end.read(&mut Lent::take()).await.is_err());
        assert_eq!(end.0.limit(), Some(Limit::TlsIdleRecords));
    });
}

#[test]
fn a_cut_is_no_end() {
    for warm in [false, true] {
        let client = |end: &mut Client| {
            end.write(b"last");
            end.tcp.shutdown(Shutdown::Write).unwrap();
            // Until the server is gone: closing with bytes unread would reset the connection.
            assert!(end.end().is_err());
        };
        talk(SUITES[0], warm, client, async |end| {
            assert_eq!(end.reads(4).await, b"last");
            let error = end.read(&mut Lent::take()).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        });
    }
}

#[test]
fn a_forged_record_gets_an_alert_and_nothing_goes_on() {
    for warm in [false, true] {
        let client = |end: &mut Client| {
            let mut record = end.sealed(b"data");
            *record.last_mut().unwrap() ^= 1;
            end.tcp.write_all(&record).unwrap();
            let error = end.end().unwrap_err();
            assert!(error.to_string().contains("BadRecordMac"), "{error}");
        };
        talk(SUITES[1], warm, client, async |end| {
            let mut buffer = Lent::take();
            let error = end.read(&mut buffer).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(buffer.is_empty());
            if warm {
                assert!(end.read(&mut buffer).await.is_err(), "it stays bad");
            }
            let written = poll_fn(|cx| end.0.poll_write(cx, &[IoSlice::new(b"x")])).await;
            assert!(written.is_err());
            assert!(!end.0.is_clean());
        });
    }
}
