//! Strategies for the parts of messages.

use livestore_sync_protocol::{Args, Cursor, Event, PageInfo, PullResponse, PulledEvent, RequestId, SeqNum};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::value::RawValue;

/// Any text, with the characters that JSON treats specially more often than by chance.
pub(crate) fn text() -> impl Strategy<Value = String> {
    let special = prop::sample::select(vec!['"', '\\', '/', '\n', '\0', '\u{7f}', '\u{2028}', '%', '&', '🚀']);
    vec(prop_oneof![special, any::<char>()], 0..12).prop_map(String::from_iter)
}

fn json_string() -> impl Strategy<Value = String> {
    // Lone surrogates are valid JSON that no Rust string can hold.
    let pieces = prop::sample::select(vec![
        r"\ud800",
        r"\udfff",
        r"\ud83d\ude80",
        r"\u0041",
        r"\u0000",
        r"\/",
        r#"\""#,
        r"\\",
        r"\n",
        "a",
        " ",
        "ü",
        "🚀",
        "\u{2028}",
        "\u{7f}",
    ]);
    vec(pieces, 0..6).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

/// JSON texts, spelled in ways that no serializer would choose.
pub(crate) fn json() -> impl Strategy<Value = String> {
    let words = [
        "null",
        "true",
        "false",
        "0",
        "-0",
        "-0.0",
        "1.0",
        "1e400",
        "-1E+5",
        "12345678901234567890",
        "0.1e-999",
        "9007199254740993",
        "1.10",
    ];
    let leaf = prop_oneof![
        prop::sample::select(words.map(str::to_owned).to_vec()),
        any::<f64>().prop_filter_map("JSON has finite numbers", |n| n.is_finite().then(|| format!("{n:e}"))),
        json_string(),
    ];
    let space = || prop::sample::select(vec!["", "", " ", "\n\t", "\r\n"]);
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let member = (space(), json_string(), inner.clone());
        prop_oneof![
            (space(), vec((inner, space()), 0..4)).prop_map(|(open, items)| {
                let items: Vec<_> = items.into_iter().map(|(item, space)| item + space).collect();
                format!("[{open}{}]", items.join(","))
            }),
            (space(), vec(member, 0..4)).prop_map(|(open, members)| {
                let members: Vec<_> =
                    members.into_iter().map(|(space, name, value)| format!("{name}{space}:{space}{value}")).collect();
                format!("{{{open}{}}}", members.join(","))
            }),
        ]
    })
}

/// JSON that is not `null`, which reads back as absent.
pub(crate) fn raw() -> impl Strategy<Value = Box<RawValue>> {
    json().prop_filter_map("null is absence", |json| (json != "null").then(|| RawValue::from_string(json).unwrap()))
}

pub(crate) fn seq_num() -> impl Strategy<Value = SeqNum> {
    let max = SeqNum::MAX.get();
    prop_oneof![0..300_i64, -max..=max, Just(max), Just(-max)].prop_map(|number| SeqNum::new(number).unwrap())
}

pub(crate) fn event() -> impl Strategy<Value = Event> {
    (text(), json(), seq_num(), seq_num(), text(), text()).prop_map(
        |(name, args, seq_num, parent_seq_num, client_id, session_id)| Event {
            name,
            args: Args::from_json(args).unwrap(),
            seq_num,
            parent_seq_num,
            client_id,
            session_id,
        },
    )
}

pub(crate) fn events() -> impl Strategy<Value = Vec<Event>> {
    vec(event(), 0..4)
}

pub(crate) fn pulled() -> impl Strategy<Value = Vec<PulledEvent>> {
    let pulled = (event(), option::of(text())).prop_map(|(event, created_at)| PulledEvent { event, created_at });
    vec(pulled, 0..4)
}

pub(crate) fn page_info() -> impl Strategy<Value = PageInfo> {
    prop_oneof![
        Just(PageInfo::NoMore),
        any::<u64>().prop_map(|remaining| PageInfo::MoreKnown { remaining }),
        Just(PageInfo::MoreUnknown),
    ]
}

pub(crate) fn pull_response() -> impl Strategy<Value = PullResponse> {
    (pulled(), page_info(), text()).prop_map(|(batch, page_info, backend_id)| PullResponse {
        batch,
        page_info,
        backend_id,
    })
}

/// A cursor as RPC clients send it.
pub(crate) fn cursor() -> impl Strategy<Value = Option<Cursor>> {
    option::of((text(), seq_num()).prop_map(|(id, seq_num)| Cursor { backend_id: Some(id), seq_num }))
}

/// A request id of 0.4.
pub(crate) fn text_id() -> impl Strategy<Value = RequestId> {
    text().prop_map(RequestId::Text)
}

/// A request id of next.
pub(crate) fn number_id() -> impl Strategy<Value = RequestId> {
    seq_num().prop_map(|number| RequestId::Number(number.get()))
}
