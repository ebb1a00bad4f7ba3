//! A line of scp's protocol: a name that is taken is one name and no path, and what is understood is
//! understood in the same way when it is written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_sftp::scp::Message;

fuzz_target!(|line: &[u8]| {
    let Ok(message) = Message::parse(line) else { return };
    if let Message::Directory { name, .. } | Message::File { name, .. } = &message {
        assert!(!matches!(name.as_str(), "" | "." | "..") && !name.contains(['/', '\0', '\n']));
        assert!(name.len() <= 255);
    }
    let written = message.encode();
    assert_eq!(Message::parse(&written[..written.len() - 1]), Ok(message));
});
