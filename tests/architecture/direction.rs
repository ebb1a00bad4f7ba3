//! Crates depend on one another in one direction only.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};
use tidegate_tests::repository_root;

/// Which workspace crates each may use in its library and binaries: only crates to its right in
/// `node ► ssh ► sftp ► vfs ► store`, with `aws` and `embedded` beside that line.
const ALLOWED: [(&str, &[&str]); 12] = [
    ("tidegate-bench", &["tidegate-chart"]),
    ("tidegate-chart", &[]),
    ("tidegate-microbench", &["tidegate-sftp", "tidegate-store", "tidegate-vfs"]),
    ("tidegate-scaling", &["tidegate-chart", "tidegate-ssh", "tidegate-store", "tidegate-vfs"]),
    ("tidegate-store", &[]),
    ("tidegate-vfs", &["tidegate-store"]),
    ("tidegate-sftp", &["tidegate-store", "tidegate-vfs"]),
    ("tidegate-ssh", &["tidegate-sftp", "tidegate-store", "tidegate-vfs"]),
    ("tidegate-aws", &["tidegate-store"]),
    ("tidegate-embedded", &["tidegate-store"]),
    (
        "tidegate-node",
        &["tidegate-aws", "tidegate-embedded", "tidegate-sftp", "tidegate-ssh", "tidegate-store", "tidegate-vfs"],
    ),
    ("tidegate-tests", &[]),
];

/// What they may use besides in their tests. The embedded services are tested through the very
/// client that a node uses.
const ALLOWED_IN_TESTS: [(&str, &[&str]); 1] = [("tidegate-embedded", &["tidegate-aws"])];

#[test]
fn crates_depend_only_rightward() {
    let metadata = MetadataCommand::new()
        .manifest_path(repository_root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata answers");
    let members: BTreeSet<_> = metadata.workspace_packages().iter().map(|package| package.name.to_string()).collect();
    let allowed: BTreeMap<_, _> = ALLOWED.into_iter().collect();
    let in_tests: BTreeMap<_, _> = ALLOWED_IN_TESTS.into_iter().collect();
    assert_eq!(members, allowed.keys().map(|name| (*name).to_owned()).collect(), "every crate has its rule");

    for package in metadata.workspace_packages() {
        let name = package.name.as_str();
        for dependency in package.dependencies.iter().filter(|dependency| members.contains(&dependency.name)) {
            let to = dependency.name.as_str();
            let fine = match dependency.kind {
                DependencyKind::Development => {
                    to == name
                        || allowed[name].contains(&to)
                        || in_tests.get(name).is_some_and(|more| more.contains(&to))
                }
                _ => allowed[name].contains(&to),
            };
            assert!(fine, "{name} may not depend on {to} ({:?}): see ARCHITECTURE.md", dependency.kind);
        }
    }
}
