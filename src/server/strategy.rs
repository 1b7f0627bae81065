//! What a kind has to say for itself. The pipeline does everything else, once, for all kinds.
//!
//! A built-in kind is a k8s-openapi type and one small file that implements [`Strategy`]. The
//! pipeline sees only the type-erased [`Kind`], which [`of`] makes from a strategy and which a
//! custom resource implements directly.
//!
//! The pipeline guarantees the order: decode, [`Strategy::default`], mutating admission, default
//! again, [`Strategy::drop_closed`], `prepare_*`, [`Strategy::validate`], validating admission, store. Metadata common to all
//! kinds (names, labels, finalizers, owner references, immutability) it validates itself.

use std::any::type_name;
use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{Metadata, Resource};
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::field::Errors;
use crate::api::object::Object;
use crate::api::{encoding, reading};
use crate::store::Durability;

/// The static facts of a kind: routing, discovery, storage and RBAC names derive from them.
#[derive(Clone, Debug)]
pub struct Meta {
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    pub short_names: &'static [&'static str],
    /// `all`, `api-extensions`.
    pub categories: &'static [&'static str],
    pub namespaced: bool,
    pub verbs: &'static [Verb],
    /// In discovery order. `status` and `scale` are served by the pipeline, the others by `server::subresource`.
    pub subresources: &'static [Subresource],
    /// `metadata.generation` counts changes of the spec.
    pub generation: bool,
    /// A write through `/status` changes no labels, annotations, finalizers or owners.
    pub status_only: bool,
    /// PUT to a name that does not exist creates it.
    pub create_on_update: bool,
    /// PUT without a resourceVersion overwrites whatever is there.
    pub unconditional_update: bool,
    pub durability: Durability,
    /// How names are validated.
    pub names: NameRule,
    /// Upstream's warning to everybody who uses the kind.
    pub deprecated: Option<&'static str>,
    /// Where objects are kept when another version of the same kind is the one stored:
    /// `(group, plural)` of that one. `None`: under the kind's own group and plural.
    pub stored_as: Option<(&'static str, &'static str)>,
}

/// Upstream's name validators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// RFC 1123 subdomain, at most 253 characters: most kinds.
    Subdomain,
    /// RFC 1123 label, at most 63 characters: Namespace, Service (relaxed in 1.36).
    Label,
    /// Anything that fits in a path segment: RBAC kinds, PodDisruptionBudget, CertificateSigningRequest.
    PathSegment,
    /// A canonical IP address: IPAddress.
    IpAddress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    Create,
    Delete,
    DeleteCollection,
    Get,
    List,
    Patch,
    Update,
    Watch,
}

/// What almost every resource can do.
pub const ALL_VERBS: &[Verb] = &[
    Verb::Create,
    Verb::Delete,
    Verb::DeleteCollection,
    Verb::Get,
    Verb::List,
    Verb::Patch,
    Verb::Update,
    Verb::Watch,
];

impl Verb {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::Get => "get",
            Self::List => "list",
            Self::Patch => "patch",
            Self::Update => "update",
            Self::Watch => "watch",
        }
    }
}

/// The verbs discovery gives for a `proxy` subresource: every method connects.
pub const PROXY: &[&str] = &["create", "delete", "get", "patch", "update"];

/// A subresource as discovery shows it.
#[derive(Clone, Copy, Debug)]
pub struct Subresource {
    pub name: &'static str,
    /// The kind of its body; group and version where they are not the parent's.
    pub kind: &'static str,
    pub group_version: Option<(&'static str, &'static str)>,
    pub verbs: &'static [&'static str],
}

impl Subresource {
    /// `/status`, with the parent's own kind.
    pub const fn status(kind: &'static str) -> Self {
        Self { name: "status", kind, group_version: None, verbs: &["get", "patch", "update"] }
    }
    /// `/scale`, an `autoscaling/v1` Scale.
    pub const fn scale() -> Self {
        let group_version = Some(("autoscaling", "v1"));
        Self { name: "scale", kind: "Scale", group_version, verbs: &["get", "patch", "update"] }
    }
}

