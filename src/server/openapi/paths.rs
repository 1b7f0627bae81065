//! The paths of one kind, with their operations: the collection, the object, its subresources, and the old
//! paths under `/watch`.

use serde_json::{Map, Value};

use super::components::Components;
use super::operation::{Operation, PRODUCES, PathItem, STREAMS};
use super::parameters::{self, path, query};
use crate::api::gvk::api_version;
use crate::server::strategy::{Kind, Meta, Subresource, Verb};

pub type Paths = Map<String, Value>;

/// Kinds whose deletion answers with the object itself.
const RETURN_DELETED: &[&str] = &[
    "csidrivers",
    "csinodes",
    "deviceclasses",
    "persistentvolumeclaims",
    "persistentvolumes",
    "pods",
    "podtemplates",
    "resourceclaims",
    "resourceclaimtemplates",
    "resourcequotas",
    "resourceslices",
    "serviceaccounts",
    "services",
    "storageclasses",
    "volumeattachments",
    "volumeattributesclasses",
];

/// `/api/v1`, `/apis/apps/v1`.
pub fn root(group: &str, version: &str) -> String {
    let prefix = if group.is_empty() { "api" } else { "apis" };
    format!("/{prefix}/{}", api_version(group, version))
}

/// `rbac.authorization.k8s.io` → `RbacAuthorization`; the core group is `Core`.
pub fn group_id(group: &str) -> String {
    match group.trim_end_matches(".k8s.io") {
        "" => "Core".to_owned(),
        group => group.split('.').map(capital).collect(),
    }
}

/// `rbacAuthorization_v1`; without a version the group alone.
pub fn tag(group: &str, version: &str) -> String {
    let mut id = group_id(group);
    id[..1].make_ascii_lowercase();
    if version.is_empty() { id } else { format!("{id}_{version}") }
}

fn capital(word: &str) -> String {
    let mut word = word.to_owned();
    if let Some(first) = word.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    word
}

/// Adds the paths of a kind.
pub fn describe(kind: &dyn Kind, components: &mut Components, paths: &mut Paths) {
    Describer::new(kind, components, paths).describe();
}

struct Describer<'a> {
    kind: &'a dyn Kind,
    meta: &'a Meta,
    components: &'a mut Components,
    paths: &'a mut Paths,
    root: String,
    tag: String,
    /// `AppsV1`.
    group: String,
    scope: &'static str,
}

impl<'a> Describer<'a> {
    fn new(kind: &'a dyn Kind, components: &'a mut Components, paths: &'a mut Paths) -> Self {
        let meta = kind.meta();
        let group = format!("{}{}", group_id(meta.group), capital(meta.version));
        let scope = if meta.namespaced { "Namespaced" } else { "" };
        let (root, tag) = (root(meta.group, meta.version), tag(meta.group, meta.version));
        Self { kind, meta, components, paths, root, tag, group, scope }
    }

    fn describe(mut self) {
        let plural = self.meta.plural;
        let collection = match self.meta.namespaced {
            true => format!("/namespaces/{{namespace}}/{plural}"),
            false => format!("/{plural}"),
        };
        let object = format!("{collection}/{{name}}");
        self.collection(&collection);
        if self.meta.namespaced && self.has(Verb::List) {
            let list = self.list(format!("list{}{}ForAllNamespaces", self.group, self.meta.kind));
            self.add(&format!("/{plural}"), [list]);
        }
        self.object(&object);
        for sub in self.meta.subresources {
            self.subresource(&object, sub);
        }
        if self.has(Verb::Watch) {
            self.watches(&collection, &object);
        }
    }

    fn has(&self, verb: Verb) -> bool {
        self.meta.verbs.contains(&verb)
    }

    /// Adds a path under the group's root, with the parameters that its own text and every answer has.
    fn add(&mut self, suffix: &str, operations: impl IntoIterator<Item = Operation>) {
        let mut item = PathItem::default();
        for operation in operations {
            let mut shared: Vec<Value> = parameters::EVERY.iter().map(query).collect();
            shared.extend(self.in_path(suffix));
            item.add(operation.parameters(shared).tag(&self.tag));
        }
        if let Some(item) = item.finish() {
            self.paths.insert(format!("{}{suffix}", self.root), item);
        }
    }

