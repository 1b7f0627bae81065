//! The macros that the API server's CEL has beyond the standard ones, expanded as cel-go's extensions do: comprehensions
//! with two variables, `optMap`, `optFlatMap` and, for devices, `cel.bind`.

use std::sync::LazyLock;

use cel::Env;
use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, ListExpr, LiteralValue, MapExpr, operators as op,
};
use cel::parser::{Macro, MacroExprHelper, ParseError, Parser};

/// What a comprehension gathers its result in.
const RESULT: &str = "@result";
/// What the target of `optMap` is called while it is looked at twice.
const OPTIONAL: &str = "@optional";

type Expanded = Result<Option<IdedExpr>, ParseError>;

static PLAIN: LazyLock<Env> = LazyLock::new(|| environment(false));
static BINDING: LazyLock<Env> = LazyLock::new(|| environment(true));

/// A parser with all macros; with `bindings`, `cel.bind` is one of them.
pub fn parser(bindings: bool) -> Parser {
    if bindings { BINDING.parser() } else { PLAIN.parser() }
}

fn environment(bindings: bool) -> Env {
    let mut env = Env::stdlib();
    // It brings `sortBy`. Nothing is declared twice here.
    let _ = env.add_extension(cel::extensions::lists);
    let mut macros = vec![
        Macro::receiver("optMap", 2, |helper, target, args| optional(helper, target, args, "optMap")),
        Macro::receiver("optFlatMap", 2, |helper, target, args| optional(helper, target, args, "optFlatMap")),
        Macro::receiver("transformMapEntry", 3, transform_entry),
        Macro::receiver("transformMapEntry", 4, transform_entry),
    ];
    for name in ["all", "exists", "existsOne", "exists_one"] {
        macros.push(Macro::receiver(name, 3, move |helper, target, args| quantifier(helper, target, args, name)));
    }
    for count in [3, 4] {
        macros.push(Macro::receiver("transformList", count, transform_list));
        macros.push(Macro::receiver("transformMap", count, transform_map));
    }
    if bindings {
        macros.push(Macro::receiver("bind", 3, bind));
    }
    for one in macros {
        let _ = env.add_macro(one);
    }
    env
}

/// Makes the parts of an expansion.
struct Make<'a, 'b>(&'a mut MacroExprHelper<'b>);

impl Make<'_, '_> {
    fn name(&mut self, name: &str) -> IdedExpr {
        self.0.next_expr(Expr::Ident(name.to_owned()))
    }

    fn result(&mut self) -> IdedExpr {
        self.name(RESULT)
    }

    fn truth(&mut self, value: bool) -> IdedExpr {
        self.0.next_expr(Expr::Literal(LiteralValue::Boolean(value.into())))
    }

    fn number(&mut self, value: i64) -> IdedExpr {
        self.0.next_expr(Expr::Literal(LiteralValue::Int(value.into())))
    }

    fn list(&mut self, elements: Vec<IdedExpr>) -> IdedExpr {
        self.0.next_expr(Expr::List(ListExpr::new(elements)))
    }

    fn call(&mut self, name: &str, target: Option<IdedExpr>, args: Vec<IdedExpr>) -> IdedExpr {
        let call = CallExpr { func_name: name.to_owned(), target: target.map(Box::new), args };
        self.0.next_expr(Expr::Call(call))
    }

    /// Only where the filter, if there is one, says so.
    fn filtered(&mut self, filter: Option<IdedExpr>, step: IdedExpr) -> IdedExpr {
        let Some(filter) = filter else { return step };
        let result = self.result();
        self.call(op::CONDITIONAL, None, vec![filter, step, result])
    }

