//! Failures as Kubernetes reports them: a `Status` with code, reason, message and details.
//!
//! Wording follows apimachinery's `api/errors`. Every layer's own error becomes one of these in one
//! place, at the HTTP edge or in the pipeline, never twice.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, Status, StatusCause, StatusDetails};

use super::field;
use super::gvk::{GroupKind, GroupResource};

/// A failed request.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", .0.message.as_deref().unwrap_or_default())]
pub struct Failure(pub Box<Status>);

pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A failure without details.
    pub fn new(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self(Box::new(Status {
            metadata: ListMeta::default(),
            status: Some("Failure".to_owned()),
            code: Some(code.into()),
            reason: (!reason.is_empty()).then(|| reason.to_owned()),
            message: Some(message.into()),
            details: None,
        }))
    }

    fn about(mut self, resource: GroupResource<'_>, name: &str) -> Self {
        let details = self.0.details.get_or_insert_with(StatusDetails::default);
        details.group = non_empty(resource.group);
        details.kind = non_empty(resource.resource);
        details.name = non_empty(name);
        self
    }

    /// Adds causes to the details, after those already there.
    #[must_use]
    pub fn with_causes(mut self, causes: Vec<StatusCause>) -> Self {
        let details = self.0.details.get_or_insert_with(StatusDetails::default);
        details.causes.get_or_insert_with(Vec::new).extend(causes);
        self
    }

    /// Tells the client to come back after so many seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: i32) -> Self {
        let details = self.0.details.get_or_insert_with(StatusDetails::default);
        details.retry_after_seconds = Some(seconds);
        self
    }

    pub fn code(&self) -> u16 {
        let code = self.0.code.unwrap_or(500);
        u16::try_from(code).unwrap_or(500)
    }
    pub fn reason(&self) -> &str {
        self.0.reason.as_deref().unwrap_or_default()
    }
    pub fn message(&self) -> &str {
        self.0.message.as_deref().unwrap_or_default()
    }

    pub fn not_found(resource: GroupResource<'_>, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{resource} \"{name}\" not found")).about(resource, name)
    }
    /// The path is served by nobody: unknown group, version, resource or subresource.
    pub fn no_route() -> Self {
        let failure = Self::new(404, "NotFound", "the server could not find the requested resource");
        failure.with_details()
    }
    pub fn already_exists(resource: GroupResource<'_>, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{resource} \"{name}\" already exists")).about(resource, name)
    }
    pub fn conflict(resource: GroupResource<'_>, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {resource} \"{name}\": {why}");
        Self::new(409, "Conflict", message).about(resource, name)
    }
    /// The usual optimistic-lock failure.
    pub fn stale(resource: GroupResource<'_>, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, why)
    }
    pub fn forbidden(resource: GroupResource<'_>, name: &str, why: &str) -> Self {
        let message = match (resource.resource, name) {
            ("", "") => format!("forbidden: {why}"),
            (_, "") => format!("{resource} is forbidden: {why}"),
            _ => format!("{resource} \"{name}\" is forbidden: {why}"),
        };
        Self::new(403, "Forbidden", message).about(resource, name)
    }
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }
    pub fn invalid(kind: GroupKind<'_>, name: &str, errors: &[field::Error]) -> Self {
        let text = field::aggregate(errors);
        let message = format!("{kind} \"{name}\" is invalid: {text}");
        let causes = errors.iter().map(|error| StatusCause {
            field: Some(error.field.clone()),
            message: Some(error.body.clone()),
            reason: Some(error.kind.reason().to_owned()),
        });
        let causes = causes.collect();
        let about = GroupResource { group: kind.group, resource: kind.kind };
        Self::new(422, "Invalid", message).about(about, name).with_causes(causes)
    }
    pub fn method_not_supported(resource: GroupResource<'_>, verb: &str) -> Self {
        let message = format!("{verb} is not supported on resources of kind \"{resource}\"");
        Self::new(405, "MethodNotAllowed", message).about(resource, "")
    }
    /// A method that no handler takes on this path.
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", message).with_details()
    }
    pub fn unsupported_media_type(supported: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            supported.join(", ")
        );
        Self::new(415, "UnsupportedMediaType", message)
    }
    pub fn not_acceptable(supported: &[&str]) -> Self {
        let message = format!("only the following media types are accepted: {}", supported.join(", "));
        Self::new(406, "NotAcceptable", message)
    }
    /// The body is larger than `limit` bytes.
    pub fn request_too_large(limit: usize) -> Self {
        let message = format!("Request entity too large: limit is {limit}");
        Self::new(413, "RequestEntityTooLarge", message)
    }
    /// A watch or a continue token refers to history that was compacted.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }
    pub fn too_many_requests(message: impl Into<String>, seconds: i32) -> Self {
        Self::new(429, "TooManyRequests", message).retry_after(seconds)
    }
    pub fn timeout(message: impl Into<String>) -> Self {
        Self::new(504, "Timeout", message).with_details()
    }
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }
    pub fn internal(why: impl std::fmt::Display) -> Self {
        let message = format!("Internal error occurred: {why}");
        let cause = StatusCause { message: Some(why.to_string()), ..Default::default() };
        Self::new(500, "InternalError", message).with_causes(vec![cause])
    }

    /// With details, if only empty ones.
    #[must_use]
    pub fn with_details(mut self) -> Self {
        self.0.details = Some(StatusDetails::default());
        self
    }
}

fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
