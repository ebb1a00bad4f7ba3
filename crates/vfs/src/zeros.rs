//! Zeros that the store has, for holes: none of their bytes passes through the node.

use tidegate_store::{Condition, CopySource, ObjectAttributes, ObjectKey, PartNumber, StoreErrorKind, StoreResult};

use crate::assembly::{of_zeros, zeros};
use crate::config::Config;
use crate::writer::Target;

/// How many parts a group has, where they are not smaller than they may be.
const PARTS_PER_GROUP: u64 = 16;

/// How parts are joined, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grouping {
    /// Of a group, about: less than one part more.
    pub(crate) group: u64,
    /// Of its parts at most. Holes of fewer bytes are sent: having them copied would cost no less.
    pub(crate) part: u64,
}

impl Grouping {
    pub(crate) fn of(config: &Config) -> Self {
        let group = config.part_group.as_u64();
        Self { group, part: (group / PARTS_PER_GROUP).max(config.part_size.as_u64()) }
    }
}

/// An object of zeros. It stays for the next file with holes.
#[derive(Clone, Debug)]
pub(crate) struct Zeros {
    pub(crate) source: CopySource,
    /// How many there are, in bytes.
    pub(crate) len: u64,
}

impl Zeros {
    /// That of a tenant, of as many as a group of parts may have. It is made if it is not there, of as many as a
    /// part has, which the store copies.
    ///
    /// # Errors
    /// Any that the store gives.
    pub(crate) async fn of(target: &Target, grouping: Grouping) -> StoreResult<Self> {
        let Target { store, hidden, .. } = target;
        let (seed, times) = (grouping.part, grouping.group / grouping.part + 1);
        let len = seed * times;
        let key = hidden.zeros(len)?;
        match store.head(&key).await {
            Ok(meta) => return Ok(Self { source: CopySource { key, if_match: Some(meta.etag) }, len }),
            Err(error) if error.kind() == StoreErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        make(target, &key, (seed, times)).await?;
        // Another node may have made it at the same moment.
        let etag = store.head(&key).await?.etag;
        Ok(Self { source: CopySource { key, if_match: Some(etag) }, len })
    }
}

async fn make(target: &Target, key: &ObjectKey, (seed, times): (u64, u64)) -> StoreResult<()> {
    let Target { store, copier, hidden, .. } = target;
    let (first, attributes) = (hidden.new_group()?, ObjectAttributes::default());
    let etag = store.put(&first, zeros(seed), of_zeros(seed), &attributes, &Condition::Always).await?.etag;
    let source = CopySource { key: first.clone(), if_match: Some(etag) };
    let upload = store.begin_upload(key, &attributes).await?;
    let made = async {
        let parts = (1..).map_while(PartNumber::new).zip(0..times).map(|(number, _)| (number, 0..seed)).collect();
        let parts = copier.copy_parts(&upload, &source, parts, copier.lanes()).await?;
        let whole = of_zeros(seed * times);
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
