//! What a user sees and may do, the limit of its sessions, and how it lists, as attributes of the user's item.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use tidegate_store::{
    LimitChange, Mapping, Mappings, Permission, PermissionRule, PermissionRules, Permissions, StoreError, User,
    UserChange,
};

use super::request::Update;
use super::schema::{Fields, Item, LISTS_UPLOADS, MAX_SESSIONS, VERSION, WITH_ACCESS, number, text};

const HOME: &str = "home";
const MAPPINGS: &str = "mappings";
const PERMISSIONS: &str = "permissions";
const RULES: &str = "rules";

/// The attributes of a user apart from the home; what is empty has none.
pub(super) fn attributes(user: &User) -> Item {
    let values = [
        (PERMISSIONS, permissions_value(&user.permissions)),
        (RULES, rules_value(&user.rules)),
        (MAPPINGS, mappings_value(&user.mappings)),
        (MAX_SESSIONS, user.max_sessions.map(number)),
        (LISTS_UPLOADS, lists_uploads_value(user.lists_uploads)),
    ];
    let mut item: Item =
        values.into_iter().filter_map(|(name, value)| value.map(|value| (name.to_owned(), value))).collect();
    if item.contains_key(RULES) || item.contains_key(MAPPINGS) {
        item.insert(VERSION.to_owned(), number(WITH_ACCESS));
    }
    item
}

/// The update that makes a change; `None` if the change names nothing. An item that has had rules
/// or mappings keeps the version that says so, as what the other of the two is stays unread here.
pub(super) fn update(change: &UserChange) -> Option<Update> {
    let (mut set, mut removed, mut values, mut names) = (Vec::new(), Vec::new(), HashMap::new(), HashMap::new());
    let rules = change.rules.as_ref().map(rules_value);
    let mappings = change.mappings.as_ref().map(mappings_value);
    let max_sessions = match change.max_sessions {
        LimitChange::Keep => None,
        LimitChange::Lift => Some(None),
        LimitChange::Set(limit) => Some(Some(number(limit))),
    };
    let needs_version = [&rules, &mappings].into_iter().any(|value| matches!(value, Some(Some(_))));
    for (name, alias, placeholder, value) in [
        (HOME, "#home", ":home", change.home.as_ref().map(|home| Some(text(home)))),
        (PERMISSIONS, "#permissions", ":permissions", change.permissions.as_ref().map(permissions_value)),
        (RULES, "#rules", ":rules", rules),
        (MAPPINGS, "#mappings", ":mappings", mappings),
        (MAX_SESSIONS, "#sessions", ":sessions", max_sessions),
        (LISTS_UPLOADS, "#uploads", ":uploads", change.lists_uploads.map(lists_uploads_value)),
        (VERSION, "#v", ":v", needs_version.then(|| Some(number(WITH_ACCESS)))),
    ] {
        match value {
            None => continue,
            Some(None) => removed.push(alias),
            Some(Some(value)) => {
                set.push(format!("{alias} = {placeholder}"));
                values.insert(placeholder, value);
            }
        }
        names.insert(alias, name.to_owned());
    }
    Update::of_present(&set, &removed, names, values)
}

/// `None` for none: DynamoDB has no empty sets.
fn permissions_value(permissions: &Permissions) -> Option<AttributeValue> {
    let words: Vec<String> = permissions.iter().map(|permission| permission.as_str().to_owned()).collect();
    (!words.is_empty()).then_some(AttributeValue::Ss(words))
}

/// `None` for what a user is without it.
fn lists_uploads_value(lists: bool) -> Option<AttributeValue> {
    lists.then_some(AttributeValue::Bool(true))
}

fn rules_value(rules: &PermissionRules) -> Option<AttributeValue> {
    list(rules.as_slice().iter().map(|rule| {
        let path = Some(("path".to_owned(), text(rule.path.as_str())));
        let permissions = permissions_value(&rule.permissions).map(|value| (PERMISSIONS.to_owned(), value));
        path.into_iter().chain(permissions).collect()
    }))
}

