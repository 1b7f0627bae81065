//! Tables of good and bad objects: a sound object of a kind, and rows that patch it. Each row goes the way that the
//! pipeline takes: decode, default, prepare, validate.

use serde_json::{Value, json};

use crate::api::object::Object;
use crate::server::catalog::catalog;
use crate::server::strategy::Kind;
use crate::server::validation::lines;

/// A kind and a sound object of it.
pub struct Sound {
    kind: &'static dyn Kind,
    object: Value,
}

impl Sound {
    /// `fields` is everything but the type; the object is called `x` unless it says otherwise.
    pub fn new(api_version: &str, kind: &str, fields: Value) -> Self {
        let (group, version) = crate::api::gvk::split_api_version(api_version).unwrap();
        let found = catalog().find_kind(group, version, kind).unwrap_or_else(|| panic!("no {kind}"));
        let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x", "uid": "u"}});
        json_patch::merge(&mut object, &fields);
        Self { kind: found, object }
    }

    fn decode(&self, patch: &Value) -> Box<dyn Object> {
        let mut object = self.object.clone();
        json_patch::merge(&mut object, patch);
        let mut object = self.kind.decode(object.to_string().as_bytes()).unwrap_or_else(|error| panic!("{error}"));
        self.kind.default(object.as_mut());
        object
    }

    fn created(&self, patch: &Value) -> Box<dyn Object> {
        let mut object = self.decode(patch);
        self.kind.prepare_create(object.as_mut());
        object
    }

    /// The sound object with a JSON merge patch, as it would be stored.
    pub fn stored(&self, patch: Value) -> Value {
        self.created(&patch).to_value()
    }

    /// What is wrong with creating the patched object.
    pub fn create(&self, patch: Value) -> Vec<String> {
        lines(&self.kind.validate(self.created(&patch).as_ref(), None))
    }

    /// What is wrong with an update from one patched object to another, and what would be stored.
    pub fn update(&self, old: Value, new: Value) -> (Vec<String>, Value) {
        let (old, mut new) = (self.created(&old), self.decode(&new));
        self.kind.prepare_update(new.as_mut(), old.as_ref());
        (lines(&self.kind.validate(new.as_ref(), Some(old.as_ref()))), new.to_value())
    }

    /// What is wrong with an object that has the patched fields from the time when their gate was open, and what is
    /// stored when it is written again.
    pub fn rewritten(&self, patch: Value) -> (Vec<String>, Value) {
        let (old, mut new) = (self.decode(&patch), self.decode(&patch));
        self.kind.prepare_update(new.as_mut(), old.as_ref());
        (lines(&self.kind.validate(new.as_ref(), Some(old.as_ref()))), new.to_value())
    }

    /// What is wrong with a change through `/status`.
    pub fn status(&self, old: Value, new: Value) -> Vec<String> {
        let (old, mut new) = (self.decode(&json!({"status": old})), self.decode(&json!({"status": new})));
        self.kind.prepare_status(new.as_mut(), old.as_ref());
        lines(&self.kind.validate_status(new.as_ref(), old.as_ref()))
    }

    /// What is stored after a change through `/status`.
    pub fn reported(&self, old: Value, new: Value) -> Value {
        let (old, mut new) = (self.decode(&json!({"status": old})), self.decode(&json!({"status": new})));
        self.kind.prepare_status(new.as_mut(), old.as_ref());
        new.to_value()
    }

    /// What is warned of in a change through `/status`.
    pub fn status_warnings(&self, status: Value) -> Vec<String> {
        self.kind.status_warnings(self.decode(&json!({"status": status})).as_ref())
    }

    pub fn warnings(&self, patch: Value) -> Vec<String> {
        self.kind.warnings(self.created(&patch).as_ref(), None)
    }

    /// The row of a table, without the age.
    pub fn cells(&self, patch: Value) -> Vec<Value> {
        let object = self.decode(&patch);
        let cells = self.kind.cells(object.as_ref(), jiff::Timestamp::UNIX_EPOCH).expect("the kind has cells");
        assert_eq!(cells.len(), self.kind.columns().len(), "a cell for each column");
        let columns = self.kind.columns().iter().zip(cells);
        columns.filter(|(column, _)| column.name != "Age").map(|(_, cell)| cell).collect()
    }

    /// Every row is a patch that makes an object good.
    pub fn accepts(&self, rows: &[Value]) {
        for patch in rows {
            assert_eq!(self.create(patch.clone()), Vec::<String>::new(), "{patch}");
        }
    }

    /// Every row is a patch that spoils the object in one way, and what is said about it.
    pub fn refuses(&self, rows: &[(Value, &str)]) {
        for (patch, expected) in rows {
            assert_eq!(self.create(patch.clone()), [*expected], "{patch}");
        }
    }

    /// Every row is a change of the sound object, and what is said about it: nothing where it may change.
    pub fn changes(&self, rows: &[(Value, &[&str])]) {
        for (patch, expected) in rows {
            assert_eq!(self.update(json!({}), patch.clone()).0, *expected, "{patch}");
        }
    }
}
