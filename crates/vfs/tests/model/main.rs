//! Random sequences of what clients do, on the file system over the in-memory store and on a
//! reference in memory: both must answer the same and hold the same, whatever the store does.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

#[path = "../harness/mod.rs"]
mod harness;
mod node;
mod operation;
mod reference;

use std::sync::Arc;

use proptest::prelude::*;
use tidegate_store::faulty::{FaultPlan, Rates};

use self::node::{Cluster, Ending};
use self::operation::{Answer, Operation, any_operation};
use self::reference::Tree;

/// Two nodes on one bucket, and no faults: each answer and the whole tree are as in the reference.
fn without_faults(operations: &[(usize, Operation)]) {
    run(async {
        let cluster = Cluster::new(FaultPlan::none());
        let mut tree = Tree::default();
        for (step, (node, operation)) in operations.iter().enumerate() {
            let expected = tree.apply(operation);
            let answer = cluster.apply(*node, operation).await;
            assert_eq!(answer, expected, "step {step}: {operation:?} on node {node}, of {operations:#?}");
            if step % 4 == 3 || step + 1 == operations.len() {
                assert_eq!(cluster.tree().await, tree, "after step {step}, of {operations:#?}");
            }
        }
        assert_eq!(cluster.uploads().await, 0, "nothing is left of uploads");
    });
}

/// A store that fails now and then, before or after it has done what was asked: whatever fails
/// leaves the tree as it was, or as it would be, or half-way as the operation allows.
fn with_faults(seed: u64, operations: &[(usize, Operation)]) {
    run(async {
        let rates = Rates { before: 0.05, after: 0.05, broken_body: 0.05, ..Rates::default() };
        let cluster = Cluster::new(FaultPlan::seeded(seed, rates));
        let mut tree = Tree::default();
        for (step, (node, operation)) in operations.iter().enumerate() {
            let before = tree.clone();
            let expected = tree.apply(operation);
            let answer = cluster.apply(*node, operation).await;
            let found = cluster.tree().await;
            let context = || format!("step {step}: {operation:?} on node {node}, seed {seed}, of {operations:#?}");
            if answer == expected {
                assert_eq!(found, tree, "{}", context());
            } else {
                assert!(answer.is_fault(), "{answer:?} instead of {expected:?}; {}", context());
                before.assert_half_done(operation, &found, &context);
                if before.is_long(operation) && expected == Answer::Done {
                    // A link that leads to it may lie in it.
                    let real = before.real_operation(operation).unwrap();
                    cluster.finish(*node, &real, &tree, &context).await;
                } else {
                    tree = found;
                }
            }
        }
    });
}

/// A node that dies before any of an operation's calls of the store, and another one that goes on.
fn with_crashes(operations: &[(usize, Operation)], crash_at: &[u16]) {
    run(async {
        let cluster = Cluster::new(FaultPlan::seeded(0, node::EVERY_CALL));
        let mut tree = Tree::default();
        for (step, (node, operation)) in operations.iter().enumerate() {
            let before = tree.clone();
            let expected = tree.apply(operation);
            let calls = crash_at[step % crash_at.len()];
            let context = || format!("step {step}: {operation:?} on node {node}, dies at {calls}, of {operations:#?}");
            match cluster.apply_and_die(*node, operation, calls).await {
                Ending::Answered(answer) => {
                    assert_eq!(answer, expected, "{}", context());
                    assert_eq!(cluster.tree().await, tree, "{}", context());
                }
                Ending::Died => {
                    let found = cluster.tree().await;
                    before.assert_half_done(operation, &found, &context);
                    if before.is_long(operation) && expected == Answer::Done {
                        let real = before.real_operation(operation).unwrap();
                        cluster.finish(1 - node, &real, &tree, &context).await;
                    } else {
                        tree = found;
                    }
                }
            }
        }
    });
}

fn run(test: impl Future<Output = ()>) {
    // The paused clock makes the lives of caches pass without waiting.
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(test);
}

fn operations() -> impl Strategy<Value = Arc<Vec<(usize, Operation)>>> {
    prop::collection::vec((0..2_usize, any_operation()), 1..40).prop_map(Arc::new)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, max_shrink_iters: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn it_does_what_a_file_system_does(operations in operations()) {
        without_faults(&operations);
    }

    #[test]
    fn whatever_the_store_does_nothing_is_lost_and_nothing_is_half(seed in 1..u64::MAX, operations in operations()) {
        with_faults(seed, &operations);
    }

    #[test]
    fn a_node_may_die_between_any_two_calls(
        operations in operations(),
        crash_at in prop::collection::vec(prop_oneof![2 => 0..12_u16, 2 => 12..64_u16, 2 => Just(u16::MAX)], 1..40),
    ) {
        with_crashes(&operations, &crash_at);
    }
}
