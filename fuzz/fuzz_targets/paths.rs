//! A client's path as an object key: whatever the bytes, the key stays below the tenant's prefix
//! and names no "." or ".." that another tool could follow.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_store::KeyPrefix;
use tidegate_vfs::{VirtualPath, key_of_client_path};

fuzz_target!(|path: &[u8]| {
    for prefix in ["", "tenants/demo/"] {
        let prefix: KeyPrefix = prefix.parse().expect("a prefix that the port accepts");
        let Ok(key) = key_of_client_path(&prefix, path) else { continue };
        let below = key.as_str().strip_prefix(prefix.as_str()).expect("the key begins with the prefix");
        assert!(below.split('/').all(|name| !matches!(name, "" | "." | "..")), "{below:?}");
        assert!(!below.contains('\0'));
    }
    if let Ok(resolved) = VirtualPath::resolve(&VirtualPath::root(), path) {
        let again = VirtualPath::resolve(&VirtualPath::root(), resolved.as_str().as_bytes());
        assert_eq!(again.expect("a normalised path is a path"), resolved, "normalising is idempotent");
    }
});
