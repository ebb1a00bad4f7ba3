//! The side port.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::dev::Dev;

/// The families an operator can rely on, with their types.
const PROMISED: [(&str, &str); 38] = [
    ("process_resident_memory_bytes", "gauge"),
    ("tidegate_build_info", "gauge"),
    ("tidegate_host_keys", "gauge"),
    ("tidegate_host_keys_changed_timestamp_seconds", "gauge"),
    ("tidegate_host_keys_checked_timestamp_seconds", "gauge"),
    ("tidegate_host_keys_current", "gauge"),
    ("tidegate_host_keys_refreshes_total", "counter"),
    ("tidegate_host_keys_revision", "gauge"),
    ("tidegate_sftp_bytes_total", "counter"),
    ("tidegate_sftp_handles", "gauge"),
    ("tidegate_sftp_malformed_packets_total", "counter"),
    ("tidegate_sftp_operation_duration_seconds", "histogram"),
    ("tidegate_sftp_operations_total", "counter"),
    ("tidegate_sftp_refused_handles_total", "counter"),
    ("tidegate_sftp_sessions", "gauge"),
    ("tidegate_sftp_throttled_seconds_total", "counter"),
    ("tidegate_ssh_authentications_total", "counter"),
    ("tidegate_ssh_connections_open", "gauge"),
    ("tidegate_ssh_connections_total", "counter"),
    ("tidegate_store_account_cache_lookups_total", "counter"),
    ("tidegate_store_bytes_total", "counter"),
    ("tidegate_store_request_duration_seconds", "histogram"),
    ("tidegate_store_requests_total", "counter"),
    ("tidegate_vfs_attribute_cache_total", "counter"),
    ("tidegate_vfs_copies_in_flight", "gauge"),
    ("tidegate_vfs_directory_renames", "gauge"),
    ("tidegate_vfs_memory_limit_bytes", "gauge"),
    ("tidegate_vfs_memory_used_bytes", "gauge"),
    ("tidegate_vfs_prefetched_in_vain_bytes_total", "counter"),
    ("tidegate_vfs_prefetches", "gauge"),
    ("tidegate_vfs_prefetches_in_vain_total", "counter"),
    ("tidegate_vfs_prefetches_started_total", "counter"),
    ("tidegate_vfs_prefetches_used_total", "counter"),
    ("tidegate_vfs_renamed_objects_total", "counter"),
    ("tidegate_vfs_quota_refusals_total", "counter"),
    ("tidegate_vfs_scratch_limit_bytes", "gauge"),
    ("tidegate_vfs_scratch_used_bytes", "gauge"),
    ("tidegate_vfs_uploads_published_total", "counter"),
];

#[test]
fn metrics_are_well_formed_and_hold_what_is_promised() {
    let dev = Dev::start();
    fs::write(dev.ssh.file("f"), vec![7; 100_000]).unwrap();
    dev.ssh.sftp("put f\nget f back\nls -l\n-get missing\n").ok();

    let (status, text) = dev.node.get("/metrics").expect("the side port answers");
    assert_eq!(status, 200);
    let mut types = BTreeMap::new();
    let mut helped = BTreeSet::new();
    let mut samples = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("name and type");
            assert!(types.insert(name, kind).is_none(), "{name} has two types");
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("name and help");
            assert!(help.len() > 5 && helped.insert(name), "{line}");
        } else {
            let (sample, value) = line.rsplit_once(' ').expect("a sample and its value");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(samples.insert(sample), "twice: {sample}");
        }
    }
    for (name, kind) in PROMISED {
        assert_eq!(types.get(name), Some(&kind), "{name}");
        assert!(helped.contains(name), "{name}");
    }

    assert_eq!(dev.node.metric("tidegate_sftp_bytes_total{direction=\"in\"}"), 100_000.0);
    assert_eq!(dev.node.metric("tidegate_sftp_bytes_total{direction=\"out\"}"), 100_000.0);
    assert_eq!(dev.node.metric("tidegate_vfs_uploads_published_total"), 1.0);
}

#[test]
fn health_readiness_and_version_answer() {
    let dev = Dev::start();
    for path in ["/healthz", "/readyz"] {
        let (status, _) = dev.node.get(path).expect("the side port answers");
        assert_eq!(status, 200, "{path}");
    }
    let (status, version) = dev.node.get("/version").expect("the side port answers");
    assert_eq!(status, 200);
    let version: serde_json::Value = serde_json::from_str(&version).expect("JSON");
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"), "{version}");
    assert_eq!(dev.node.get("/nothing").expect("the side port answers").0, 404);
}
