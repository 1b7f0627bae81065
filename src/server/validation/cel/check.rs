//! Names and types in a parsed expression: the rules, the order and the words are those of cel-go's checker.

use std::collections::HashMap;

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, ListExpr, LiteralValue, MapExpr, SelectExpr, SourceInfo,
    StructExpr, operators as op,
};

use super::declarations::{self, Overload};
use super::types::{Type, signature};
use super::unify::{Found, most_general};
use super::{Environment, Issue, place};

/// Larger ones, which chains of comprehensions make, are not followed.
const MAX_TYPE_SIZE: usize = 500;

/// What was found out of an expression.
#[derive(Debug)]
pub struct Checked {
    pub of: Type,
    /// By the number of the part.
    pub types: HashMap<u64, Type>,
    /// What each call may be.
    pub calls: HashMap<u64, Vec<&'static Overload>>,
}

pub fn check(tree: &IdedExpr, info: &SourceInfo, environment: &Environment) -> Result<Checked, Vec<Issue>> {
    let (found, local, issues, types, calls) = Default::default();
    let mut checker = Checker { environment, info, found, local, issues, types, calls };
    let of = checker.of(tree);
    if !checker.issues.is_empty() {
        return Err(checker.issues);
    }
    let Checker { found, mut types, calls, .. } = checker;
    types.values_mut().for_each(|of| *of = found.resolved(of, true));
    Ok(Checked { of: found.resolved(&of, true), types, calls })
}

struct Checker<'a> {
    environment: &'a Environment,
    info: &'a SourceInfo,
    found: Found,
    /// What comprehensions declare around the place that is looked at.
    local: Vec<(String, Type)>,
    issues: Vec<Issue>,
    types: HashMap<u64, Type>,
    calls: HashMap<u64, Vec<&'static Overload>>,
}

/// `a.b.c`, where a part is no more than that.
fn qualified(tree: &IdedExpr) -> Option<String> {
    match &tree.expr {
        Expr::Ident(name) => Some(name.clone()),
        // Whatever is as deep as this is no name of anything.
        Expr::Select(select) if !select.test && depth(&select.operand) < 4 => {
            Some(format!("{}.{}", qualified(&select.operand)?, select.field))
        }
        _ => None,
    }
}

fn depth(tree: &IdedExpr) -> usize {
    let (mut tree, mut depth) = (tree, 0);
    while let Expr::Select(select) = &tree.expr
        && depth < 4
    {
        (tree, depth) = (&select.operand, depth + 1);
    }
    depth
}

