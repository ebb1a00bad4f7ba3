//! The PROXY protocol: a balancer that ends the client's connection tells on its own whose it was.
//!
//! Source: HAProxy, "The PROXY protocol, versions 1 & 2", 2020. A header is believed only from the
//! networks that the operator names: whoever may send one chooses the address that limits and logs see.

use std::io;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use ppp::{HeaderResult, v1, v2};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};

/// From whom a header is expected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyProtocol {
    /// From nobody.
    #[default]
    Off,
    /// From the trusted networks, and nobody else may connect.
    Required,
    /// From the trusted networks; others connect without.
    Trusted,
}

/// What to do with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expectation {
    /// It begins with a header.
    Header,
    /// It is not to be let in.
    Nothing,
    /// It begins with SSH.
    NoHeader,
}

/// The longest line of version 1, CRLF included (section 2.1).
const V1_MAX: usize = 107;

/// What stands in front of version 2's addresses: signature, version and command, family, length.
const V2_FIXED: usize = 16;

/// How long version 2's rest may be: addresses take 36 bytes, AWS's and HAProxy's additions some dozen.
const V2_REST_MAX: usize = 2_048;

const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const V1_PREFIX: &[u8; 6] = b"PROXY ";

impl ProxyProtocol {
    pub(crate) fn expects(self, peer: IpAddr, trusted: &[IpNet]) -> Expectation {
        let peer = peer.to_canonical();
        match self {
            Self::Off => Expectation::NoHeader,
            _ if trusted.iter().any(|network| network.contains(&peer)) => Expectation::Header,
            Self::Trusted => Expectation::NoHeader,
            Self::Required => Expectation::Nothing,
        }
    }
}

/// Whether what a connection begins with can only be a header, as far as these bytes tell.
pub fn is_proxy_header(beginning: &[u8]) -> bool {
    // Neither SSH nor HTTP begins with either.
    beginning.starts_with(b"PROXY") || beginning.starts_with(b"\r\n\r\n")
}

/// Takes a header off a stream, and no byte behind it: the client's address; `None` if the balancer
/// speaks for itself (LOCAL, UNKNOWN), as its health checks do.
///
/// # Errors
/// `InvalidData` if the stream does not begin with a header, or with one longer than 2,064 bytes;
/// `UnexpectedEof` if it ends inside; any of the stream.
pub async fn read_proxy_header(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let mut header = Vec::with_capacity(V1_MAX);
    read_more(stream, &mut header, V1_PREFIX.len()).await?;
    if header == *V1_PREFIX {
        // Byte by byte, since what follows the line is not ours. It comes in one segment.
        while !header.ends_with(b"\r\n") {
            if header.len() >= V1_MAX {
                return Err(invalid("the line of the PROXY header is too long"));
            }
            read_more(stream, &mut header, 1).await?;
        }
    } else {
        if !V2_SIGNATURE.starts_with(&header) {
            return Err(invalid("there is no PROXY header"));
        }
        read_more(stream, &mut header, V2_FIXED - V1_PREFIX.len()).await?;
        let rest = match header.last_chunk::<2>() {
            Some(length) => usize::from(u16::from_be_bytes(*length)),
            None => 0,
        };
        if !header.starts_with(V2_SIGNATURE) || rest > V2_REST_MAX {
            return Err(invalid("the PROXY header is not one of version 2, or too long"));
        }
        read_more(stream, &mut header, rest).await?;
    }
    parse(&header)
}

async fn read_more(stream: &mut (impl AsyncRead + Unpin), header: &mut Vec<u8>, bytes: usize) -> io::Result<()> {
    let before = header.len();
    header.resize(before + bytes, 0);
    stream.read_exact(header.get_mut(before..).unwrap_or_default()).await.map(drop)
}

