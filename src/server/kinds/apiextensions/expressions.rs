//! The CEL of `x-kubernetes-validations`: whether a rule can be compiled for what its schema lets `self` be, and whether
//! it, and all rules of a schema together, may cost as much as they may in the worst case.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool, ValidationRule,
};
use serde_json::{Value, json};

use super::declared;
use crate::api::field::{Error, Errors, Path};
use crate::server::validation::cel::{self, Decl, Environment, Sizes, Type};
use crate::server::validation::text;

/// What one rule, and all of a schema, may cost.
const RULE_MAX: u64 = 10_000_000;
const SCHEMA_MAX: u64 = 100_000_000;
/// How many of the dearest are told where all are too dear.
const DEAREST: usize = 4;

/// Every rule of a structural schema.
pub fn root(errors: &mut Errors, path: &Path, schema: &JSONSchemaProps) {
    let mut walk = Walk { errors, total: 0, dearest: Vec::new() };
    walk.schema(path, schema, true, Around { apart: None, count: Some(1) });
    let Walk { total, dearest, .. } = walk;
    if total > SCHEMA_MAX {
        let detail = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
        errors.extend(dearest.iter().map(|(_, path)| Error::forbidden(path, detail)));
        let name = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        errors.push(Error::forbidden(path, too_dear(name, total, SCHEMA_MAX)));
    }
}

/// What is above a schema.
#[derive(Clone, Copy)]
struct Around<'a> {
    /// Where values of before can no longer be told from others.
    apart: Option<&'a Path>,
    /// How many values there may be, where all lists and maps around are limited.
    count: Option<u64>,
}

struct Walk<'a> {
    errors: &'a mut Errors,
    total: u64,
    dearest: Vec<(u64, Path)>,
}

