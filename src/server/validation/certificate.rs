//! What the subresources of a CertificateSigningRequest may change: verdicts only by `/approval`, the certificate only
//! by `/status`, and nothing that was said is taken back.

use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition, CertificateSigningRequestStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::api::field::{Error, Errors, Path};

const APPROVED: &str = "Approved";
const DENIED: &str = "Denied";
const FAILED: &str = "Failed";
const STATUSES: [&str; 3] = ["False", "True", "Unknown"];

type Condition = CertificateSigningRequestCondition;

/// By which subresource a change comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Through {
    Status,
    Approval,
}

fn conditions(request: &CertificateSigningRequest) -> &[Condition] {
    let status = request.status.as_ref();
    status.and_then(|status| status.conditions.as_deref()).unwrap_or_default()
}

fn of<'a>(request: &'a CertificateSigningRequest, kind: &'a str) -> impl Iterator<Item = &'a Condition> {
    conditions(request).iter().filter(move |condition| condition.type_ == kind)
}

fn certificate(request: &CertificateSigningRequest) -> &[u8] {
    let certificate = request.status.as_ref().and_then(|status| status.certificate.as_ref());
    certificate.map(|certificate| certificate.0.as_slice()).unwrap_or_default()
}

/// The rules of a change of the status.
pub fn update(new: &CertificateSigningRequest, old: &CertificateSigningRequest, through: Through) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("status").child("conditions");
    validate_conditions(&mut errors, &path, conditions(new));
    for kind in [APPROVED, DENIED, FAILED] {
        if of(new, kind).count() < of(old, kind).count() {
            errors.push(Error::forbidden(&path, format!("updates may not remove a condition of type {kind:?}")));
        }
    }
    for kind in [APPROVED, DENIED] {
        if through == Through::Status && of(new, kind).count() > of(old, kind).count() {
            errors.push(Error::forbidden(&path, format!("updates may not add a condition of type {kind:?}")));
        }
    }
    let path = Path::new("status").child("certificate");
    if certificate(new) != certificate(old) {
        if through == Through::Approval {
            errors.push(Error::forbidden(&path, "updates may not set certificate content"));
        } else if !certificate(old).is_empty() {
            errors.push(Error::forbidden(&path, "updates may not modify existing certificate content"));
        }
        if let Err(why) = validate_certificate(certificate(new)) {
            errors.push(Error::invalid(&path, "<certificate data>", &why));
        }
    }
    errors
}

fn validate_conditions(errors: &mut Errors, path: &Path, conditions: &[Condition]) {
    let mut seen: Vec<&str> = Vec::new();
    for (at, condition) in conditions.iter().enumerate() {
        let here = path.index(at);
        let (kind, status) = (condition.type_.as_str(), condition.status.as_str());
        if kind.is_empty() {
            errors.push(Error::required(&here.child("type"), ""));
        }
        let allowed = if [APPROVED, DENIED, FAILED].contains(&kind) { &STATUSES[1..2] } else { &STATUSES[..] };
        if status.is_empty() {
            errors.push(Error::required(&here.child("status"), ""));
        } else if !allowed.contains(&status) {
            errors.push(Error::not_supported(&here.child("status"), status, allowed));
        }
        let other = match kind {
            APPROVED => DENIED,
            DENIED => APPROVED,
            _ => "",
        };
        if !other.is_empty() && seen.contains(&other) {
            let detail = "Approved and Denied conditions are mutually exclusive";
            errors.push(Error::invalid(path, kind, detail));
        }
        if seen.contains(&kind) {
            errors.push(Error::duplicate(&here.child("type"), kind));
        }
        seen.push(kind);
    }
}

/// Certificates in PEM, one after another, and nothing else in PEM.
fn validate_certificate(text: &[u8]) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    let mut blocks = 0;
    for block in Pem::iter_from_buffer(text) {
        let Ok(block) = block else { break };
        if block.label != "CERTIFICATE" {
            return Err(format!("only CERTIFICATE PEM blocks are allowed, found {:?}", block.label));
        }
        X509Certificate::from_der(&block.contents).map_err(|error| format!("x509: malformed certificate: {error}"))?;
        blocks += 1;
    }
    match blocks {
        0 => Err("must contain at least one CERTIFICATE PEM block".to_owned()),
        _ => Ok(()),
    }
}

/// Fills in when each condition was said, and since when it is so.
pub fn stamp(new: &mut CertificateSigningRequest, old: &CertificateSigningRequest, now: &Time) {
    let status = new.status.as_mut();
    for condition in status.and_then(|status| status.conditions.as_mut()).into_iter().flatten() {
        condition.last_update_time.get_or_insert_with(|| now.clone());
        let mut same = of(old, &condition.type_).filter(|before| before.status == condition.status);
        let since = same.find_map(|before| before.last_transition_time.clone());
        condition.last_transition_time.get_or_insert_with(|| since.unwrap_or_else(|| now.clone()));
    }
}

