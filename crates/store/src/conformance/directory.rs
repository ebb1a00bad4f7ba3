//! Tenants, users and keys; every change seen by lookups; administrators that work at once.

mod access;
mod batches;

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::task::JoinSet;

use self::access::{mappings, rules};
use super::outcome::{done, parsed, refused};
use crate::access::{Mappings, PermissionRules, UserChange};
use crate::account::{Account, AuthorizedKey, Directory, Page, Permission, Status, Tenant, TenantName, User, UserName};
use crate::error::{StoreErrorKind, StoreResult};
use crate::tenant_limits::{Bandwidth, LimitChange, TenantLimits, TenantLimitsChange};

const RACERS: usize = 8;
const PAGES_MAX: usize = 10_000;

pub(super) async fn check(directory: Arc<dyn Directory>) {
    let run = Run { directory, nonce: rand::random() };
    let tenant = run.tenants().await;
    run.users(&tenant).await;
    batches::check(&run, &tenant).await;
    run.keys(&tenant).await;
    run.user_pages(&tenant).await;
    run.races(&tenant).await;
}

/// One run, with names of its own.
struct Run {
    directory: Arc<dyn Directory>,
    nonce: u64,
}

impl Run {
    fn user_name(&self, name: &str) -> UserName {
        parsed(&format!("conf_{:016x}.{name}", self.nonce))
    }

    fn tenant(&self, name: &str) -> Tenant {
        Tenant {
            name: parsed(&format!("conf-{:016x}-{name}", self.nonce)),
            status: Status::Active,
            bucket: "conformance".to_owned(),
            prefix: parsed(&format!("tenants/{:016x} \u{fc}/{name}/", self.nonce)),
            limits: TenantLimits {
                max_bandwidth_in: Some(bandwidth(u64::MAX)),
                max_bandwidth_out: Some(Bandwidth::MIN),
                max_open_handles: Some(u32::MAX),
                max_in_flight: Some(u64::MAX),
                max_sessions: Some(7),
                quota_bytes: Some(u64::MAX),
                quota_objects: Some(0),
            },
            created: 1_700_000_000,
        }
    }

    fn user(&self, name: &str, tenant: &TenantName) -> User {
        User {
            name: self.user_name(name),
            tenant: tenant.clone(),
            status: Status::Active,
            home: "/in box/\u{fc}".to_owned(),
            permissions: BTreeSet::from([Permission::List, Permission::Read, Permission::SetAttributes]),
            rules: rules(&[
                ("/in box", &[Permission::Write]),
                ("/in box/\u{fc}", &[]),
                ("/a/b", &[Permission::List, Permission::Symlink]),
            ]),
            mappings: mappings(&[("/in box", "/\u{fc} 1", false), ("/a/b", "/c", true)]),
            max_sessions: Some(7),
            lists_uploads: true,
            keys: vec![key("first")],
            created: 1_700_000_001,
        }
    }

    async fn lookup(&self, name: &UserName) -> Option<Arc<Account>> {
        done("lookup", self.directory.lookup(name).await)
    }

    /// Checks that every way to read a user shows it as `expected`.
    async fn shows(&self, rule: &str, expected: &User) {
        let found = done("user", self.directory.user(&expected.name).await);
        assert_eq!(found.as_ref(), Some(expected), "{rule}: user shows it");
        let account = self.lookup(&expected.name).await;
        assert_eq!(account.as_ref().map(|account| &account.user), Some(expected), "{rule}: lookup shows it");
        let tenant = account.map(|account| account.tenant.name.clone());
        assert_eq!(tenant.as_ref(), Some(&expected.tenant), "{rule}: lookup gives the tenant");
    }

