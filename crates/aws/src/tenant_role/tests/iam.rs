//! As much of IAM as decides about a session policy. Source: AWS IAM User Guide, "Policy evaluation
//! logic", "IAM JSON policy elements: Condition operators" and "Variables and tags".

use serde_json::Value;

/// A request as IAM sees it.
pub(super) struct Request<'a> {
    pub(super) action: &'a str,
    pub(super) resource: String,
    /// The context keys that the request has.
    pub(super) context: Vec<(&'static str, String)>,
}

/// Whether the policy allows it. Refuses, with a panic, policies that it does not fully understand.
pub(super) fn allows(policy: &str, request: &Request<'_>) -> bool {
    let policy: Value = serde_json::from_str(policy).unwrap();
    // The older version takes ${*} for three characters.
    assert_eq!(policy["Version"], "2012-10-17");
    policy["Statement"].as_array().unwrap().iter().any(|statement| {
        for name in statement.as_object().unwrap().keys() {
            assert!(["Effect", "Action", "Resource", "Condition"].contains(&name.as_str()), "{name}");
        }
        assert_eq!(statement["Effect"], "Allow");
        texts(&statement["Action"]).any(|action| matches(action, request.action))
            && texts(&statement["Resource"]).any(|resource| matches(resource, &request.resource))
            && statement.get("Condition").is_none_or(|condition| holds(condition, request))
    })
}

/// A key that the request does not have fails the condition.
fn holds(condition: &Value, request: &Request<'_>) -> bool {
    condition.as_object().unwrap().iter().all(|(operator, keys)| {
        assert_eq!(operator, "StringLike");
        keys.as_object().unwrap().iter().all(|(key, patterns)| {
            let value = request.context.iter().find(|(name, _)| name == key).map(|(_, value)| value);
            value.is_some_and(|value| texts(patterns).any(|pattern| matches(pattern, value)))
        })
    })
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    let many = value.as_array().map(Vec::as_slice).unwrap_or_default();
    many.iter().chain(value.is_string().then_some(value)).map(|text| text.as_str().unwrap())
}

#[derive(Clone, Copy, PartialEq)]
enum Token {
    Any,
    One,
    Char(char),
}

fn tokens(pattern: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        let (token, len) = match first {
            '*' => (Token::Any, 1),
            '?' => (Token::One, 1),
            '$' if rest.starts_with("${") => {
                let name = rest[2..].split('}').next().unwrap();
                assert!(["*", "?", "$"].contains(&name), "a variable: {rest}");
                (Token::Char(name.chars().next().unwrap()), 4)
            }
            _ => (Token::Char(first), first.len_utf8()),
        };
        tokens.push(token);
        rest = &rest[len..];
    }
    tokens
}

/// Whether `text` is what the pattern stands for.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let tokens = tokens(pattern);
    // The places in the pattern that the text so far can lead to.
    let reach = |mut at: usize, places: &mut Vec<bool>| {
        places[at] = true;
        while tokens.get(at) == Some(&Token::Any) {
            at += 1;
            places[at] = true;
        }
    };
    let mut places = vec![false; tokens.len() + 1];
    reach(0, &mut places);
    for char in text.chars() {
        let mut next = vec![false; tokens.len() + 1];
        for at in (0..tokens.len()).filter(|at| places[*at]) {
            match tokens[at] {
                Token::Any => reach(at, &mut next),
                Token::One => reach(at + 1, &mut next),
                Token::Char(wanted) if wanted == char => reach(at + 1, &mut next),
                Token::Char(_) => {}
            }
        }
        places = next;
    }
    places[tokens.len()]
}

#[test]
fn patterns_match_as_iam_has_it() {
    for (pattern, text, expected) in [
        ("a*", "a", true),
        ("a*", "abc", true),
        ("a*c", "abbc", true),
        ("a*c", "abbd", false),
        ("a?c", "abc", true),
        ("a?c", "ac", false),
        ("*", "", true),
        ("a/*", "a/b/c", true),
        ("a${*}c", "a*c", true),
        ("a${*}c", "abc", false),
        ("${?}${$}", "?$", true),
        ("${?}", "x", false),
        ("a$b", "a$b", true),
        ("", "", true),
        ("", "a", false),
    ] {
        assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
    }
}