    fn in_path(&self, suffix: &str) -> Vec<Value> {
        let texts = [
            ("name", format!("name of the {}", self.meta.kind)),
            ("namespace", "object name and auth scope, such as for teams and projects".to_owned()),
            ("path", "path to the resource".to_owned()),
        ];
        let named = texts.iter().filter(|(name, _)| suffix.contains(&format!("{{{name}}}")));
        named.map(|(name, text)| path(name, text)).collect()
    }

    /// An operation on the kind itself: `readAppsV1NamespacedDeployment`.
    fn operation(&self, method: &'static str, action: &str, id: String, description: String) -> Operation {
        let Meta { group, version, kind, .. } = self.meta;
        Operation::new(method, id, description).action(action, group, version, kind)
    }

    fn id(&self, verb: &str) -> String {
        format!("{verb}{}{}{}", self.group, self.scope, self.meta.kind)
    }

    fn list(&mut self, id: String) -> Operation {
        let answer = self.components.list(self.kind);
        let description = format!("list or watch objects of kind {}", self.meta.kind);
        let operation = self.operation("get", "list", id, description);
        operation.parameters(parameters::LIST.iter().map(query)).answers(&[200], STREAMS, &answer)
    }

    fn collection(&mut self, suffix: &str) {
        let kind = self.meta.kind;
        let mut operations = Vec::new();
        if self.has(Verb::DeleteCollection) {
            let id = format!("delete{}Collection{}{kind}", self.group, self.scope);
            let operation = self.operation("delete", "deletecollection", id, format!("delete collection of {kind}"));
            let operation = operation.parameters(parameters::DELETE_COLLECTION.iter().map(query));
            let options = self.components.delete_options();
            operations.push(operation.optional_body(&options).answers(&[200], PRODUCES, &self.components.status()));
        }
        if self.has(Verb::List) {
            operations.push(self.list(self.id("list")));
        }
        if self.has(Verb::Create) {
            let object = self.components.kind(self.kind);
            let operation =
                self.operation("post", "post", self.id("create"), format!("create {} {kind}", article(kind)));
            let operation = operation.parameters(parameters::CREATE.iter().map(query)).body(&object);
            operations.push(operation.answers(&[200, 201, 202], PRODUCES, &object));
        }
        self.add(suffix, operations);
    }

    fn object(&mut self, suffix: &str) {
        let kind = self.meta.kind;
        let mut operations = Vec::new();
        if self.has(Verb::Delete) {
            let operation =
                self.operation("delete", "delete", self.id("delete"), format!("delete {} {kind}", article(kind)));
            let answer = match RETURN_DELETED.contains(&self.meta.plural) {
                true => self.components.kind(self.kind),
                false => self.components.status(),
            };
            let operation = operation.parameters(parameters::DELETE.iter().map(query));
            let operation = operation.optional_body(&self.components.delete_options());
            operations.push(operation.answers(&[200, 202], PRODUCES, &answer));
        }
        let verbs = [(Verb::Get, "get"), (Verb::Patch, "patch"), (Verb::Update, "update")];
        let verbs: Vec<&str> = verbs.iter().filter(|(verb, _)| self.has(*verb)).map(|(_, name)| *name).collect();
        if !verbs.is_empty() {
            let object = self.components.kind(self.kind);
            let gvk = [self.meta.group, self.meta.version, kind];
            operations.extend(verbs.iter().filter_map(|verb| self.window(verb, "", gvk, &object)));
        }
        self.add(suffix, operations);
    }

    /// Reading or writing an object, or the part of it that a subresource shows.
    fn window(
        &mut self,
        verb: &str,
        sub: &str,
        [group, version, kind]: [&str; 3],
        object: &Value,
    ) -> Option<Operation> {
        let parent = self.meta.kind;
        let (method, word, text, queries) = match verb {
            "get" => ("get", "read", "read", &[] as &[_]),
            "update" => ("put", "replace", "replace", parameters::CREATE),
            "patch" => ("patch", "patch", "partially update", parameters::PATCH),
            "create" => ("post", "create", "create", parameters::CREATE),
            _ => return None,
        };
        let description = match (verb, sub) {
            ("create", sub) => format!("create {sub} of {} {parent}", article(parent)),
            (_, "") => format!("{text} the specified {parent}"),
            (_, sub) => format!("{text} {sub} of the specified {parent}"),
        };
        let id = format!("{}{}", self.id(word), capital(sub));
        let operation = Operation::new(method, id, description).action(method, group, version, kind);
        let operation = operation.parameters(queries.iter().map(query));
        Some(match verb {
            "get" => operation.answers(&[200], PRODUCES, object),
            "create" => operation.body(object).answers(&[200, 201, 202], PRODUCES, object),
            "patch" => {
                let patch = self.components.patch();
                operation.patch_body(&patch).answers(&[200, 201], PRODUCES, object)
            }
            _ => operation.body(object).answers(&[200, 201], PRODUCES, object),
        })
    }

