//! Names of those who sign certificates: a domain and a path. Pure; called for requests and for volumes of pods.

use crate::api::field::{Error, Errors, Path};
use crate::api::names;

/// `example.com/signer-name`.
pub fn signer(errors: &mut Errors, path: &Path, name: &str) {
    if name.is_empty() {
        errors.push(Error::required(path, ""));
        return;
    }
    if name == "kubernetes.io/legacy-unknown" {
        let detail = "the legacy signerName is not allowed via this API version";
        errors.push(Error::invalid(path, name, detail));
        return;
    }
    let [domain, rest] = name.split('/').collect::<Vec<_>>()[..] else {
        let detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        errors.push(Error::invalid(path, name, detail));
        return;
    };
    if domain.len() > names::SUBDOMAIN_MAX {
        errors.push(Error::too_long(path, names::SUBDOMAIN_MAX));
    }
    labels(errors, path, domain, names::dns1123_label);
    if !domain.contains('.') {
        let detail = "should be a domain with at least two segments separated by dots";
        errors.push(Error::invalid(path, domain, detail));
    }
    labels(errors, path, rest, names::dns1123_subdomain);
    let longest = names::SUBDOMAIN_MAX + 1 + names::SUBDOMAIN_MAX + names::LABEL_MAX + 1;
    if name.len() > longest {
        errors.push(Error::too_long(path, longest));
    }
}

/// The problems of the first label that has some.
fn labels(errors: &mut Errors, path: &Path, part: &str, check: fn(&str) -> names::Problems) {
    let bad = part.split('.').find(|label| !check(label).is_empty());
    for (label, problem) in bad.into_iter().flat_map(|label| check(label).into_iter().map(move |why| (label, why))) {
        errors.push(Error::invalid(path, part, format!("validating label {label:?}: {problem}")));
    }
}
