//! Names and types in a parsed expression. What cannot be worked out is let pass.

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, IdedExpr, LiteralValue, SourceInfo, operators as op,
};

use super::types::{Type, signature};
use super::{Environment, Issue, functions, place};

const MAX_TYPE_SIZE: usize = 500;

pub fn check(tree: &IdedExpr, info: &SourceInfo, environment: &Environment) -> Result<Type, Vec<Issue>> {
    let (local, issues, later) = Default::default();
    let mut checker = Checker { environment, info, local, issues, later, in_format: false };
    let found = checker.of(tree);
    let issues = if checker.issues.is_empty() { checker.later } else { checker.issues };
    if issues.is_empty() { Ok(found) } else { Err(issues) }
}

struct Checker<'a> {
    environment: &'a Environment,
    info: &'a SourceInfo,
    /// What comprehensions declare around the place that is looked at.
    local: Vec<(String, Type)>,
    issues: Vec<Issue>,
    /// What is told only where nothing else is wrong: lists and maps of several types, arguments that cannot be read.
    later: Vec<Issue>,
    /// `'%s %d'.format(['a', 1])` may mix them.
    in_format: bool,
}

impl Checker<'_> {
    fn say(&mut self, id: u64, message: String) -> Type {
        self.issues.push(Issue { at: place(self.info, id), message });
        Type::Unknown
    }

    fn undeclared(&mut self, id: u64, name: &str) -> Type {
        self.say(id, format!("undeclared reference to '{name}' (in container '')"))
    }

    fn no_overload(&mut self, id: u64, function: &str, arguments: &[Type]) -> Type {
        self.say(id, format!("found no matching overload for '{function}' applied to '{}'", signature(arguments)))
    }

    fn declared(&self, name: &str) -> Option<Type> {
        let local = self.local.iter().rev().find(|(local, _)| local == name).map(|(_, of)| of);
        let given = self.environment.variables.iter().find(|(given, _)| *given == name).map(|(_, of)| of);
        local.or(given).cloned()
    }

    /// The type of a part, unless chains of comprehensions made it too large to follow.
    fn of(&mut self, tree: &IdedExpr) -> Type {
        let found = self.worked_out(tree);
        if found.size() > MAX_TYPE_SIZE { Type::Unknown } else { found }
    }

    fn worked_out(&mut self, tree: &IdedExpr) -> Type {
        match &tree.expr {
            Expr::Unspecified => Type::Unknown,
            Expr::Literal(literal) => literal_type(literal),
            Expr::Ident(name) => match self.declared(name) {
                Some(found) => found,
                None if functions::is_type(name) => Type::Unknown,
                None => self.undeclared(tree.id, name),
            },
            Expr::Select(select) => {
                let operand = self.of(&select.operand);
                let found = self.field(tree.id, operand, &select.field);
                if select.test { Type::Bool } else { found }
            }
            Expr::List(list) => {
                let mut of: Option<Type> = None;
                for element in &list.elements {
                    let found = self.of(element);
                    of = Some(match of {
                        Some(first) => self.joined(element.id, first, found),
                        None => found,
                    });
                }
                Type::list(of.filter(|_| list.optional_indices.is_empty()).unwrap_or(Type::Unknown))
            }
            Expr::Map(map) => {
                let (key, value) = self.entries(&map.entries);
                Type::Map(Box::new(key), Box::new(value))
            }
            Expr::Struct(given) => {
                for entry in &given.entries {
                    if let EntryExpr::StructField(field) = &entry.expr {
                        self.of(&field.value);
                    }
                }
                let name = given.type_name.as_str();
                let root = name.split('.').next().unwrap_or_default();
                match name {
                    "Object" if self.environment.patches => Type::Opaque("Object"),
                    "JSONPatch" if self.environment.patches => Type::Opaque("JSONPatch"),
                    _ if root == "google" || root == "Object" && self.environment.patches => Type::Unknown,
                    _ => self.undeclared(tree.id, name),
                }
            }
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::Call(call) => self.call(tree.id, call),
        }
    }

    fn all(&mut self, trees: &[IdedExpr]) -> Vec<Type> {
        trees.iter().map(|tree| self.of(tree)).collect()
    }

    fn entries(&mut self, entries: &[IdedEntryExpr]) -> (Type, Type) {
        let mut found: Option<(Type, Type)> = None;
        for entry in entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else { continue };
            let (ids, key, value) = ((entry.key.id, entry.value.id), self.of(&entry.key), self.of(&entry.value));
            let value = if entry.optional { Type::Unknown } else { value };
            found = Some(match found {
                None => (key, value),
                Some(before) => {
                    let (at_key, at_value) = ids;
                    (self.joined(at_key, before.0, key), self.joined(at_value, before.1, value))
                }
            });
        }
        found.unwrap_or((Type::Unknown, Type::Unknown))
    }

    /// The type of a literal list or map with one more part, which has to be like the first.
    fn joined(&mut self, id: u64, first: Type, next: Type) -> Type {
        if !self.in_format && differ(&first, &next) {
            let message = format!("expected type '{}' but found '{}'", first.shown(true), next.shown(true));
            self.later.push(Issue { at: place(self.info, id), message });
            return Type::Unknown;
        }
        first.or(next)
    }

    fn field(&mut self, id: u64, of: Type, field: &str) -> Type {
        match of {
            Type::Object(object) => match object.fields.get(field) {
                Some(found) => found.clone(),
                None => self.say(id, format!("undefined field '{field}'")),
            },
            Type::Map(_, value) => *value,
            Type::Dyn | Type::Any => Type::Dyn,
            Type::Unknown | Type::Opaque(_) => Type::Unknown,
            other => self.say(id, format!("type '{}' does not support field selection", other.shown(true))),
        }
    }

    fn comprehension(&mut self, it: &ComprehensionExpr) -> Type {
        let range = self.of(&it.iter_range);
        let of = self.element(it.iter_range.id, range);
        let start = self.of(&it.accu_init);
        let outer = self.local.len();
        self.local.push((it.accu_var.clone(), start));
        self.local.push((it.iter_var.clone(), of));
        self.local.extend(it.iter_var2.clone().map(|name| (name, Type::Unknown)));
        self.of(&it.loop_cond);
        let step = self.of(&it.loop_step);
        self.local.truncate(outer);
        self.local.push((it.accu_var.clone(), step));
        let result = self.of(&it.result);
        self.local.truncate(outer);
        result
    }

    /// What a list or the keys of a map are.
    fn element(&mut self, id: u64, range: Type) -> Type {
        match range {
            Type::List(of) => *of,
            Type::Map(key, _) => *key,
            Type::Dyn => Type::Dyn,
            Type::Unknown | Type::Opaque(_) => Type::Unknown,
            other => {
                let of = other.shown(true);
                self.say(
                    id,
                    format!(
                        "expression of type '{of}' cannot be range of a comprehension (must be list, map, or dynamic)"
                    ),
                )
            }
        }
    }

    fn call(&mut self, id: u64, call: &CallExpr) -> Type {
        let name = call.func_name.as_str();
        if let [IdedExpr { id, expr: Expr::Literal(literal) }] = call.args.as_slice()
            && !functions::reads(name, literal)
        {
            self.later.push(Issue { at: place(self.info, *id), message: format!("invalid {name} argument") });
        }
        let Some(target) = &call.target else {
            let arguments = self.all(&call.args);
            return match self.operator(id, name, &arguments) {
                Some(found) => found,
                None if functions::is_known(name) => functions::result(name),
                None => self.undeclared(id, name),
            };
        };
        let qualified = match &target.expr {
            Expr::Ident(space) if functions::NAMESPACES.contains(&space.as_str()) => self.declared(space).is_none(),
            _ => false,
        };
        if qualified {
            return if name == "bind" {
                self.bind(&call.args)
            } else {
                self.all(&call.args);
                Type::Unknown
            };
        }
        let range = self.of(target);
        let declares = match name {
            "optMap" | "optFlatMap" => 1,
            "all" | "exists" | "existsOne" | "exists_one" | "transformList" | "transformMap" | "transformMapEntry"
                if call.args.len() > 2 =>
            {
                2
            }
            "sortBy" => 1,
            _ => 0,
        };
        let (names, arguments) = call.args.split_at(declares.min(call.args.len()));
        let outer = self.local.len();
        for declared in names {
            if let Expr::Ident(name) = &declared.expr {
                self.local.push((name.clone(), Type::Unknown));
            }
        }
        let outside = self.in_format;
        self.in_format |= name == "format";
        self.all(arguments);
        self.in_format = outside;
        self.local.truncate(outer);
        if !functions::is_known(name) && !range.is_unknown() {
            return self.undeclared(id, name);
        }
        functions::result(name)
    }

    /// `cel.bind(name, value, expression)`.
    fn bind(&mut self, arguments: &[IdedExpr]) -> Type {
        let [IdedExpr { expr: Expr::Ident(name), .. }, value, within] = arguments else { return Type::Unknown };
        let value = self.of(value);
        self.local.push((name.clone(), value));
        let found = self.of(within);
        self.local.pop();
        found
    }

    /// What an operator gives, where the call is of one.
    fn operator(&mut self, id: u64, name: &str, arguments: &[Type]) -> Option<Type> {
        let found = match (name, arguments) {
            (op::LOGICAL_AND | op::LOGICAL_OR, _) | (op::LOGICAL_NOT, [_]) | ("@not_strictly_false", _) => {
                arguments.iter().all(|one| one.is_open() || *one == Type::Bool).then_some(Type::Bool)
            }
            (op::NEGATE, [one]) => match one {
                Type::Int | Type::Double | Type::Unknown => Some(one.clone()),
                Type::Dyn | Type::Any => Some(Type::Dyn),
                _ if one.is_scalar() => None,
                _ => Some(Type::Unknown),
            },
            (op::CONDITIONAL, [condition, yes, no]) => conditional(condition, yes, no),
            (op::EQUALS | op::NOT_EQUALS, [one, other]) => (!differ(one, other)).then_some(Type::Bool),
            (op::LESS | op::LESS_EQUALS | op::GREATER | op::GREATER_EQUALS, [one, other]) => {
                let unordered = |of: &Type| matches!(of, Type::List(_) | Type::Map(..) | Type::Null | Type::Object(_));
                let apart = differ(one, other) && !(one.is_number() && other.is_number());
                (!apart && !unordered(one) && !unordered(other)).then_some(Type::Bool)
            }
            (op::IN, [one, range]) => match range {
                Type::List(of) | Type::Map(of, _) => (!differ(one, of)).then_some(Type::Bool),
                _ => range.is_open().then_some(Type::Bool),
            },
            (op::INDEX, [of, key]) => index(of, key),
            (op::OPT_INDEX | op::OPT_SELECT, _) => Some(Type::Unknown),
            (op::ADD | op::SUBSTRACT | op::MULTIPLY | op::DIVIDE | op::MODULO, [one, other]) => {
                arithmetic(name, one, other)
            }
            _ => return None,
        };
        Some(found.unwrap_or_else(|| self.no_overload(id, name, arguments)))
    }
}

