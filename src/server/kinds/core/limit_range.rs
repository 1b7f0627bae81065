//! LimitRange: bounds and defaults of resources in a namespace.

use k8s_openapi::api::core::v1::LimitRange;
use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::api::quantity::Quantity;
use crate::server::kinds::cell;
use crate::server::kinds::defaults;
use crate::server::strategy::{Column, Meta, Strategy};
use crate::server::validation;

pub struct LimitRanges;

impl Strategy for LimitRanges {
    type Kind = LimitRange;

    fn meta(&self) -> Meta {
        Meta { short_names: &["limits"], create_on_update: true, ..Meta::namespaced::<LimitRange>("limitranges") }
    }

    crate::server::kinds::spec_only!();

    fn default(&self, object: &mut LimitRange) {
        for item in object.spec.iter_mut().flat_map(|spec| &mut spec.limits) {
            let lists = [&mut item.max, &mut item.min, &mut item.default, &mut item.default_request];
            lists.into_iter().for_each(defaults::quantities);
            defaults::quantities(&mut item.max_limit_request_ratio);
            if item.type_ == "Container" {
                defaults::fill(&mut item.default, item.max.as_ref());
                defaults::fill(&mut item.default_request, item.default.as_ref());
                defaults::fill(&mut item.default_request, item.min.as_ref());
            }
        }
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[Column::NAME, cell::CREATED_AT];
        COLUMNS
    }

    fn cells(&self, object: &LimitRange, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let _ = now;
        Some(vec![cell::name(&object.metadata), cell::created(&object.metadata)])
    }

    fn validate(&self, new: &LimitRange, _old: Option<&LimitRange>) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("spec").child("limits");
        for (at, item) in new.spec.iter().flat_map(|spec| &spec.limits).enumerate() {
            let path = path.index(at);
            validation::required_name(&mut errors, &path.child("type"), &item.type_, names::qualified_name);
            let lists = [
                ("max", &item.max),
                ("min", &item.min),
                ("default", &item.default),
                ("defaultRequest", &item.default_request),
            ];
            for (field, list) in lists {
                validation::quantities(&mut errors, &path.child(field), list.as_ref());
                let of_pod = item.type_ == "Pod" && field.starts_with("default");
                if of_pod && list.as_ref().is_some_and(|list| !list.is_empty()) {
                    let detail = "may not be specified when `type` is 'Pod'";
                    errors.push(Error::forbidden(&path.child(field), detail));
                }
            }
            for (name, low) in item.min.iter().flatten() {
                let Some(high) = item.max.as_ref().and_then(|max| max.get(name)) else { continue };
                let (Ok(lower), Ok(upper)) = (Quantity::parse(&low.0), Quantity::parse(&high.0)) else { continue };
                if lower > upper {
                    let detail = format!("min value {} is greater than max value {}", low.0, high.0);
                    errors.push(Error::invalid(&path.child("min").key(name), low.0.as_str(), detail));
                }
            }
        }
        errors
    }
}