impl Meta {
    /// A namespaced kind with all verbs and no subresources; a strategy changes what differs.
    pub const fn namespaced<K: Resource>(plural: &'static str) -> Self {
        Self {
            group: K::GROUP,
            version: K::VERSION,
            kind: K::KIND,
            plural,
            short_names: &[],
            categories: &[],
            namespaced: true,
            verbs: ALL_VERBS,
            subresources: &[],
            generation: false,
            status_only: false,
            create_on_update: false,
            unconditional_update: true,
            durability: Durability::Durable,
            names: NameRule::Subdomain,
            deprecated: None,
            stored_as: None,
        }
    }

    /// The same for a cluster-scoped kind.
    pub const fn cluster<K: Resource>(plural: &'static str) -> Self {
        let mut meta = Self::namespaced::<K>(plural);
        meta.namespaced = false;
        meta
    }

    pub fn api_version(&self) -> String {
        crate::api::gvk::api_version(self.group, self.version)
    }
    pub fn resource(&self) -> crate::api::gvk::GroupResource<'static> {
        crate::api::gvk::GroupResource { group: self.group, resource: self.plural }
    }
    pub fn group_kind(&self) -> crate::api::gvk::GroupKind<'static> {
        crate::api::gvk::GroupKind { group: self.group, kind: self.kind }
    }
    pub fn has_status(&self) -> bool {
        self.subresources.iter().any(|sub| sub.name == "status")
    }
    /// All keys of this kind begin with this: `/registry/apps/deployments/`, `/registry/core/pods/`.
    pub fn prefix(&self) -> String {
        let (group, plural) = self.stored_as.unwrap_or((self.group, self.plural));
        let group = if group.is_empty() { "core" } else { group };
        format!("/registry/{group}/{plural}/")
    }
    /// The key of one object; `namespace` is ignored for a cluster-scoped kind.
    pub fn key(&self, namespace: &str, name: &str) -> String {
        match self.namespaced {
            true => format!("{}{namespace}/{name}", self.prefix()),
            false => format!("{}{name}", self.prefix()),
        }
    }
}

/// A column of `kubectl get`.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub name: &'static str,
    /// `string`, `integer`, `boolean`, `date`.
    pub kind: &'static str,
    /// `name` for the first column, else empty.
    pub format: &'static str,
    pub description: &'static str,
    /// 0 is always shown, 1 with `-o wide`.
    pub priority: i32,
}

impl Column {
    pub const NAME: Self = Self {
        name: "Name",
        kind: "string",
        format: "name",
        description: "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names",
        priority: 0,
    };
    pub const AGE: Self = Self::string(
        "Age",
        "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata",
    );

    pub const fn string(name: &'static str, description: &'static str) -> Self {
        Self { name, kind: "string", format: "", description, priority: 0 }
    }
    pub const fn integer(name: &'static str, description: &'static str) -> Self {
        Self { name, kind: "integer", format: "", description, priority: 0 }
    }
    #[must_use]
    pub const fn described(mut self, description: &'static str) -> Self {
        self.description = description;
        self
    }
    /// Shown with `-o wide` only.
    #[must_use]
    pub const fn wide(mut self) -> Self {
        self.priority = 1;
        self
    }
}

/// Fields that a field selector may name, with their values: `("spec.nodeName", "n1")`.
/// `metadata.name` and `metadata.namespace` are added by the pipeline.
pub type Fields<'a> = Vec<(&'static str, Cow<'a, str>)>;

/// The bounds every built-in type meets.
pub trait BuiltIn:
    Resource
    + Metadata<Ty = ObjectMeta>
    + Serialize
    + DeserializeOwned
    + JsonSchema
    + Clone
    + PartialEq
    + std::fmt::Debug
    + Send
    + Sync
    + 'static
{
}
impl<K> BuiltIn for K where
    K: Resource
        + Metadata<Ty = ObjectMeta>
        + Serialize
        + DeserializeOwned
        + JsonSchema
        + Clone
        + PartialEq
        + std::fmt::Debug
        + Send
        + Sync
        + 'static
{
}