    /// A comprehension that is never stepped: its result sees the value by this name.
    fn bound(&mut self, name: &str, value: IdedExpr, within: IdedExpr) -> IdedExpr {
        let bound = ComprehensionExpr {
            iter_range: self.list(Vec::new()),
            iter_var: "#unused".to_owned(),
            iter_var2: None,
            accu_var: name.to_owned(),
            accu_init: value,
            loop_cond: self.truth(false),
            loop_step: self.name(name),
            result: within,
        };
        self.0.next_expr(Expr::Comprehension(Box::new(bound)))
    }

    fn simple(&self, name: &IdedExpr, message: &str) -> Result<String, ParseError> {
        match &name.expr {
            Expr::Ident(name) => Ok(name.clone()),
            _ => Err(self.0.new_error(name.id, message)),
        }
    }
}

/// The range and the two variables, and what is left of the arguments.
struct Two {
    range: IdedExpr,
    first: String,
    second: String,
    rest: Vec<IdedExpr>,
}

impl Two {
    fn take(make: &Make, target: &mut Option<IdedExpr>, args: &mut Vec<IdedExpr>) -> Result<Self, ParseError> {
        let first = make.simple(&args[0], "argument must be a simple name")?;
        let second = make.simple(&args[1], "argument must be a simple name")?;
        if first == second {
            return Err(make.0.new_error(args[1].id, format!("duplicate variable name: {first}")));
        }
        for (name, at) in [(&first, &args[0]), (&second, &args[1])] {
            if name == RESULT || name == "__result__" {
                return Err(make.0.new_error(at.id, "iteration variable overwrites accumulator variable"));
            }
        }
        Ok(Self { range: target.take().unwrap_or_default(), first, second, rest: args.split_off(2) })
    }

    /// The filter of those that may have one, and what is made of each pair.
    fn filter_and_body(&mut self) -> (Option<IdedExpr>, IdedExpr) {
        let body = self.rest.pop().unwrap_or_default();
        (self.rest.pop(), body)
    }

    fn over(self, make: &mut Make, start: IdedExpr, condition: IdedExpr, step: IdedExpr, result: IdedExpr) -> IdedExpr {
        let comprehension = ComprehensionExpr {
            iter_range: self.range,
            iter_var: self.first,
            iter_var2: Some(self.second),
            accu_var: RESULT.to_owned(),
            accu_init: start,
            loop_cond: condition,
            loop_step: step,
            result,
        };
        make.0.next_expr(Expr::Comprehension(Box::new(comprehension)))
    }
}

fn quantifier(
    helper: &mut MacroExprHelper<'_>,
    target: &mut Option<IdedExpr>,
    args: &mut Vec<IdedExpr>,
    name: &str,
) -> Expanded {
    let make = &mut Make(helper);
    let mut two = Two::take(make, target, args)?;
    let (_, predicate) = two.filter_and_body();
    let so_far = make.result();
    let (start, condition, step, result) = match name {
        "all" => {
            let condition = make.call(op::NOT_STRICTLY_FALSE, None, vec![so_far]);
            let before = make.result();
            let step = make.call(op::LOGICAL_AND, None, vec![before, predicate]);
            (make.truth(true), condition, step, make.result())
        }
        "exists" => {
            let none = make.call(op::LOGICAL_NOT, None, vec![so_far]);
            let condition = make.call(op::NOT_STRICTLY_FALSE, None, vec![none]);
            let before = make.result();
            let step = make.call(op::LOGICAL_OR, None, vec![before, predicate]);
            (make.truth(false), condition, step, make.result())
        }
        _ => {
            let one = make.number(1);
            let more = make.call(op::ADD, None, vec![so_far, one]);
            let step = make.filtered(Some(predicate), more);
            let (found, one) = (make.result(), make.number(1));
            let result = make.call(op::EQUALS, None, vec![found, one]);
            (make.number(0), make.truth(true), step, result)
        }
    };
    Ok(Some(two.over(make, start, condition, step, result)))
}

