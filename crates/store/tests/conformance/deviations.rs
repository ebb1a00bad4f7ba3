use std::sync::Arc;

use tidegate_store::ObjectStore;
use tidegate_store::conformance::{self, Deviation};
use tidegate_store::memory::MemoryObjectStore;
use tokio::task::JoinSet;

use crate::broken::Broken;

/// Whether the suite passes a store.
async fn passes(store: Arc<dyn ObjectStore>, deviations: Vec<Deviation>) -> bool {
    let run = tokio::spawn(async move { conformance::object_store(store, "conformance/", &deviations).await });
    match run.await {
        Ok(()) => true,
        Err(error) => {
            assert!(error.is_panic(), "{error}");
            false
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_finds_every_known_deviation_and_accepts_it_where_listed() {
    let mut runs = JoinSet::new();
    for deviation in Deviation::ALL {
        runs.spawn(async move {
            assert!(!passes(Arc::new(Broken::new(deviation)), vec![]).await, "{deviation:?} goes unnoticed");
            assert!(passes(Arc::new(Broken::new(deviation)), vec![deviation]).await, "{deviation:?} is not accepted");
        });
    }
    runs.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_deviation_that_does_not_show_fails_the_suite() {
    let mut runs = JoinSet::new();
    for deviation in Deviation::ALL {
        // A race that is lost now and then can't be asked to be lost.
        if deviation != Deviation::PutIfMatchRaces {
            runs.spawn(async move {
                let strict = Arc::new(MemoryObjectStore::new());
                assert!(!passes(strict, vec![deviation]).await, "{deviation:?} stays on the list for ever");
            });
        }
    }
    runs.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_tags_only_look_like_md5s_must_not_tell_them_as_such() {
    assert!(!passes(Arc::new(Broken::taking_tags_for_md5s()), vec![]).await);
}
