//! What a client said in the clear at the start: its version and the algorithms that come of its
//! offer. The transport does not tell, and operators want to know who still needs what.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::algorithms::preferred;

/// A version line takes 255 bytes at most and a packet 35,000 (RFC 4253, sections 4.2 and 6.1).
const MAX_HELLO: usize = 40_000;

const SSH_MSG_KEXINIT: u8 = 20;

/// Listens to the first bytes of a connection.
#[derive(Debug)]
pub(crate) struct ClientHello {
    nist_curves: bool,
    complete: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    negotiated: Negotiated,
}

/// What both sides use. Empty where the client said nothing that can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Negotiated {
    /// The client's version line, `SSH-2.0-…`, printable ASCII only.
    pub(crate) client: String,
    pub(crate) kex: String,
    /// The cipher, the same in both directions.
    pub(crate) cipher: String,
}

impl ClientHello {
    /// Of a client that is offered key exchange over NIST curves, or not.
    pub(crate) fn new(nist_curves: bool) -> Self {
        Self { nist_curves, complete: AtomicBool::new(false), state: Mutex::default() }
    }

    /// Takes note of received bytes, until the offer is complete.
    pub(crate) fn observe(&self, received: &[u8]) {
        if self.complete.load(Ordering::Relaxed) {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MAX_HELLO.saturating_sub(state.bytes.len());
        state.bytes.extend_from_slice(received.get(..room).unwrap_or(received));
        let parsed = parse(&state.bytes, self.nist_curves);
        if parsed.is_some() || state.bytes.len() >= MAX_HELLO {
            state.negotiated = parsed.unwrap_or_default();
            state.bytes = Vec::new();
            self.complete.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn negotiated(&self) -> Negotiated {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).negotiated.clone()
    }
}

/// Reads the version line and the KEXINIT packet behind it (RFC 4253, section 7.1); `None` if they
/// are not there yet.
fn parse(bytes: &[u8], nist_curves: bool) -> Option<Negotiated> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    let (line, packet) = bytes.split_at_checked(end + 1)?;
    let client =
        line.trim_ascii_end().iter().map(|&b| if b.is_ascii_graphic() || b == b' ' { char::from(b) } else { '?' });
    let (length, rest) = packet.split_first_chunk::<4>()?;
    let packet = rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    let mut negotiated = Negotiated { client: client.take(255).collect(), ..Negotiated::default() };
    // 1 byte of padding length, the message's number, 16 bytes of cookie.
    if packet.get(1) == Some(&SSH_MSG_KEXINIT)
        && let Some(mut lists) = packet.get(18..)
    {
        let ours = preferred(nist_curves);
        let mut next = || -> Option<Vec<&str>> {
            let (length, rest) = lists.split_first_chunk::<4>()?;
            let (list, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
            lists = rest;
            Some(std::str::from_utf8(list).ok()?.split(',').collect())
        };
        let (kex, _host_key, cipher) = (next(), next(), next());
        negotiated.kex = first_common(kex, ours.kex.iter().map(AsRef::as_ref));
        negotiated.cipher = first_common(cipher, ours.cipher.iter().map(AsRef::as_ref));
    }
    Some(negotiated)
}

/// The first algorithm of the client's list that we offer too (RFC 4253, section 7.1).
fn first_common<'a>(theirs: Option<Vec<&str>>, ours: impl Iterator<Item = &'a str> + Clone) -> String {
    let theirs = theirs.unwrap_or_default();
    theirs.into_iter().find(|name| ours.clone().any(|our| our == *name)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(lists: &[&str]) -> Vec<u8> {
        let mut payload = vec![4, SSH_MSG_KEXINIT];
        payload.extend_from_slice(&[7; 16]);
        for list in lists {
            payload.extend_from_slice(&(list.len() as u32).to_be_bytes());
            payload.extend_from_slice(list.as_bytes());
        }
        let mut bytes = b"SSH-2.0-Test_1.0 \x1b[31mcomment\r\n".to_vec();
        bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&payload);
        bytes
    }

    #[test]
    fn the_clients_preference_wins_among_what_we_offer() {
        let bytes = hello(&["ecdh-sha2-nistp256,curve25519-sha256,ext-info-c", "ssh-ed25519", "aes128-cbc,aes128-ctr"]);
        let client_hello = ClientHello::new(false);
        for byte in &bytes {
            client_hello.observe(&[*byte]);
        }
        let negotiated = client_hello.negotiated();
        assert_eq!(negotiated.client, "SSH-2.0-Test_1.0 ?[31mcomment");
        assert_eq!(negotiated.kex, "curve25519-sha256");
        assert_eq!(negotiated.cipher, "aes128-ctr");
        assert_eq!(parse(&bytes, true).unwrap().kex, "ecdh-sha2-nistp256");
    }

    #[test]
    fn what_can_not_be_read_is_left_empty_and_takes_no_memory() {
        let client_hello = ClientHello::new(false);
        for _ in 0..100 {
            client_hello.observe(&[0; 1000]);
        }
        assert_eq!(client_hello.negotiated(), Negotiated::default());
        assert_eq!(client_hello.state.lock().unwrap().bytes.capacity(), 0);
        assert_eq!(parse(&hello(&[]), false).unwrap().kex, "");
    }
}
