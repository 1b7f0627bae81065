//! Impersonation: who may, acts as somebody else for one request (`Impersonate-User`, `-Group`, `-Uid`, `-Extra-*`).
//! Every single thing that is asked for must be allowed to the one who really asks.

use std::collections::BTreeMap;

use http::HeaderMap;

use super::User;
use crate::api::status::{Failure, Result};
use crate::server::http::authz::{self, Authorizer};
use crate::server::http::route::RequestInfo;

const PREFIX: &str = "impersonate-";
const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";
const AUTHENTICATION: &str = "authentication.k8s.io";

/// One thing that a request wants to be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wish {
    User(String),
    Account { namespace: String, name: String },
    Group(String),
    Extra { key: String, value: String },
    Uid(String),
}

impl Wish {
    /// What is authorized.
    fn request(&self) -> RequestInfo {
        let mut request = RequestInfo {
            verb: "impersonate".to_owned(),
            is_resource: true,
            version: "v1".to_owned(),
            ..RequestInfo::default()
        };
        let (resource, name) = match self {
            Self::User(name) => ("users", name),
            Self::Group(name) => ("groups", name),
            Self::Account { namespace, name } => {
                request.namespace.clone_from(namespace);
                ("serviceaccounts", name)
            }
            Self::Extra { key, value } => {
                AUTHENTICATION.clone_into(&mut request.group);
                request.subresource.clone_from(key);
                ("userextras", value)
            }
            Self::Uid(uid) => {
                AUTHENTICATION.clone_into(&mut request.group);
                ("uids", uid)
            }
        };
        resource.clone_into(&mut request.resource);
        request.name.clone_from(name);
        request
    }

    /// As upstream's `%v` of an ObjectReference.
    fn shown(&self) -> String {
        match self {
            Self::User(name) => format!("{{User  {name}    }}"),
            Self::Account { namespace, name } => format!("{{ServiceAccount {namespace} {name}    }}"),
            Self::Group(name) => format!("{{Group  {name}    }}"),
            Self::Extra { key, value } => format!("{{UserExtra  {value}  {AUTHENTICATION}/v1  {key}}}"),
            Self::Uid(uid) => format!("{{UID  {uid}  {AUTHENTICATION}/v1  }}"),
        }
    }
}

/// The user that the request is to be treated as; the headers that asked are taken out.
///
/// # Errors
/// 403 where the real user may not be one of them, 400 where a group or the like is given without a user.
pub async fn user(authorizer: &dyn Authorizer, real: User, headers: &mut HeaderMap) -> Result<User> {
    if !headers.keys().any(|name| name.as_str().starts_with(PREFIX)) {
        return Ok(real);
    }
    let wishes = wishes(headers)?;
    let ours: Vec<_> = headers.keys().filter(|name| name.as_str().starts_with(PREFIX)).cloned().collect();
    ours.iter().for_each(|name| drop(headers.remove(name)));
    if wishes.is_empty() {
        return Ok(real);
    }
    for wish in &wishes {
        let request = wish.request();
        authz::settle(authorizer.authorize(&real, &request).await, &real, &request)?;
    }
    let user = become_user(wishes);
    tracing::debug!(real = real.name, user = user.name, "impersonation");
    Ok(user)
}

fn wishes(headers: &HeaderMap) -> Result<Vec<Wish>> {
    let texts = |name: &str| -> Vec<String> {
        headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
    };
    let first = |name: &str| texts(name).into_iter().next().filter(|text| !text.is_empty());
    let mut wishes = Vec::new();
    let user = first(USER);
    wishes.extend(user.clone().map(|name| match User::split_service_account(&name) {
        Some((namespace, name)) => Wish::Account { namespace: namespace.to_owned(), name: name.to_owned() },
        None => Wish::User(name),
    }));
    wishes.extend(texts(GROUP).into_iter().map(Wish::Group));
    for name in headers.keys() {
        let Some(key) = name.as_str().strip_prefix(EXTRA) else { continue };
        let key = unescape(key);
        wishes.extend(texts(name.as_str()).into_iter().map(|value| Wish::Extra { key: key.clone(), value }));
    }
    wishes.extend(first(UID).map(Wish::Uid));
    if user.is_none() && !wishes.is_empty() {
        let shown: Vec<_> = wishes.iter().map(Wish::shown).collect();
        return Err(Failure::bad_request(format!("requested [{}] without impersonating a user", shown.join(" "))));
    }
    Ok(wishes)
}

