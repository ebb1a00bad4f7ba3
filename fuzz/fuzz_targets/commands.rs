//! The command line of an exec request: whatever the bytes, it is one of ours or refused, and what is
//! quoted comes back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_sftp::Command;
use tidegate_sftp::commands::split;

fuzz_target!(|line: &[u8]| {
    let parsed = Command::parse(line);
    let Ok(words) = split(line) else {
        assert!(parsed.is_err(), "a line that can't be split runs nothing");
        return;
    };
    if parsed.is_ok() {
        let program = words.first().map(|word| word.bytes.as_slice());
        assert!(matches!(program, Some(b"scp" | b"md5sum" | b"sha1sum" | b"sha256sum")));
    }
    let mut again = Vec::new();
    for word in &words {
        assert!(word.special.iter().all(|at| *at < word.bytes.len()));
        again.push(b'\'');
        for byte in &word.bytes {
            if *byte == b'\'' { again.extend(b"'\\''") } else { again.push(*byte) }
        }
        again.extend(b"' ");
    }
    if let Ok(same) = split(&again) {
        assert!(same.iter().map(|word| &word.bytes).eq(words.iter().map(|word| &word.bytes)));
    }
});
