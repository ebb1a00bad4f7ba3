//! The form of a sealed blob on any bytes: no panic, and the pieces that are found are the input.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_store::envelope;

fuzz_target!(|blob: &[u8]| {
    let Ok(parsed) = envelope::parse(blob) else { return };
    assert!(blob.starts_with(parsed.header));
    assert!(blob.ends_with(parsed.ciphertext));
    assert!(parsed.header.len() + parsed.ciphertext.len() <= blob.len());
});
