//! One GET over plain HTTP: all that the side port needs.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Asks for `http://HOST:PORT/path`; `None` if nobody answers there.
///
/// # Panics
/// If the address is not of that form, or the answer is no HTTP.
pub fn get(url: &str) -> Option<(u16, String)> {
    let rest = url.strip_prefix("http://").expect("a plain HTTP address");
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut stream = TcpStream::connect(host).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
    Some((status, body.to_owned()))
}
