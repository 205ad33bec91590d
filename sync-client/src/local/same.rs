//! Pure: is this event the one that we pushed?

use livestore_sync_protocol::Event;
use serde_json::Value;

/// Whether an event of the log is this pending event. Its number plays no part: a session's events enter
/// the log in the order of their commits, each once, and a session lasts no longer than the file is open. So
/// what the log has of this session, and the store does not have as confirmed, is pending, or was dropped
/// when it was on its way. In the latter case those after it are in the log with other numbers
/// than they have here.
pub(crate) fn is_same(pending: &Event, pulled: &Event) -> bool {
    pending.client_id == pulled.client_id
        && pending.session_id == pulled.session_id
        && pending.name == pulled.name
        && are_same_args(pending.args.as_json(), pulled.args.as_json())
}

/// Backends in JavaScript parse args and spell them anew: `1.0` becomes `1`, white space goes. Texts
/// that we cannot parse (lone surrogates, numbers out of range) count as the same: to take one event
/// for two would put it into the log twice.
fn are_same_args(a: &str, b: &str) -> bool {
    a == b
        || match (serde_json::from_str(a), serde_json::from_str(b)) {
            (Ok(a), Ok(b)) => is_same_value(&a, &b),
            _ => true,
        }
}

fn is_same_value(a: &Value, b: &Value) -> bool {
    match (a, b) {
        // JavaScript has one kind of number.
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same_value(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| is_same_value(a, b)))
        }
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::are_same_args;

    #[test]
    fn args_are_compared_as_javascript_sees_them() {
        for (a, b, same) in [
            ("null", "null", true),
            (r#"{"a":1.0}"#, r#"{"a":1}"#, true),
            (r#"{ "b": 1, "a": [2] }"#, r#"{"a":[2.0],"b":1}"#, true),
            ("12345678901234567890", "12345678901234567000", true),
            (r#""\u0041""#, r#""A""#, true),
            ("-0.0", "0", true),
            // `JSON.stringify(Infinity)`
            ("1e400", "null", true),
            (r#"{"a":1}"#, r#"{"a":2}"#, false),
            (r#"{"a":1}"#, r#"{"b":1}"#, false),
            (r#"{"a":1}"#, r#"{"a":1,"b":1}"#, false),
            ("[1,2]", "[1]", false),
            ("1", r#""1""#, false),
            ("null", "false", false),
        ] {
            assert_eq!(are_same_args(a, b), same, "{a} {b}");
            assert_eq!(are_same_args(b, a), same, "{b} {a}");
        }
    }
}
