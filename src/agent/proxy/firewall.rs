//! `loadBalancerSourceRanges`: a chain for each list of ranges, which all Services with that list share, drops whoever
//! comes from elsewhere. Pure.

use ipnet::Ipv4Net;
use sha2::{Digest, Sha256};

use crate::net::nft::model::{Chain, Field, Name, Statement, Verdict};

/// The name of the chain for these ranges.
pub fn name(allowed: &[Ipv4Net]) -> Name {
    let mut hash = Sha256::new();
    for range in allowed {
        hash.update(range.network().octets());
        hash.update([range.prefix_len()]);
    }
    let digest: String = hash.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("allow-{digest}").into()
}

pub fn chain(allowed: &[Ipv4Net]) -> Chain {
    let passes = |range: &Ipv4Net| {
        vec![Statement::within(Field::SourceAddress, *range, true), Statement::Verdict(Verdict::Return)]
    };
    let mut rules: Vec<_> = allowed.iter().map(passes).collect();
    rules.push(vec![Statement::Verdict(Verdict::Drop)]);
    Chain::plain(rules)
}