fn parse(header: &[u8]) -> io::Result<Option<SocketAddr>> {
    let address = |ip: IpAddr, port| Some(SocketAddr::new(ip, port));
    Ok(match HeaderResult::parse(header) {
        HeaderResult::V1(Ok(header)) => match header.addresses {
            v1::Addresses::Tcp4(four) => address(four.source_address.into(), four.source_port),
            v1::Addresses::Tcp6(six) => address(six.source_address.into(), six.source_port),
            v1::Addresses::Unknown => None,
        },
        HeaderResult::V2(Ok(header)) if header.command == v2::Command::Local => None,
        HeaderResult::V2(Ok(header)) => match header.addresses {
            v2::Addresses::IPv4(four) => address(four.source_address.into(), four.source_port),
            v2::Addresses::IPv6(six) => address(six.source_address.into(), six.source_port),
            v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
        },
        HeaderResult::V1(Err(error)) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        HeaderResult::V2(Err(error)) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
    })
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(mut bytes: &[u8]) -> (io::Result<Option<SocketAddr>>, &[u8]) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let result = runtime.block_on(read_proxy_header(&mut bytes));
        (result, bytes)
    }

    fn version_2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let mut header = [&V2_SIGNATURE[..], &[0x20 | command, family]].concat();
        header.extend_from_slice(&(addresses.len() as u16).to_be_bytes());
        header.extend_from_slice(addresses);
        header
    }

    #[test]
    fn both_versions_tell_the_client_s_address_and_leave_what_follows() {
        let six =
            [&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7][..], &[0; 16], &[0x30, 0x39, 0, 22]].concat();
        // AWS adds the endpoint's id as a TLV.
        let four = [&[192, 0, 2, 7, 10, 0, 0, 1, 0x30, 0x39, 0, 22][..], &[0xea, 0, 4, 1, b'v', b'p', b'c']].concat();
        for (header, expected) in [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 22\r\n".to_vec(), "192.0.2.7:12345"),
            (b"PROXY TCP6 2001:db8::7 2001:db8::1 12345 22\r\n".to_vec(), "[2001:db8::7]:12345"),
            (version_2(1, 0x11, &four), "192.0.2.7:12345"),
            (version_2(1, 0x21, &six), "[2001:db8::7]:12345"),
        ] {
            let bytes = [&header[..], b"SSH-2.0-Client\r\n"].concat();
            let (address, rest) = read(&bytes);
            assert_eq!(address.unwrap(), Some(expected.parse().unwrap()));
            assert_eq!(rest, b"SSH-2.0-Client\r\n");
            for cut in 0..header.len() {
                assert_eq!(read(&header[..cut]).0.unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "at {cut}");
            }
        }
    }

    #[test]
    fn a_balancer_may_speak_for_itself() {
        for header in [b"PROXY UNKNOWN\r\n".to_vec(), version_2(0, 0, &[]), version_2(1, 0, &[])] {
            assert_eq!(read(&header).0.unwrap(), None);
        }
    }

    #[test]
    fn what_is_no_header_is_refused_and_bounded() {
        let long = [b"PROXY TCP4 ", &[b'1'; 200][..]].concat();
        let wrong = [&V2_SIGNATURE[..11], &[0; 20]].concat();
        let huge = [&V2_SIGNATURE[..], &[0x21, 0x11, 0xff, 0xff], &[0; 70_000]].concat();
        for bytes in [&b"SSH-2.0-Client\r\n"[..], b"PROXY TCP4 a b c d\r\n", &long, &wrong, &huge] {
            let (result, rest) = read(bytes);
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::InvalidData);
            assert!(bytes.len() - rest.len() <= V1_MAX, "no more was read than could be one");
        }
    }

    #[test]
    fn a_header_is_believed_from_trusted_networks_only() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
        let expects = |mode: ProxyProtocol, peer: &str| mode.expects(peer.parse().unwrap(), &trusted);
        for inside in ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1"] {
            assert_eq!(expects(ProxyProtocol::Trusted, inside), Expectation::Header);
            assert_eq!(expects(ProxyProtocol::Required, inside), Expectation::Header);
            assert_eq!(expects(ProxyProtocol::Off, inside), Expectation::NoHeader);
        }
        assert_eq!(expects(ProxyProtocol::Trusted, "192.0.2.1"), Expectation::NoHeader);
        assert_eq!(expects(ProxyProtocol::Required, "192.0.2.1"), Expectation::Nothing);
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(bytes in prop::collection::vec(prop::num::u8::ANY, 0..400), version in 0..3_usize) {
            let beginning: &[u8] = [&b"PROXY "[..], V2_SIGNATURE, b""][version];
            let _ = read(&[beginning, &bytes].concat());
        }
    }
}
