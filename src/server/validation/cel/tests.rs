//! What expressions give, and what is said of wrong ones.

use super::*;

fn environment() -> Environment {
    let pool = Type::object("Pool", &[("name", Type::String), ("sizes", Type::list(Type::Int))]);
    let nested = Type::map(Type::map(Type::Any));
    Environment { variables: vec![("object", Type::Dyn), ("pool", pool), ("nested", nested)], patches: false }
}

#[test]
fn what_expressions_give() {
    let cases = [
        ("true", "bool"),
        ("object.spec.replicas", "dyn"),
        ("object.spec.replicas > 5 && pool.name == 'a'", "bool"),
        ("object.a + 1", "int"),
        ("object.a + object.b", "dyn"),
        ("pool.name + '!'", "string"),
        ("pool.sizes.map(size, size * 2)", "list(int)"),
        ("pool.sizes.filter(size, size > 2)", "list(int)"),
        ("pool.sizes.exists_one(size, size > 2)", "bool"),
        ("object.items.all(i, item, item.name != '')", "bool"),
        ("nested['a'].b", "google.protobuf.Any"),
        ("has(object.spec) ? object.spec : null", "dyn"),
        ("true ? 'a' : 'b'", "string"),
        ("{'a': 1}", "map(string, int)"),
        ("null", "null_type"),
        ("size(pool.name) + pool.sizes.size()", "int"),
        ("cel.bind(n, pool.name, n + 'x')", "string"),
        ("[1] + [2]", "list(int)"),
        ("timestamp('2020-01-01T00:00:00Z') < timestamp(object.at)", "bool"),
        ("1 < 2.0 && sets.contains([1], [2]) && quantity('1').isGreaterThan(quantity('2'))", "bool"),
        ("object.?a.orValue('x') == 'x' && optional.of(1).hasValue()", "bool"),
        ("'%s %d'.format(['a', 1])", "dyn"),
        ("timestamp(object.at) - timestamp(object.at) > duration('-1.5h') && type(ip('::1')) == net.IP", "bool"),
        ("type(1) == int && 1 in {1: 'a'}", "bool"),
        ("object.name.matches('^a') ? 1 : 2", "int"),
    ];
    for (source, expected) in cases {
        let found = compile(source, &environment()).map(|found| found.shown(false));
        assert_eq!(found.as_deref(), Ok(expected), "{source}");
    }
}

