//! The types of CEL, as far as they decide whether an expression is refused.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    /// Not worked out here: it fits everywhere.
    Unknown,
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
    List(Box<Type>),
    Map(Box<Type>, Box<Type>),
    Object(Arc<Object>),
    Opaque(&'static str),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    pub name: String,
    pub fields: BTreeMap<String, Type>,
}

impl Type {
    pub fn list(of: Self) -> Self {
        Self::List(Box::new(of))
    }

    pub fn map(of: Self) -> Self {
        Self::Map(Box::new(Self::String), Box::new(of))
    }

    pub fn object(name: &str, fields: &[(&str, Self)]) -> Self {
        let fields = fields.iter().map(|(name, of)| ((*name).to_owned(), of.clone())).collect();
        Self::Object(Arc::new(Object { name: name.to_owned(), fields }))
    }

    /// Whether the expression alone does not say what it will be.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Unknown | Self::Dyn | Self::Any)
    }

    pub fn is_scalar(&self) -> bool {
        self.is_number() || matches!(self, Self::Bool | Self::String | Self::Bytes)
    }

    pub fn is_number(&self) -> bool {
        matches!(self, Self::Int | Self::Uint | Self::Double)
    }

    pub fn size(&self) -> usize {
        match self {
            Self::List(of) => 1 + of.size(),
            Self::Map(key, value) => 1 + key.size() + value.size(),
            _ => 1,
        }
    }

    /// Whether some part of it was not worked out.
    pub fn is_unknown(&self) -> bool {
        match self {
            Self::Unknown => true,
            Self::List(of) => of.is_unknown(),
            Self::Map(key, value) => key.is_unknown() || value.is_unknown(),
            _ => false,
        }
    }

    /// What both are, where they are alike.
    pub fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unknown, other) => other,
            (one, Self::Unknown | Self::Null) => one,
            (Self::Null, other) => other,
            (Self::List(one), Self::List(other)) => Self::list(one.or(*other)),
            (one, other) if one == other => one,
            _ => Self::Dyn,
        }
    }

    /// As the type is called; in complaints about operators some have shorter names.
    pub fn shown(&self, short: bool) -> String {
        let named = |long: &str, brief: &str| if short { brief } else { long }.to_owned();
        match self {
            Self::Unknown | Self::Dyn => "dyn".to_owned(),
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
            Self::Object(object) => object.name.clone(),
            Self::Opaque(name) => (*name).to_owned(),
        }
    }
}

/// `(int, string)`, or `string.(int)` where the first is the target of the call.
pub fn signature(arguments: &[Type]) -> String {
    let mut text = String::from("(");
    for (at, argument) in arguments.iter().enumerate() {
        let gap = if at == 0 { "" } else { ", " };
        let _ = write!(text, "{gap}{}", argument.shown(true));
    }
    text + ")"
}
