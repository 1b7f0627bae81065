//! Tables of selectors and what they match.

use proptest::prelude::*;

use super::*;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn matches() {
    let web = labels(&[("app", "web"), ("tier", "1"), ("empty", "")]);
    let yes = [
        "",
        "app",
        "app=web",
        "app==web",
        "app in (web,db)",
        "app notin (db)",
        "!missing",
        "app!=db",
        "missing!=x",
        "tier>0",
        "tier<2",
        "app=web,tier=1",
        "empty=",
        "empty",
        "empty in (,x)",
        "in!=x",
        "missing notin (a)",
        " app = web ",
    ];
    for text in yes {
        assert!(LabelSelector::parse(text).unwrap().matches(&web), "{text}");
    }
    for text in ["missing", "app=db", "!app", "app notin (web)", "tier>1", "app>1", "app=", "app=web,tier=2"] {
        assert!(!LabelSelector::parse(text).unwrap().matches(&web), "{text}");
    }
}

#[test]
fn errors() {
    let cases = [
        ("app=web=x", "found '=', expected: ',' or 'end of string'"),
        ("app,", "found '', expected: identifier after ','"),
        ("=web", "found '=', expected: !, identifier, or 'end of string'"),
        ("app in web", "unable to parse requirement: found 'web' expected: '('"),
        ("app web", "unable to parse requirement: found 'web', expected: in, notin, =, ==, !=, gt, lt"),
        ("!a=b", "found '=', expected: ',' or 'end of string'"),
        ("app in (a", "unable to parse requirement: found '', expected: ',' or ')'"),
        (
            "app>x",
            "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer",
        ),
        (
            "app in ()",
            "unable to parse requirement: values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty",
        ),
    ];
    for (text, error) in cases {
        assert_eq!(LabelSelector::parse(text).unwrap_err().to_string(), error, "{text}");
    }
    let error = LabelSelector::parse("app=a_").unwrap_err().to_string();
    assert!(
        error.starts_with("unable to parse requirement: values[0][app]: Invalid value: \"a_\": a valid label must be"),
        "{error}"
    );
    let error = LabelSelector::parse("a_").unwrap_err().to_string();
    assert!(error.starts_with("unable to parse requirement: <nil>: Invalid value: \"a_\": name part must"), "{error}");
}

#[test]
fn from_the_api_type() {
    let selector = metav1::LabelSelector {
        match_labels: Some(labels(&[("app", "web")])),
        match_expressions: Some(vec![metav1::LabelSelectorRequirement {
            key: "a".to_owned(),
            operator: "NotIn".to_owned(),
            values: Some(vec!["y".to_owned(), "x".to_owned()]),
        }]),
    };
    let selector = LabelSelector::from_api(Some(&selector)).unwrap();
    assert_eq!(selector.to_string(), "a notin (x,y),app=web");
    assert!(selector.matches(&labels(&[("app", "web")])));
    assert!(!LabelSelector::from_api(None).unwrap().matches(&labels(&[])));
    assert!(LabelSelector::from_api(Some(&metav1::LabelSelector::default())).unwrap().matches(&labels(&[])));
}

#[test]
fn fields() {
    let selector = FieldSelector::parse(r"metadata.name=a\,b,status.phase!=Running,,x==y").unwrap();
    assert_eq!(selector.exact("metadata.name"), Some("a,b"));
    assert_eq!(selector.to_string(), r"metadata.name=a\,b,status.phase!=Running,x=y");
    let value = |field: &str| match field {
        "metadata.name" => "a,b",
        "x" => "y",
        _ => "",
    };
    assert!(selector.matches(value));
    let error = FieldSelector::parse("a").unwrap_err().to_string();
    assert_eq!(error, "invalid selector: 'a'; can't understand 'a'");
    assert!(FieldSelector::parse(r"a=\x").is_err());
}

proptest! {
    #[test]
    fn label_selectors_never_panic_and_print_what_they_read(text in "[a-z=!(),<> \\\\.0-9]{0,24}") {
        if let Ok(selector) = LabelSelector::parse(&text) {
            prop_assert_eq!(LabelSelector::parse(&selector.to_string()).unwrap().to_string(), selector.to_string());
        }
        let _ = FieldSelector::parse(&text);
    }
}