fn mappings_value(mappings: &Mappings) -> Option<AttributeValue> {
    list(mappings.as_slice().iter().map(|mapping| {
        Item::from([
            ("entry".to_owned(), text(mapping.entry.as_str())),
            ("target".to_owned(), text(mapping.target.as_str())),
            ("read_only".to_owned(), AttributeValue::Bool(mapping.read_only)),
        ])
    }))
}

fn list(items: impl Iterator<Item = Item>) -> Option<AttributeValue> {
    let items: Vec<AttributeValue> = items.map(AttributeValue::M).collect();
    (!items.is_empty()).then_some(AttributeValue::L(items))
}

/// The set in the attribute `permissions` of a user or a rule.
pub(super) fn permissions(fields: &Fields<'_>) -> Result<Permissions, StoreError> {
    match fields.item.get(PERMISSIONS) {
        None => Ok(Permissions::new()),
        Some(AttributeValue::Ss(words)) => words
            .iter()
            .map(|word| word.parse::<Permission>().map_err(|error| fields.refuse(PERMISSIONS, error)))
            .collect(),
        Some(_) => Err(fields.refuse(PERMISSIONS, "is no string set")),
    }
}

pub(super) fn rules(fields: &Fields<'_>) -> Result<PermissionRules, StoreError> {
    let rule =
        |fields: Fields<'_>| Ok(PermissionRule { path: fields.parsed("path")?, permissions: permissions(&fields)? });
    let rules = maps(fields, RULES, rule)?;
    PermissionRules::new(rules).map_err(|error| fields.refuse(RULES, format!("is refused: {error}")))
}

pub(super) fn mappings(fields: &Fields<'_>) -> Result<Mappings, StoreError> {
    let mapping = |fields: Fields<'_>| {
        let read_only = fields.optional_flag("read_only")?.ok_or_else(|| fields.refuse("read_only", "is missing"))?;
        Ok(Mapping { entry: fields.parsed("entry")?, target: fields.parsed("target")?, read_only })
    };
    let mappings = maps(fields, MAPPINGS, mapping)?;
    Mappings::new(mappings).map_err(|error| fields.refuse(MAPPINGS, format!("is refused: {error}")))
}

/// The maps in a list that may be missing.
fn maps<T>(
    fields: &Fields<'_>,
    name: &str,
    read: impl Fn(Fields<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let items = match fields.item.get(name) {
        None => return Ok(Vec::new()),
        Some(AttributeValue::L(items)) => items,
        Some(_) => return Err(fields.refuse(name, "is no list")),
    };
    let read = |(place, value): (usize, &AttributeValue)| match value {
        AttributeValue::M(item) => read(fields.within(item, format_args!("{name}[{place}]"))),
        _ => Err(fields.refuse(name, "holds what is no map")),
    };
    items.iter().enumerate().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_update_changes_all_that_is_named() {
        assert!(update(&UserChange::default()).is_none());
        let rule = PermissionRule { path: "/in".parse().unwrap(), permissions: Permissions::new() };
        let change = UserChange {
            home: Some("/in".to_owned()),
            permissions: Some(Permissions::new()),
            rules: Some(PermissionRules::new(vec![rule]).unwrap()),
            mappings: Some(Mappings::default()),
            max_sessions: LimitChange::Set(5),
            lists_uploads: Some(true),
        };
        let made = update(&change).unwrap();
        assert_eq!(
            made.expression,
            "SET #home = :home, #rules = :rules, #sessions = :sessions, #uploads = :uploads, #v = :v REMOVE #permissions, #mappings"
        );
        assert_eq!((made.names.len(), made.values.len()), (7, 5));
        let unlisted = UserChange { lists_uploads: Some(false), ..UserChange::default() };
        assert_eq!(update(&unlisted).unwrap().expression, "REMOVE #uploads");
        let gone = UserChange { rules: Some(PermissionRules::default()), ..UserChange::default() };
        assert_eq!(update(&gone).unwrap().expression, "REMOVE #rules", "the version stays");
    }
}