    /// Returns the tenant that the other checks work in.
    async fn tenants(&self) -> Tenant {
        let (first, second) = (self.tenant("a"), Tenant { limits: TenantLimits::default(), ..self.tenant("b") });
        let name = &first.name;
        assert_eq!(done("tenant", self.directory.tenant(name).await), None, "there is no tenant before it is made");
        let result = self.directory.set_tenant_status(name, Status::Disabled).await;
        refused("status of a missing tenant", StoreErrorKind::NotFound, result);
        for change in [
            TenantLimitsChange::default(),
            TenantLimitsChange { max_sessions: LimitChange::Set(1), ..TenantLimitsChange::default() },
        ] {
            let result = self.directory.set_tenant_limits(name, &change).await;
            refused("limits of a missing tenant", StoreErrorKind::NotFound, result);
        }
        assert_eq!(done("tenant", self.directory.tenant(name).await), None, "neither makes a tenant");

        for tenant in [&second, &first] {
            done("create_tenant", self.directory.create_tenant(tenant).await);
            let found = done("tenant", self.directory.tenant(&tenant.name).await);
            assert_eq!(found.as_ref(), Some(tenant), "a tenant is kept in all its parts");
        }
        let taken = Tenant { bucket: "another".to_owned(), ..first.clone() };
        let result = self.directory.create_tenant(&taken).await;
        refused("a tenant whose name is taken", StoreErrorKind::PreconditionFailed, result);
        assert_eq!(done("tenant", self.directory.tenant(name).await).as_ref(), Some(&first), "the first one stays");

        let mut listed = Vec::new();
        let mut after = None;
        for page in 0.. {
            assert!(page < PAGES_MAX, "the listing of tenants ends");
            let Page { items, next } = done("tenants", self.directory.tenants(after.as_deref()).await);
            listed.extend(items);
            after = next;
            if after.is_none() {
                break;
            }
        }
        assert!(listed.is_sorted_by_key(|tenant| &tenant.name), "tenants are listed by name");
        listed.retain(|tenant| tenant.name == first.name || tenant.name == second.name);
        assert_eq!(listed, [first.clone(), second], "tenants are listed once, in all their parts");
        first
    }

    async fn users(&self, tenant: &Tenant) {
        let user = self.user("user", &tenant.name);
        assert_eq!(self.lookup(&user.name).await, None, "there is no account before it is made");
        assert_eq!(done("user", self.directory.user(&user.name).await), None, "there is no user before it is made");
        let stray = self.user("stray", &self.tenant("none").name);
        let result = self.directory.create_user(&stray).await;
        refused("a user of a missing tenant", StoreErrorKind::NotFound, result);
        assert_eq!(self.lookup(&stray.name).await, None, "a user that was refused is not made");

        done("create_user", self.directory.create_user(&user).await);
        self.shows("a user is kept in all its parts", &user).await;
        let account = self.lookup(&user.name).await;
        assert_eq!(account.as_ref().map(|account| &account.tenant), Some(tenant), "lookup gives the whole tenant");
        self.limits(tenant, &user.name).await;
        let taken = User { home: "/other".to_owned(), ..user.clone() };
        let result = self.directory.create_user(&taken).await;
        refused("a user whose name is taken", StoreErrorKind::PreconditionFailed, result);
        self.shows("the first user stays", &user).await;

        self.access(&user).await;
        self.statuses(&user).await;
        done("remove_user", self.directory.remove_user(&user.name).await);
        assert_eq!(self.lookup(&user.name).await, None, "lookup finds no removed user");
        assert_eq!(done("user", self.directory.user(&user.name).await), None, "a removed user is gone");
        self.refuses_missing_user(&user.name).await;
        let (rules, mappings) = (PermissionRules::default(), Mappings::default());
        let plain = User { permissions: BTreeSet::new(), rules, mappings, keys: vec![], ..user };
        done("create_user after remove_user", self.directory.create_user(&plain).await);
        self.shows("a user without keys and permissions", &plain).await;
        done("remove_user", self.directory.remove_user(&plain.name).await);
    }

