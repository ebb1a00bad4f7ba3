//! Names come back byte for byte, and lead nowhere else.

use std::collections::BTreeSet;
use std::fs;

use crate::dev::Dev;

#[test]
fn every_name_round_trips_byte_for_byte() {
    let Dev { node: _node, ssh, folder: _folder } = Dev::start();
    let long = "n".repeat(255);
    let names = [
        "a b",
        " leading and trailing ",
        "plus+percent%41hash#",
        "question?and*star[x]",
        "ampersand&equals=semicolon;",
        ".hidden",
        "...",
        "-dash",
        "~tilde",
        "quote\"and'apostrophe",
        "back\\slash",
        "colon:pipe|less<greater>",
        "line\nbreak",
        "tab\there",
        "\u{fc}ml\u{e4}ut",
        // The same letter in two forms: two names.
        "e\u{301}",
        "\u{e9}",
        "\u{65e5}\u{672c}\u{8a9e}",
        "\u{1f30a}",
        "\u{7f}\u{1}control",
        &long,
    ];
    fs::create_dir(ssh.file("names")).unwrap();
    for name in names {
        fs::write(ssh.file("names").join(name), name).unwrap();
    }
    ssh.sftp("put -r names\nget -r names back\n").ok();
    let back: BTreeSet<_> = fs::read_dir(ssh.file("back"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(back, names.iter().map(|name| (*name).to_owned()).collect());
    for name in names {
        assert_eq!(fs::read_to_string(ssh.file("back").join(name)).unwrap(), name, "{name:?}");
    }
}

#[test]
fn names_that_no_file_can_have_get_a_clear_error() {
    let Dev { node: _node, ssh, folder: _folder } = Dev::start();
    fs::write(ssh.file("f"), "x").unwrap();
    let output = ssh.sftp(&format!("put f {}\n", "n".repeat(256))).fails();
    // The words of OpenSSH for SSH_FX_BAD_MESSAGE; it does not show the server's.
    assert!(output.stderr.contains("Bad message"), "{}", output.stderr);
}

#[test]
fn no_path_leaves_the_root() {
    let Dev { node: _node, ssh, folder: _folder } = Dev::start();
    fs::write(ssh.file("f"), "x").unwrap();
    let listing = ssh.sftp("put f ../../../../f\ncd ..\npwd\nls -1 /../..\nls -1 ../../..\n").ok().stdout;
    assert!(listing.contains("Remote working directory: /\n"), "{listing}");
    assert_eq!(listing.lines().filter(|line| line.trim_end().ends_with('f')).count(), 2, "{listing}");
}
