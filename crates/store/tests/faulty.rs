//! What injected faults leave behind.
#![allow(clippy::unwrap_used, reason = "a test reports what it did not expect by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt};
use tidegate_store::faulty::{Call, Fault, FaultPlan, FaultyObjectStore, Rates};
use tidegate_store::memory::MemoryObjectStore;
use tidegate_store::{Body, Condition, ObjectAttributes, ObjectKey, ObjectStore, Receipt, StoreErrorKind, StoreResult};

fn key() -> ObjectKey {
    ObjectKey::new("key").unwrap()
}

async fn put(store: &dyn ObjectStore, bytes: Vec<u8>) -> StoreResult<Receipt> {
    let body = Body::from(Bytes::from(bytes));
    let checksum = body.checksum();
    store.put(&key(), body, checksum, &ObjectAttributes::default(), &Condition::IfAbsent).await
}

fn faulty(plan: FaultPlan) -> (MemoryObjectStore, FaultyObjectStore) {
    let memory = MemoryObjectStore::new();
    (memory.clone(), FaultyObjectStore::new(Arc::new(memory), plan))
}

#[tokio::test]
async fn a_fault_before_leaves_nothing() {
    let fault = Fault::Before(StoreErrorKind::AccessDenied);
    let (memory, store) = faulty(FaultPlan::none().on(Call::Put, 1, fault));
    assert_eq!(put(&store, vec![1]).await.unwrap_err().kind(), StoreErrorKind::AccessDenied);
    assert_eq!(memory.head(&key()).await.unwrap_err().kind(), StoreErrorKind::NotFound);
    put(&store, vec![1]).await.unwrap();
    assert_eq!(store.calls(Call::Put), 2);
    assert_eq!(store.calls(Call::Head), 0);
}

#[tokio::test]
async fn a_fault_after_hides_what_took_effect() {
    let fault = Fault::After(StoreErrorKind::Unavailable);
    let (memory, store) = faulty(FaultPlan::none().on(Call::Put, 1, fault));
    assert_eq!(put(&store, vec![1]).await.unwrap_err().kind(), StoreErrorKind::Unavailable);
    assert_eq!(memory.head(&key()).await.unwrap().size, 1);
    assert_eq!(put(&store, vec![1]).await.unwrap_err().kind(), StoreErrorKind::PreconditionFailed);
}

#[tokio::test]
async fn a_call_that_is_dropped_before_its_delay_ends_takes_no_effect() {
    let (memory, store) = faulty(FaultPlan::none().on(Call::Put, 1, Fault::Delay(Duration::from_secs(9))));
    let store = store.with_sleep(Arc::new(|_| futures::future::pending().boxed()));
    assert!(put(&store, vec![1]).now_or_never().is_none());
    assert_eq!(memory.head(&key()).await.unwrap_err().kind(), StoreErrorKind::NotFound);
}

#[tokio::test]
async fn a_broken_body_delivers_exactly_the_bytes_before_the_break() {
    // The chunks in memory have 64 KiB: breaks within a chunk, between two, at the ends, behind.
    let len = 200_000;
    for (after, arrives, breaks) in [
        (0, 0, true),
        (1, 1, true),
        (65_536, 65_536, true),
        (65_537, 65_537, true),
        (len - 1, len - 1, true),
        (len, len, false),
        (len + 1, len, false),
    ] {
        let (memory, store) = faulty(FaultPlan::none().from(Call::Get, 1, Fault::BrokenBody { after }));
        let bytes: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
        put(&memory, bytes.clone()).await.unwrap();
        let object = store.get(&key(), None, None).await.unwrap();
        assert_eq!(object.meta.size, len);
        let (mut found, mut error) = (Vec::new(), None);
        let mut body = object.body;
        while let Some(chunk) = body.next().await {
            assert!(error.is_none(), "nothing follows the error");
            match chunk {
                Ok(chunk) => found.extend_from_slice(&chunk),
                Err(broken) => error = Some(broken.kind()),
            }
        }
        assert!(found == bytes[..usize::try_from(arrives).unwrap()], "break after {after}");
        assert_eq!(error, breaks.then_some(StoreErrorKind::Unavailable), "break after {after}");
    }
}

#[tokio::test]
async fn the_same_seed_and_calls_meet_the_same_faults() {
    let rates = Rates { after: 0.2, before: 0.2, broken_body: 0.3, delay: 0.2, delay_max: Duration::from_secs(60) };
    let mut histories = Vec::new();
    for seed in [5, 5, 6] {
        let (_, store) = faulty(FaultPlan::seeded(seed, rates));
        let slept = Arc::new(AtomicU64::new(0));
        let total = Arc::clone(&slept);
        let store = store.with_sleep(Arc::new(move |delay| {
            total.fetch_add(u64::try_from(delay.as_nanos()).unwrap(), Ordering::SeqCst);
            futures::future::ready(()).boxed()
        }));
        let mut history = Vec::new();
        for _ in 0..50 {
            history.push(put(&store, vec![3; 300_000]).await.err().map(|error| error.report()));
            let got = match store.get(&key(), None, None).await {
                Ok(object) => {
                    object.body.map_ok(|chunk| chunk.len()).try_fold(0, |a, b| async move { Ok(a + b) }).await
                }
                Err(error) => Err(error),
            };
            history.push(got.err().map(|error| error.report()));
        }
        histories.push((history, slept.load(Ordering::SeqCst)));
    }
    assert_eq!(histories[0], histories[1]);
    assert_ne!(histories[0], histories[2]);
    assert!(histories[0].0.iter().any(Option::is_some) && histories[0].0.iter().any(Option::is_none));
    assert!(histories[0].1 > 0, "some calls were delayed");
}
