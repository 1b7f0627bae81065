//! Exactly one of several fields: the first is looked at, every other is refused. Volumes and handlers are made so.

use crate::api::field::{Error, Errors, Path};

pub struct Union<'a> {
    errors: &'a mut Errors,
    path: &'a Path,
    extra: &'static str,
    found: bool,
}

impl<'a> Union<'a> {
    /// `extra` is what is said of a second field.
    pub fn new(errors: &'a mut Errors, path: &'a Path, extra: &'static str) -> Self {
        Self { errors, path, extra, found: false }
    }

    /// One member, with its rules.
    pub fn member<S>(&mut self, name: &str, member: Option<&S>, rules: impl FnOnce(&mut Errors, &Path, &S)) {
        self.named(name, name, member, rules);
    }

    /// The same where upstream calls the member otherwise within than beside the others.
    pub fn named<S>(
        &mut self,
        name: &str,
        within: &str,
        member: Option<&S>,
        rules: impl FnOnce(&mut Errors, &Path, &S),
    ) {
        let Some(member) = member else { return };
        if self.found {
            self.errors.push(Error::forbidden(&self.path.child(name), self.extra));
            return;
        }
        self.found = true;
        rules(self.errors, &self.path.child(within), member);
    }

    /// A member that is looked at beside others too.
    pub fn also<S>(&mut self, name: &str, member: Option<&S>, rules: impl FnOnce(&mut Errors, &Path, &S)) {
        let Some(member) = member else { return };
        self.found = true;
        rules(self.errors, &self.path.child(name), member);
    }

    /// Says `missing` where there was no member.
    pub fn end(self, missing: &str) {
        if !self.found {
            self.errors.push(Error::required(self.path, missing));
        }
    }
}
