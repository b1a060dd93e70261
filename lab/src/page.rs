//! The page of a run: one document without outside resources, on loopback, which asks for the state
//! twice a second.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::board::Board;

/// The document.
const PAGE: &str = include_str!("page.html");
/// How long a browser may take to send its request.
const READ_LIMIT: Duration = Duration::from_secs(5);
/// Octets of a request's head that are read; browsers send a few hundred.
const HEAD_MAX: u64 = 16 * 1024;

/// Serves the page until the process ends; gives its address.
///
/// # Errors
/// When the port is taken.
pub fn serve(board: Board, port: u16) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .with_context(|| format!("serving the page on port {port}"))?;
    let address = listener.local_addr()?;
    thread::Builder::new().name("page".to_owned()).spawn(move || {
        for stream in listener.incoming().flatten() {
            // A browser that goes away is none of the run's business.
            let _ = answer(stream, &board);
        }
    })?;
    Ok(address)
}

fn answer(stream: TcpStream, board: &Board) -> io::Result<()> {
    stream.set_read_timeout(Some(READ_LIMIT))?;
    let mut line = String::new();
    let mut reader = BufReader::new((&stream).take(HEAD_MAX));
    reader.read_line(&mut line)?;
    // The rest of the head is read, so that closing resets nothing.
    let mut rest = String::new();
    while reader.read_line(&mut rest)? > 2 {
        rest.clear();
    }
    let (status, kind, body) = match line.split(' ').nth(1) {
        Some("/") => ("200 OK", "text/html; charset=utf-8", PAGE.to_owned()),
        Some("/state.json") => {
            let body = serde_json::to_string(&board.picture()).map_err(io::Error::other)?;
            ("200 OK", "application/json", body)
        }
        _ => ("404 Not Found", "text/plain", "Only / and /state.json are here.\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n",
        body.len()
    );
    (&stream).write_all(head.as_bytes())?;
    (&stream).write_all(body.as_bytes())
}
