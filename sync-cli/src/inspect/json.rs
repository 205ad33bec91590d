//! Events as lines of JSON.

use serde::Serialize;
use serde_json::value::RawValue;

use super::rows::Row;
use super::text;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    seq_num: i64,
    parent_seq_num: i64,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<Args<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    args_error: Option<String>,
    created_at: &'a str,
    client_id: &'a str,
    session_id: &'a str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Args<'a> {
    Json(&'a RawValue),
    /// No JSON, so it is given as a string.
    Text(&'a str),
}

/// What is wrong with an event's args.
pub(super) fn args_error(row: &Row) -> Option<String> {
    let args = row.args.as_ref()?;
    if row.lossy.contains(&"args") {
        return Some("not UTF-8".into());
    }
    serde_json::from_str::<&RawValue>(args).err().map(|error| error.to_string())
}

/// The event on one line; its args are the text that is stored.
pub(super) fn event(row: &Row) -> String {
    let args_error = args_error(row);
    let one_line = row.args.as_deref().map(text::one_line);
    let args = match (row.args.as_deref(), one_line.as_deref(), &args_error) {
        (_, Some(json), None) => serde_json::from_str(json).ok().map(Args::Json),
        (args, ..) => args.map(Args::Text),
    };
    to_line(&Event {
        seq_num: row.seq_num,
        parent_seq_num: row.parent_seq_num,
        name: &row.name,
        args,
        args_error,
        created_at: &row.created_at,
        client_id: &row.client_id,
        session_id: &row.session_id,
    })
}

/// Anything of ours on one line.
pub(super) fn to_line(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("there are only strings for keys")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(args: Option<&str>) -> String {
        event(&Row {
            seq_num: 2,
            parent_seq_num: 1,
            name: "a\n\"b\"".into(),
            args: args.map(Into::into),
            created_at: "2026-11-21T00:14:31.259Z".into(),
            client_id: "c".into(),
            session_id: "s".into(),
            lossy: Vec::new(),
        })
    }

    fn expected(args: &str) -> String {
        format!(
            r#"{{"seqNum":2,"parentSeqNum":1,"name":"a\n\"b\"",{args}"createdAt":"2026-11-21T00:14:31.259Z","clientId":"c","sessionId":"s"}}"#
        )
    }

    #[test]
    fn args_are_what_is_stored() {
        for args in ["null", "[]", r#"{"a": 1.50, "a":1e400,"b":"\u0041\ud800"}"#, "\"🚀\u{9b}\""] {
            assert_eq!(line(Some(args)), expected(&format!(r#""args":{args},"#)));
        }
        assert_eq!(line(None), expected(""));
        let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
        assert_eq!(line(Some(&deep)), expected(&format!(r#""args":{deep},"#)));
    }

    #[test]
    fn args_on_several_lines_become_one() {
        assert_eq!(line(Some("{\n\"a\":\r\n1}")), expected(r#""args":{ "a":  1},"#));
    }

    #[test]
    fn what_is_no_json_is_a_string_and_flagged() {
        assert_eq!(
            line(Some("{\"a\":\n")),
            expected(r#""args":"{\"a\":\n","argsError":"EOF while parsing a value at line 2 column 0","#)
        );
        assert_eq!(
            line(Some("")),
            expected(r#""args":"","argsError":"EOF while parsing a value at line 1 column 0","#)
        );
        let row = Row { args: Some("\"\u{fffd}\"".into()), lossy: vec!["args"], ..Row::default() };
        assert!(event(&row).contains(r#""args":"\"�\"","argsError":"not UTF-8""#));
    }
}