fn become_user(wishes: Vec<Wish>) -> User {
    let mut user = User { extra: BTreeMap::new(), ..User::default() };
    let given = wishes.iter().any(|wish| matches!(wish, Wish::Group(_)));
    for wish in wishes {
        match wish {
            Wish::User(name) => user.name = name,
            Wish::Account { namespace, name } => {
                let account = User::service_account(&namespace, &name, "");
                user.name = account.name;
                if !given {
                    user.groups = account.groups;
                    user.groups.retain(|group| group != User::AUTHENTICATED);
                }
            }
            Wish::Group(group) => user.groups.push(group),
            Wish::Extra { key, value } => user.extra.entry(key).or_default().push(value),
            Wish::Uid(uid) => user.uid = uid,
        }
    }
    let added = match user.name.as_str() {
        User::ANONYMOUS => User::UNAUTHENTICATED,
        _ if user.in_group(User::UNAUTHENTICATED) => return user,
        _ => User::AUTHENTICATED,
    };
    if !user.in_group(added) {
        user.groups.push(added.to_owned());
    }
    user
}

/// Undoes percent-encoding; what is malformed stays as it was.
fn unescape(key: &str) -> String {
    let bytes = key.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'%' {
            out.push(bytes[at]);
            at += 1;
            continue;
        }
        let digits = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else { return key.to_owned() };
        out.push(byte);
        at += 3;
    }
    String::from_utf8(out).unwrap_or_else(|_| key.to_owned())
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::server::http::authz::Decision;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn who_one_becomes() {
        let become_of = |pairs: &[(&'static str, &str)]| become_user(wishes(&headers(pairs)).unwrap());
        let jane =
            become_of(&[(USER, "jane"), (GROUP, "dev"), (UID, "7"), ("impersonate-extra-acme.com%2fproject", "x")]);
        assert_eq!((jane.name.as_str(), jane.uid.as_str()), ("jane", "7"));
        assert_eq!(jane.groups, ["dev", "system:authenticated"]);
        assert_eq!(jane.extra["acme.com/project"], ["x"]);
        let groups = |pairs| become_of(pairs).groups;
        assert_eq!(groups(&[(USER, "jane")]), ["system:authenticated"]);
        assert_eq!(
            groups(&[(USER, "system:serviceaccount:ns:robot")]),
            ["system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"]
        );
        assert_eq!(groups(&[(USER, "system:serviceaccount:ns:robot"), (GROUP, "g")]), ["g", "system:authenticated"]);
        assert_eq!(groups(&[(USER, User::ANONYMOUS)]), ["system:unauthenticated"]);
        assert_eq!(groups(&[(USER, "x"), (GROUP, User::UNAUTHENTICATED)]), ["system:unauthenticated"]);
    }

    #[test]
    fn a_group_needs_a_user() {
        let failure = wishes(&headers(&[(GROUP, "dev")])).unwrap_err();
        assert_eq!(failure.message(), "requested [{Group  dev    }] without impersonating a user");
        assert_eq!(failure.code(), 400);
    }

    /// Allows impersonating users, nothing else.
    struct Users;

    #[async_trait]
    impl Authorizer for Users {
        async fn authorize(&self, _: &User, request: &RequestInfo) -> Decision {
            assert_eq!(request.verb, "impersonate");
            match request.resource == "users" {
                true => Decision::Allow(String::new()),
                false => Decision::Deny(String::new()),
            }
        }
    }

    #[tokio::test]
    async fn every_wish_is_authorized() {
        let real = User::new("boss", &[]);
        let mut asked = headers(&[(USER, "jane"), ("accept", "x")]);
        let found = user(&Users, real.clone(), &mut asked).await.unwrap();
        assert_eq!((found.name.as_str(), asked.len()), ("jane", 1));
        let failure = user(&Users, real, &mut headers(&[(USER, "jane"), (GROUP, "dev")])).await.unwrap_err();
        assert_eq!(
            failure.message(),
            "groups \"dev\" is forbidden: User \"boss\" cannot impersonate resource \"groups\" in API group \"\" at the cluster scope"
        );
    }
}
