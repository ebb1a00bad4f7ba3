//! What the SDK's retry does not know about DynamoDB.

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction};

/// Has the SDK repeat a write that lost against another transaction on the same item. Such a
/// conflict says nothing about the conditions of either: both may well be fulfilled one after the
/// other. Source: Amazon DynamoDB Developer Guide, "Transaction conflict handling in DynamoDB".
#[derive(Debug)]
pub(crate) struct RetryConflicts;

impl ClassifyRetry for RetryConflicts {
    fn classify_retry(&self, ctx: &InterceptorContext) -> RetryAction {
        let Some(Err(error)) = ctx.output_or_error() else { return RetryAction::NoActionIndicated };
        let Some(error) = error.as_operation_error() else { return RetryAction::NoActionIndicated };
        let conflict = if let Some(error) = error.downcast_ref::<TransactWriteItemsError>() {
            is_conflict(error)
        } else if let Some(error) = error.downcast_ref::<UpdateItemError>() {
            error.is_transaction_conflict_exception()
        } else {
            false
        };
        if conflict { RetryAction::transient_error() } else { RetryAction::NoActionIndicated }
    }

    fn name(&self) -> &'static str {
        "Tidegate transaction conflicts"
    }
}

/// Whether a transaction was cancelled only because another one was under way.
pub(super) fn is_conflict(error: &TransactWriteItemsError) -> bool {
    let codes = cancellation_codes(error);
    codes.contains(&"TransactionConflict") && !codes.contains(&"ConditionalCheckFailed")
}

/// Why a transaction was cancelled, in the order of its items; empty if it was not.
pub(super) fn cancellation_codes(error: &TransactWriteItemsError) -> Vec<&str> {
    match error {
        TransactWriteItemsError::TransactionCanceledException(cancelled) => {
            cancelled.cancellation_reasons().iter().map(|reason| reason.code().unwrap_or("None")).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::CancellationReason;
    use aws_sdk_dynamodb::types::error::TransactionCanceledException;

    use super::*;

    fn cancelled(codes: &[&str]) -> TransactWriteItemsError {
        let reasons = codes.iter().map(|code| CancellationReason::builder().code(*code).build()).collect();
        let error = TransactionCanceledException::builder().set_cancellation_reasons(Some(reasons)).build();
        TransactWriteItemsError::TransactionCanceledException(error)
    }

    #[test]
    fn a_conflict_is_repeated_unless_a_condition_failed_too() {
        assert!(is_conflict(&cancelled(&["None", "TransactionConflict"])));
        assert!(!is_conflict(&cancelled(&["ConditionalCheckFailed", "TransactionConflict"])));
        assert!(!is_conflict(&cancelled(&["ConditionalCheckFailed", "None"])));
    }
}