    /// Changes the tenant's limits and leaves them as they were.
    async fn limits(&self, tenant: &Tenant, user: &UserName) {
        let change = TenantLimitsChange {
            max_bandwidth_in: LimitChange::Set(bandwidth(1 << 20)),
            max_bandwidth_out: LimitChange::Lift,
            max_open_handles: LimitChange::Set(0),
            max_in_flight: LimitChange::Set(1 << 30),
            max_sessions: LimitChange::Keep,
            quota_bytes: LimitChange::Set(1 << 40),
            quota_objects: LimitChange::Lift,
        };
        let lifted = TenantLimitsChange {
            max_bandwidth_in: LimitChange::Lift,
            max_bandwidth_out: LimitChange::Lift,
            max_open_handles: LimitChange::Lift,
            max_in_flight: LimitChange::Lift,
            max_sessions: LimitChange::Lift,
            quota_bytes: LimitChange::Lift,
            quota_objects: LimitChange::Lift,
        };
        let restored = TenantLimitsChange {
            max_bandwidth_in: tenant.limits.max_bandwidth_in.map_or(LimitChange::Lift, LimitChange::Set),
            max_bandwidth_out: tenant.limits.max_bandwidth_out.map_or(LimitChange::Lift, LimitChange::Set),
            max_open_handles: tenant.limits.max_open_handles.map_or(LimitChange::Lift, LimitChange::Set),
            max_in_flight: tenant.limits.max_in_flight.map_or(LimitChange::Lift, LimitChange::Set),
            max_sessions: tenant.limits.max_sessions.map_or(LimitChange::Lift, LimitChange::Set),
            quota_bytes: tenant.limits.quota_bytes.map_or(LimitChange::Lift, LimitChange::Set),
            quota_objects: tenant.limits.quota_objects.map_or(LimitChange::Lift, LimitChange::Set),
        };
        let mut limits = tenant.limits.clone();
        for change in [&TenantLimitsChange::default(), &change, &lifted, &lifted, &restored] {
            done("set_tenant_limits", self.directory.set_tenant_limits(&tenant.name, change).await);
            limits = change.apply(&limits);
            let expected = Tenant { limits: limits.clone(), ..tenant.clone() };
            let found = done("tenant", self.directory.tenant(&tenant.name).await);
            assert_eq!(found.as_ref(), Some(&expected), "limits change as told, and nothing else does");
            let account = self.lookup(user).await;
            assert_eq!(account.as_ref().map(|account| &account.tenant), Some(&expected), "lookup shows new limits");
        }
        assert_eq!(limits, tenant.limits, "the tenant has its limits back");

        let first = TenantLimitsChange { max_sessions: LimitChange::Set(7), ..TenantLimitsChange::default() };
        let second = TenantLimitsChange { max_open_handles: LimitChange::Set(9), ..TenantLimitsChange::default() };
        let result = self.at_once(|directory, n| {
            let (name, change) = (tenant.name.clone(), if n % 2 == 0 { first.clone() } else { second.clone() });
            async move { directory.set_tenant_limits(&name, &change).await }
        });
        assert_eq!(winners("set_tenant_limits", result.await), RACERS, "limits changed at once are all changed");
        let found = done("tenant", self.directory.tenant(&tenant.name).await);
        let expected = second.apply(&first.apply(&tenant.limits));
        assert_eq!(found.map(|tenant| tenant.limits), Some(expected), "of two changes at once none is lost");
        done("set_tenant_limits", self.directory.set_tenant_limits(&tenant.name, &restored).await);
    }

    async fn statuses(&self, user: &User) {
        let active = async || self.lookup(&user.name).await.is_some_and(|account| account.is_active());
        done("set_user_status", self.directory.set_user_status(&user.name, Status::Disabled).await);
        self.shows("a disabled user", &User { status: Status::Disabled, ..user.clone() }).await;
        assert!(!active().await, "the account of a disabled user is not active");
        done("set_user_status", self.directory.set_user_status(&user.name, Status::Active).await);
        done("set_user_status twice", self.directory.set_user_status(&user.name, Status::Active).await);
        self.shows("a user that is enabled again", user).await;

        done("set_tenant_status", self.directory.set_tenant_status(&user.tenant, Status::Disabled).await);
        self.shows("a user of a disabled tenant", user).await;
        assert!(!active().await, "the account of a disabled tenant's user is not active");
        done("set_tenant_status", self.directory.set_tenant_status(&user.tenant, Status::Active).await);
        assert!(active().await, "the account is active when both are");
    }

