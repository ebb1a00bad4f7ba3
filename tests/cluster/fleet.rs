//! Nodes in the places of a balancer, each with a proxy of its own before S3 and before DynamoDB.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_tests::{Check, Cluster, FaultProxy, Haproxy, Login, Node, Rclone, until_ok};

const LIMIT: Duration = Duration::from_secs(60);

/// Nodes behind a balancer, and what they need. The tenant `acme` has the user `alice`.
pub(crate) struct Fleet {
    // Fields drop in this order: nodes end before what they need.
    members: Vec<Member>,
    pub(crate) balancer: Haproxy,
    pub(crate) cluster: Cluster,
    settings: Vec<(String, String)>,
    started: usize,
}

/// One place of the balancer, and how its nodes reach the services.
pub(crate) struct Member {
    node: Option<Node>,
    pub(crate) s3: FaultProxy,
    pub(crate) dynamodb: FaultProxy,
}

impl Fleet {
    /// As many nodes as `size`, with these variables in their environments.
    pub(crate) fn start(size: usize, settings: &[(&str, &str)]) -> Self {
        let cluster = Cluster::without_moto();
        cluster.add_user("alice");
        let balancer = Haproxy::start(cluster.folder(), size, Check::Readiness, false);
        let store = cluster.store();
        let members = (0..size).map(|_| Member {
            node: None,
            s3: FaultProxy::start(store.s3_address()),
            dynamodb: FaultProxy::start(store.dynamodb_address()),
        });
        let members = members.collect();
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut fleet = Self { members, balancer, cluster, settings, started: 0 };
        (0..size).for_each(|place| fleet.replace(place));
        fleet
    }

    pub(crate) fn size(&self) -> usize {
        self.members.len()
    }

    /// How `alice` logs in through the balancer.
    pub(crate) fn login(&self) -> Login {
        self.cluster.login_at(self.balancer.address(), "alice")
    }

    /// How she logs in to one node, past the balancer.
    pub(crate) fn direct_login(&self, place: usize) -> Login {
        self.cluster.login(self.node(place), "alice")
    }

    pub(crate) fn member(&self, place: usize) -> &Member {
        &self.members[place]
    }

    pub(crate) fn node(&self, place: usize) -> &Node {
        self.members[place].node.as_ref().expect("a node is in its place")
    }

    /// Asks a node to go, and waits until it has gone.
    pub(crate) fn drain(&mut self, place: usize) {
        self.signal(place, "TERM");
        self.wait_for_end(place);
    }

    /// Waits until a node has gone that was asked to.
    pub(crate) fn wait_for_end(&mut self, place: usize) {
        let mut node = self.members[place].node.take().expect("a node is in its place");
        let status = node.process().wait(Cluster::DRAIN_DEADLINE + LIMIT);
        assert_eq!(status.code(), Some(0), "a node that drains ends as it should");
    }

    /// Kills a node.
    pub(crate) fn kill(&mut self, place: usize) {
        self.signal(place, "KILL");
        let mut node = self.members[place].node.take().expect("a node is in its place");
        node.process().wait(LIMIT);
    }

    pub(crate) fn signal(&mut self, place: usize, signal: &str) {
        self.members[place].node.as_mut().expect("a node is in its place").process().signal(signal);
    }

    /// Starts a node in a place that is free, and waits until the balancer sends clients to it.
    pub(crate) fn replace(&mut self, place: usize) {
        assert!(self.members[place].node.is_none(), "the place is free");
        // A name of its own for each: the log of one is not taken for that of another.
        let name = format!("node{place}-{}", self.started);
        self.started += 1;
        let member = &self.members[place];
        let (s3, dynamodb) = (member.s3.url(), member.dynamodb.url());
        let mut variables: Vec<_> = self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        variables.push(("TIDEGATE_AWS__ENDPOINTS__S3", &s3));
        variables.push(("TIDEGATE_AWS__ENDPOINTS__DYNAMODB", &dynamodb));
        let node = self.cluster.start_node_with(&name, &variables);
        self.balancer.put(place, &node);
        self.members[place].node = Some(node);
    }

    /// Waits until no client is served any more.
    pub(crate) fn wait_until_nothing_is_open(&self) {
        const GAUGES: [&str; 3] = ["tidegate_sftp_sessions", "tidegate_vfs_open_writers", "tidegate_vfs_open_readers"];
        until_ok("no session and no file is open any more", LIMIT, || {
            let values =
                (0..self.size()).flat_map(|place| GAUGES.map(|name| (place, name, self.node(place).metric(name))));
            let open: Vec<_> = values.filter(|(_, _, value)| *value != 0.0).collect();
            if open.is_empty() { Ok(()) } else { Err(format!("{open:?}")) }
        });
    }

    /// From now on every answer of S3 to any node is held back for so long.
    pub(crate) fn delay_s3(&self, by: Duration) {
        self.members.iter().for_each(|member| member.s3.delay_answers(by));
    }

    /// Waits until nothing of an upload that was never published is left: no entry in the journal, and in the
    /// store neither a multipart upload nor the end of one.
    pub(crate) fn wait_until_no_upload_is_left(&self) {
        self.wait_until_no_upload_is_listed();
        let rclone = Rclone::on_s3(&self.cluster.s3());
        until_ok("no unpublished upload is left in the store", LIMIT, || {
            let uploads = rclone.unpublished_uploads(Cluster::BUCKET);
            let ends = rclone.objects_like(Cluster::BUCKET, "**/.tidegate/tails/**");
            if uploads == 0 && ends.is_empty() { Ok(()) } else { Err(format!("{uploads} uploads, the ends {ends:?}")) }
        });
    }

    /// The uploads that the journal has.
    pub(crate) fn uploads(&self) -> Value {
        self.cluster.cli(&["uploads", "list", "--tenant", "acme", "--output", "json"]).json()
    }

    /// Waits until the journal has no upload any more.
    pub(crate) fn wait_until_no_upload_is_listed(&self) {
        until_ok("no upload is left in the journal", LIMIT, || {
            let uploads = self.uploads();
            if uploads == json!([]) { Ok(()) } else { Err(uploads) }
        });
    }
}