#[test]
fn what_is_wrong_is_told_as_cel_go_does() {
    let cases: &[(&str, &[&str])] = &[
        (
            "object.x in [1, 2, ",
            &["1:20: Syntax error: missing ']' at '<EOF>'", "object.x in [1, 2, ", "...................^"],
        ),
        ("self.x > 1", &["1:1: undeclared reference to 'self' (in container '')", "self.x > 1", "^"]),
        ("true &&\n  other", &["2:3: undeclared reference to 'other' (in container '')", "  other", "..^"]),
        ("'é' + other", &["1:7: undeclared reference to 'other' (in container '')", "'é' + other", "......^"]),
        ("foo(1)", &["1:4: undeclared reference to 'foo' (in container '')", "foo(1)", "...^"]),
        (
            "pool.name.shout()",
            &["1:16: undeclared reference to 'shout' (in container '')", "pool.name.shout()", "...............^"],
        ),
        ("pool.colour == 'a'", &["1:5: undefined field 'colour'", "pool.colour == 'a'", "....^"]),
        ("pool.name.first", &["1:10: type 'string' does not support field selection", "pool.name.first", ".........^"]),
        ("1 + 'a'", &["1:3: found no matching overload for '_+_' applied to '(int, string)'", "1 + 'a'", "..^"]),
        ("!1", &["1:1: found no matching overload for '!_' applied to '(int)'", "!1", "^"]),
        (
            "nested[true].b",
            &[
                "1:7: found no matching overload for '_[_]' applied to '(map(string, map(string, any)), bool)'",
                "nested[true].b",
                "......^",
            ],
        ),
        (
            "pool.name == 1",
            &[
                "1:11: found no matching overload for '_==_' applied to '(string, int)'",
                "pool.name == 1",
                "..........^",
            ],
        ),
        (
            "pool.name != null",
            &[
                "1:11: found no matching overload for '_!=_' applied to '(string, null)'",
                "pool.name != null",
                "..........^",
            ],
        ),
        (
            "1 in [pool.name]",
            &["1:3: found no matching overload for '@in' applied to '(int, list(string))'", "1 in [pool.name]", "..^"],
        ),
        (
            "pool['name']",
            &["1:5: found no matching overload for '_[_]' applied to '(Pool, string)'", "pool['name']", "....^"],
        ),
        (
            "nested['a'].b.all(x, true)",
            &[
                "1:12: expression of type 'any' cannot be range of a comprehension (must be list, map, or dynamic)",
                "nested['a'].b.all(x, true)",
                "...........^",
            ],
        ),
        ("[1, 'a']", &["1:5: expected type 'int' but found 'string'", "[1, 'a']", "....^"]),
        ("duration('1d')", &["1:10: invalid duration argument", "duration('1d')", ".........^"]),
        ("timestamp(253402300800)", &["1:11: invalid timestamp argument", "timestamp(253402300800)", "..........^"]),
        (
            "timestamp('1000-00-00T00:00:00Z')",
            &["1:11: invalid timestamp argument", "timestamp('1000-00-00T00:00:00Z')", "..........^"],
        ),
        (
            "pool.name.matches('x++')",
            &["1:19: invalid matches argument", "pool.name.matches('x++')", "..................^"],
        ),
        ("has(object)", &["1:5: invalid argument to has() macro", "has(object)", "....^"]),
        ("Object{}", &["1:7: undeclared reference to 'Object' (in container '')", "Object{}", "......^"]),
    ];
    for (source, lines) in cases {
        let expected = format!("ERROR: <input>:{}", lines.join("\n | "));
        assert_eq!(compile(source, &environment()).err(), Some(expected), "{source}");
    }
}

#[test]
fn each_problem_is_told_in_the_order_of_the_text() {
    let found = compile("a + b", &Environment::default()).unwrap_err();
    let expected = "ERROR: <input>:1:1: undeclared reference to 'a' (in container '')\n | a + b\n | ^\nERROR: <input>:1:5: undeclared reference to 'b' (in container '')\n | a + b\n | ....^";
    assert_eq!(found, expected);
}

#[test]
fn the_type_must_be_one_that_is_wanted() {
    let refused = |source, wanted: &[Type]| refusal(source, &environment(), wanted);
    assert_eq!(refused("object.a", &[Type::Bool]).as_deref(), Some("must evaluate to bool but got dyn"));
    let several = refused("1", &[Type::String, Type::Null]);
    assert_eq!(several.as_deref(), Some("must evaluate to one of [string null_type] but got int"));
    assert_eq!(refused("object.a == 1", &[Type::Bool]), None);
    assert_eq!(refused("1", &[]), None);
}

#[test]
fn long_and_deep_ones_take_no_more_than_the_stack() {
    let limit = "ERROR: <input>:-1:0: expression recursion limit exceeded: 250";
    let size = "ERROR: <input>:-1:0: expression code point size exceeds limit: size: 120007, limit 100000";
    let nested = |open: &str, close: &str, times| open.repeat(times) + "object" + &close.repeat(times);
    let cases = [
        (nested("(", ")", 240), Ok("dyn")),
        (nested("(", ")", 260), Err(limit)),
        (nested("size([", "])", 20_000 / 3), Err(limit)),
        (nested("[1].map(a, ", ")", 5_000), Err(limit)),
        ("(".repeat(50_000), Err(limit)),
        (nested("", ".a", 20_000), Ok("dyn")),
        (nested("", " + 1", 10_000), Ok("int")),
        (nested("", "+1", 59_998) + "+1234", Err(size)),
        (nested("", ".map(a, [a])", 1_000) + ".size()", Ok("int")),
        (nested("", ".map(a, {a: a})", 100) + ".size()", Ok("int")),
    ];
    for (source, expected) in cases {
        let found = compile(&source, &environment()).map(|found| found.shown(false));
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{}", &source[..20]);
    }
}
