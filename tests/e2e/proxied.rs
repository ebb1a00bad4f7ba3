//! A node that reaches S3 through a proxy, which counts its requests and does it harm.

use std::time::Duration;

use tidegate_tests::{Cluster, FaultProxy, Node, Rclone, Ssh, until};

const LIMIT: Duration = Duration::from_secs(60);

/// A node with the user `alice` of the tenant `acme`.
pub(crate) struct Proxied {
    // Fields drop in this order: the node ends before what it needs.
    pub(crate) node: Node,
    pub(crate) ssh: Ssh,
    pub(crate) cluster: Cluster,
}

/// Settings with which a node gives up within seconds what it would try for minutes. Resets, 503s
/// and stalls are otherwise treated as by default.
pub(crate) const HASTY: [(&str, &str); 3] = [
    ("TIDEGATE_AWS__MAX_ATTEMPTS", "4"),
    ("TIDEGATE_AWS__TIMEOUTS__ATTEMPT", "5s"),
    ("TIDEGATE_AWS__TIMEOUTS__STALL", "1s"),
];

impl Proxied {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// With variables in the node's environment.
    pub(crate) fn start_with(variables: &[(&str, &str)]) -> Self {
        let cluster = Cluster::behind_proxy();
        cluster.add_user("alice");
        // No look at the host keys is to be among the requests that are counted.
        let still = ("TIDEGATE_HOST_KEYS__REFRESH_INTERVAL", "1h");
        let node = cluster.start_node_with("node", &[&[still], variables].concat());
        let ssh = Ssh::new(&cluster.login(&node, "alice"));
        Self { node, ssh, cluster }
    }

    pub(crate) fn proxy(&self) -> &FaultProxy {
        self.cluster.proxy()
    }

    /// rclone on the bucket, without the proxy between, and the remote path of the tenant's root.
    pub(crate) fn bucket(&self) -> (Rclone, String) {
        (Rclone::on_s3(&self.cluster.s3()), format!("s3:{}/{}", Cluster::BUCKET, Cluster::PREFIX))
    }

    /// Waits until no session and no file is open, and nothing of an unpublished upload is left in
    /// the store.
    pub(crate) fn wait_until_nothing_is_open(&self) {
        until("no session and no file is open any more", LIMIT, || {
            let open = ["tidegate_sftp_sessions", "tidegate_vfs_open_writers", "tidegate_vfs_open_readers"];
            (open.into_iter().all(|gauge| self.node.metric(gauge) == 0.0)).then_some(())
        });
        self.wait_until_no_parts_are_left();
    }

    /// Waits until nothing of an unpublished upload is left in the store.
    pub(crate) fn wait_until_no_parts_are_left(&self) {
        until("no unpublished upload is left in the store", LIMIT, || (self.unpublished_uploads() == 0).then_some(()));
    }

    /// How many multipart uploads the store has that were neither completed nor aborted.
    pub(crate) fn unpublished_uploads(&self) -> usize {
        let (rclone, _) = self.bucket();
        rclone.unpublished_uploads(Cluster::BUCKET)
    }

    /// Fails the test unless the node's memory has always been below its budget and 64 MiB.
    #[track_caller]
    pub(crate) fn assert_memory_was_bounded(&mut self) {
        const BESIDES: u64 = 64 << 20;
        let limit = ["write", "read"]
            .map(|side| self.node.metric(&format!("tidegate_vfs_memory_limit_bytes{{side=\"{side}\"}}")));
        let budget = limit.iter().sum::<f64>() as u64;
        let peak = self.node.process().peak_memory();
        println!("peak memory: {} MiB of {} MiB", peak >> 20, (budget + BESIDES) >> 20);
        assert!(
            peak < budget + BESIDES,
            "the node had {} MiB at its peak, with a budget of {}",
            peak >> 20,
            budget >> 20
        );
    }
}
