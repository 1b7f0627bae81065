//! HorizontalPodAutoscaler autoscaling/v2: the version that is stored.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;

use crate::server::strategy::{Meta, Strategy, Subresource};

pub struct HorizontalPodAutoscalersV2;

impl Strategy for HorizontalPodAutoscalersV2 {
    type Kind = HorizontalPodAutoscaler;

    fn meta(&self) -> Meta {
        Meta {
            short_names: &["hpa"],
            categories: &["all"],
            subresources: const { &[Subresource::status("HorizontalPodAutoscaler")] },
            ..Meta::namespaced::<HorizontalPodAutoscaler>("horizontalpodautoscalers")
        }
    }

    crate::server::kinds::spec_and_status!();
}