impl Walk<'_> {
    fn schema(&mut self, path: &Path, schema: &JSONSchemaProps, is_object: bool, around: Around) {
        let count = around.count.and_then(|count| Some(count.saturating_mul(multiplies(schema)?)));
        let inside = Around { count, ..around };
        if let Some(JSONSchemaPropsOrBool::Schema(below)) = &schema.additional_properties {
            self.schema(&path.child("additionalProperties"), below, declared::is_embedded(below), inside);
        }
        let is_whole = schema.x_kubernetes_map_type.as_deref() == Some("atomic");
        for (name, below) in schema.properties.iter().flatten() {
            let apart = around.apart.or(is_whole.then_some(path));
            let here = path.child("properties").key(name);
            self.schema(&here, below, declared::is_embedded(below), Around { apart, ..inside });
        }
        if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
            let is_map = schema.x_kubernetes_list_type.as_deref() == Some("map");
            let apart = around.apart.or((!is_map).then_some(path));
            self.schema(&path.child("items"), items, declared::is_embedded(items), Around { apart, ..inside });
        }
        let rules = schema.x_kubernetes_validations.as_deref().unwrap_or_default();
        if rules.is_empty() {
            return;
        }
        let Some(decl) = declared::of(schema, is_object, "selfType") else {
            let detail = "internal error: failed to construct type information for x-kubernetes-validations rules: unable to convert structural schema to CEL declarations";
            return self.errors.push(Error::internal(&path.child("x-kubernetes-validations"), detail));
        };
        for (at, rule) in rules.iter().enumerate() {
            self.rule(&path.child("x-kubernetes-validations").index(at), rule, &decl, around);
        }
    }

    fn rule(&mut self, path: &Path, rule: &ValidationRule, decl: &Decl, around: Around) {
        let of = decl.of.clone();
        let before = if rule.optional_old_self == Some(true) { Type::Optional(of.clone().into()) } else { of.clone() };
        let alone = Environment { variables: vec![("self", of)], ..Environment::default() };
        let mut both = alone.clone();
        both.variables.push(("oldSelf", before));
        let sizes = Some(Sizes { root: decl, variable: None });
        let here = path.child("rule");
        let refused = |path: &Path, detail: String| Error::invalid(path, shown(rule), detail);
        let compiled = match cel::compile_within(&rule.rule, &both, sizes) {
            Err(issues) => Err(format!("compilation failed: {issues}")),
            Ok((found, _)) if found != Type::Bool => Err("cel expression must evaluate to a bool".to_owned()),
            Ok((_, cost)) => Ok(cost),
        };
        let unused = |optional| {
            let detail = "may not be set if oldSelf is not used in rule";
            Error::invalid(&path.child("optionalOldSelf"), optional, detail)
        };
        let cost = match compiled {
            Ok(cost) => cost,
            Err(detail) => {
                self.errors.push(refused(&here, detail));
                return self.errors.extend(rule.optional_old_self.map(unused));
            }
        };
        let times = around.count.unwrap_or_else(|| declared::most_in_a_request(decl));
        self.afford(&here, "estimated rule cost", cost.saturating_mul(times));
        let (message, at_message) = (text(&rule.message_expression), path.child("messageExpression"));
        if !message.is_empty() {
            match cel::compile_within(message, &both, sizes) {
                Err(issues) => {
                    let detail = format!("messageExpression compilation failed: {issues}");
                    self.errors.push(refused(&at_message, detail));
                }
                Ok((found, _)) if found != Type::String => {
                    let detail = "messageExpression must evaluate to a string".to_owned();
                    self.errors.push(refused(&at_message, detail));
                }
                Ok((_, cost)) => self.afford(&at_message, "estimated messageExpression cost", cost),
            }
        }
        // What does not compile without the old value looks at it.
        let looks_back = rule.rule.contains("oldSelf") && cel::compile(&rule.rule, &alone).is_err();
        match (looks_back, around.apart, rule.optional_old_self) {
            (true, Some(apart), _) => {
                let detail =
                    format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {apart}");
                self.errors.push(Error::invalid(&here, rule.rule.as_str(), detail));
            }
            (false, _, Some(optional)) => self.errors.push(unused(optional)),
            _ => {}
        }
    }

    /// Counts what an expression costs in the worst case, and refuses it where that is too much.
    fn afford(&mut self, path: &Path, name: &str, cost: u64) {
        if cost > RULE_MAX {
            self.errors.push(Error::forbidden(path, too_dear(name, cost, RULE_MAX)));
        }
        self.total = self.total.saturating_add(cost);
        if cost >= SCHEMA_MAX / 100 {
            self.dearest.push((cost, path.clone()));
            self.dearest.sort_by_key(|(cost, _)| std::cmp::Reverse(*cost));
            self.dearest.truncate(DEAREST);
        }
    }
}

/// By how much there are more values inside of one with this schema; `None` is without end.
fn multiplies(schema: &JSONSchemaProps) -> Option<u64> {
    let limit = |limit: Option<i64>| limit.map(|limit| u64::try_from(limit).unwrap_or(0));
    match text(&schema.type_) {
        "object" if schema.additional_properties.is_some() => limit(schema.max_properties),
        "array" => limit(schema.max_items),
        _ => Some(1),
    }
}

fn too_dear(name: &str, cost: u64, limit: u64) -> String {
    let factor = match cost as f64 / limit as f64 {
        factor if factor > 100.0 => "more than 100x".to_owned(),
        // So that it is not told as 1.0.
        factor if factor < 1.5 => format!("{factor:.6}x"),
        factor => format!("{factor:.1}x"),
    };
    format!(
        "{name} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}

/// A rule as errors show it.
fn shown(rule: &ValidationRule) -> Value {
    json!({
        "Rule": rule.rule,
        "Message": text(&rule.message),
        "MessageExpression": text(&rule.message_expression),
        "Reason": rule.reason,
        "FieldPath": text(&rule.field_path),
        "OptionalOldSelf": rule.optional_old_self,
    })
}
