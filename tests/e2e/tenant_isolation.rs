//! A role for each tenant: nodes reach a tenant's files with credentials that reach no other's. The
//! session policies are enforced by `crates/aws/tests/server/session_policies.py`.

use std::collections::BTreeSet;

use serde_json::Value;
use tidegate_tests::{Cluster, Ssh, get, sha256_of_file, write_random_file};

const ROLE: (&str, &str) = ("TIDEGATE_AWS__TENANT_ROLE__ARN", "arn:aws:iam::123456789012:role/tidegate-tenant");

/// Every kind of thing that clients do, on files below one folder.
const SESSION: &str = "\
mkdir d
put large d/large
put small d/small
put small d/again
rename d/again d/renamed
rename d e
ls -l e
get e/large large.back
get e/small small.back
reput large e/small
chmod 600 e/renamed
symlink e/renamed link
rm link
rm e/renamed
-rm e/missing
-get missing
rm e/large
rm e/small
rmdir e
put small kept
";

#[test]
fn two_tenants_use_everything_with_credentials_that_reach_no_others_files() {
    let cluster = Cluster::on_moto();
    cluster.add_tenant("globex");
    let tenants = [("acme", "alice"), ("globex", "gina")];
    for (tenant, user) in tenants {
        cluster.add_user_of(tenant, user);
    }
    let node = cluster.start_node_with("node", &[ROLE]);
    for (_, user) in tenants {
        let ssh = Ssh::new(&cluster.login(&node, user));
        let sum = write_random_file(&ssh.file("large"), 2, 20 << 20);
        let small = write_random_file(&ssh.file("small"), 3, 100_000);
        let said = ssh.sftp(SESSION).ok();
        assert!(!said.stderr.to_lowercase().contains("permission"), "{}", said.stderr);
        assert_eq!(sha256_of_file(&ssh.file("large.back")), sum);
        assert_eq!(sha256_of_file(&ssh.file("small.back")), small);
        // A second session takes no role again.
        assert_eq!(ssh.sftp("ls -1\n").ok().stdout.trim(), "kept");
    }
    assert_eq!(node.metric("tidegate_store_tenant_cache_entries"), 2.0);
    assert_eq!(node.metric("tidegate_store_tenant_cache_lookups_total{result=\"miss\"}"), 2.0);
    let assumed = "tidegate_store_requests_total{call=\"assume_role\",result=\"ok\",service=\"sts\"}";
    assert_eq!(node.metric(assumed), 2.0);

    let (status, text) = get(&format!("{}/session-requests", cluster.s3().url)).expect("moto answers");
    assert_eq!(status, 200);
    let requests: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let (mut sessions, mut actions) = (BTreeSet::new(), BTreeSet::new());
    for request in &requests {
        let session = request["session"].as_str().unwrap();
        sessions.insert(session);
        actions.insert(request["action"].as_str().unwrap());
        assert_eq!(request["allowed"], true, "{request}");
        let own = format!("tenants/{session}/");
        let bucket = format!("arn:aws:s3:::{}", Cluster::BUCKET);
        match request["s3:prefix"].as_str() {
            Some(prefix) => assert!(request["resource"] == bucket.as_str() && prefix.starts_with(&own), "{request}"),
            None => assert!(request["resource"].as_str().unwrap().starts_with(&format!("{bucket}/{own}")), "{request}"),
        }
    }
    assert_eq!(sessions, BTreeSet::from(["acme", "globex"]));
    for action in ["s3:DeleteObject", "s3:GetObject", "s3:GetObjectTagging", "s3:ListBucket", "s3:PutObject"] {
        assert!(actions.contains(action), "{action} was not asked for: {actions:?}");
    }
}

#[test]
fn without_sts_sessions_are_refused_with_the_reason_and_the_node_stays_ready() {
    let cluster = Cluster::on_moto();
    cluster.add_user("alice");
    // Port 9 (discard) takes no connection.
    let away = [ROLE, ("TIDEGATE_AWS__ENDPOINTS__STS", "http://127.0.0.1:9"), ("TIDEGATE_AWS__MAX_ATTEMPTS", "1")];
    let node = cluster.start_node_with("node", &away);
    let said = Ssh::new(&cluster.login(&node, "alice")).sftp("ls\n").fails().stderr;
    assert!(said.contains("the storage can't be reached at the moment"), "{said}");
    node.wait_for_log("assume role failed: unavailable");
    node.wait_for_log("for the tenant acme");
    assert_eq!(node.get("/readyz").map(|(status, _)| status), Some(200));

    let mut command = cluster.command();
    command.envs(away).args(["check-config", "--probe", "--config"]).arg(cluster.config_file());
    let output = command.output().expect("the program runs");
    let table = String::from_utf8_lossy(&output.stdout);
    let row = table.lines().find(|line| line.starts_with("tenant role")).unwrap_or_else(|| panic!("{table}"));
    assert!(!output.status.success() && row.contains("FAILED") && row.contains("assume role failed"), "{row}");
}

#[test]
fn the_command_line_probes_the_role_and_refuses_tenants_that_it_can_not_limit() {
    let cluster = Cluster::on_moto();
    let run = |arguments: &[&str]| {
        let mut command = cluster.command();
        command.envs([ROLE]).args(arguments).arg("--config").arg(cluster.config_file());
        let output = command.output().expect("the program runs");
        (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (table, _) = run(&["check-config", "--probe"]);
    let row = table.lines().find(|line| line.starts_with("tenant role")).unwrap_or_else(|| panic!("{table}"));
    assert!(row.contains(" ok ") && row.contains("reaches no other's files"), "{row}");

    let prefix = format!("{}/", "?".repeat(500));
    let (_, said) = run(&["tenant", "add", "pattern", "--bucket", Cluster::BUCKET, "--prefix", &prefix]);
    assert!(said.contains("the tenant's prefix must be shorter"), "{said}");
    cluster.cli(&["tenant", "show", "pattern"]).fails();
}
