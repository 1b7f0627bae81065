//! LimitRange: bounds and defaults of resources in a namespace.

mod validate;

use k8s_openapi::api::core::v1::LimitRange;
use serde_json::Value;

use crate::api::field::Errors;
use crate::server::kinds::cell;
use crate::server::kinds::defaults;
use crate::server::strategy::{Column, Meta, Strategy};

pub struct LimitRanges;

impl Strategy for LimitRanges {
    type Kind = LimitRange;

    fn meta(&self) -> Meta {
        Meta { short_names: &["limits"], create_on_update: true, ..Meta::namespaced::<LimitRange>("limitranges") }
    }

    crate::server::kinds::spec_only!();

    fn default(&self, object: &mut LimitRange) {
        for item in &mut object.spec.get_or_insert_default().limits {
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
        validate::limit_range(new)
    }
}
