//! Changes of what a user sees and may do.

use std::collections::BTreeSet;

use super::super::outcome::{done, parsed};
use super::{RACERS, Run, winners};
use crate::access::{Mapping, Mappings, PermissionRule, PermissionRules, UserChange};
use crate::account::{Permission, User};
use crate::tenant_limits::LimitChange;

impl Run {
    /// Changes what the user sees and may do, and leaves it as it was.
    pub(super) async fn access(&self, user: &User) {
        let none = UserChange {
            home: Some("/".to_owned()),
            permissions: Some(BTreeSet::new()),
            rules: Some(PermissionRules::default()),
            mappings: Some(Mappings::default()),
            max_sessions: LimitChange::Lift,
            lists_uploads: Some(false),
        };
        let limit = UserChange { max_sessions: LimitChange::Set(0), ..UserChange::default() };
        let rule = UserChange { rules: Some(rules(&[("/x", &[Permission::Read])])), ..UserChange::default() };
        let mapping = UserChange { mappings: Some(mappings(&[("/y", "/z", true)])), ..UserChange::default() };
        let restored = UserChange {
            home: Some(user.home.clone()),
            permissions: Some(user.permissions.clone()),
            rules: Some(user.rules.clone()),
            mappings: Some(user.mappings.clone()),
            max_sessions: user.max_sessions.map_or(LimitChange::Lift, LimitChange::Set),
            lists_uploads: Some(user.lists_uploads),
        };
        let uploads = UserChange { lists_uploads: Some(true), ..UserChange::default() };
        let mut expected = user.clone();
        for change in
            [&UserChange::default(), &none, &uploads, &none, &rule, &limit, &mapping, &none, &limit, &restored]
        {
            done("set_user", self.directory.set_user(&user.name, change).await);
            change.apply(&mut expected);
            self.shows("a user changes as told, and nothing else does", &expected).await;
        }
        assert_eq!(&expected, user, "the user has everything back");

        let result = self.at_once(|directory, n| {
            let (name, change) = (user.name.clone(), if n % 2 == 0 { rule.clone() } else { mapping.clone() });
            async move { directory.set_user(&name, &change).await }
        });
        assert_eq!(winners("set_user", result.await), RACERS, "changes made at once are all made");
        rule.apply(&mut expected);
        mapping.apply(&mut expected);
        self.shows("of two changes at once none is lost", &expected).await;
        done("set_user", self.directory.set_user(&user.name, &restored).await);
    }
}

#[track_caller]
pub(super) fn rules(rules: &[(&str, &[Permission])]) -> PermissionRules {
    let rule = |(path, permissions): &(&str, &[Permission])| PermissionRule {
        path: parsed(path),
        permissions: permissions.iter().copied().collect(),
    };
    match PermissionRules::new(rules.iter().map(rule).collect()) {
        Ok(rules) => rules,
        Err(error) => panic!("the suite made rules that are not valid: {error}"),
    }
}

#[track_caller]
pub(super) fn mappings(mappings: &[(&str, &str, bool)]) -> Mappings {
    let mapping = |(entry, target, read_only): &(&str, &str, bool)| Mapping {
        entry: parsed(entry),
        target: parsed(target),
        read_only: *read_only,
    };
    match Mappings::new(mappings.iter().map(mapping).collect()) {
        Ok(mappings) => mappings,
        Err(error) => panic!("the suite made mappings that are not valid: {error}"),
    }
}