fn literal_type(literal: &LiteralValue) -> Type {
    match literal {
        LiteralValue::Boolean(_) => Type::Bool,
        LiteralValue::Bytes(_) => Type::Bytes,
        LiteralValue::Double(_) => Type::Double,
        LiteralValue::Int(_) => Type::Int,
        LiteralValue::Null => Type::Null,
        LiteralValue::String(_) => Type::String,
        LiteralValue::UInt(_) => Type::Uint,
    }
}

/// Whether two values can never be of one type. Objects are not told apart.
fn differ(one: &Type, other: &Type) -> bool {
    let structured = |of: &Type| matches!(of, Type::List(_) | Type::Map(..));
    match (one, other) {
        _ if one.is_open() || other.is_open() => false,
        (Type::Null, of) | (of, Type::Null) => of.is_scalar() || structured(of),
        (Type::List(one), Type::List(other)) => differ(one, other),
        (Type::Map(key, value), Type::Map(other_key, other_value)) => {
            differ(key, other_key) || differ(value, other_value)
        }
        (Type::Object(_), Type::Object(_)) => false,
        _ => one != other,
    }
}

fn conditional(condition: &Type, yes: &Type, no: &Type) -> Option<Type> {
    let decides = condition.is_open() || *condition == Type::Bool;
    let open = yes.is_open() || no.is_open();
    match (decides && !differ(yes, no), open) {
        (false, _) => None,
        (true, true) if *yes == Type::Unknown || *no == Type::Unknown => Some(Type::Unknown),
        (true, _) => Some(yes.clone().or(no.clone())),
    }
}