/// For `/status`: verdicts stay word for word as they were, unless some were added or taken away, which
/// [`update`] refuses.
pub fn keep_verdicts(new: &mut CertificateSigningRequest, old: &CertificateSigningRequest) {
    for kind in [APPROVED, DENIED] {
        let mut before: Vec<Condition> = of(old, kind).cloned().collect();
        if of(new, kind).count() != before.len() {
            continue;
        }
        let status: Option<&mut CertificateSigningRequestStatus> = new.status.as_mut();
        let all = status.and_then(|status| status.conditions.as_mut()).into_iter().flatten();
        for (condition, kept) in all.filter(|condition| condition.type_ == kind).zip(before.drain(..)) {
            *condition = kept;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn request(conditions: &[(&str, &str)], certificate: Option<&str>) -> CertificateSigningRequest {
        let conditions: Vec<Value> =
            conditions.iter().map(|(kind, status)| json!({"type": kind, "status": status, "reason": kind})).collect();
        let certificate = certificate.map(|text| k8s_openapi::ByteString(text.as_bytes().to_vec()));
        let status = json!({"conditions": conditions, "certificate": certificate});
        let spec = json!({"request": "", "signerName": "a/b"});
        serde_json::from_value(json!({"metadata": {}, "spec": spec, "status": status})).unwrap()
    }

    #[test]
    fn what_may_be_said() {
        use Through::{Approval, Status};
        let approved = [("Approved", "True")];
        let denied = [("Denied", "True")];
        let both = [("Approved", "True"), ("Denied", "True")];
        type Conditions<'a> = &'a [(&'a str, &'a str)];
        let cases: [(Conditions<'_>, Conditions<'_>, Through, &str); 10] = [
            (&[], &approved, Approval, ""),
            (&approved, &approved, Status, ""),
            (
                &approved,
                &both,
                Approval,
                "status.conditions: Invalid value: \"Denied\": Approved and Denied conditions are mutually exclusive",
            ),
            (
                &approved,
                &[],
                Approval,
                "status.conditions: Forbidden: updates may not remove a condition of type \"Approved\"",
            ),
            (
                &[],
                &approved,
                Status,
                "status.conditions: Forbidden: updates may not add a condition of type \"Approved\"",
            ),
            (&[], &denied, Status, "status.conditions: Forbidden: updates may not add a condition of type \"Denied\""),
            (&[], &[("Failed", "True")], Status, ""),
            (
                &[],
                &[("Approved", "False")],
                Approval,
                "status.conditions[0].status: Unsupported value: \"False\": supported values: \"True\"",
            ),
            (
                &[],
                &[("Mine", "Maybe")],
                Status,
                "status.conditions[0].status: Unsupported value: \"Maybe\": supported values: \"False\", \"True\", \"Unknown\"",
            ),
            (
                &[],
                &[("Mine", "True"), ("Mine", "True")],
                Status,
                "status.conditions[1].type: Duplicate value: \"Mine\"",
            ),
        ];
        for (old, new, through, expected) in cases {
            let errors = update(&request(new, None), &request(old, None), through);
            let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
            assert_eq!(said.join("; "), expected, "{old:?} {new:?}");
        }
    }

    #[test]
    fn a_certificate_is_written_once() {
        let pem = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap().cert.pem();
        let of = |old: Option<&str>, new: Option<&str>, through| {
            let errors = update(&request(&[], new), &request(&[], old), through);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert!(of(None, Some(&pem), Through::Status).is_empty());
        assert!(of(Some(&pem), Some(&pem), Through::Status).is_empty());
        assert_eq!(
            of(Some(&pem), None, Through::Status),
            ["status.certificate: Forbidden: updates may not modify existing certificate content"]
        );
        assert_eq!(
            of(None, Some("x"), Through::Status),
            [
                "status.certificate: Invalid value: \"<certificate data>\": must contain at least one CERTIFICATE PEM block"
            ]
        );
        assert_eq!(
            of(None, Some(&pem), Through::Approval),
            ["status.certificate: Forbidden: updates may not set certificate content"]
        );
    }

    #[test]
    fn verdicts_keep_their_words_and_times() {
        let now = Time(jiff::Timestamp::UNIX_EPOCH);
        let mut old = request(&[("Approved", "True")], None);
        stamp(&mut old, &request(&[], None), &now);
        let mut new = request(&[("Approved", "True")], None);
        new.status.as_mut().unwrap().conditions.as_mut().unwrap()[0].reason = Some("another".to_owned());
        keep_verdicts(&mut new, &old);
        assert_eq!(conditions(&new), conditions(&old));
        let later = Time(jiff::Timestamp::from_second(60).unwrap());
        let mut again = request(&[("Approved", "True"), ("Failed", "True")], None);
        stamp(&mut again, &old, &later);
        let times: Vec<_> = conditions(&again)
            .iter()
            .map(|c| {
                (
                    c.last_update_time.clone().unwrap().0.as_second(),
                    c.last_transition_time.clone().unwrap().0.as_second(),
                )
            })
            .collect();
        assert_eq!(times, [(60, 0), (60, 60)]);
    }
}
