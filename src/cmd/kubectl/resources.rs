//! What the server serves, from its aggregated discovery, and how people name it: `po`, `pods`,
//! `Deployment`, `deployments.apps`, `pod/name`.

use anyhow::{anyhow, bail};
use serde_json::Value;

use super::session::Session;

const DISCOVERY: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource {
    pub group: String,
    pub version: String,
    pub kind: String,
    pub plural: String,
    pub singular: String,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    pub namespaced: bool,
}

impl Resource {
    /// The path of the collection or of one object; `namespace` is for namespaced resources only.
    pub fn path(&self, namespace: Option<&str>, name: Option<&str>) -> String {
        let mut path = match self.group.as_str() {
            "" => format!("/api/{}", self.version),
            group => format!("/apis/{group}/{}", self.version),
        };
        if let Some(namespace) = namespace.filter(|_| self.namespaced) {
            path.push_str(&format!("/namespaces/{namespace}"));
        }
        path.push_str(&format!("/{}", self.plural));
        if let Some(name) = name {
            path.push_str(&format!("/{name}"));
        }
        path
    }

    /// `deployment.apps`, `pod`: how kubectl prints a type.
    pub fn display(&self) -> String {
        match self.group.as_str() {
            "" => self.singular.clone(),
            group => format!("{}.{group}", self.singular),
        }
    }

    fn answers_to(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        let (plain, group) = name.split_once('.').unwrap_or((&name, ""));
        let named = self.plural == plain
            || self.singular == plain
            || self.kind.to_lowercase() == plain
            || self.short_names.iter().any(|short| short == plain);
        named && (group.is_empty() || group == self.group || group == format!("{}.{}", self.version, self.group))
    }
}

/// Every resource, in the server's order: the first of a name wins.
pub struct Resources(pub Vec<Resource>);

impl Resources {
    pub async fn discover(session: &Session) -> anyhow::Result<Self> {
        let (core, named) = futures::try_join!(session.get("/api", DISCOVERY), session.get("/apis", DISCOVERY))?;
        Ok(Self([core, named].iter().flat_map(parse).collect()))
    }

    pub fn find(&self, name: &str) -> anyhow::Result<&Resource> {
        let found = self.0.iter().find(|resource| resource.answers_to(name));
        found.ok_or_else(|| anyhow!("error: the server doesn't have a resource type \"{name}\""))
    }

    pub fn of_kind(&self, api_version: &str, kind: &str) -> anyhow::Result<&Resource> {
        let (group, version) = crate::api::gvk::split_api_version(api_version).unwrap_or_default();
        let found = self.0.iter().find(|r| r.group == group && r.version == version && r.kind == kind);
        found.ok_or_else(|| anyhow!("no matches for kind \"{kind}\" in version \"{api_version}\""))
    }

    /// `TYPE[,TYPE…] [NAME…]` or `TYPE/NAME…`: the resources with the names wanted of each.
    pub fn targets<'a>(&'a self, words: &[String]) -> anyhow::Result<Vec<(&'a Resource, Vec<String>)>> {
        let Some(first) = words.first() else { bail!("error: you must specify the type of resource") };
        if first.contains('/') {
            return words.iter().map(|word| self.slashed(word)).collect();
        }
        let names = &words[1..];
        let mut targets = Vec::new();
        for name in first.split(',') {
            let category: Vec<_> = self.0.iter().filter(|r| r.categories.iter().any(|c| c == name)).collect();
            if category.is_empty() {
                targets.push((self.find(name)?, names.to_vec()));
            }
            targets.extend(category.into_iter().map(|resource| (resource, names.to_vec())));
        }
        Ok(targets)
    }

    fn slashed<'a>(&'a self, word: &str) -> anyhow::Result<(&'a Resource, Vec<String>)> {
        match word.split_once('/') {
            Some((kind, name)) if !name.is_empty() => Ok((self.find(kind)?, vec![name.to_owned()])),
            _ => bail!("error: arguments in resource/name form must have a single resource and name: {word:?}"),
        }
    }
}

fn parse(list: &Value) -> Vec<Resource> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let texts = |value: &Value| array(value).iter().map(text).collect::<Vec<_>>();
    let mut found = Vec::new();
    for group in array(&list["items"]) {
        for version in array(&group["versions"]) {
            for resource in array(&version["resources"]) {
                found.push(Resource {
                    group: text(&group["metadata"]["name"]),
                    version: text(&version["version"]),
                    kind: text(&resource["responseKind"]["kind"]),
                    plural: text(&resource["resource"]),
                    singular: text(&resource["singularResource"]),
                    short_names: texts(&resource["shortNames"]),
                    categories: texts(&resource["categories"]),
                    namespaced: resource["scope"] == "Namespaced",
                });
            }
        }
    }
    found
}

/// The items of a JSON array; nothing for anything else.
pub fn array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources() -> Resources {
        let make = |group: &str, plural: &str, kind: &str, short: &str| Resource {
            group: group.to_owned(),
            version: "v1".to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            singular: kind.to_lowercase(),
            short_names: vec![short.to_owned()],
            categories: vec!["all".to_owned()],
            namespaced: true,
        };
        Resources(vec![make("", "pods", "Pod", "po"), make("apps", "deployments", "Deployment", "deploy")])
    }

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn people_name_resources_in_many_ways() {
        let all = resources();
        for name in ["po", "pod", "pods", "Pod"] {
            assert_eq!(all.find(name).unwrap().plural, "pods");
        }
        for name in ["deploy", "deployments.apps", "deployment.v1.apps", "Deployment"] {
            assert_eq!(all.find(name).unwrap().plural, "deployments", "{name}");
        }
        assert!(all.find("pods.apps").is_err());
    }

    #[test]
    fn targets_come_from_words() {
        let all = resources();
        let shown = |text: &str| {
            let targets = all.targets(&words(text)).unwrap();
            targets.iter().map(|(r, names)| format!("{}:{}", r.plural, names.join("+"))).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(shown("po a b"), "pods:a+b");
        assert_eq!(shown("po,deploy"), "pods: deployments:");
        assert_eq!(shown("deploy/x pod/y"), "deployments:x pods:y");
        assert_eq!(shown("all"), "pods: deployments:");
        assert!(all.targets(&words("pod/")).is_err());
        assert!(all.targets(&[]).is_err());
    }

    #[test]
    fn paths_follow_scope_and_group() {
        let all = resources();
        assert_eq!(all.0[0].path(Some("ns"), Some("a")), "/api/v1/namespaces/ns/pods/a");
        assert_eq!(all.0[1].path(None, None), "/apis/apps/v1/deployments");
    }
}