fn index(of: &Type, key: &Type) -> Option<Type> {
    match of {
        Type::List(of) => (key.is_open() || key.is_number()).then(|| (**of).clone()),
        Type::Map(wanted, value) => (!differ(wanted, key)).then(|| (**value).clone()),
        Type::Dyn | Type::Any => Some(Type::Dyn),
        Type::Unknown => Some(Type::Unknown),
        _ => None,
    }
}

fn arithmetic(operator: &str, one: &Type, other: &Type) -> Option<Type> {
    let takes = |of: &Type| match operator {
        op::ADD => of.is_number() || matches!(of, Type::String | Type::Bytes),
        op::MODULO => matches!(of, Type::Int | Type::Uint),
        _ => of.is_number(),
    };
    match (one, other) {
        (Type::Unknown, _) | (_, Type::Unknown) => Some(Type::Unknown),
        (Type::Dyn | Type::Any, Type::Dyn | Type::Any) => Some(Type::Dyn),
        (Type::Dyn | Type::Any, of) | (of, Type::Dyn | Type::Any) if of.is_scalar() => takes(of).then(|| of.clone()),
        (Type::Dyn | Type::Any, _) | (_, Type::Dyn | Type::Any) => Some(Type::Unknown),
        (Type::List(_), Type::List(_)) if operator == op::ADD && !differ(one, other) => {
            Some(one.clone().or(other.clone()))
        }
        (Type::Timestamp | Type::Duration, Type::Timestamp | Type::Duration) => moved(operator, one, other),
        _ => (one == other && takes(one)).then(|| one.clone()),
    }
}

/// Times and spans of time, added and subtracted.
fn moved(operator: &str, one: &Type, other: &Type) -> Option<Type> {
    match (operator, one, other) {
        (op::ADD | op::SUBSTRACT, Type::Duration, Type::Duration) => Some(Type::Duration),
        (op::SUBSTRACT, Type::Timestamp, Type::Timestamp) => Some(Type::Duration),
        (op::ADD | op::SUBSTRACT, Type::Timestamp, Type::Duration) => Some(Type::Timestamp),
        (op::ADD, Type::Duration, Type::Timestamp) => Some(Type::Timestamp),
        _ => None,
    }
}