fn transform_list(
    helper: &mut MacroExprHelper<'_>,
    target: &mut Option<IdedExpr>,
    args: &mut Vec<IdedExpr>,
) -> Expanded {
    let make = &mut Make(helper);
    let mut two = Two::take(make, target, args)?;
    let (filter, body) = two.filter_and_body();
    let (before, one) = (make.result(), make.list(vec![body]));
    let step = make.call(op::ADD, None, vec![before, one]);
    let step = make.filtered(filter, step);
    let (start, condition, result) = (make.list(Vec::new()), make.truth(true), make.result());
    Ok(Some(two.over(make, start, condition, step, result)))
}

fn transform_map(
    helper: &mut MacroExprHelper<'_>,
    target: &mut Option<IdedExpr>,
    args: &mut Vec<IdedExpr>,
) -> Expanded {
    let make = &mut Make(helper);
    let mut two = Two::take(make, target, args)?;
    let (filter, body) = two.filter_and_body();
    let key = make.name(&two.first);
    Ok(Some(inserting(make, two, filter, vec![key, body])))
}

fn transform_entry(
    helper: &mut MacroExprHelper<'_>,
    target: &mut Option<IdedExpr>,
    args: &mut Vec<IdedExpr>,
) -> Expanded {
    let make = &mut Make(helper);
    let mut two = Two::take(make, target, args)?;
    let (filter, body) = two.filter_and_body();
    if let Expr::Map(MapExpr { entries }) = &body.expr
        && entries.iter().filter(|entry| matches!(entry.expr, EntryExpr::MapEntry(_))).count() > 1
    {
        return Err(make.0.new_error(body.id, "transformMapEntry map literal may only have one entry"));
    }
    Ok(Some(inserting(make, two, filter, vec![body])))
}

/// A map that grows by what each step gives.
fn inserting(make: &mut Make, two: Two, filter: Option<IdedExpr>, entry: Vec<IdedExpr>) -> IdedExpr {
    let mut args = vec![make.result()];
    args.extend(entry);
    let space = make.name("cel");
    let step = make.call("@mapInsert", Some(space), args);
    let step = make.filtered(filter, step);
    let start = make.0.next_expr(Expr::Map(MapExpr { entries: Vec::new() }));
    let (condition, result) = (make.truth(true), make.result());
    two.over(make, start, condition, step, result)
}

/// `target.optMap(name, value)`: an optional of the value, where the target has one.
fn optional(
    helper: &mut MacroExprHelper<'_>,
    target: &mut Option<IdedExpr>,
    args: &mut Vec<IdedExpr>,
    name: &str,
) -> Expanded {
    let make = &mut Make(helper);
    let variable = make.simple(&args[0], &format!("{name}() variable name must be a simple identifier"))?;
    let body = args.pop().unwrap_or_default();
    let (has, of) = (make.name(OPTIONAL), make.name(OPTIONAL));
    let condition = make.call("hasValue", Some(has), Vec::new());
    let value = make.call("value", Some(of), Vec::new());
    let mut found = make.bound(&variable, value, body);
    if name == "optMap" {
        let space = make.name("optional");
        found = make.call("of", Some(space), vec![found]);
    }
    let space = make.name("optional");
    let none = make.call("none", Some(space), Vec::new());
    let either = make.call(op::CONDITIONAL, None, vec![condition, found, none]);
    let target = target.take().unwrap_or_default();
    Ok(Some(make.bound(OPTIONAL, target, either)))
}

/// `cel.bind(name, value, expression)`.
fn bind(helper: &mut MacroExprHelper<'_>, target: &mut Option<IdedExpr>, args: &mut Vec<IdedExpr>) -> Expanded {
    if !matches!(target, Some(IdedExpr { expr: Expr::Ident(space), .. }) if space == "cel") {
        return Ok(None);
    }
    let make = &mut Make(helper);
    let name = make.simple(&args[0], "cel.bind() variable names must be simple identifiers")?;
    let within = args.pop().unwrap_or_default();
    let value = args.pop().unwrap_or_default();
    Ok(Some(make.bound(&name, value, within)))
}