/// A built-in kind. Everything has a default that suits a kind without rules of its own.
pub trait Strategy: Send + Sync + 'static {
    type Kind: BuiltIn;

    fn meta(&self) -> Meta;

    /// The object in the form that is stored, for a kind with [`Meta::stored_as`] whose stored kind has other
    /// fields; `None`: stored as it is.
    fn to_stored(&self, _object: &Self::Kind) -> Option<Box<dyn Object>> {
        None
    }

    /// Reads what [`Self::to_stored`] wrote.
    fn read_stored(&self, json: &[u8]) -> serde_json::Result<Self::Kind> {
        reading::from_slice(json)
    }

    /// Fills in what the client left out, as upstream's `SetDefaults_*`. Idempotent.
    fn default(&self, _object: &mut Self::Kind) {}

    /// Takes away the fields of features that v1.36 has off by default, unless `old` uses them.
    fn drop_closed(&self, _new: &mut Self::Kind, _old: Option<&Self::Kind>) {}

    /// Resets what a client may not set at creation (the status). Runs after mutating admission.
    fn prepare_create(&self, _object: &mut Self::Kind) {}

    /// Puts back what an update of the object itself may not change (the status).
    fn prepare_update(&self, _new: &mut Self::Kind, _old: &Self::Kind) {}

    /// For `/status`: puts back everything but the status (the pipeline keeps metadata that must not change).
    fn prepare_status(&self, _new: &mut Self::Kind, _old: &Self::Kind) {}

    /// Whether two states have the same spec; where not, and `Meta::generation`, the generation rises.
    fn same_spec(&self, _new: &Self::Kind, _old: &Self::Kind) -> bool {
        true
    }

    /// The rules of the kind; with `old`, also those of the change.
    fn validate(&self, _new: &Self::Kind, _old: Option<&Self::Kind>) -> Errors {
        Errors::new()
    }

    /// The rules of a change through `/status`.
    fn validate_status(&self, _new: &Self::Kind, _old: &Self::Kind) -> Errors {
        Errors::new()
    }

    /// The rules of a change through another window on the object (`resize`, `finalize`, …); the window itself puts
    /// back what it does not show.
    fn validate_window(&self, _window: &str, new: &Self::Kind, old: &Self::Kind) -> Errors {
        self.validate_status(new, old)
    }

    /// Whether an update says no more than that somebody is still there. Such a write need not reach the disk soon.
    fn is_heartbeat(&self, _new: &Self::Kind, _old: &Self::Kind) -> bool {
        false
    }

    /// Upstream's warnings for what is deprecated or surely a mistake.
    fn warnings(&self, _new: &Self::Kind, _old: Option<&Self::Kind>) -> Vec<String> {
        Vec::new()
    }

    /// The same of a change through `/status`.
    fn status_warnings(&self, _new: &Self::Kind) -> Vec<String> {
        Vec::new()
    }

    /// Warnings about a new object that [`Self::prepare_create`] hides.
    fn early_warnings(&self, _object: &Self::Kind) -> Vec<String> {
        Vec::new()
    }

    /// The names that [`Self::fields`] yields, whatever the object.
    fn selectable(&self) -> &'static [&'static str] {
        &[]
    }

    fn fields<'a>(&self, _object: &'a Self::Kind) -> Fields<'a> {
        Vec::new()
    }

    fn columns(&self) -> &'static [Column] {
        &[Column::NAME, Column::AGE]
    }

    /// One cell per column; `None` leaves the table to the pipeline (name and age).
    fn cells(&self, _object: &Self::Kind, _now: jiff::Timestamp) -> Option<Vec<Value>> {
        None
    }

    /// Why an object is done with its work, in a word and in a sentence; the row of a table tells it to who hides those.
    fn completed(&self, _object: &Self::Kind) -> Option<(&'static str, &'static str)> {
        None
    }
}