impl Checker<'_> {
    fn say(&mut self, id: u64, message: String) -> Type {
        self.issues.push(Issue { at: place(self.info, id), message });
        Type::Error
    }

    fn undeclared(&mut self, id: u64, name: &str) -> Type {
        self.say(id, format!("undeclared reference to '{name}' (in container '')"))
    }

    fn mismatch(&mut self, id: u64, wanted: &Type, found: &Type) -> Type {
        self.say(id, format!("expected type '{}' but found '{}'", wanted.shown(true), found.shown(true)))
    }

    fn declared(&self, name: &str) -> Option<Type> {
        let local = self.local.iter().rev().find(|(local, _)| local == name).map(|(_, of)| of);
        let given = self.environment.variables.iter().find(|(given, _)| *given == name).map(|(_, of)| of);
        local.or(given).cloned().or_else(|| declarations::named_type(name))
    }

    fn of(&mut self, tree: &IdedExpr) -> Type {
        let found = self.worked_out(tree);
        let found = if found.size() > MAX_TYPE_SIZE { Type::Dyn } else { found };
        self.types.insert(tree.id, found.clone());
        found
    }

    fn worked_out(&mut self, tree: &IdedExpr) -> Type {
        let id = tree.id;
        match &tree.expr {
            Expr::Unspecified => Type::Error,
            Expr::Literal(literal) => literal_type(literal),
            Expr::Ident(name) => self.declared(name).unwrap_or_else(|| self.undeclared(id, name)),
            Expr::Select(select) => self.select(tree, select),
            Expr::List(list) => self.list(list),
            Expr::Map(map) => self.map(map),
            Expr::Struct(given) => self.structure(id, given),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::Call(call) => self.call(id, call),
        }
    }

    fn fresh(&mut self) -> Type {
        Type::Param(self.found.fresh(1))
    }

    fn select(&mut self, tree: &IdedExpr, select: &SelectExpr) -> Type {
        if let Some(found) = qualified(tree).and_then(|name| self.declared(&name)) {
            return found;
        }
        let found = self.field(tree.id, &select.operand, &select.field, false);
        if select.test { Type::Bool } else { self.found.resolved(&found, false) }
    }

    /// With `optional` the field may be missing, as it may where what it is a field of is an optional.
    fn field(&mut self, id: u64, operand: &IdedExpr, field: &str, optional: bool) -> Type {
        let of = self.of(operand);
        let of = self.found.resolved(&of, false);
        let (of, was_optional) = match of {
            Type::Optional(of) => ((*of).clone(), true),
            of => (of, false),
        };
        let found = match &of {
            Type::Map(_, value) => (**value).clone(),
            Type::Object(object) => match object.fields.get(field) {
                Some(found) => found.clone(),
                None => self.say(id, format!("undefined field '{field}'")),
            },
            // Objects and patches that are written out.
            Type::Opaque("Object" | "JSONPatch") | Type::Dyn | Type::Any | Type::Error => Type::Dyn,
            Type::Opaque(name) if !name.starts_with("net.") => {
                self.say(id, format!("[internal] unexpected failed resolution of '{name}'"))
            }
            Type::Param(_) => {
                self.found.fits(&Type::Dyn, &of);
                Type::Dyn
            }
            other => {
                let message = format!("type '{}' does not support field selection", other.shown(true));
                self.say(id, message);
                Type::Dyn
            }
        };
        if optional || was_optional { Type::Optional(found.into()) } else { found }
    }

    fn list(&mut self, list: &ListExpr) -> Type {
        let mut of: Option<Type> = None;
        for (at, element) in list.elements.iter().enumerate() {
            let found = self.of(element);
            let found = self.present(element.id, found, list.optional_indices.contains(&at));
            of = Some(self.joined(of, found));
        }
        Type::list(of.unwrap_or_else(|| self.fresh()))
    }

    fn map(&mut self, map: &MapExpr) -> Type {
        let (mut keys, mut values) = (None, None);
        for entry in &map.entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else { continue };
            let key = self.of(&entry.key);
            keys = Some(self.joined(keys, key));
            let value = self.of(&entry.value);
            let value = self.present(entry.value.id, value, entry.optional);
            values = Some(self.joined(values, value));
        }
        let key = keys.unwrap_or_else(|| self.fresh());
        Type::Map(key.into(), values.unwrap_or_else(|| self.fresh()).into())
    }

    /// What an element that may be missing is where it is there.
    fn present(&mut self, id: u64, found: Type, optional: bool) -> Type {
        match (optional, found) {
            (true, Type::Optional(of)) => (*of).clone(),
            (true, other) if !matches!(other, Type::Dyn | Type::Any | Type::Error) => {
                let wanted = Type::Optional(other.clone().into());
                self.mismatch(id, &wanted, &other);
                other
            }
            (_, found) => found,
        }
    }

    /// What all parts of a literal are; that they have to be alike is looked at later.
    fn joined(&mut self, before: Option<Type>, next: Type) -> Type {
        match before {
            None => next,
            Some(before) if self.found.fits(&before, &next) => most_general(&before, &next),
            Some(_) => Type::Dyn,
        }
    }

    /// Objects and patches are written out where that is what an expression is for; other messages are not looked into.
    fn structure(&mut self, id: u64, given: &StructExpr) -> Type {
        let name = given.type_name.as_str();
        let of = match name {
            "JSONPatch" if self.environment.patches => Type::Opaque("JSONPatch"),
            "Object" if self.environment.patches => Type::Opaque("Object"),
            _ if self.environment.patches && name.starts_with("Object.") => Type::Dyn,
            _ if name.starts_with("google.protobuf.") => Type::Dyn,
            _ => return self.undeclared(id, name),
        };
        for entry in &given.entries {
            let EntryExpr::StructField(field) = &entry.expr else { continue };
            let value = self.of(&field.value);
            if of != Type::Opaque("JSONPatch") {
                continue;
            }
            let wanted = match field.field.as_str() {
                "op" | "path" | "from" => Type::String,
                "value" => Type::Dyn,
                other => {
                    self.say(entry.id, format!("undefined field '{other}'"));
                    continue;
                }
            };
            if !self.found.fits(&wanted, &value) {
                let (name, wanted, value) = (&field.field, wanted.shown(true), value.shown(true));
                let message = format!("expected type of field '{name}' is '{wanted}' but provided type is '{value}'");
                self.say(entry.id, message);
            }
        }
        of
    }

    fn comprehension(&mut self, it: &ComprehensionExpr) -> Type {
        let range = self.of(&it.iter_range);
        let start = self.of(&it.accu_init);
        let range = self.found.resolved(&range, false);
        let (first, second) = match &range {
            Type::List(of) if it.iter_var2.is_some() => (Type::Int, (**of).clone()),
            Type::List(of) => ((**of).clone(), Type::Error),
            Type::Map(key, value) => ((**key).clone(), (**value).clone()),
            Type::Dyn | Type::Error | Type::Param(_) => {
                self.found.fits(&Type::Dyn, &range);
                (Type::Dyn, Type::Dyn)
            }
            other => {
                let of = other.shown(true);
                let message = format!(
                    "expression of type '{of}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                (self.say(it.iter_range.id, message), Type::Error)
            }
        };
        let outer = self.local.len();
        self.local.push((it.accu_var.clone(), start.clone()));
        self.local.push((it.iter_var.clone(), first));
        self.local.extend(it.iter_var2.clone().map(|name| (name, second)));
        let condition = self.of(&it.loop_cond);
        self.assert(it.loop_cond.id, &condition, &Type::Bool);
        let step = self.of(&it.loop_step);
        self.assert(it.loop_step.id, &step, &start);
        self.local.truncate(outer + 1);
        let result = self.of(&it.result);
        self.local.truncate(outer);
        self.found.resolved(&result, false)
    }

    fn assert(&mut self, id: u64, found: &Type, wanted: &Type) {
        if !self.found.fits(found, wanted) {
            self.mismatch(id, wanted, found);
        }
    }

    fn call(&mut self, id: u64, call: &CallExpr) -> Type {
        let name = call.func_name.as_str();
        if let (op::OPT_SELECT, [operand, IdedExpr { expr: Expr::Literal(LiteralValue::String(field)), .. }]) =
            (name, call.args.as_slice())
        {
            let found = self.field(id, operand, field.inner(), true);
            return self.found.resolved(&found, false);
        }
        let mut arguments: Vec<_> = call.args.iter().map(|argument| self.of(argument)).collect();
        let overloads = |name: &str| declarations::overloads(name, self.environment.patches);
        let Some(target) = &call.target else {
            let known = overloads(name);
            return self.resolve(id, name, known, &arguments, false);
        };
        if let Some(name) = qualified(target).map(|space| format!("{space}.{name}")) {
            let known = overloads(&name);
            if known.clone().next().is_some() {
                return self.resolve(id, &name, known, &arguments, false);
            }
        }
        let known = overloads(name);
        arguments.insert(0, self.of(target));
        self.resolve(id, name, known, &arguments, true)
    }

    /// Which of the overloads it may be, and what it then gives.
    fn resolve(
        &mut self,
        id: u64,
        name: &str,
        overloads: impl Iterator<Item = &'static Overload> + Clone,
        arguments: &[Type],
        member: bool,
    ) -> Type {
        if overloads.clone().next().is_none() {
            return self.undeclared(id, name);
        }
        let (mut result, mut fitting): (Option<Type>, _) = (None, Vec::new());
        for overload in overloads.filter(|overload| overload.member == member) {
            let first = self.found.fresh(overload.parameters);
            let wanted: Vec<_> = overload.arguments.iter().map(|of| numbered(of, first)).collect();
            if !self.found.fit(arguments, &wanted) {
                continue;
            }
            fitting.push(overload);
            let found = self.found.resolved(&numbered(&overload.result, first), false);
            result = Some(match result {
                Some(before) if before != found => Type::Dyn,
                _ => found,
            });
        }
        self.calls.insert(id, fitting);
        result.unwrap_or_else(|| {
            let arguments: Vec<_> = arguments.iter().map(|of| self.found.resolved(of, true)).collect();
            let signature = signature(&arguments, member);
            self.say(id, format!("found no matching overload for '{name}' applied to '{signature}'"))
        })
    }
}

/// The type of a declaration, with the types that are to be found numbered from here.
fn numbered(of: &Type, first: u32) -> Type {
    match of {
        Type::Param(number) => Type::Param(first + number),
        _ if of.parts().is_empty() => of.clone(),
        _ => of.with_parts(|part| numbered(part, first)),
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
