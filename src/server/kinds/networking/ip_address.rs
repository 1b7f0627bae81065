//! IPAddress: an allocated Service address.

use k8s_openapi::api::networking::v1::IPAddress;

use crate::server::strategy::{Meta, NameRule, Strategy};

pub struct IpAddresses;

impl Strategy for IpAddresses {
    type Kind = IPAddress;

    fn meta(&self) -> Meta {
        Meta { short_names: &["ip"], names: NameRule::IpAddress, ..Meta::cluster::<IPAddress>("ipaddresses") }
    }

    crate::server::kinds::spec_only!();
}
