//! What becomes of conflicts and lost answers.

use tidegate_store::{AuthorizedKey, Status, StoreErrorKind, Tenant, TenantLimits, UserName};

use crate::wire::{Answer, Sent, Service, answer};

fn cancelled(codes: &[&str]) -> Answer {
    let reasons: Vec<String> = codes.iter().map(|code| format!(r#"{{"Code":"{code}"}}"#)).collect();
    let body = format!(
        r#"{{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","Message":"cancelled","CancellationReasons":[{}]}}"#,
        reasons.join(",")
    );
    answer(400, &[], &body)
}

fn condition_failed() -> Answer {
    let kind = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException";
    answer(400, &[], &format!(r#"{{"__type":"{kind}","message":"The conditional request failed"}}"#))
}

fn tenant() -> Tenant {
    Tenant {
        name: "demo".parse().unwrap(),
        status: Status::Active,
        bucket: "files".to_owned(),
        prefix: "".parse().unwrap(),
        limits: TenantLimits::default(),
        created: 1,
    }
}

#[tokio::test]
async fn a_transaction_that_met_another_is_repeated_with_the_same_token() {
    let service = Service::new(|n, _| match n {
        0 => cancelled(&["TransactionConflict", "None"]),
        _ => answer(200, &[], "{}"),
    });
    service.connect(|_| {}).await.directory().create_tenant(&tenant()).await.unwrap();
    let sent = service.sent();
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0].body, sent[1].body);
    assert!(String::from_utf8_lossy(&sent[0].body).contains("ClientRequestToken"));
}

#[tokio::test]
async fn a_conflict_that_lasts_is_a_passing_fault_and_no_lost_condition() {
    let service = Service::new(|_, _| cancelled(&["TransactionConflict", "None"]));
    let error = service.connect(|_| {}).await.directory().create_tenant(&tenant()).await.unwrap_err();
    assert_eq!((error.kind(), service.sent().len()), (StoreErrorKind::Unavailable, 3));
    let service = Service::new(|_, _| cancelled(&["ConditionalCheckFailed", "TransactionConflict"]));
    let error = service.connect(|_| {}).await.directory().create_tenant(&tenant()).await.unwrap_err();
    assert_eq!((error.kind(), service.sent().len()), (StoreErrorKind::PreconditionFailed, 1));
}

fn key() -> AuthorizedKey {
    AuthorizedKey {
        id: "SHA256:x".to_owned(),
        key: "ssh-ed25519 AAAA".to_owned(),
        comment: String::new(),
        added: 1,
        expires: None,
    }
}

/// GetItem's answer: a user whose key is the one in the update that was sent first, at `position`
/// or at the update's own.
fn user_with_key(sent: &[Sent], position: Option<u64>) -> Answer {
    let update = String::from_utf8_lossy(&sent[0].body).into_owned();
    let sent_position = update.split(r#""position":{"N":""#).nth(1).unwrap().split('"').next().unwrap();
    let position = position.map_or(sent_position.to_owned(), |position| position.to_string());
    let key = format!(
        r#"{{"M":{{"key":{{"S":"ssh-ed25519 AAAA"}},"comment":{{"S":""}},"added":{{"N":"1"}},"position":{{"N":"{position}"}}}}}}"#
    );
    answer(200, &[], &format!(r#"{{"Item":{{"keys":{{"M":{{"SHA256:x":{key}}}}}}}}}"#))
}

#[tokio::test]
async fn a_key_whose_answer_was_lost_is_known_again() {
    let user: UserName = "alice".parse().unwrap();
    let lost = |position: Option<u64>| {
        Service::new(move |n, sent| match n {
            0 => None,
            1 => condition_failed(),
            _ => user_with_key(sent, position),
        })
    };
    lost(None).connect(|_| {}).await.directory().add_key(&user, &key()).await.unwrap();
    let error = lost(Some(5)).connect(|_| {}).await.directory().add_key(&user, &key()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::PreconditionFailed);

    let refused = Service::new(|n, sent| if n == 0 { condition_failed() } else { user_with_key(sent, None) });
    let error = refused.connect(|_| {}).await.directory().add_key(&user, &key()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::PreconditionFailed, "a first attempt is no lost answer");
}
