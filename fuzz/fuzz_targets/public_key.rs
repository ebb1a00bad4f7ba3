//! The check of a public key that an administrator pastes: no panic, and what is accepted is in
//! the one canonical form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_ssh::check_public_key;

fuzz_target!(|line: &str| {
    let Ok(parsed) = check_public_key(line) else { return };
    assert!(parsed.id.starts_with("SHA256:"), "{}", parsed.id);
    let again = check_public_key(&parsed.key).expect("the canonical form is accepted");
    assert_eq!((again.id, again.key), (parsed.id, parsed.key));
});
