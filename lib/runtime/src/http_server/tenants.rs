//! The label `tenant`. Its values come from outside, so there is an end to how many there are.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
};

use axum::{
    extract::Request,
    http::{Extensions, HeaderMap},
};
use parking_lot::Mutex;

/// Combinations of tenant, handler and method that have metrics of their own.
const MAX_COMBINATIONS: usize = 500;

/// Longer names have none.
const MAX_NAME_BYTES: usize = 64;

/// The value of the label for tenants that came when there was no more room, and for names that are none.
pub const OTHER_TENANTS: &str = "__other__";

/// Tells the tenant of a request; `None` if what is named is none.
pub type TenantOf = Arc<dyn Fn(&HeaderMap, &Extensions) -> Option<String> + Send + Sync>;

/// The tenants of a component.
pub struct Tenants {
    of: TenantOf,
    /// Who asks where nobody is named. There is always room for it.
    default: String,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Handlers and methods by tenant.
    combinations: HashMap<Arc<str>, HashSet<(&'static str, &'static str)>>,
    count: usize,
}

impl Tenants {
    /// Tenants as `of` tells them.
    pub fn new(of: TenantOf, default: impl Into<String>) -> Self {
        Self {
            of,
            default: default.into(),
            known: Mutex::default(),
        }
    }

    /// The value of the label for a request.
    pub(super) fn label(&self, request: &Request, handler: &'static str, method: &'static str) -> Arc<str> {
        match (self.of)(request.headers(), request.extensions()) {
            Some(name) if name == self.default => name.into(),
            Some(name) if name.len() <= MAX_NAME_BYTES => {
                let known = self.known.lock().admit(&name, (handler, method));
                known.unwrap_or_else(|| OTHER_TENANTS.into())
            }
            Some(_) | None => OTHER_TENANTS.into(),
        }
    }
}

impl Known {
    /// The name, if there is room for the combination.
    fn admit(&mut self, name: &str, combination: (&'static str, &'static str)) -> Option<Arc<str>> {
        let is_full = self.count >= MAX_COMBINATIONS;
        if let Some((known, combinations)) = self.combinations.get_key_value(name) {
            let known = Arc::clone(known);
            if combinations.contains(&combination) {
                return Some(known);
            }
        }
        if is_full {
            return None;
        }
        let name: Arc<str> = name.into();
        self.count += 1;
        self.combinations
            .entry(Arc::clone(&name))
            .or_default()
            .insert(combination);
        Some(name)
    }
}

impl fmt::Debug for Tenants {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Tenants")
            .field("default", &self.default)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn tenants() -> Tenants {
        let of = |headers: &HeaderMap, _: &Extensions| {
            let named = headers
                .get("tenant")
                .map(|name| name.to_str().unwrap().to_owned());
            Some(named.unwrap_or_else(|| "default".to_owned())).filter(|name| name != "bad")
        };
        Tenants::new(Arc::new(of), "default")
    }

    fn label(tenants: &Tenants, name: Option<&str>, handler: &'static str) -> String {
        let mut request = Request::get("/a");
        if let Some(name) = name {
            request = request.header("tenant", name);
        }
        let request = request.body(Body::empty()).unwrap();
        tenants.label(&request, handler, "get").as_ref().to_owned()
    }

    #[test]
    fn tenants_have_a_label_until_there_are_too_many() {
        let tenants = tenants();
        for number in 0..MAX_COMBINATIONS - 1 {
            let name = format!("t{number}");
            assert_eq!(label(&tenants, Some(&name), "query"), name);
        }
        assert_eq!(label(&tenants, Some("t0"), "series"), "t0");
        // It is full: whoever is there stays, and the default tenant has room.
        assert_eq!(label(&tenants, Some("t0"), "query"), "t0");
        assert_eq!(label(&tenants, Some("t0"), "series"), "t0");
        assert_eq!(label(&tenants, Some("t1"), "series"), OTHER_TENANTS);
        assert_eq!(label(&tenants, Some("new"), "query"), OTHER_TENANTS);
        assert_eq!(label(&tenants, None, "series"), "default");
        let known = tenants.known.lock();
        assert_eq!(known.count, MAX_COMBINATIONS);
        assert_eq!(known.combinations.len(), MAX_COMBINATIONS - 1);
    }

    #[test]
    fn names_that_are_none_or_long_are_no_label() {
        let tenants = tenants();
        assert_eq!(label(&tenants, Some("bad"), "query"), OTHER_TENANTS);
        let longest = "x".repeat(MAX_NAME_BYTES);
        assert_eq!(label(&tenants, Some(&longest), "query"), longest);
        assert_eq!(
            label(&tenants, Some(&format!("{longest}x")), "query"),
            OTHER_TENANTS
        );
    }
}
