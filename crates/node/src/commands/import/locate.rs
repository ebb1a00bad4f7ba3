//! Which tenant's files lie at a place in S3.

use tidegate_store::{DirectoryPath, Mapping, Mappings, Tenant, TenantName, UserChange};

use super::source::View;

/// The tenant and the access of a user who sees these places.
///
/// # Errors
/// If they lie in no tenant, or not all in the same one.
pub(super) fn resolve(view: View, tenants: &[Tenant]) -> Result<(TenantName, UserChange), String> {
    let (home, targets) = match view {
        View::Of(tenant, access) => return Ok((tenant, access)),
        View::Located { home, targets } => (home, targets),
    };
    let mut owner: Option<(&Tenant, &str)> = None;
    let mut mappings = Vec::new();
    for (entry, place) in &targets {
        let (tenant, target) = locate(place, tenants)?;
        match owner {
            Some((other, elsewhere)) if other.name != tenant.name => {
                return Err(format!(
                    "the targets lie in two tenants: \"{elsewhere}\" in {} and \"{place}\" in {}; a user has the files \
                     of one",
                    other.name, tenant.name
                ));
            }
            _ => owner = Some((tenant, place)),
        }
        let entry: DirectoryPath = entry.parse().map_err(|error: tidegate_store::InvalidName| error.to_string())?;
        mappings.push(Mapping { entry, target, read_only: false });
    }
    let (tenant, _) = owner.ok_or("there is nothing that the user would see")?;
    let mappings = Mappings::new(mappings).map_err(|error| error.to_string())?;
    let access = UserChange { home: Some(home), mappings: Some(mappings), ..UserChange::default() };
    Ok((tenant.name.clone(), access))
}

/// The tenant among whose files `/bucket/key` lies, and the directory in its files.
fn locate<'a>(place: &str, tenants: &'a [Tenant]) -> Result<(&'a Tenant, DirectoryPath), String> {
    let path = place.strip_prefix('/').ok_or_else(|| format!("\"{place}\" is no /bucket/path in S3"))?;
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    let key = if key.is_empty() { String::new() } else { format!("{key}/") };
    let holders: Vec<(&Tenant, &str)> = tenants
        .iter()
        .filter(|tenant| tenant.bucket == bucket)
        .filter_map(|tenant| Some((tenant, key.strip_prefix(tenant.prefix.as_str())?)))
        .collect();
    match holders.as_slice() {
        [(tenant, rest)] => {
            let target = format!("/{}", rest.trim_end_matches('/'));
            let target = target.parse().map_err(|error: tidegate_store::InvalidName| error.to_string())?;
            Ok((tenant, target))
        }
        [] => Err(format!(
            "\"{place}\" lies in no tenant: none has the bucket \"{bucket}\" with a prefix that covers it (tidegate \
             tenant list)"
        )),
        [(one, _), (other, _), ..] => Err(format!("\"{place}\" lies in two tenants, {} and {}", one.name, other.name)),
    }
}

#[cfg(test)]
mod tests {
    use tidegate_store::{Status, TenantLimits};

    use super::*;

    fn tenant(name: &str, bucket: &str, prefix: &str) -> Tenant {
        Tenant {
            name: name.parse().unwrap(),
            status: Status::Active,
            bucket: bucket.to_owned(),
            prefix: prefix.parse().unwrap(),
            limits: TenantLimits::default(),
            created: 1,
        }
    }

    fn located(places: &[(&str, &str)]) -> Result<(String, Vec<String>), String> {
        let tenants = [tenant("acme", "main", "acme/"), tenant("acme-x", "main", "acme-x/"), tenant("whole", "w", "")];
        let targets = places.iter().map(|(entry, place)| ((*entry).to_owned(), (*place).to_owned())).collect();
        let (tenant, access) = resolve(View::Located { home: "/".to_owned(), targets }, &tenants)?;
        let mappings = access.mappings.unwrap();
        Ok((tenant.to_string(), mappings.as_slice().iter().map(|mapping| mapping.target.to_string()).collect()))
    }

    #[test]
    fn places_are_found_in_the_tenant_whose_bucket_and_prefix_hold_them() {
        let found = |tenant: &str, targets: &[&str]| {
            Ok((tenant.to_owned(), targets.iter().map(|target| (*target).to_owned()).collect()))
        };
        assert_eq!(located(&[("/", "/main/acme/home/bob")]), found("acme", &["/home/bob"]));
        assert_eq!(located(&[("/", "/main/acme")]), found("acme", &["/"]));
        assert_eq!(located(&[("/", "/main/acme-x/a"), ("/b", "/main/acme-x/b")]), found("acme-x", &["/a", "/b"]));
        assert_eq!(located(&[("/", "/w")]), found("whole", &["/"]));
        assert_eq!(located(&[("/", "/w/a b/\u{fc}")]), found("whole", &["/a b/\u{fc}"]));
    }

    #[test]
    fn places_in_no_tenant_or_in_two_are_told() {
        for (places, problem) in [
            (&[("/", "/main/acm")][..], "in no tenant"),
            (&[("/", "/main")], "in no tenant"),
            (&[("/", "/other/acme")], "in no tenant"),
            (&[("/", "/fs-0123456789abcdef0/home")], "in no tenant"),
            (&[("/", "main/acme")], "no /bucket/path"),
            (&[("/", "/main/acme/x"), ("/w", "/w/x")], "two tenants"),
            (&[("/", "/w//a")], "not valid"),
            (&[("/a", "/w/x"), ("/b", "/w/x")], "the same files"),
        ] {
            let error = located(places).unwrap_err();
            assert!(error.contains(problem), "{places:?}: {error}");
        }
        let twice = [tenant("one", "w", ""), tenant("two", "w", "x/")];
        let error = locate("/w/x/y", &twice).unwrap_err();
        assert!(error.contains("two tenants"), "{error}");
    }
}
