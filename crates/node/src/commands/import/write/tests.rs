use tidegate_store::memory::MemoryDirectory;
use tidegate_store::{KeyPrefix, TenantLimits, UserChange, UserName};

use super::*;
use crate::commands::{tenants, users};

async fn directory(tenants: &[&str]) -> MemoryDirectory {
    let directory = MemoryDirectory::new();
    for name in tenants {
        let prefix: KeyPrefix = format!("{name}/").parse().unwrap();
        let tenant = tenants::new(&name.parse().unwrap(), "main", &prefix, TenantLimits::default());
        directory.create_tenant(&tenant).await.unwrap();
    }
    directory
}

fn key(n: usize) -> AuthorizedKey {
    AuthorizedKey { id: format!("SHA256:{n}"), key: "k".repeat(100), comment: String::new(), added: 1, expires: None }
}

fn user(tenant: &str, n: usize) -> User {
    let name: UserName = format!("{tenant}-{n:05}").parse().unwrap();
    users::new(&name, &tenant.parse().unwrap(), &UserChange::default(), vec![key(n)]).unwrap()
}

fn steps(tenant: &str, count: usize) -> Vec<Step> {
    (0..count).map(|n| Step { user: user(tenant, n), action: Action::Add }).collect()
}

async fn count(directory: &MemoryDirectory, tenant: &str) -> usize {
    let (mut count, mut after) = (0, None);
    loop {
        let page = directory.users(&tenant.parse().unwrap(), after.as_deref()).await.unwrap();
        count += page.items.len();
        after = page.next;
        if after.is_none() {
            return count;
        }
    }
}

#[tokio::test]
async fn ten_thousand_users_of_several_tenants_are_written_and_progress_is_told() {
    let names = ["aa", "bb", "cc"];
    let directory = directory(&names).await;
    let plan: Vec<Step> = names.iter().flat_map(|name| steps(name, 3_334)).collect();
    let told = Mutex::new(Vec::new());
    let written = write(&directory, &plan, &|done| told.lock().unwrap().push(done)).await;
    assert!(written.failure.is_none());
    assert!(written.fates.len() == plan.len() && written.fates.values().all(|fate| *fate == Fate::Written));
    for name in names {
        assert_eq!(count(&directory, name).await, 3_334);
    }
    let told = told.into_inner().unwrap();
    assert!(told.is_sorted() && told.last() == Some(&plan.len()) && told.len() >= plan.len() / User::MAX_BATCH);
}

#[tokio::test]
async fn a_run_that_is_cut_says_exactly_what_is_written_and_is_repeated() {
    let directory = directory(&["aa"]).await;
    let plan = steps("aa", 3 * User::MAX_BATCH);
    // Somebody adds a user of the second batch behind the plan's back.
    directory.create_user(&user("aa", User::MAX_BATCH + 1)).await.unwrap();
    let written = write(&directory, &plan, &|_| ()).await;
    assert!(written.failure.is_some());
    for (n, step) in plan.iter().enumerate() {
        let name = &step.user.name;
        let is_there = directory.user(name).await.unwrap().is_some();
        let expected = if n < User::MAX_BATCH { Fate::Written } else { Fate::NotWritten };
        assert_eq!(written.fates[name.as_str()], expected, "{name}");
        assert_eq!(is_there, expected == Fate::Written || n == User::MAX_BATCH + 1, "{name}");
    }
    // As a new plan has it.
    let mut rest = plan;
    rest.drain(..User::MAX_BATCH);
    rest.remove(1);
    let written = write(&directory, &rest, &|_| ()).await;
    assert!(written.failure.is_none());
    assert_eq!(count(&directory, "aa").await, 3 * User::MAX_BATCH);
}

#[tokio::test]
async fn keys_are_added_and_one_that_came_meanwhile_is_as_good() {
    let directory = directory(&["aa"]).await;
    let there = user("aa", 1);
    directory.create_user(&there).await.unwrap();
    directory.add_key(&there.name, &key(8)).await.unwrap();
    let step = Step { user: there.clone(), action: Action::AddKeys(vec![key(7), key(8), key(9)]) };
    let written = write(&directory, &[step], &|_| ()).await;
    assert!(written.failure.is_none());
    assert_eq!(directory.user(&there.name).await.unwrap().unwrap().keys.len(), 4);

    let many: Vec<_> = (10..10 + User::MAX_KEYS - 4).map(key).collect();
    let all_but_one = Step { user: there.clone(), action: Action::AddKeys([many, vec![key(98)]].concat()) };
    let written = write(&directory, &[all_but_one], &|_| ()).await;
    assert_eq!(written.fates["aa-00001"], Fate::NotWritten);
    assert!(written.failure.is_some());
    assert_eq!(directory.user(&there.name).await.unwrap().unwrap().keys.len(), 4, "none for want of room for one");

    let gone = Step { user: user("aa", 2), action: Action::AddKeys(vec![key(7)]) };
    let written = write(&directory, &[gone], &|_| ()).await;
    assert_eq!(written.fates["aa-00002"], Fate::NotWritten);
    assert!(written.failure.is_some());
}

#[test]
fn only_a_lost_answer_leaves_it_open() {
    let of = |kind| unanswered(&StoreError::new(kind, "create users"));
    assert_eq!(of(StoreErrorKind::Unavailable), Fate::Uncertain);
    assert_eq!(of(StoreErrorKind::PreconditionFailed), Fate::NotWritten);
    assert_eq!(of(StoreErrorKind::AccessDenied), Fate::NotWritten);
}

#[test]
fn batches_are_bounded_in_users_and_bytes() {
    let small: Vec<User> = (0..50).map(|n| user("aa", n)).collect();
    let sizes = |users: &[User]| batches(users.iter().collect()).iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(sizes(&small), [24, 24, 2]);
    let large: Vec<User> = small
        .into_iter()
        .map(|user| {
            let keys = (0..50).map(|n| AuthorizedKey { key: "k".repeat(2_800), ..key(n) }).collect();
            User { keys, ..user }
        })
        .collect();
    let sizes = sizes(&large);
    assert!(sizes.iter().all(|size| *size <= 7) && sizes.iter().sum::<usize>() == 50, "{sizes:?}");
}