    async fn refuses_missing_user(&self, name: &UserName) {
        let missing = StoreErrorKind::NotFound;
        refused("remove_user of a missing user", missing, self.directory.remove_user(name).await);
        refused("add_key to a missing user", missing, self.directory.add_key(name, &key("a")).await);
        let result = self.directory.add_keys(name, &[key("a"), key("b")]).await;
        refused("add_keys to a missing user", missing, result);
        refused("remove_key of a missing user", missing, self.directory.remove_key(name, "a").await);
        let result = self.directory.set_user_status(name, Status::Active).await;
        refused("set_user_status of a missing user", missing, result);
        for change in [UserChange::default(), UserChange { home: Some("/".to_owned()), ..UserChange::default() }] {
            refused("set_user of a missing user", missing, self.directory.set_user(name, &change).await);
        }
        assert_eq!(self.lookup(name).await, None, "a call that was refused makes no user");
    }

    async fn keys(&self, tenant: &Tenant) {
        let mut user = self.user("keys", &tenant.name);
        let name = user.name.clone();
        done("create_user", self.directory.create_user(&user).await);
        let second =
            AuthorizedKey { expires: Some(1_900_000_000), comment: "\u{fc} \"q\" ".to_owned(), ..key("second") };
        done("add_key", self.directory.add_key(&name, &second).await);
        user.keys.push(second);
        self.shows("a key that was added", &user).await;
        let again = AuthorizedKey { comment: "again".to_owned(), ..key("second") };
        let result = self.directory.add_key(&name, &again).await;
        refused("a key that is there already", StoreErrorKind::PreconditionFailed, result);
        self.shows("a key that was refused", &user).await;

        done("remove_key", self.directory.remove_key(&name, &key("first").id).await);
        user.keys.remove(0);
        self.shows("a key that was removed", &user).await;
        let result = self.directory.remove_key(&name, &key("first").id).await;
        refused("removal of a key that is gone", StoreErrorKind::NotFound, result);
        self.shows("the other key stays", &user).await;

        let several = [key("third"), key("fourth"), key("fifth")];
        done("add_keys", self.directory.add_keys(&name, &several).await);
        user.keys.extend(several);
        self.shows("keys that were added together, in their order", &user).await;
        let result = self.directory.add_keys(&name, &[key("sixth"), key("fourth")]).await;
        refused("keys of which one is there already", StoreErrorKind::PreconditionFailed, result);
        self.shows("none of several keys when one is refused", &user).await;
        let most: Vec<_> = (user.keys.len()..=User::MAX_KEYS).map(|n| key(&format!("most-{n}"))).collect();
        let result = self.directory.add_keys(&name, &most).await;
        refused("one key more than there is room for", StoreErrorKind::PreconditionFailed, result);
        self.shows("none of more keys than there is room for", &user).await;
        done("add_keys up to the limit", self.directory.add_keys(&name, &most[1..]).await);
        user.keys.extend_from_slice(&most[1..]);
        self.shows("as many keys at once as there is room for", &user).await;
        for gone in user.keys.drain(2..) {
            done("remove_key", self.directory.remove_key(&name, &gone.id).await);
        }

        while user.keys.len() < User::MAX_KEYS {
            let next = key(&format!("more-{}", user.keys.len()));
            done("add_key up to the limit", self.directory.add_key(&name, &next).await);
            user.keys.push(next);
        }
        let result = self.directory.add_key(&name, &key("too-many")).await;
        refused("one key more than a user may have", StoreErrorKind::PreconditionFailed, result);
        self.shows("as many keys as a user may have", &user).await;
        done("remove_user", self.directory.remove_user(&name).await);
    }

    /// All users of a tenant, page by page.
    async fn listed(&self, tenant: &TenantName) -> Vec<User> {
        let mut listed = Vec::new();
        let mut after = None;
        for page in 0.. {
            assert!(page < PAGES_MAX, "the listing of users ends");
            let Page { items, next } = done("users", self.directory.users(tenant, after.as_deref()).await);
            listed.extend(items);
            after = next;
            if after.is_none() {
                break;
            }
        }
        listed
    }

