use livestore_sync_protocol::limits::{CHUNK_BYTES_GOOD, CHUNK_ENVELOPE_BYTES_MAX, CHUNK_EVENTS_MAX};
use livestore_sync_protocol::v03::{self, Context, PullRes};
use livestore_sync_protocol::{
    Args, Chunk, ChunkBuilder, Event, EventRow, ItemFormat, PageInfo, PullResponse, PulledEvent, RequestId, SeqNum, rpc,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::values::{event, page_info, text, text_id};

const CREATED_AT: &str = "2026-11-21T00:14:31.259Z";

/// Small events, and some whose arguments are near the sizes at which chunks are cut.
fn rows() -> impl Strategy<Value = Vec<Event>> {
    let near = |bytes: usize| (bytes - 700..bytes + 100).prop_map(|bytes| format!("\"{}\"", "x".repeat(bytes)));
    let large = (event(), prop_oneof![near(CHUNK_BYTES_GOOD / 3), near(CHUNK_BYTES_GOOD / 2), near(CHUNK_BYTES_GOOD)])
        .prop_map(|(event, args)| Event { args: Args::from_json(args).unwrap(), ..event });
    let some_large = vec(prop_oneof![2 => event(), 1 => large], 0..6);
    // Many events need few shapes: they are cut by count.
    let many = (vec(event(), 1..4), 0..350_usize)
        .prop_map(|(events, count)| events.into_iter().cycle().take(count).collect::<Vec<_>>());
    prop_oneof![some_large, many].prop_map(|mut events| {
        for (event, seq_num) in events.iter_mut().zip(1..) {
            event.seq_num = SeqNum::new(seq_num).unwrap();
        }
        events
    })
}

fn build(events: &[Event], format: ItemFormat) -> Vec<Chunk> {
    let mut builder = ChunkBuilder::new(format);
    events.iter().for_each(|event| builder.push(&EventRow::new(event, CREATED_AT)));
    builder.finish()
}

/// The pull response in a chunk's frame.
fn response(frame: &str) -> &str {
    frame.split_once(r#""values":["#).unwrap().1.strip_suffix("]}").unwrap()
}

fn batch(events: &[Event]) -> Vec<PulledEvent> {
    let created_at = || Some(CREATED_AT.to_owned());
    events.iter().map(|event| PulledEvent { event: event.clone(), created_at: created_at() }).collect()
}

/// The slices of `events` that the chunks say they hold.
fn parts<'a>(events: &'a [Event], chunks: &'a [Chunk]) -> impl Iterator<Item = (&'a Chunk, &'a [Event])> {
    let mut rest = events;
    chunks.iter().map(move |chunk| {
        let (part, after) = rest.split_at(chunk.events);
        rest = after;
        (chunk, part)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn chunks_keep_to_the_limits(events in rows()) {
        let chunks = build(&events, ItemFormat::Rpc);
        prop_assert_eq!(chunks.iter().map(|chunk| chunk.events).sum::<usize>(), events.len());
        let rendered = |event: &Event| {
            let mut item = String::new();
            EventRow::new(event, CREATED_AT).render(ItemFormat::Rpc, &mut item);
            item
        };
        for (chunk, part) in parts(&events, &chunks) {
            prop_assert!((1..=CHUNK_EVENTS_MAX).contains(&chunk.events));
            prop_assert_eq!((chunk.first, chunk.last), (part[0].seq_num, part[part.len() - 1].seq_num));
            prop_assert!(*chunk.items == part.iter().map(rendered).collect::<Vec<_>>().join(","));
            let longest = PageInfo::MoreKnown { remaining: u64::MAX };
            let frame = rpc::encode_chunk(&RequestId::Number(7), Some(chunk), longest, &"x".repeat(21));
            let bytes = response(&frame).len();
            prop_assert!(chunk.events == 1 || bytes <= CHUNK_BYTES_GOOD, "{} events in {bytes} bytes", chunk.events);
        }
        for (chunk, next) in chunks.iter().zip(chunks.iter().skip(1)) {
            let first = &events[usize::try_from(next.first.get()).unwrap() - 1];
            let with_next = chunk.items.len() + 1 + rendered(first).len() + CHUNK_ENVELOPE_BYTES_MAX;
            prop_assert!(chunk.events == CHUNK_EVENTS_MAX || with_next > CHUNK_BYTES_GOOD, "cut too early");
        }
    }

    #[test]
    fn wrapped_chunks_read_back(
        events in rows(),
        id in prop_oneof![text_id(), any::<i32>().prop_map(|id| RequestId::Number(id.into()))],
        page_info in page_info(),
        backend_id in text(),
        request_id in text(),
        remaining in any::<u64>(),
    ) {
        for (chunk, part) in parts(&events, &build(&events, ItemFormat::Rpc)) {
            let frame = rpc::encode_chunk(&id, Some(chunk), page_info, &backend_id);
            let response = PullResponse { batch: batch(part), page_info, backend_id: backend_id.clone() };
            let expected = rpc::ServerMessage::Chunk { request_id: id.clone(), values: vec![response] };
            prop_assert!(frame == expected.encode());
            let [rpc::ServerMessage::Chunk { request_id, values }] = &rpc::ServerMessage::decode(&frame).unwrap()[..]
            else {
                panic!("not a chunk");
            };
            prop_assert_eq!(request_id, &id);
            prop_assert!(values[0].batch == batch(part));
        }
        for (chunk, part) in parts(&events, &build(&events, ItemFormat::V03)) {
            for context in [Context::Pull, Context::Push] {
                let frame = v03::encode_pull_res(Some(chunk), context, &request_id, remaining);
                let request_id = v03::PullResId { context, request_id: request_id.clone() };
                let expected = v03::ServerMessage::Pull(PullRes { batch: batch(part), request_id, remaining });
                prop_assert!(frame == expected.encode());
                prop_assert!(v03::ServerMessage::decode(&frame) == Ok(expected));
            }
        }
    }

    #[test]
    fn empty_batches_read_back(id in text(), remaining in any::<u64>(), page_info in page_info()) {
        let frame = v03::encode_pull_res(None, Context::Pull, &id, remaining);
        let request_id = v03::PullResId { context: Context::Pull, request_id: id.clone() };
        let expected = v03::ServerMessage::Pull(PullRes { batch: vec![], request_id, remaining });
        prop_assert_eq!(v03::ServerMessage::decode(&frame), Ok(expected));
        let request_id = RequestId::Text(id.clone());
        let values = vec![PullResponse { batch: vec![], page_info, backend_id: id.clone() }];
        let frame = rpc::encode_chunk(&request_id, None, page_info, &id);
        prop_assert_eq!(frame, rpc::ServerMessage::Chunk { request_id, values }.encode());
    }
}
