//! The types of CEL.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    /// Something wrong was told of it already: it fits everywhere.
    Error,
    /// Known only when the expression runs.
    Dyn,
    Any,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Timestamp,
    Duration,
    List(Arc<Type>),
    Map(Arc<Type>, Arc<Type>),
    Optional(Arc<Type>),
    /// Of a type as a value.
    Type(Option<Arc<Type>>),
    Object(Arc<Object>),
    /// One of a library.
    Opaque(&'static str),
    /// To be found from how it is used.
    Param(u32),
}

/// Told apart by its name.
#[derive(Clone, Debug)]
pub struct Object {
    pub name: String,
    pub fields: BTreeMap<String, Type>,
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Type {
    pub fn list(of: Self) -> Self {
        Self::List(of.into())
    }

    pub fn map(of: Self) -> Self {
        Self::Map(Self::String.into(), of.into())
    }

    pub fn object(name: &str, fields: &[(&str, Self)]) -> Self {
        let fields = fields.iter().map(|(name, of)| ((*name).to_owned(), of.clone())).collect();
        Self::Object(Arc::new(Object { name: name.to_owned(), fields }))
    }

    /// What its parts are.
    pub fn parts(&self) -> Vec<&Self> {
        match self {
            Self::List(of) | Self::Optional(of) | Self::Type(Some(of)) => vec![of],
            Self::Map(key, value) => vec![key, value],
            _ => Vec::new(),
        }
    }

    /// The same with other parts.
    pub fn with_parts(&self, mut other: impl FnMut(&Self) -> Self) -> Self {
        let mut other = |of: &Self| Arc::new(other(of));
        match self {
            Self::List(of) => Self::List(other(of)),
            Self::Optional(of) => Self::Optional(other(of)),
            Self::Type(Some(of)) => Self::Type(Some(other(of))),
            Self::Map(key, value) => Self::Map(other(key), other(value)),
            _ => self.clone(),
        }
    }

    pub fn size(&self) -> usize {
        1 + self.parts().into_iter().map(Self::size).sum::<usize>()
    }

    pub fn has_error(&self) -> bool {
        *self == Self::Error || self.parts().into_iter().any(Self::has_error)
    }

    /// Whether its values are always of one size.
    pub fn is_scalar(&self) -> bool {
        match self {
            Self::Bool | Self::Double | Self::Duration | Self::Int | Self::Timestamp | Self::Uint => true,
            Self::Optional(of) => of.is_scalar(),
            _ => false,
        }
    }

    /// What it is called without its parts.
    pub fn name(&self) -> String {
        match self {
            Self::List(_) => "list".to_owned(),
            Self::Map(..) => "map".to_owned(),
            Self::Optional(_) => "optional_type".to_owned(),
            Self::Type(_) => "type".to_owned(),
            _ => self.shown(false),
        }
    }

    /// As the type is called; in complaints some have shorter names.
    pub fn shown(&self, short: bool) -> String {
        let named = |long: &str, brief: &str| if short { brief } else { long }.to_owned();
        match self {
            Self::Error => "!error!".to_owned(),
            Self::Dyn => "dyn".to_owned(),
            Self::Any => named("google.protobuf.Any", "any"),
            Self::Null => named("null_type", "null"),
            Self::Bool => "bool".to_owned(),
            Self::Int => "int".to_owned(),
            Self::Uint => "uint".to_owned(),
            Self::Double => "double".to_owned(),
            Self::String => "string".to_owned(),
            Self::Bytes => "bytes".to_owned(),
            Self::Timestamp => named("google.protobuf.Timestamp", "timestamp"),
            Self::Duration => named("google.protobuf.Duration", "duration"),
            Self::List(of) => format!("list({})", of.shown(short)),
            Self::Map(key, value) => format!("map({}, {})", key.shown(short), value.shown(short)),
            Self::Optional(of) => format!("optional_type({})", of.shown(short)),
            Self::Type(Some(of)) => format!("type({})", of.shown(short)),
            Self::Type(None) => "type".to_owned(),
            Self::Object(object) => object.name.clone(),
            Self::Opaque(name) => (*name).to_owned(),
            Self::Param(number) => format!("_var{number}"),
        }
    }
}

/// `(int, string)`, or `string.(int)` where the first is the target of the call.
pub fn signature(arguments: &[Type], member: bool) -> String {
    let mut text = String::new();
    let mut arguments = arguments;
    if let ([target, rest @ ..], true) = (arguments, member) {
        let _ = write!(text, "{}.", target.shown(true));
        arguments = rest;
    }
    let shown: Vec<_> = arguments.iter().map(|argument| argument.shown(true)).collect();
    let _ = write!(text, "({})", shown.join(", "));
    text
}