    async fn user_pages(&self, tenant: &Tenant) {
        let other = self.user("page-other", &self.tenant("b").name);
        done("create_user", self.directory.create_user(&other).await);
        let users: Vec<User> = (0..7).map(|n| self.user(&format!("page-{n}"), &tenant.name)).collect();
        for user in users.iter().rev() {
            done("create_user", self.directory.create_user(user).await);
        }
        let listed = self.listed(&tenant.name).await;
        assert_eq!(listed, users, "a tenant's users are listed by name, once, in all their parts, and no others");
        for user in users.iter().chain([&other]) {
            done("remove_user", self.directory.remove_user(&user.name).await);
        }
        let empty = done("users", self.directory.users(&tenant.name, None).await);
        assert_eq!(empty, Page { items: vec![], next: None }, "a tenant without users has an empty page");
    }

    async fn races(&self, tenant: &Tenant) {
        let user = User { keys: vec![], ..self.user("race", &tenant.name) };
        let name = user.name.clone();
        let result = self.at_once(|directory, _| {
            let user = user.clone();
            async move { directory.create_user(&user).await }
        });
        assert_eq!(winners("create_user", result.await), 1, "of several equal users one is made");
        let result = self.at_once(|directory, n| {
            let name = name.clone();
            async move { directory.add_key(&name, &key(&format!("racer-{n}"))).await }
        });
        assert_eq!(winners("add_key", result.await), RACERS, "keys added at once are all added");
        let result = self.at_once(|directory, _| {
            let name = name.clone();
            async move { directory.add_key(&name, &key("same")).await }
        });
        assert_eq!(winners("add_key", result.await), 1, "of several equal keys one is added");
        let found = done("user", self.directory.user(&name).await);
        let ids: BTreeSet<String> = found.iter().flat_map(|user| &user.keys).map(|key| key.comment.clone()).collect();
        let expected = (0..RACERS).map(|n| format!("racer-{n}")).chain(["same".to_owned()]).collect();
        assert_eq!(ids, expected, "administrators that work at once lose none of one another's keys");

        let result = self.at_once(|directory, n| {
            let name = name.clone();
            async move { directory.remove_key(&name, &key(&format!("racer-{n}")).id).await }
        });
        assert_eq!(winners("remove_key", result.await), RACERS, "keys removed at once are all removed");
        self.shows("the key that nobody removed", &User { keys: vec![key("same")], ..user }).await;
        done("remove_user", self.directory.remove_user(&name).await);
    }

    async fn at_once<F, Fut>(&self, call: F) -> Vec<StoreResult<()>>
    where
        F: Fn(Arc<dyn Directory>, usize) -> Fut,
        Fut: Future<Output = StoreResult<()>> + Send + 'static,
    {
        let racers: JoinSet<_> = (0..RACERS).map(|n| call(Arc::clone(&self.directory), n)).collect();
        racers.join_all().await
    }
}

/// How many of the racers succeeded; the others must have failed as late ones.
#[track_caller]
fn winners(rule: &str, results: Vec<StoreResult<()>>) -> usize {
    let mut winners = 0;
    for result in results {
        match result {
            Ok(()) => winners += 1,
            late => refused(rule, StoreErrorKind::PreconditionFailed, late),
        }
    }
    winners
}

/// A key named in its comment. The blob is no real key: the port takes any text.
fn key(name: &str) -> AuthorizedKey {
    AuthorizedKey {
        id: format!("SHA256:{name:A<43}"),
        key: format!("ssh-ed25519 {name}"),
        comment: name.to_owned(),
        added: 1_700_000_002,
        expires: None,
    }
}

#[track_caller]
fn bandwidth(bytes: u64) -> Bandwidth {
    match bytes.try_into() {
        Ok(bandwidth) => bandwidth,
        Err(error) => panic!("the suite made a bandwidth that is not valid: {error:?}"),
    }
}
