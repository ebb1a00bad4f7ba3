//! What the SSH side refuses, and how.

use tidegate_tests::{Ssh, keygen, python};

use crate::dev::Dev;

#[test]
fn ssh_audit_finds_nothing_to_fail() {
    let dev = Dev::start();
    let port = dev.node.ready().sftp.port().to_string();
    let output = python("ssh-audit").args(["--no-colors", "-p", &port, "127.0.0.1"]).output().unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(report.contains("mlkem768x25519-sha256"), "{report}");
    assert!(report.contains("kex-strict-s-v00@openssh.com"), "{report}");
    assert!(!report.contains("[fail]"), "{report}");
    // 0: all good, 2: warnings; 1 is an error of connection, 3 a failure.
    assert!(matches!(output.status.code(), Some(0 | 2)), "{}\n{report}", output.status);
}

#[test]
fn nothing_but_sftp_runs() {
    let mut dev = Dev::start();
    let refused = |options: &[&str], remote: &[&str]| {
        let output = dev.ssh.ssh(options, remote).fails();
        assert_eq!(output.stdout, "", "{options:?} {remote:?}");
        output.stderr
    };
    refused(&[], &["id"]);
    refused(&["-T"], &[]);
    refused(&["-tt"], &[]);
    refused(&["-tt"], &["id"]);
    refused(&["-s"], &["no-such-subsystem"]);
    refused(&["-A", "-X"], &["id"]);
    // Forwarding: what a client asks for is told no; the connection of a tunnel is never made.
    let admin = dev.node.ready().admin.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let said = refused(&["-W", &admin], &[]);
    assert!(said.contains("administratively prohibited"), "{said}");
    let strict = ["-o", "ExitOnForwardFailure=yes", "-N"];
    let said = refused(&[&strict[..], &["-R", "0:127.0.0.1:1"]].concat(), &[]);
    assert!(said.contains("remote port forwarding failed"), "{said}");
    let said = refused(&[&strict[..], &["-R", "/tmp/tidegate-never:127.0.0.1:1"]].concat(), &[]);
    assert!(said.contains("remote port forwarding failed"), "{said}");

    dev.node.process().assert_running();
    dev.ssh.sftp("pwd\n").ok();
}

#[test]
fn unknown_users_and_wrong_keys_look_alike() {
    let dev = Dev::start();
    let stranger = dev.folder.path().join("stranger");
    keygen(&stranger, &["-t", "ed25519"]);
    let attempt = |user: &str| {
        let mut login = dev.node.login();
        login.user = user.to_owned();
        login.identity_file.clone_from(&stranger);
        let output = Ssh::new(&login).ssh(&[], &["id"]).fails();
        assert_eq!(output.status.code(), Some(255));
        output.stderr.replace(user, "USER")
    };
    let known = attempt(&dev.node.login().user);
    assert!(known.contains("Permission denied (publickey)"), "{known}");
    for unknown in ["nobody-there", "root", "ab", "not a name", "../../etc"] {
        assert_eq!(attempt(unknown), known, "{unknown}");
    }
}

#[test]
fn old_algorithms_are_not_spoken() {
    let dev = Dev::start();
    for options in [
        &["KexAlgorithms=diffie-hellman-group14-sha1"][..],
        &["HostKeyAlgorithms=ssh-rsa"],
        &["Ciphers=aes256-cbc"],
        // A MAC is negotiated with a cipher that has none of its own.
        &["Ciphers=aes256-ctr", "MACs=hmac-sha1-etm@openssh.com"],
        &["KexAlgorithms=ecdh-sha2-nistp256"],
    ] {
        let options: Vec<_> = options.iter().flat_map(|option| ["-o", option]).collect();
        let said = dev.ssh.ssh(&options, &["id"]).fails().stderr;
        assert!(said.contains("Unable to negotiate"), "{options:?}: {said}");
    }
}

#[test]
fn every_promised_algorithm_connects() {
    let older = [("TIDEGATE_SSH__ECDSA_HOST_KEY", "true"), ("TIDEGATE_SSH__NIST_KEY_EXCHANGE", "true")];
    let dev = Dev::start_with(&older);
    for option in [
        "KexAlgorithms=curve25519-sha256",
        "HostKeyAlgorithms=ssh-ed25519",
        "HostKeyAlgorithms=ecdsa-sha2-nistp256",
        "HostKeyAlgorithms=rsa-sha2-512",
        "HostKeyAlgorithms=rsa-sha2-256",
        "Ciphers=aes256-gcm@openssh.com",
        "Ciphers=aes128-gcm@openssh.com",
        "Ciphers=chacha20-poly1305@openssh.com",
        "Ciphers=aes256-ctr",
        "MACs=hmac-sha2-512",
        "KexAlgorithms=ecdh-sha2-nistp384",
    ] {
        // Each on its own: a host is not remembered with all its keys.
        let ssh = Ssh::new(&dev.node.login());
        // A MAC is negotiated with a cipher that has none of its own.
        let cipher: &[&str] = if option.starts_with("MACs") { &["-o", "Ciphers=aes256-ctr"] } else { &[] };
        ssh.sftp_with(&[&["-o", option], cipher].concat(), "pwd\n").ok();
    }
}
