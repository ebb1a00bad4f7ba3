//! Users that are added together.

use super::super::outcome::{done, refused};
use super::{Run, key};
use crate::account::{Tenant, User};
use crate::error::StoreErrorKind;

pub(super) async fn check(run: &Run, tenant: &Tenant) {
    let directory = &run.directory;
    let users: Vec<User> = (0..User::MAX_BATCH)
        .map(|n| {
            let user = run.user(&format!("batch-{n:02}"), &tenant.name);
            User { keys: (0..n % 4).map(|key_of| key(&format!("batch-{n}-{key_of}"))).collect(), ..user }
        })
        .collect();
    let one_more = run.user("batch-more", &tenant.name);
    let other = run.user("batch-other", &run.tenant("b").name);
    let heavy = User { keys: (0..=User::MAX_KEYS).map(|n| key(&format!("heavy-{n}"))).collect(), ..one_more.clone() };
    for (rule, batch) in [
        ("more than fit into one batch", [&users[..], std::slice::from_ref(&one_more)].concat()),
        ("a batch that names a user twice", vec![one_more.clone(), one_more.clone()]),
        ("a batch with another tenant's user", vec![one_more.clone(), other]),
        ("a batch with too many keys", vec![heavy]),
    ] {
        let result = directory.create_users(&tenant.name, &batch).await;
        refused(rule, StoreErrorKind::InvalidRequest, result);
    }
    let none = run.tenant("none").name;
    let stray = [run.user("batch-stray", &none)];
    refused("users of a missing tenant", StoreErrorKind::NotFound, directory.create_users(&none, &stray).await);

    done("create_user", directory.create_user(&users[users.len() / 2]).await);
    let result = directory.create_users(&tenant.name, &users).await;
    refused("a batch in which a name is taken", StoreErrorKind::PreconditionFailed, result);
    let listed = run.listed(&tenant.name).await;
    assert_eq!(listed, [users[users.len() / 2].clone()], "of a batch that was refused nothing is made");
    done("remove_user", directory.remove_user(&users[users.len() / 2].name).await);

    done("create_users", directory.create_users(&tenant.name, &users).await);
    for user in &users {
        run.shows("a user of a batch is kept in all its parts", user).await;
    }
    let listed = run.listed(&tenant.name).await;
    assert_eq!(listed, users, "each user of a batch is listed");
    for user in &users {
        done("remove_user", directory.remove_user(&user.name).await);
    }
}
