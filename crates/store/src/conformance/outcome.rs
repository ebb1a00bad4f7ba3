//! What a call must answer.

use std::fmt::Debug;
use std::str::FromStr;

use crate::error::{StoreErrorKind, StoreResult};

/// The value of a call that must succeed.
#[track_caller]
pub(super) fn done<T>(rule: &str, result: StoreResult<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{rule}: {}", error.report()),
    }
}

/// Whether a call failed with this kind; else what it did instead.
pub(super) fn refusal<T: Debug>(kind: StoreErrorKind, result: StoreResult<T>) -> Result<(), String> {
    match result {
        Err(error) if error.kind() == kind => Ok(()),
        Err(error) => Err(format!("expected {}, got: {}", kind.as_str(), error.report())),
        Ok(value) => Err(format!("expected {}, got {value:?}", kind.as_str())),
    }
}

/// Checks a call that must fail with this kind.
#[track_caller]
pub(super) fn refused<T: Debug>(rule: &str, kind: StoreErrorKind, result: StoreResult<T>) {
    if let Err(instead) = refusal(kind, result) {
        panic!("{rule}: {instead}");
    }
}

/// A name that is right by construction.
#[track_caller]
pub(super) fn parsed<T: FromStr<Err: Debug>>(text: &str) -> T {
    match text.parse() {
        Ok(name) => name,
        Err(error) => panic!("the suite made a name that is not valid: {error:?}"),
    }
}