    fn subresource(&mut self, object: &str, sub: &Subresource) {
        let suffix = format!("{object}/{}", sub.name);
        let (group, version) = sub.group_version.unwrap_or((self.meta.group, self.meta.version));
        if sub.name == "log" {
            let id = format!("{}Log", self.id("read"));
            let text = format!("read log of the specified {}", self.meta.kind);
            let operation = self.operation("get", "get", id, text);
            let operation = operation.parameters(parameters::of_connection("log").iter().map(query));
            self.add(&suffix, [operation.answers_text(&["application/json", "application/yaml", "text/plain"])]);
            return;
        }
        if let Some(body) = self.components.body(group, version, sub.kind) {
            let windows =
                sub.verbs.iter().filter_map(|verb| self.window(verb, sub.name, [group, version, sub.kind], &body));
            let windows: Vec<Operation> = windows.collect();
            self.add(&suffix, windows);
            return;
        }
        self.connection(&suffix, sub, "");
        if sub.name == "proxy" {
            self.connection(&format!("{suffix}/{{path}}"), sub, "WithPath");
        }
    }

    /// A stream or a proxy: every method it has connects.
    fn connection(&mut self, suffix: &str, sub: &Subresource, ending: &str) {
        let methods: &[&'static str] = match sub.name {
            "proxy" => &["delete", "get", "head", "options", "patch", "post", "put"],
            _ => &["get", "post"],
        };
        let mut item = PathItem::default();
        for method in methods {
            let kind = self.meta.kind;
            let id =
                format!("connect{}{}{}{kind}{}{ending}", self.group, capital(method), self.scope, capital(sub.name));
            let text = format!("connect {} requests to {} of {kind}", method.to_uppercase(), sub.name);
            let operation = Operation::new(method, id, text).tag(&self.tag);
            let operation = operation.action("connect", self.meta.group, self.meta.version, sub.kind);
            let taken = parameters::of_connection(sub.name).iter().map(query).chain(self.in_path(suffix));
            item.add(operation.parameters(taken).answers_anything());
        }
        if let Some(item) = item.finish() {
            self.paths.insert(format!("{}{suffix}", self.root), item);
        }
    }

    fn watches(&mut self, collection: &str, object: &str) {
        let list = self.id("watch") + "List";
        let single = self.id("watch");
        let mut all = vec![(format!("/watch{collection}"), "watchlist", list)];
        if self.meta.namespaced {
            let id = format!("watch{}{}ListForAllNamespaces", self.group, self.meta.kind);
            all.push((format!("/watch/{}", self.meta.plural), "watchlist", id));
        }
        all.push((format!("/watch{object}"), "watch", single));
        for (suffix, action, id) in all {
            let text = match action {
                "watch" => format!(
                    "watch changes to an object of kind {}. deprecated: use the 'watch' parameter with a list operation instead, filtered to a single item with the 'fieldSelector' parameter.",
                    self.meta.kind
                ),
                _ => format!(
                    "watch individual changes to a list of {}. deprecated: use the 'watch' parameter with a list operation instead.",
                    self.meta.kind
                ),
            };
            let event = self.components.watch_event();
            let operation = self.operation("get", action, id, text);
            let operation = operation.parameters(parameters::LIST.iter().map(query));
            self.add(&suffix, [operation.answers(&[200], STREAMS, &event)]);
        }
    }
}

fn article(noun: &str) -> &'static str {
    match noun.chars().next() {
        Some('A' | 'E' | 'I' | 'O' | 'U') => "an",
        _ => "a",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_named_in_ids_and_tags() {
        for (group, version, id, expected) in [
            ("", "v1", "Core", "core_v1"),
            ("apps", "v1", "Apps", "apps_v1"),
            ("rbac.authorization.k8s.io", "v1", "RbacAuthorization", "rbacAuthorization_v1"),
            ("flowcontrol.apiserver.k8s.io", "v1", "FlowcontrolApiserver", "flowcontrolApiserver_v1"),
        ] {
            assert_eq!(group_id(group), id);
            assert_eq!(tag(group, version), expected);
        }
    }
}
