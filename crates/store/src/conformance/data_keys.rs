//! Data keys: fresh, unwrapped again, bound to their context.

use super::outcome::{done, refused};
use crate::data_keys::{DataKeys, EncryptionContext};
use crate::error::StoreErrorKind;

pub(super) async fn check(keys: &dyn DataKeys) {
    let cluster = context(&[("tidegate:cluster", "conformance"), ("tidegate:purpose", "host keys, 100 %")]);
    let key = done("generate", keys.generate(&cluster).await);
    assert_ne!(*key.plaintext, [0; 32], "a data key is not all zeros");
    assert!(!key.wrapped.is_empty(), "a wrapped key is not empty");
    assert!(
        !key.wrapped.windows(key.plaintext.len()).any(|window| window == key.plaintext.as_slice()),
        "a wrapped key does not show the key"
    );
    assert!(!format!("{key:?}{keys:?}").contains(&format!("{:?}", *key.plaintext)), "Debug does not show the key");

    let other = done("generate", keys.generate(&cluster).await);
    assert_ne!(key.plaintext, other.plaintext, "two data keys differ");
    for key in [&key, &other] {
        let unwrapped = done("unwrap", keys.unwrap(&key.wrapped, &cluster).await);
        assert_eq!(unwrapped, key.plaintext, "unwrap gives the key that generate gave");
    }
    let again = done("unwrap", keys.unwrap(&key.wrapped, &cluster).await);
    assert_eq!(again, key.plaintext, "a key can be unwrapped any number of times");

    other_contexts(keys, &key.wrapped).await;
    damage(keys, &key.wrapped, &cluster).await;
    without_context(keys, &cluster).await;
}

fn context(pairs: &[(&str, &str)]) -> EncryptionContext {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

async fn other_contexts(keys: &dyn DataKeys, wrapped: &[u8]) {
    let purpose = ("tidegate:purpose", "host keys, 100 %");
    for other in [
        context(&[]),
        context(&[purpose]),
        context(&[("tidegate:cluster", "another"), purpose]),
        context(&[("tidegate:cluster", "CONFORMANCE"), purpose]),
        context(&[("tidegate:cluster", "conformance"), purpose, ("more", "x")]),
    ] {
        let rule = format!("unwrap under the context {other:?}");
        refused(&rule, StoreErrorKind::Corrupt, keys.unwrap(wrapped, &other).await.map(drop));
    }
}

async fn damage(keys: &dyn DataKeys, wrapped: &[u8], cluster: &EncryptionContext) {
    let mut altered = wrapped.to_vec();
    let last = altered.len() - 1;
    altered[last] ^= 1;
    refused("unwrap of a damaged key", StoreErrorKind::Corrupt, keys.unwrap(&altered, cluster).await.map(drop));
    let cut = &wrapped[..last];
    refused("unwrap of a key cut short", StoreErrorKind::Corrupt, keys.unwrap(cut, cluster).await.map(drop));
}

async fn without_context(keys: &dyn DataKeys, cluster: &EncryptionContext) {
    let none = EncryptionContext::new();
    let key = done("generate without context", keys.generate(&none).await);
    let unwrapped = done("unwrap without context", keys.unwrap(&key.wrapped, &none).await);
    assert_eq!(unwrapped, key.plaintext, "a key without context unwraps without one");
    let rule = "unwrap of a key without context under one";
    refused(rule, StoreErrorKind::Corrupt, keys.unwrap(&key.wrapped, cluster).await.map(drop));
}
