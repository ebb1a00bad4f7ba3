//! Zeros that the store has, for holes: none of their bytes passes through the node.

use tidegate_store::{
    Condition, CopySource, ObjectAttributes, ObjectKey, ObjectStore, PartNumber, StoreErrorKind, StoreResult,
};

use crate::assembly::{of_zeros, zeros};
use crate::copying::Copier;
use crate::hidden::Hidden;

/// An object of zeros begins as one of so many times less, which the store copies.
const SEEDS: u64 = 16;

/// An object of zeros. It stays for the next file with holes.
#[derive(Clone, Debug)]
pub(crate) struct Zeros {
    pub(crate) source: CopySource,
    /// How many there are, in bytes.
    pub(crate) len: u64,
}

impl Zeros {
    /// That of a tenant, of a little more than `group` bytes: as many as a group of parts may have. It is made if
    /// it is not there.
    ///
    /// # Errors
    /// Any that the store gives.
    pub(crate) async fn of(store: &dyn ObjectStore, copier: &Copier, hidden: &Hidden, group: u64) -> StoreResult<Self> {
        let seed = part_of_group(group);
        let len = seed * (SEEDS + 1);
        let key = hidden.zeros(len)?;
        match store.head(&key).await {
            Ok(meta) => return Ok(Self { source: CopySource { key, if_match: Some(meta.etag) }, len }),
            Err(error) if error.kind() == StoreErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        make(store, copier, hidden, &key, seed).await?;
        // Another node may have made it at the same moment.
        let etag = store.head(&key).await?.etag;
        Ok(Self { source: CopySource { key, if_match: Some(etag) }, len })
    }
}

/// How large the parts of a group are at most.
pub(crate) fn part_of_group(group: u64) -> u64 {
    (group / SEEDS).max(1)
}

/// Holes of fewer bytes are sent: having them copied would cost no less.
pub(crate) fn hole_min(group: u64) -> u64 {
    part_of_group(group)
}

async fn make(
    store: &dyn ObjectStore,
    copier: &Copier,
    hidden: &Hidden,
    key: &ObjectKey,
    seed: u64,
) -> StoreResult<()> {
    let (first, attributes) = (hidden.new_group()?, ObjectAttributes::default());
    let etag = store.put(&first, zeros(seed), of_zeros(seed), &attributes, &Condition::Always).await?.etag;
    let source = CopySource { key: first.clone(), if_match: Some(etag) };
    let upload = store.begin_upload(key, &attributes).await?;
    let made = async {
        let parts = (1..=SEEDS as u16 + 1).map_while(PartNumber::new).map(|number| (number, 0..seed)).collect();
        let parts = copier.copy_parts(&upload, &source, parts, copier.lanes()).await?;
        let whole = of_zeros(seed * (SEEDS + 1));
        store.complete_upload(&upload, &parts, Some(whole), &Condition::IfAbsent).await
    };
    let made = match made.await {
        Ok(_) => Ok(()),
        Err(error) => {
            let _ = store.abort_upload(&upload).await;
            if error.kind() == StoreErrorKind::PreconditionFailed { Ok(()) } else { Err(error) }
        }
    };
    // What stays is swept out some day.
    let _ = store.delete(&first).await;
    made
}
