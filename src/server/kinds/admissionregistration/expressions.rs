//! What the expressions of webhooks and policies may name, and what they have to give.

use std::sync::LazyLock;

use crate::api::field::{Error, Errors, Path};
use crate::server::validation::cel::{self, Environment, Type};

static REQUEST: LazyLock<Type> = LazyLock::new(|| {
    let named = |name: &str, last: &str| {
        let name = format!("kubernetes.{name}");
        Type::object(&name, &[("group", Type::String), ("version", Type::String), (last, Type::String)])
    };
    let (kind, resource) = (named("GroupVersionKind", "kind"), named("GroupVersionResource", "resource"));
    let texts = Type::list(Type::String);
    let user =
        [("username", Type::String), ("uid", Type::String), ("groups", texts.clone()), ("extra", Type::map(texts))];
    let fields = [
        ("kind", kind.clone()),
        ("resource", resource.clone()),
        ("subResource", Type::String),
        ("requestKind", kind),
        ("requestResource", resource),
        ("requestSubResource", Type::String),
        ("name", Type::String),
        ("namespace", Type::String),
        ("operation", Type::String),
        ("userInfo", Type::object("kubernetes.UserInfo", &user)),
        ("dryRun", Type::Bool),
        ("options", Type::Dyn),
    ];
    Type::object("kubernetes.AdmissionRequest", &fields)
});

static NAMESPACE: LazyLock<Type> = LazyLock::new(|| {
    let texts = Type::map(Type::String);
    let metadata = [
        ("name", Type::String),
        ("generateName", Type::String),
        ("namespace", Type::String),
        ("labels", texts.clone()),
        ("annotations", texts),
        ("UID", Type::String),
        ("creationTimestamp", Type::Timestamp),
        ("deletionGracePeriodSeconds", Type::Int),
        ("deletionTimestamp", Type::Timestamp),
        ("generation", Type::Int),
        ("resourceVersion", Type::String),
        ("finalizers", Type::list(Type::String)),
    ];
    let condition = [
        ("status", Type::String),
        ("type", Type::String),
        ("lastTransitionTime", Type::Timestamp),
        ("message", Type::String),
        ("reason", Type::String),
    ];
    let conditions = Type::list(Type::object("kubernetes.NamespaceCondition", &condition));
    let fields = [
        ("metadata", Type::object("kubernetes.NamespaceMetadata", &metadata)),
        ("spec", Type::object("kubernetes.NamespaceSpec", &[("finalizers", Type::list(Type::String))])),
        ("status", Type::object("kubernetes.NamespaceStatus", &[("conditions", conditions), ("phase", Type::String)])),
    ];
    Type::object("kubernetes.Namespace", &fields)
});

/// What every expression sees, and with parameters those.
pub fn environment(parameters: bool) -> Environment {
    let mut variables = vec![
        ("object", Type::Dyn),
        ("oldObject", Type::Dyn),
        ("namespaceObject", NAMESPACE.clone()),
        ("request", REQUEST.clone()),
    ];
    if parameters {
        variables.push(("params", Type::Dyn));
    }
    Environment { variables, ..Environment::default() }
}

/// The same for those that may ask who may do what.
pub fn authorizing(parameters: bool) -> Environment {
    let mut environment = environment(parameters);
    environment.variables.push(("authorizer", Type::Opaque("kubernetes.authorization.Authorizer")));
    // One variable by its own name, as upstream declares it.
    let resource = Type::Opaque("kubernetes.authorization.ResourceCheck");
    environment.variables.push(("authorizer.requestResource", resource));
    environment
}

pub fn check(errors: &mut Errors, path: &Path, source: &str, environment: &Environment, wanted: &[Type]) {
    if let Some(detail) = cel::refusal(source, environment, wanted) {
        errors.push(Error::invalid(path, source, detail));
    }
}
