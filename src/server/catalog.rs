//! THE list of kinds: routing, discovery, OpenAPI, storage and RBAC names come from here.
//! Adding a kind is one file under `kinds/` and one line below.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::kinds::core;
use super::strategy::{Kind, of};

/// Every built-in kind, in upstream's discovery order of groups.
fn built_in() -> Vec<Box<dyn Kind>> {
    vec![of(core::configmap::ConfigMaps)]
}

/// The kinds by the names requests use.
pub struct Catalog {
    kinds: Vec<Box<dyn Kind>>,
    by_resource: HashMap<(&'static str, &'static str, &'static str), usize>,
}

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    let kinds = built_in();
    let names = kinds.iter().enumerate().map(|(at, kind)| {
        let meta = kind.meta();
        ((meta.group, meta.version, meta.plural), at)
    });
    let by_resource = names.collect();
    Catalog { kinds, by_resource }
});

/// The one catalog of the process.
pub fn catalog() -> &'static Catalog {
    &CATALOG
}

impl Catalog {
    pub fn kinds(&'static self) -> impl Iterator<Item = &'static dyn Kind> {
        self.kinds.iter().map(AsRef::as_ref)
    }

    /// The kind a request path names.
    pub fn find(&'static self, group: &str, version: &str, plural: &str) -> Option<&'static dyn Kind> {
        let at = self.by_resource.get(&(group, version, plural) as &(&str, &str, &str))?;
        Some(self.kinds[*at].as_ref())
    }

    /// The kind a body names.
    pub fn find_kind(&'static self, group: &str, version: &str, kind: &str) -> Option<&'static dyn Kind> {
        self.kinds().find(|k| {
            let meta = k.meta();
            meta.group == group && meta.version == version && meta.kind == kind
        })
    }
}
