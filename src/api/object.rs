//! A decoded object whose type the caller need not know, and its encoding.
//!
//! Every k8s-openapi kind with `ObjectMeta` is an [`Object`]; so will be a custom resource. The
//! pipeline and the admission chain hold `Box<dyn Object>`; code that knows the type downcasts.

use std::any::Any;
use std::fmt::Debug;
use std::sync::LazyLock;

use bytes::Bytes;
use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde_json::Value;

use super::encoding;
use super::hex::hex;

/// The type-erased face of a Kubernetes object.
pub trait Object: Any + Send + Sync + Debug {
    fn meta(&self) -> &ObjectMeta;
    fn meta_mut(&mut self) -> &mut ObjectMeta;
    /// The whole object as JSON, with `apiVersion` and `kind`.
    fn to_value(&self) -> Value;
    /// The same, as text.
    fn to_json(&self) -> Vec<u8>;
    fn boxed_clone(&self) -> Box<dyn Object>;
    fn as_any(&self) -> &dyn Any;
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

impl<K> Object for K
where
    K: Metadata<Ty = ObjectMeta> + Serialize + Clone + Debug + Any + Send + Sync,
{
    fn meta(&self) -> &ObjectMeta {
        self.metadata()
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.metadata_mut()
    }
    fn to_value(&self) -> Value {
        // Kubernetes types have string keys and finite numbers only, so this cannot fail.
        encoding::to_value(self).expect("a Kubernetes type is valid JSON")
    }
    fn to_json(&self) -> Vec<u8> {
        encoding::to_vec(self).expect("a Kubernetes type is valid JSON")
    }
    fn boxed_clone(&self) -> Box<dyn Object> {
        Box::new(self.clone())
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

impl dyn Object {
    pub fn downcast_ref<K: 'static>(&self) -> Option<&K> {
        self.as_any().downcast_ref()
    }
    pub fn downcast_mut<K: 'static>(&mut self) -> Option<&mut K> {
        self.as_any_mut().downcast_mut()
    }
    pub fn name(&self) -> &str {
        self.meta().name.as_deref().unwrap_or_default()
    }
    pub fn namespace(&self) -> &str {
        self.meta().namespace.as_deref().unwrap_or_default()
    }
    /// The revision this object was read at; 0 where it has none or one that is not ours.
    pub fn revision(&self) -> u64 {
        let version = self.meta().resource_version.as_deref();
        version.and_then(|v| v.parse().ok()).unwrap_or(0)
    }
}

/// An encoded object that lacks only its revision, which the store assigns at commit.
#[derive(Clone, Debug)]
pub struct Template {
    bytes: Vec<u8>,
    /// Where the decimal revision is written in.
    hole: usize,
}

/// Stands for the revision while an object is encoded. Random for each process, so that no user's
/// text can contain it.
static PLACEHOLDER: LazyLock<String> = LazyLock::new(|| {
    let mut random = [0u8; 16];
    getrandom::fill(&mut random).expect("the kernel gives random bytes");
    hex(&random)
});

impl Template {
    /// Encodes `object`; its own `resourceVersion` is replaced by the one given at [`Self::stamp`].
    pub fn new(object: &mut dyn Object) -> Self {
        let before = object.meta_mut().resource_version.replace(PLACEHOLDER.clone());
        let mut bytes = object.to_json();
        object.meta_mut().resource_version = before;
        let hole = memchr::memmem::find(&bytes, PLACEHOLDER.as_bytes()).expect("metadata is encoded");
        bytes.drain(hole..hole + PLACEHOLDER.len());
        Self { bytes, hole }
    }

    /// A template from its parts, for tests of the store.
    pub fn from_parts(bytes: Vec<u8>, hole: usize) -> Self {
        assert!(hole <= bytes.len());
        Self { bytes, hole }
    }

    /// Bytes without a hole's content; its length bounds the stored size from below.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The object as stored and served, at `revision`.
    pub fn stamp(&self, revision: u64) -> Bytes {
        let digits = revision.to_string();
        let mut out = Vec::with_capacity(self.bytes.len() + digits.len());
        out.extend_from_slice(&self.bytes[..self.hole]);
        out.extend_from_slice(digits.as_bytes());
        out.extend_from_slice(&self.bytes[self.hole..]);
        out.into()
    }
}
