//! The rules of limit ranges: what is given for one resource must not contradict itself.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use k8s_openapi::api::core::v1::{LimitRange, LimitRangeItem};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;

use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::api::quantity::{Format, Quantity};
use crate::server::validation::{named, quantity, resources};

pub fn limit_range(range: &LimitRange) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec").child("limits");
    let mut types = HashSet::new();
    for (at, item) in range.spec.iter().flat_map(|spec| &spec.limits).enumerate() {
        let path = path.index(at);
        type_name(&mut errors, &path.child("type"), &item.type_);
        if !types.insert(&item.type_) {
            errors.push(Error::duplicate(&path.child("type"), item.type_.as_str()));
        }
        one(&mut errors, &path, item);
    }
    errors
}

fn type_name(errors: &mut Errors, path: &Path, name: &str) {
    let problems = names::qualified_name(name);
    let standard = name.contains('/') || ["Container", "PersistentVolumeClaim", "Pod"].contains(&name);
    if problems.is_empty() && !standard {
        errors.push(Error::invalid(path, name, "must be a standard limit type or fully qualified"));
    }
    named(errors, path, name, problems);
}

type List = Option<BTreeMap<String, Wire>>;
type Amounts<'a> = BTreeMap<&'a str, Quantity>;

/// The amounts of a list, after the rules of their names.
fn read<'a>(errors: &mut Errors, path: &Path, item: &LimitRangeItem, list: &'a List) -> Amounts<'a> {
    let mut amounts = Amounts::new();
    for (name, wire) in list.iter().flatten() {
        let path = path.key(name);
        if ["Container", "Pod"].contains(&item.type_.as_str()) {
            resources::container_name(errors, &path, name);
        } else {
            resources::name(errors, &path, name);
        }
        if let Some(amount) = quantity(errors, &path, wire) {
            amounts.insert(name, amount);
        }
    }
    amounts
}

fn one(errors: &mut Errors, path: &Path, item: &LimitRangeItem) {
    let max = read(errors, &path.child("max"), item, &item.max);
    let min = read(errors, &path.child("min"), item, &item.min);
    let (mut default, mut request) = (Amounts::new(), Amounts::new());
    if item.type_ == "Pod" {
        for (field, list) in [("default", &item.default), ("defaultRequest", &item.default_request)] {
            if list.as_ref().is_some_and(|list| !list.is_empty()) {
                errors.push(Error::forbidden(&path.child(field), "may not be specified when `type` is 'Pod'"));
            }
        }
    } else {
        default = read(errors, &path.child("default"), item, &item.default);
        request = read(errors, &path.child("defaultRequest"), item, &item.default_request);
    }
    if item.type_ == "PersistentVolumeClaim" && !min.contains_key("storage") && !max.contains_key("storage") {
        let detail = "either minimum or maximum storage value is required, but neither was provided";
        errors.push(Error::required(&path.child("limits"), detail));
    }
    let ratio = read(errors, &path.child("maxLimitRequestRatio"), item, &item.max_limit_request_ratio);
    let names: BTreeSet<&str> =
        [&max, &min, &default, &request, &ratio].iter().flat_map(|list| list.keys().copied()).collect();
    for name in names {
        let of = |list: &Amounts| list.get(name).copied();
        let given = Given {
            name,
            min: of(&min),
            max: of(&max),
            default: of(&default),
            request: of(&request),
            ratio: of(&ratio),
        };
        given.check(errors, path);
    }
}

/// Everything given for one resource.
struct Given<'a> {
    name: &'a str,
    min: Option<Quantity>,
    max: Option<Quantity>,
    default: Option<Quantity>,
    request: Option<Quantity>,
    ratio: Option<Quantity>,
}

impl Given<'_> {
    /// In upstream's order; it shows now the one amount and now the other.
    fn check(&self, errors: &mut Errors, path: &Path) {
        let at = |field: &str| path.child(field).key(self.name);
        let mut ordered = |low: Option<Quantity>,
                           high: Option<Quantity>,
                           field,
                           shown: fn(Quantity, Quantity) -> Quantity,
                           words: [&str; 2]| {
            if let (Some(low), Some(high)) = (low, high)
                && low > high
            {
                let detail = format!("{} value {low} is greater than {} value {high}", words[0], words[1]);
                errors.push(Error::invalid(&at(field), shown(low, high).to_string(), detail));
            }
        };
        let (lower, upper): (fn(_, _) -> _, fn(_, _) -> _) = (|low, _| low, |_, high| high);
        ordered(self.min, self.max, "min", lower, ["min", "max"]);
        ordered(self.min, self.request, "defaultRequest", upper, ["min", "default request"]);
        ordered(self.request, self.max, "defaultRequest", lower, ["default request", "max"]);
        ordered(self.request, self.default, "defaultRequest", lower, ["default request", "default limit"]);
        ordered(self.min, self.default, "default", lower, ["min", "default"]);
        ordered(self.default, self.max, "default", upper, ["default", "max"]);
        self.check_ratio(errors, &at("maxLimitRequestRatio"));
        if let (false, Some(default), Some(request)) = (resources::overcommits(self.name), self.default, self.request)
            && default != request
        {
            let detail =
                format!("default value {default} must equal to defaultRequest value {request} in {}", self.name);
            errors.push(Error::invalid(&at("defaultRequest"), request.to_string(), detail));
        }
    }

    fn check_ratio(&self, errors: &mut Errors, path: &Path) {
        let Some(ratio) = self.ratio else { return };
        if ratio < Quantity::from_value(1, Format::DecimalSi) {
            errors.push(Error::invalid(path, ratio.to_string(), format!("ratio {ratio} is less than 1")));
        }
        if let (Some(min), Some(max)) = (self.min, self.max) {
            let limit = max.as_f64() / min.as_f64();
            if ratio.as_f64() > limit {
                let detail = format!("ratio {ratio} is greater than max/min = {limit:.6}");
                errors.push(Error::invalid(path, ratio.to_string(), detail));
            }
        }
    }
}
