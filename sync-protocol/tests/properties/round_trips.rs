use std::fmt::Debug;

use livestore_sync_protocol::rpc::Transport;
use livestore_sync_protocol::target::{self, Target};
use livestore_sync_protocol::{Args, rpc, v03};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::messages::{next_server, rpc_client, v03_client, v03_server, v04_server};
use crate::values::{json, raw, text};

/// Compares values whose types have no `PartialEq`: raw JSON has none.
fn shown<T: Debug>(value: &T) -> String {
    format!("{value:?}")
}

proptest! {
    #[test]
    fn args(json in json()) {
        let args = Args::from_json(json.clone()).unwrap();
        prop_assert_eq!(args.as_json(), &json);
        prop_assert_eq!(serde_json::to_string(&args).unwrap(), json);
    }

    #[test]
    fn v03_client_messages(message in v03_client()) {
        prop_assert_eq!(v03::ClientMessage::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn v03_server_messages(message in v03_server()) {
        prop_assert_eq!(v03::ServerMessage::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn rpc_client_messages(message in rpc_client()) {
        let read = rpc::ClientMessage::decode(&message.encode());
        prop_assert_eq!(shown(&read), shown(&[Ok::<_, rpc::DecodeError>(message)]));
    }

    #[test]
    fn rpc_server_messages(message in prop_oneof![v04_server(), next_server()]) {
        let read = rpc::ServerMessage::decode(&message.encode()).unwrap();
        prop_assert_eq!(shown(&read), shown(&[message]));
    }

    #[test]
    fn arrays_of_messages(client in vec(rpc_client(), 0..4), server in vec(v04_server(), 0..4)) {
        let array = |frames: Vec<String>| format!(" [{}]", frames.join(" , "));
        let frame = array(client.iter().map(rpc::ClientMessage::encode).collect());
        let read: Vec<_> = rpc::ClientMessage::decode(&frame).into_iter().map(Result::unwrap).collect();
        prop_assert_eq!(shown(&read), shown(&client));
        let body = array(server.iter().map(rpc::ServerMessage::encode).collect());
        prop_assert_eq!(shown(&rpc::ServerMessage::decode(&body).unwrap()), shown(&server));
    }

    #[test]
    fn targets(store_id in text(), payload in option::of(raw()), way in 0..3) {
        let way = [None, Some(Transport::Ws), Some(Transport::Http)][way as usize];
        let target = Target { store_id, payload };
        let query = target.to_query(way);
        prop_assert_eq!(shown(&Target::from_query(&query).unwrap()), shown(&target));
        prop_assert_eq!(target::transport(&query), Ok(way));
    }
}
