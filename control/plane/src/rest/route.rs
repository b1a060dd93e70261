//! From method and path to the operation of the contract, and what the path names.

use control_api::{Method, OPERATIONS, OWN_OPERATIONS, Operation};

/// What every path of the API starts with.
pub(crate) const BASE: &str = "/client/v4";
/// What every path of Weir's own operations starts with.
pub(crate) const OWN_BASE: &str = "/weir/v1";
/// Segments of a path; the longest template has nine.
const SEGMENTS_MAX: usize = 16;

/// The operation that a call asks for.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// What the contract says of it.
    pub(crate) operation: &'static Operation,
    /// Parameters of the path by name.
    params: Vec<(&'static str, String)>,
}

/// Why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Miss {
    /// No operation has this path.
    Path,
    /// Others have it, with these methods.
    Method(Vec<Method>),
}

/// Whose objects a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Nobody's: accounts and zones as such.
    Any,
    /// The caller's own.
    User,
    /// Those of the account of this id.
    Account(String),
    /// Those of the zone of this id.
    Zone(String),
}

impl Route {
    /// A parameter of the path.
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(own, _)| *own == name).map(|(_, value)| value.as_str())
    }

    /// The id of the object itself, where the path ends in one or in what is asked of one.
    pub(crate) fn item(&self) -> Option<&str> {
        const SCOPES: [&str; 4] =
            ["account_id", "zone_id", "accounts_or_zones", "account_or_zone_id"];
        let own = self.params.iter().rev().find(|(name, _)| !SCOPES.contains(name));
        own.map(|(_, value)| value.as_str())
    }

    /// Whose objects the path names.
    pub(crate) fn scope(&self) -> Scope {
        let id = |name| self.param(name).map(str::to_owned);
        match (self.param("accounts_or_zones"), id("account_or_zone_id")) {
            (Some("accounts"), Some(id)) => return Scope::Account(id),
            (Some(_), Some(id)) => return Scope::Zone(id),
            _ => {}
        }
        match (id("account_id"), id("zone_id")) {
            (Some(id), _) => Scope::Account(id),
            (_, Some(id)) => Scope::Zone(id),
            _ if self.operation.path.starts_with("/user") => Scope::User,
            _ => Scope::Any,
        }
    }

    /// The word before the last parameter: what kind of object a question such as `references` or
    /// `preview` is about.
    pub(crate) fn parent(&self) -> &'static str {
        let before = self.operation.path.rsplit("/{").nth(1).unwrap_or_default();
        before.rsplit('/').next().unwrap_or_default()
    }
}

/// Finds the operation of `path`, which stands below [`BASE`] or [`OWN_BASE`].
pub(crate) fn find_whole(method: Option<Method>, path: &str) -> Result<Route, Miss> {
    match path.strip_prefix(OWN_BASE) {
        Some(path) => find_in(OWN_OPERATIONS, method, path),
        None => find(method, path.strip_prefix(BASE).unwrap_or_default()),
    }
}

/// Finds the operation of `path`, which starts with a slash and stands below [`BASE`].
pub(crate) fn find(method: Option<Method>, path: &str) -> Result<Route, Miss> {
    find_in(OPERATIONS, method, path)
}

fn find_in(
    operations: &'static [Operation],
    method: Option<Method>,
    path: &str,
) -> Result<Route, Miss> {
    let segments: Vec<&str> = path.strip_prefix('/').ok_or(Miss::Path)?.split('/').collect();
    if segments.len() > SEGMENTS_MAX || segments.iter().any(|segment| segment.is_empty()) {
        return Err(Miss::Path);
    }
    // A word stands before a parameter, so that `healthchecks/preview` is no healthcheck.
    let fit = |operation: &Operation| fit(operation.path, &segments);
    let best = operations.iter().filter_map(fit).max().ok_or(Miss::Path)?;
    let there: Vec<_> = operations.iter().filter(|one| fit(one) == Some(best)).collect();
    let Some(operation) = there.iter().find(|one| Some(one.method) == method) else {
        return Err(Miss::Method(there.iter().map(|one| one.method).collect()));
    };
    let words = operation.path.split('/').skip(1).zip(&segments);
    let params = words.filter_map(|(word, found)| Some((parameter(word)?, (*found).to_owned())));
    Ok(Route { operation, params: params.collect() })
}

/// How many words of a template are those of the path; none where it does not fit.
fn fit(template: &str, segments: &[&str]) -> Option<usize> {
    let mut words = template.split('/').skip(1);
    let mut alike = 0;
    for found in segments {
        match (words.next()?, *found) {
            ("{accounts_or_zones}", "accounts" | "zones") => {}
            ("{accounts_or_zones}", _) => return None,
            (word, found) if word == found => alike += 1,
            (word, _) if parameter(word).is_some() => {}
            _ => return None,
        }
    }
    words.next().is_none().then_some(alike)
}

fn parameter(word: &str) -> Option<&str> {
    word.strip_prefix('{')?.strip_suffix('}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_an_operation_and_whose_objects_it_is_about() {
        let account = || Scope::Account("a".to_owned());
        let zone = || Scope::Zone("z".to_owned());
        for (method, path, template, scope, item, parent) in [
            (Method::Get, "/accounts", "/accounts", Scope::Any, None, ""),
            (Method::Get, "/accounts/a", "/accounts/{account_id}", account(), None, ""),
            (
                Method::Put,
                "/accounts/a/load_balancers/pools/p",
                "/accounts/{account_id}/load_balancers/pools/{pool_id}",
                account(),
                Some("p"),
                "pools",
            ),
            (
                Method::Get,
                "/accounts/a/load_balancers/pools/p/references",
                "/accounts/{account_id}/load_balancers/pools/{pool_id}/references",
                account(),
                Some("p"),
                "pools",
            ),
            (
                Method::Get,
                "/zones/z/load_balancers/l",
                "/{accounts_or_zones}/{account_or_zone_id}/load_balancers/{load_balancer_id}",
                zone(),
                Some("l"),
                "load_balancers",
            ),
            (
                Method::Post,
                "/zones/z/healthchecks/preview",
                "/zones/{zone_id}/healthchecks/preview",
                zone(),
                None,
                "",
            ),
            (Method::Get, "/user", "/user", Scope::User, None, ""),
        ] {
            let route = find(Some(method), path).unwrap_or_else(|miss| panic!("{path}: {miss:?}"));
            assert_eq!(route.operation.path, template);
            assert_eq!((route.scope(), route.item()), (scope, item), "{path}");
            if item.is_some() {
                assert_eq!(route.parent(), parent, "{path}");
            }
        }
    }

    #[test]
    fn what_is_not_in_the_contract_is_no_operation() {
        for path in
            ["/", "", "//", "/account", "/accounts/", "/accounts//x", "/owls/a/load_balancers"]
        {
            assert_eq!(find(Some(Method::Get), path).err(), Some(Miss::Path), "{path}");
        }
        let long = "/a".repeat(SEGMENTS_MAX + 1);
        assert_eq!(find(Some(Method::Get), &long).err(), Some(Miss::Path));
        assert_eq!(
            find(None, "/ips").err(),
            Some(Miss::Method(vec![Method::Get])),
            "another method"
        );
    }
}
