//! The reader of PROXY headers on any bytes: no panic, no more taken than a header may have, and
//! what is behind it left.
#![no_main]

use std::io::ErrorKind;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use libfuzzer_sys::fuzz_target;
use tidegate_ssh::{is_proxy_header, read_proxy_header};

fuzz_target!(|input: &[u8]| {
    let mut rest = input;
    // A slice never makes a reader wait.
    let Poll::Ready(read) = pin!(read_proxy_header(&mut rest)).poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("a slice was waited for");
    };
    let taken = input.len() - rest.len();
    assert!(taken <= 16 + 2_048, "{taken} bytes were taken");
    match read {
        Ok(_) => assert!(is_proxy_header(&input[..taken]), "a header that does not look like one"),
        Err(error) => assert!(matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof)),
    }
});