/// Why a body is not an object of the kind, in serde_json's words; `http` and `pipeline` word it as upstream.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub serde_json::Error);

/// The type-erased face of a kind. See [`Strategy`] for what each step means.
///
/// Methods that take objects panic when given one of another kind: only [`Kind::decode`] makes them.
pub trait Kind: Send + Sync + 'static {
    fn meta(&self) -> &Meta;
    fn decode(&self, json: &[u8]) -> Result<Box<dyn Object>, DecodeError>;
    /// See [`Strategy::to_stored`]. Only a kind with [`Meta::stored_as`] gives `Some`.
    fn to_stored(&self, object: &dyn Object) -> Option<Box<dyn Object>>;
    /// Decodes an object as the store keeps it; for most kinds the same as [`Self::decode`].
    fn decode_stored(&self, json: &[u8]) -> Result<Box<dyn Object>, DecodeError>;
    /// Takes empty lists and maps out of an object that was sent, see [`encoding`].
    fn normalize(&self, object: &mut dyn Object) -> Result<(), DecodeError>;
    fn default(&self, object: &mut dyn Object);
    /// [`Strategy::drop_closed`] for a change through a window; all else that prepares does it by itself.
    fn drop_closed(&self, _new: &mut dyn Object, _old: &dyn Object) {}
    /// See [`Strategy::drop_closed`], which it begins with.
    fn prepare_create(&self, object: &mut dyn Object);
    fn prepare_update(&self, new: &mut dyn Object, old: &dyn Object);
    fn prepare_status(&self, new: &mut dyn Object, old: &dyn Object);
    fn same_spec(&self, new: &dyn Object, old: &dyn Object) -> bool;
    /// Whether the two are equal in every field.
    fn equal(&self, new: &dyn Object, old: &dyn Object) -> bool;
    fn validate(&self, new: &dyn Object, old: Option<&dyn Object>) -> Errors;
    fn validate_status(&self, new: &dyn Object, old: &dyn Object) -> Errors;
    fn validate_window(&self, window: &str, new: &dyn Object, old: &dyn Object) -> Errors;
    fn is_heartbeat(&self, new: &dyn Object, old: &dyn Object) -> bool;
    fn warnings(&self, new: &dyn Object, old: Option<&dyn Object>) -> Vec<String>;
    fn status_warnings(&self, _new: &dyn Object) -> Vec<String> {
        Vec::new()
    }
    fn early_warnings(&self, object: &dyn Object) -> Vec<String>;
    fn selectable(&self) -> &'static [&'static str];
    fn fields<'a>(&self, object: &'a dyn Object) -> Fields<'a>;
    fn columns(&self) -> &'static [Column];
    fn cells(&self, object: &dyn Object, now: jiff::Timestamp) -> Option<Vec<Value>>;
    fn completed(&self, object: &dyn Object) -> Option<(&'static str, &'static str)>;
    /// Adds the type and all that it refers to; gives a reference to it. For the OpenAPI documents only.
    fn schema(&self, generator: &mut SchemaGenerator) -> schemars::Schema;
}

/// Erases the type of a strategy.
pub fn of<S: Strategy>(strategy: S) -> Box<dyn Kind> {
    let meta = strategy.meta();
    Box::new(Erased { strategy, meta })
}

struct Erased<S> {
    strategy: S,
    meta: Meta,
}

fn typed<K: 'static>(object: &dyn Object) -> &K {
    let found = object.downcast_ref();
    found.unwrap_or_else(|| panic!("an object that is not a {} reached its strategy", type_name::<K>()))
}

fn typed_mut<K: 'static>(object: &mut dyn Object) -> &mut K {
    let found = object.downcast_mut();
    found.unwrap_or_else(|| panic!("an object that is not a {} reached its strategy", type_name::<K>()))
}

