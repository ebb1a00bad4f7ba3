//! The reader of `authorized_keys` lines: no panic, and what it takes for the key is the whole end of
//! the line, so that no option can hide in it and no part of a key is lost.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_ssh::split_authorized_key;

fuzz_target!(|line: &str| {
    let Ok(Some((options, key))) = split_authorized_key(line) else { return };
    assert!(line.trim().ends_with(key), "{key}");
    assert!(options.iter().all(|option| !option.name.is_empty() && !option.name.contains([' ', '"', ','])));
    let again = split_authorized_key(key).expect("a key alone is read").expect("and is no comment");
    assert_eq!(again, (Vec::new(), key));
});
