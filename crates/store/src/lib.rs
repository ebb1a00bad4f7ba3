//! What Tidegate needs from durable services: the ports, their errors, decorators, in-memory
//! fakes and the conformance suite that every implementation passes. No service is named here.

mod access;
mod account;
pub mod cached;
mod checksum;
pub mod conformance;
mod data_keys;
pub mod envelope;
mod error;
pub mod faulty;
mod host_keys;
mod journal;
mod leases;
mod login_failures;
pub mod memory;
pub mod metered;
mod metrics;
mod object;
mod object_store;
mod reserved;
mod tenant_limits;
mod usage;

pub use access::{InvalidAccess, Mapping, Mappings, PermissionRule, PermissionRules, UserChange};
pub use account::{
    Account, Accounts, AuthorizedKey, Directory, DirectoryPath, InvalidName, KeyPrefix, Page, Permission, Permissions,
    Status, Tenant, TenantName, User, UserName,
};
pub use checksum::{Checksum, KeptChecksums, md5};
pub use data_keys::{DataKey, DataKeys, EncryptionContext};
pub use error::{StoreError, StoreErrorKind, StoreResult};
pub use host_keys::{HostKeyStore, SealedBlob};
pub use journal::{
    BaseVersion, Generation, GuardedParts, Journal, JournalEntry, JournalPage, Multipart, Tail, UploadRecord,
    UploadState,
};
pub use leases::{ENDED_MAX, HeldSessions, InvalidLeaseId, Lease, LeaseId, Leases, SessionScope, TURN_MAX};
pub use login_failures::{LoginFailureCounts, LoginFailures};
pub use metrics::Metrics;
pub use object::{
    Body, ByteRange, ByteStream, Condition, CopySource, ETag, GetObject, ListPage, ListRequest, ListedObject,
    ObjectAttributes, ObjectKey, ObjectMeta, Receipt, SystemHeaders, Tags,
};
pub use object_store::{ObjectStore, ObjectStores, PartNumber, PartsPage, StoredPart, Upload, UploadsPage, limits};
pub use reserved::RESERVED;
pub use tenant_limits::{Bandwidth, InvalidBandwidth, LimitChange, TenantLimits, TenantLimitsChange};
pub use usage::{Recount, UsageDelta, UsageFigures, UsageStore, recount};