impl<S: Strategy> Kind for Erased<S> {
    fn meta(&self) -> &Meta {
        &self.meta
    }
    fn decode(&self, json: &[u8]) -> Result<Box<dyn Object>, DecodeError> {
        let object: S::Kind = reading::from_slice(json).map_err(DecodeError)?;
        Ok(Box::new(object))
    }
    fn to_stored(&self, object: &dyn Object) -> Option<Box<dyn Object>> {
        self.strategy.to_stored(typed(object))
    }
    fn decode_stored(&self, json: &[u8]) -> Result<Box<dyn Object>, DecodeError> {
        let object = self.strategy.read_stored(json).map_err(DecodeError)?;
        Ok(Box::new(object))
    }
    fn normalize(&self, object: &mut dyn Object) -> Result<(), DecodeError> {
        encoding::normalize::<S::Kind>(typed_mut(object)).map_err(DecodeError)
    }
    fn default(&self, object: &mut dyn Object) {
        self.strategy.default(typed_mut(object));
    }
    fn drop_closed(&self, new: &mut dyn Object, old: &dyn Object) {
        self.strategy.drop_closed(typed_mut(new), Some(typed(old)));
    }
    fn prepare_create(&self, object: &mut dyn Object) {
        self.strategy.drop_closed(typed_mut(object), None);
        self.strategy.prepare_create(typed_mut(object));
    }
    fn prepare_update(&self, new: &mut dyn Object, old: &dyn Object) {
        self.drop_closed(new, old);
        self.strategy.prepare_update(typed_mut(new), typed(old));
    }
    fn prepare_status(&self, new: &mut dyn Object, old: &dyn Object) {
        self.drop_closed(new, old);
        self.strategy.prepare_status(typed_mut(new), typed(old));
    }
    fn same_spec(&self, new: &dyn Object, old: &dyn Object) -> bool {
        self.strategy.same_spec(typed(new), typed(old))
    }
    fn equal(&self, new: &dyn Object, old: &dyn Object) -> bool {
        typed::<S::Kind>(new) == typed(old)
    }
    fn validate(&self, new: &dyn Object, old: Option<&dyn Object>) -> Errors {
        self.strategy.validate(typed(new), old.map(typed))
    }
    fn validate_status(&self, new: &dyn Object, old: &dyn Object) -> Errors {
        self.strategy.validate_status(typed(new), typed(old))
    }
    fn validate_window(&self, window: &str, new: &dyn Object, old: &dyn Object) -> Errors {
        self.strategy.validate_window(window, typed(new), typed(old))
    }
    fn is_heartbeat(&self, new: &dyn Object, old: &dyn Object) -> bool {
        self.strategy.is_heartbeat(typed(new), typed(old))
    }
    fn warnings(&self, new: &dyn Object, old: Option<&dyn Object>) -> Vec<String> {
        self.strategy.warnings(typed(new), old.map(typed))
    }
    fn status_warnings(&self, new: &dyn Object) -> Vec<String> {
        self.strategy.status_warnings(typed(new))
    }
    fn early_warnings(&self, object: &dyn Object) -> Vec<String> {
        self.strategy.early_warnings(typed(object))
    }
    fn selectable(&self) -> &'static [&'static str] {
        self.strategy.selectable()
    }
    fn fields<'a>(&self, object: &'a dyn Object) -> Fields<'a> {
        self.strategy.fields(typed(object))
    }
    fn columns(&self) -> &'static [Column] {
        self.strategy.columns()
    }
    fn cells(&self, object: &dyn Object, now: jiff::Timestamp) -> Option<Vec<Value>> {
        self.strategy.cells(typed(object), now)
    }
    fn completed(&self, object: &dyn Object) -> Option<(&'static str, &'static str)> {
        self.strategy.completed(typed(object))
    }
    fn schema(&self, generator: &mut SchemaGenerator) -> schemars::Schema {
        generator.subschema_for::<S::Kind>()
    }
}
