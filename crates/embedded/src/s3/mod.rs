//! The S3 server: crate s3s speaks the protocol, this module is what it speaks for.
//!
//! Bytes lie in body files that never change once they are complete; an SQLite index says which
//! ranges of which bodies make up which object. Every write is decided and published by one
//! transaction of the index, so a conditional write has exactly one winner and a reader finds the
//! old version or the new one. Bodies are named by number: keys of any length and shape, and keys
//! that are prefixes of others, never meet the file system's rules.
//!
//! Copies share bodies. A body goes when no range refers to it and no GET still reads it.

mod bodies;
mod checksums;
mod conditions;
mod failure;
mod headers;
mod index;
mod reader;
mod receive;
mod serve;
mod service;
mod store;

pub(crate) use self::serve::serve;
pub(crate) use self::service::REGION;
pub(crate) use self::store::Store;

use std::sync::Arc;

use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};

use crate::credentials::Credentials;

/// The protocol in front of a store: requests must be signed with `credentials`.
pub(crate) fn protocol(store: Arc<Store>, credentials: &Credentials) -> S3Service {
    let mut builder = S3ServiceBuilder::new(service::Service::new(store));
    builder.set_auth(SimpleAuth::from_single(credentials.access_key(), credentials.secret_key()));
    builder.build()
}
