use std::time::Duration;

use futures::FutureExt;
use prometheus::{IntCounter, IntGauge};

use super::*;
use crate::in_flight::InFlight;
use crate::shares::Shares;

#[tokio::test]
async fn a_write_that_was_admitted_is_taken_though_a_flush_finds_nothing_in_between() {
    let folder = tempfile::tempdir().unwrap();
    let gauge = |name: &str| IntGauge::new(name, name).unwrap();
    let (used, refusals) = (gauge("used"), IntCounter::new("refusals", "refusals").unwrap());
    let scratch = Scratch::new(folder.path().to_owned(), 1 << 20, gauge("scratch"));
    let share = Shares::new(1 << 20, used.clone()).tenant("tenant".parse().unwrap(), InFlight::unlimited()).writer();
    let mut edit = Edit::new(None, 0, &scratch, Memory::new(share, Duration::from_secs(5), refusals), 0);

    let admitted = edit.admit(0, 3, || futures::future::pending().boxed());
    assert!(matches!(admitted, Ok(Admission::Ready)));
    assert!(edit.begin_flush().is_none(), "nothing was written yet");
    edit.write(0, Bytes::from_static(b"one")).unwrap();
    assert!(used.get() > 0, "what it was admitted with is still its own");

    let flush = edit.begin_flush().unwrap();
    edit.end_flush(flush.run().await);
    assert!(edit.begin_flush().is_none());
    assert_eq!((edit.size(), used.get()), (3, 0), "and goes back once the bytes are in the scratch file");
    assert_eq!(edit.read(0, 10).await.unwrap().chunks().concat(), b"one");
}
