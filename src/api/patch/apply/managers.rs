//! `metadata.managedFields`: who set which fields, by which operation, when.
//!
//! Entries are told apart by manager, operation and subresource, and updates by their API version too. The
//! order on the wire is upstream's: applies first, then by time, manager, version and subresource.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::set::Set;

/// How many managers of updates are kept apart; beyond that the oldest are joined.
const MAX_UPDATE_MANAGERS: usize = 10;
/// The manager under which the oldest updates are joined.
const ANCIENT: &str = "ancient-changes";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Apply,
    Update,
}

/// Who: the identity of an entry. `api_version` is empty for applies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Manager {
    pub name: String,
    pub operation: Operation,
    pub api_version: String,
    pub subresource: String,
}

impl Manager {
    pub fn applier(name: &str, subresource: &str) -> Self {
        let (name, subresource) = (name.to_owned(), subresource.to_owned());
        Self { name, operation: Operation::Apply, api_version: String::new(), subresource }
    }

    pub fn updater(name: &str, api_version: &str, subresource: &str) -> Self {
        let (name, subresource) = (name.to_owned(), subresource.to_owned());
        Self { name, operation: Operation::Update, api_version: api_version.to_owned(), subresource }
    }
}

impl std::fmt::Display for Manager {
    /// As conflicts name a manager: `"kubectl" with subresource "status" using apps/v1`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.name)?;
        if !self.subresource.is_empty() {
            write!(f, " with subresource {:?}", self.subresource)?;
        }
        match self.operation {
            Operation::Update => write!(f, " using {}", self.api_version),
            Operation::Apply => Ok(()),
        }
    }
}

/// What an entry owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    pub set: Set,
    /// The version in which the paths are meant.
    pub api_version: String,
    /// As written; only compared and passed on, so that what one cannot read is kept.
    pub time: Option<String>,
}

/// All entries of an object.
pub type Managers = BTreeMap<Manager, Owned>;

/// Reads the entries of an object.
///
/// # Errors
/// In upstream's words, when one of them is malformed.
pub fn decode(object: &Value) -> Result<Managers, String> {
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    entries.into_iter().flatten().enumerate().map(|(at, entry)| decode_entry(at, entry)).collect()
}

fn decode_entry(at: usize, entry: &Value) -> Result<(Manager, Owned), String> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
    let api_version = text("apiVersion");
    let operation = match text("operation") {
        "Apply" => Operation::Apply,
        "Update" => Operation::Update,
        _ => return Err("operation must be `Apply` or `Update`".to_owned()),
    };
    if api_version.is_empty() {
        return Err("apiVersion must not be empty".to_owned());
    }
    match text("fieldsType") {
        "FieldsV1" => {}
        "" => return Err(format!("missing fieldsType in managed fields entry {at}")),
        other => return Err(format!("invalid fieldsType {other:?} in managed fields entry {at}")),
    }
    let empty = Value::Object(Map::new());
    let fields = entry.get("fieldsV1").filter(|fields| !fields.is_null()).unwrap_or(&empty);
    let set = Set::decode(fields).map_err(|error| format!("error decoding set: {error}"))?;
    let manager = match operation {
        Operation::Apply => Manager::applier(text("manager"), text("subresource")),
        Operation::Update => Manager::updater(text("manager"), api_version, text("subresource")),
    };
    let time = entry.get("time").and_then(Value::as_str).map(ToOwned::to_owned);
    Ok((manager, Owned { set, api_version: api_version.to_owned(), time }))
}

/// Whether the entries ask to forget all ownership: an empty list, or one empty entry.
pub fn is_reset(object: &Value) -> bool {
    match object.pointer("/metadata/managedFields").and_then(Value::as_array).map(Vec::as_slice) {
        Some([]) => true,
        Some([only]) => only.as_object().is_some_and(Map::is_empty),
        _ => false,
    }
}

/// Writes the entries into the object; without any the field is absent.
pub fn encode(object: &mut Value, managers: &Managers) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    metadata.remove("managedFields");
    if managers.is_empty() {
        return;
    }
    let mut entries: Vec<_> = managers.iter().collect();
    entries.sort_by(|(a, x), (b, y)| {
        (a.operation, seconds(x), &a.name, &x.api_version, &a.subresource).cmp(&(
            b.operation,
            seconds(y),
            &b.name,
            &y.api_version,
            &b.subresource,
        ))
    });
    let entries = entries.into_iter().map(|(manager, owned)| encode_entry(manager, owned)).collect();
    metadata.insert("managedFields".to_owned(), Value::Array(entries));
}

fn encode_entry(manager: &Manager, owned: &Owned) -> Value {
    let operation = match manager.operation {
        Operation::Apply => "Apply",
        Operation::Update => "Update",
    };
    let mut entry = json!({
        "operation": operation,
        "apiVersion": owned.api_version,
        "fieldsType": "FieldsV1",
        "fieldsV1": owned.set.encode(),
    });
    for (name, text) in [("manager", &manager.name), ("subresource", &manager.subresource)] {
        if !text.is_empty() {
            entry[name] = Value::from(text.as_str());
        }
    }
    if let Some(time) = &owned.time {
        entry["time"] = Value::from(time.as_str());
    }
    entry
}

fn seconds(owned: &Owned) -> i64 {
    let time = owned.time.as_deref().and_then(|time| time.parse::<Timestamp>().ok());
    time.map_or(0, Timestamp::as_second)
}

/// A time as the wire has it: whole seconds, UTC.
pub fn wire_time(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Joins the oldest updates of one API version until few enough are left.
pub fn cap(managers: &mut Managers) {
    let mut updaters: Vec<_> = managers
        .iter()
        .filter(|(manager, _)| manager.operation == Operation::Update)
        .map(|(m, o)| (seconds(o), m.clone()))
        .collect();
    let mut count = updaters.len();
    if count <= MAX_UPDATE_MANAGERS {
        return;
    }
    updaters.sort();
    let mut first_of_version: BTreeMap<String, Manager> = BTreeMap::new();
    for (_, manager) in updaters {
        if count <= MAX_UPDATE_MANAGERS {
            return;
        }
        let version = manager.api_version.clone();
        let Some(first) = first_of_version.get(&version) else {
            first_of_version.insert(version, manager);
            continue;
        };
        let bucket = Manager::updater(ANCIENT, &version, "");
        if !managers.contains_key(&bucket)
            && let Some(owned) = managers.remove(first)
        {
            managers.insert(bucket.clone(), owned);
        }
        if bucket == manager {
            continue;
        }
        if let (Some(merged), Some(into)) = (managers.remove(&manager), managers.get_mut(&bucket)) {
            into.set = std::mem::take(&mut into.set).union(merged.set);
            // The later of the two.
            into.time = merged.time;
            count -= 1;
        }
    }
}
