//! What a client makes of servers that want patience, have no pages, or go away.

use super::{Api, ClientError, TRIES_MAX};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

/// A server that answers the n-th request with what `answer` makes of n and the target: head lines
/// beside the length, status and body. It closes each connection after `per` requests.
async fn served(
    per: usize,
    answer: impl Fn(usize, &str) -> (u16, &'static str, Value) + Send + Sync + 'static,
) -> (Api, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            for _ in 0..per {
                let mut head = Vec::new();
                loop {
                    let mut line = String::new();
                    match stream.read_line(&mut line).await {
                        Ok(0) | Err(_) => break,
                        Ok(_) if line == "\r\n" => break,
                        Ok(_) => head.push(line),
                    }
                }
                let Some(first) = head.first() else { break };
                let target = first.split(' ').nth(1).unwrap_or_default();
                let (status, more, body) = answer(counted.fetch_add(1, Relaxed), target);
                let body = body.to_string();
                let length = body.len();
                let text =
                    format!("HTTP/1.1 {status} X\r\n{more}Content-Length: {length}\r\n\r\n{body}");
                let _ = stream.write_all(text.as_bytes()).await;
            }
        }
    });
    (Api::new(&format!("http://{address}/client/v4"), "t").expect("a URL"), count)
}

fn rows(from: usize, to: usize) -> Value {
    json!({ "result": (from..to).map(|n| json!({ "id": n })).collect::<Vec<_>>() })
}

#[tokio::test]
async fn a_call_that_is_told_to_come_later_does_and_gives_up_at_last() {
    let later = "Retry-After: 0\r\n";
    let (mut api, count) = served(100, move |n, _| match n {
        0 | 1 => (429, later, json!({})),
        2 => (503, later, json!({})),
        _ => (200, "", json!({ "result": 7 })),
    })
    .await;
    assert_eq!(api.get("/x").await.expect("an answer")["result"], 7);
    assert_eq!(count.load(Relaxed), 4);
    let told = json!({ "errors": [{ "message": "no", "source": { "pointer": "/a" } }] });
    let (mut api, count) = served(100, move |_, _| (429, later, told.clone())).await;
    let refused = api.get("/x").await.expect_err("refused");
    assert!(refused.to_string().ends_with("429: no (/a)"), "{refused}");
    assert_eq!(count.load(Relaxed), usize::try_from(TRIES_MAX).expect("few"));
    // A change may have been made when the server failed.
    let (mut api, count) = served(100, move |_, _| (500, later, Value::Null)).await;
    let refused = api.post_own("/apply", &json!({})).await;
    assert!(matches!(refused, Err(ClientError::Refused { status: 500, .. })), "{refused:?}");
    assert_eq!(count.load(Relaxed), 1);
}

#[tokio::test]
async fn a_list_ends_whatever_pages_the_server_has() {
    let page = |target: &str| {
        let page = target.split("page=").nth(1).and_then(|rest| rest.split('&').next());
        page.and_then(|page| page.parse::<usize>().ok()).expect("a page")
    };
    // Pages that are told.
    let (mut api, _) = served(100, move |_, target| {
        let page = page(target);
        let mut answer = rows(page * 50 - 50, (page * 50).min(120));
        answer["result_info"] = json!({ "total_pages": 3 });
        (200, "", answer)
    })
    .await;
    assert_eq!(api.list("/x").await.expect("rows").len(), 120);
    // An empty page at the end.
    let (mut api, _) = served(100, move |_, target| {
        let page = page(target);
        (200, "", rows((page * 50 - 50).min(100), (page * 50).min(100)))
    })
    .await;
    assert_eq!(api.list("/x?a=b").await.expect("rows").len(), 100);
    // No pages: the whole list, each time.
    let (mut api, count) = served(100, |_, _| (200, "", rows(0, 130))).await;
    assert_eq!(api.list("/x").await.expect("rows").len(), 130);
    assert_eq!(count.load(Relaxed), 2);
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_made_anew() {
    let (mut api, count) = served(1, |n, _| (200, "", json!({ "result": n }))).await;
    for expect in 0..3 {
        assert_eq!(api.get("/x").await.expect("an answer")["result"], expect);
    }
    assert_eq!(count.load(Relaxed), 3);
}

#[test]
fn a_base_url_is_one_or_is_none() {
    for (url, expect) in [
        ("http://127.0.0.1:8780/client/v4", Some("http://127.0.0.1:8780 ")),
        ("http://127.0.0.1:8780/client/v4/", Some("http://127.0.0.1:8780 ")),
        ("http://127.0.0.1:8780", Some("http://127.0.0.1:8780 ")),
        ("https://api.test/client/v4", Some("https://api.test:443 ")),
        ("https://api.test/below/weir/v1", Some("https://api.test:443 /below")),
        ("http://[::1]/client/v4", Some("http://[::1]:80 ")),
        ("ftp://x", None),
        ("api.test", None),
        ("http://", None),
        ("http://user@x:1/", None),
    ] {
        let api = Api::new(url, "t").ok();
        let shown = api.map(|api| format!("{} {}", api.endpoint.text, api.base));
        assert_eq!(shown.as_deref(), expect, "{url}");
    }
}
