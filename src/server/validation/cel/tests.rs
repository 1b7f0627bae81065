//! What expressions give, and what is said of wrong ones.

use super::*;

fn environment() -> Environment {
    let pool = Type::object("Pool", &[("name", Type::String), ("sizes", Type::list(Type::Int))]);
    let nested = Type::map(Type::map(Type::Any));
    let authorizer = Type::Opaque("kubernetes.authorization.Authorizer");
    Environment {
        variables: vec![("object", Type::Dyn), ("pool", pool), ("nested", nested), ("authorizer", authorizer)],
        bindings: true,
        ..Environment::default()
    }
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
        ("nested['a'].b.c", "dyn"),
        ("true ? dyn('a') : 1", "dyn"),
        ("[]", "list(dyn)"),
        ("[] + [1]", "list(int)"),
        ("{}", "map(dyn, dyn)"),
        ("size([1]) + [2].size() + size('a') + {'a': 1}.size()", "int"),
        ("object.all(k, k in ['a']) && {'a': 1}.exists_one(k, v, v > 0)", "bool"),
        ("[1, 2].transformList(at, value, at > 0, string(value))", "list(string)"),
        ("[1, 2].transformMap(at, value, string(value))", "map(int, string)"),
        ("['a'].transformMapEntry(at, value, {value: at})", "map(string, int)"),
        ("{'a': [1]}.transformList(k, v, v.sum())", "list(int)"),
        ("optional.of(1).optMap(x, string(x))", "optional_type(string)"),
        ("optional.of([1]).optFlatMap(x, x.first())", "optional_type(int)"),
        ("pool.?name.orValue('x')", "string"),
        ("pool.sizes[?0].hasValue() && [?optional.of(1)] == [1] && {?'a': optional.none()} == {'a': 1}", "bool"),
        ("optional.of(pool).name", "optional_type(string)"),
        ("pool.sizes.sortBy(x, -x).first().value()", "int"),
        ("lists.range(3).slice(0, 2).reverse().distinct()", "list(int)"),
        ("[[1], [2]].flatten()", "list(int)"),
        ("pool.sizes.min() + pool.sizes.indexOf(3)", "int"),
        ("pool.name.split(',').join('-').lowerAscii().replace('a', 'b').substring(1)", "string"),
        ("pool.name.find('a+') + pool.name.findAll('a+', 2)[0]", "string"),
        ("url('https://a/b').getQuery()['a'][0] + url('https://a').getHost()", "string"),
        ("cidr('10.0.0.0/8').containsIP('10.0.0.1') && cidr('10.0.0.0/8').containsIP(ip('10.0.0.1'))", "bool"),
        ("cidr('10.0.0.0/8').ip().family() == 4 && ip.isCanonical('::1') && string(ip('::1')) == '::1'", "bool"),
        ("quantity('1').add(quantity('2')).sub(1).asInteger()", "int"),
        ("semver('1.0.0').major() > 0 && isSemver('v1', true)", "bool"),
        ("!format.dns1123Label().validate('a').hasValue()", "bool"),
        ("format.named('uri').value().validate('a').orValue([])", "list(string)"),
        ("authorizer.group('apps').resource('deployments').namespace('a').check('get').allowed()", "bool"),
        ("authorizer.serviceAccount('a', 'b').path('/healthz').check('get').reason()", "string"),
        (
            "authorizer.group('').resource('pods').fieldSelector('a=b').labelSelector('c').check('list').errored()",
            "bool",
        ),
        ("sets.intersects(['a'], [pool.name])", "bool"),
        ("timestamp('2020-01-01T00:00:00Z').getHours('UTC') + duration('1h').getMinutes()", "int"),
        ("1 < 2.0 && 1u < 2 && 'a' < 'b'", "bool"),
        ("type(pool.name) == string", "bool"),
        ("ip('::1') == null", "bool"),
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
        ("'%s %d'.format(['a', 1])", "string"),
        ("'%.3f%% %e %x %X %b %o %s'.format([1.0, object.a, 'a', b'a', true, 1u, [1]])", "string"),
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
        ("size(1)", &["1:5: found no matching overload for 'size' applied to '(int)'", "size(1)", "....^"]),
        (
            "pool.name.startsWith(1)",
            &[
                "1:21: found no matching overload for 'startsWith' applied to 'string.(int)'",
                "pool.name.startsWith(1)",
                "....................^",
            ],
        ),
        (
            "pool.name.int()",
            &["1:14: found no matching overload for 'int' applied to 'string.()'", "pool.name.int()", ".............^"],
        ),
        (
            "startsWith('a', 'b')",
            &[
                "1:11: found no matching overload for 'startsWith' applied to '(string, string)'",
                "startsWith('a', 'b')",
                "..........^",
            ],
        ),
        (
            "sets.contains([1], ['a'])",
            &[
                "1:14: found no matching overload for 'sets.contains' applied to '(list(int), list(string))'",
                "sets.contains([1], ['a'])",
                ".............^",
            ],
        ),
        (
            "pool.sizes[1u] == 1",
            &[
                "1:11: found no matching overload for '_[_]' applied to '(list(int), uint)'",
                "pool.sizes[1u] == 1",
                "..........^",
            ],
        ),
        (
            "quantity('1').isGreaterThan(1)",
            &[
                "1:28: found no matching overload for 'isGreaterThan' applied to 'kubernetes.Quantity.(int)'",
                "quantity('1').isGreaterThan(1)",
                "...........................^",
            ],
        ),
        (
            "'abc'.reverse()",
            &[
                "1:14: found no matching overload for 'reverse' applied to 'string.()'",
                "'abc'.reverse()",
                ".............^",
            ],
        ),
        (
            "[pool.name].sum()",
            &[
                "1:16: found no matching overload for 'sum' applied to 'list(string).()'",
                "[pool.name].sum()",
                "...............^",
            ],
        ),
        (
            "url('a').host",
            &["1:9: [internal] unexpected failed resolution of 'kubernetes.URL'", "url('a').host", "........^"],
        ),
        ("ip('::1').host", &["1:10: type 'net.IP' does not support field selection", "ip('::1').host", ".........^"]),
        (
            "jsonpatch.escapeKey('a')",
            &[
                "1:1: undeclared reference to 'jsonpatch' (in container '')",
                "jsonpatch.escapeKey('a')",
                "^\nERROR: <input>:1:20: undeclared reference to 'escapeKey' (in container '')",
                "jsonpatch.escapeKey('a')",
                "...................^",
            ],
        ),
        (
            "math.greatest(1, 2)",
            &[
                "1:1: undeclared reference to 'math' (in container '')",
                "math.greatest(1, 2)",
                "^\nERROR: <input>:1:14: undeclared reference to 'greatest' (in container '')",
                "math.greatest(1, 2)",
                ".............^",
            ],
        ),
        ("[?1]", &["1:3: expected type 'optional_type(int)' but found 'int'", "[?1]", "..^"]),
        ("object.all(a, a, true)", &["1:15: duplicate variable name: a", "object.all(a, a, true)", "..............^"]),
        (
            "{'a': object.b, 'c': 1}",
            &["1:22: expected type 'dyn' but found 'int'", "{'a': object.b, 'c': 1}", ".....................^"],
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
fn each_environment_has_its_own() {
    let patches = Environment { patches: true, ..Environment::default() };
    let found = |source, environment: &Environment| compile(source, environment).map(|found| found.shown(false));
    for (source, expected) in [
        ("Object{spec: Object.spec{replicas: 1}}", "Object"),
        ("[JSONPatch{op: 'add', path: '/a/' + jsonpatch.escapeKey('b'), value: 1}]", "list(JSONPatch)"),
    ] {
        assert_eq!(found(source, &patches).as_deref(), Ok(expected), "{source}");
    }
    let wrong = found("JSONPatch{op: 1}", &patches).unwrap_err();
    assert!(wrong.contains("expected type of field 'op' is 'string' but provided type is 'int'"), "{wrong}");
    let wrong = found("JSONPatch{of: 1}", &patches).unwrap_err();
    assert!(wrong.contains("undefined field 'of'"), "{wrong}");
    let wrong = found("cel.bind(a, 1, a)", &patches).unwrap_err();
    assert!(wrong.contains("undeclared reference to 'bind'"), "{wrong}");
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

/// Costs as cel-go's estimator gives them for the same declarations.
#[test]
fn what_expressions_cost_at_most() {
    let text = Decl::new(Type::String, 100, 2);
    let fields = std::collections::BTreeMap::from([
        ("name".to_owned(), text.clone()),
        ("list".to_owned(), Decl::list(text.clone(), 10)),
        ("numbers".to_owned(), Decl::list(Decl::new(Type::Int, 0, 1), 10)),
        ("map".to_owned(), Decl::map(0, text.clone(), 10)),
    ]);
    let types: Vec<_> = fields.iter().map(|(name, field)| (name.as_str(), field.of.clone())).collect();
    let of = Type::object("self", &types);
    let environment = Environment { variables: vec![("self", of.clone())], ..Environment::default() };
    let root = Decl { below: Below::Fields(fields), ..Decl::new(of, 0, 2) };
    let sizes = Sizes { root: &root, variable: None };
    let cases = [
        ("true", 0),
        ("[]", 10),
        ("{}", 30),
        ("self.name", 2),
        ("has(self.name)", 1),
        ("self.name == 'abc'", 3),
        // All of the shorter text.
        ("self.name == self.name", 14),
        ("self.name.startsWith('0123456789a')", 4),
        // (1 + 100) / 10, for each four characters of the pattern.
        ("self.name.matches('^a+')", 13),
        ("self.name.contains('a')", 12),
        ("'a' in self.list", 12),
        // 10 times the condition (2), the name of the result (1), its own (1), and the comparison.
        ("self.list.all(x, x == 'ab')", 2 + 1 + 10 * (2 + 1 + 1 + 1)),
        ("self.list.exists_one(x, x == 'ab')", 2 + 1 + 1 + 10 * (2 + 1 + 1)),
        // A list is made for each.
        ("self.list.map(x, x)", 2 + 10 + 1 + 10 * (1 + 1 + 10 + 1)),
        ("self.list.map(x, x).map(y, y)", (2 + 10 + 1 + 10 * 13) + 10 + 1 + 10 * 13),
        ("self.map.all(k, self.map[k] != '')", 2 + 1 + 10 * (2 + 1 + 1 + 2 + 1)),
        ("self.numbers.sum() > 0", 2 + 10 + 1),
        ("self.list.isSorted()", 2 + 10 * (1 + 10)),
        // The text, 1000 long with 9 gaps, then its size.
        ("self.list.join(',').size() > 0", 2 + 101 + 2),
        ("true ? self.name : self.name", 2),
        ("self.name + 'ab'", 2 + 11),
        ("dyn(self.name) == 1", 4),
        ("quantity('1').isGreaterThan(quantity('2'))", 3),
        ("sets.contains(self.list, ['a'])", 2 + 10 + 10 + 1),
        ("self.list.distinct()", 2 + 200 + 11),
    ];
    for (source, expected) in cases {
        let found = compile_within(source, &environment, Some(sizes));
        assert_eq!(found.map(|found| found.1), Ok(expected), "{source}");
    }
}
