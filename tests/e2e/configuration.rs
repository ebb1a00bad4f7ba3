//! The configuration, and a node that has not got what it needs.

use std::fs;

use tidegate_tests::{Cluster, tidegate};

#[test]
fn unknown_and_impossible_settings_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node.toml");
    for (text, named) in [
        ("[ssh]\nlisten_on = \"127.0.0.1:0\"\n", "listen_on"),
        ("[no_such_section]\n", "no_such_section"),
        ("[vfs]\npart_size = \"1MiB\"\n", "part_size"),
        ("[ssh]\nmax_channels = 0\n", "max_channels"),
        ("cluster = \n", "1:"),
    ] {
        fs::write(&file, text).unwrap();
        for command in ["check-config", "serve"] {
            let output = tidegate(folder.path()).args([command, "--config"]).arg(&file).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(!output.status.success() && said.contains(named), "{command} {text}: {said}");
        }
    }
}

#[test]
fn variables_override_the_file_and_unknown_ones_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node.toml");
    fs::write(&file, "[ssh]\nmax_channels = 3\n").unwrap();
    let check = |name: &str, value: &str| {
        tidegate(folder.path()).args(["check-config", "--config"]).arg(&file).env(name, value).output().unwrap()
    };
    let output = check("TIDEGATE_SSH__MAX_CHANNELS", "5");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && shown.contains("max_channels = 5"), "{shown}");
    let output = check("TIDEGATE_SSH__MAX_CHANELS", "5");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.to_uppercase().contains("MAX_CHANELS"), "{said}");
}

#[test]
fn a_node_without_host_keys_does_not_serve_and_says_what_to_do() {
    let cluster = Cluster::on_bare_dev_store();
    cluster.cli(&["init"]).ok();
    let said = cluster.cli(&["serve"]).fails().stderr;
    assert!(said.contains("tidegate hostkey init"), "{said}");
    let probe = cluster.cli(&["check-config", "--probe"]).fails();
    assert!(probe.stdout.contains("tidegate hostkey init"), "{}{}", probe.stdout, probe.stderr);
    cluster.cli(&["hostkey", "init"]).ok();
    cluster.cli(&["check-config", "--probe"]).ok();
}

#[test]
fn a_store_that_ignores_conditions_is_named() {
    // moto ignores If-Match on CompleteMultipartUpload.
    let cluster = Cluster::on_moto();
    let probe = cluster.cli(&["check-config", "--probe"]).fails();
    assert!(probe.stdout.contains("ignores If-Match"), "{}{}", probe.stdout, probe.stderr);
}

#[test]
fn host_keys_sealed_for_another_cluster_do_not_open() {
    let cluster = Cluster::on_bare_moto();
    cluster.cli(&["init"]).ok();
    cluster.cli(&["hostkey", "init"]).ok();
    let config = fs::read_to_string(cluster.config_file()).unwrap();
    fs::write(cluster.config_file(), config.replace("cluster = \"test\"", "cluster = \"other\"")).unwrap();
    let said = cluster.cli(&["serve"]).fails().stderr;
    assert!(said.contains("host keys"), "{said}");
}
