//! A client and the published servers, which the interop suite starts (`tests/interop/test/reference.test.mjs`). Their
//! addresses (`host:port`) are in `REFERENCE_V04` and `REFERENCE_V03`.

use std::net::SocketAddr;

use livestore_sync_client::protocol::{Args, Cursor};
use livestore_sync_client::{Builder, NewEvent, Protocol, PushError, SyncClient};
use livestore_sync_client_tests::proxy::{Proxy, Weather};
use livestore_sync_client_tests::{at, events, numbers, offline, within};

/// A server, how to speak to it, and a store that nobody else uses.
struct Way {
    address: SocketAddr,
    protocol: Protocol,
    store_id: String,
}

impl Way {
    fn builder(&self, address: SocketAddr) -> Builder {
        SyncClient::builder(format!("http://{address}"), &self.store_id)
            .timing(livestore_sync_client_tests::timing())
            .protocol(self.protocol)
    }

    fn client(&self) -> SyncClient {
        self.builder(self.address).start().expect("a client")
    }
}

fn ways(test: &str) -> Vec<Way> {
    let mut ways = Vec::new();
    for (variable, protocol) in
        [("REFERENCE_V04", Protocol::V04Ws), ("REFERENCE_V04", Protocol::V04Http), ("REFERENCE_V03", Protocol::V03)]
    {
        let address = std::env::var(variable).unwrap_or_else(|_| panic!("{variable} tells the server's address"));
        let store_id = format!("{test}-{protocol:?}-{:08x}", getrandom::u32().expect("random numbers"));
        ways.push(Way { address: address.parse().expect("an address"), protocol, store_id });
    }
    ways
}

#[tokio::test]
#[ignore = "needs the reference"]
async fn what_is_pushed_is_pulled_and_followed() {
    for way in ways("pulled") {
        let (client, other) = (way.client(), way.client());
        within(client.ping()).await.expect("a pong");
        let mut live = other.live_pull(None);
        within(live.next()).await.expect("a page").expect("no error");
        for n in [1, 101, 201] {
            within(client.push(events(n..=n + 99))).await.expect("is taken");
        }
        let mut all = Vec::new();
        while all.len() < 300 {
            all.extend(numbers(&within(live.next()).await.expect("a page").expect("no error").events));
        }
        assert_eq!(all, (1..=300).collect::<Vec<_>>(), "{:?}", way.protocol);
        let pulled = within(client.pull(None).events()).await.expect("the log");
        assert_eq!(pulled.into_iter().map(|pulled| pulled.event).collect::<Vec<_>>(), events(1..=300));
        let rest = within(way.client().pull(Cursor { backend_id: None, seq_num: at(250) }).events()).await;
        assert_eq!(numbers(&rest.expect("the rest")), (251..=300).collect::<Vec<_>>());

        let mut theirs = events(4..=5);
        theirs[0].name = "v1.Other".into();
        let ahead = PushError::ServerAhead { minimum_expected: at(300), provided: at(3) };
        assert_eq!(within(client.push(theirs)).await, Err(ahead), "{:?}", way.protocol);
    }
}

#[tokio::test]
#[ignore = "needs the reference"]
async fn a_lost_acknowledgement_does_not_store_twice() {
    for way in ways("lost") {
        let proxy = Proxy::start(way.address).await;
        let client = way.builder(proxy.address).start().expect("a client");
        let watcher = way.client();
        let mut live = watcher.live_pull(None);
        within(live.next()).await.expect("a page").expect("no error");
        within(client.ping()).await.expect("a pong");
        proxy.set(Weather::NoAnswers);
        let cut = async {
            while within(live.next()).await.expect("a page").expect("no error").events.is_empty() {}
            proxy.set(Weather::Down);
            offline(&client).await;
            proxy.set(Weather::Fine);
        };
        let (pushed, ()) = tokio::join!(within(client.push(events(1..=3))), cut);
        pushed.unwrap_or_else(|error| panic!("{error}: {:?}", way.protocol));
        let pulled = within(client.pull(None).events()).await.expect("the log");
        assert_eq!(numbers(&pulled), [1, 2, 3]);
    }
}

/// Arguments that JavaScript writes otherwise than they were: each backend here parses them and stores what it has
/// understood.
const RESPELLED: [(&str, &str); 5] = [
    ("1e400", "null"),
    (r#"{ "n": 1e400, "m": 1.0 }"#, r#"{"n":null,"m":1}"#),
    ("12345678901234567890", "12345678901234567000"),
    (r#""\u0041""#, r#""A""#),
    (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
];

#[tokio::test]
#[ignore = "needs the reference"]
async fn what_javascript_spells_otherwise_is_stored_once_when_the_answer_is_lost() {
    for way in ways("respelled") {
        let proxy = Proxy::start(way.address).await;
        let (client, watcher) = (way.builder(proxy.address).start().expect("a client"), way.client());
        let mut live = watcher.live_pull(None);
        within(live.next()).await.expect("a page").expect("no error");
        within(client.ping()).await.expect("a pong");
        let mut expected = Vec::new();
        for (args, stored) in RESPELLED {
            let new = NewEvent::with_args("v1.Added", Args::from_json(args.into()).expect("JSON"));
            // Once by numbers of the test's own, once by appending.
            for appended in [false, true] {
                // Answered, so that it knows where the log ends.
                let before = within(client.append([new.clone()])).await.expect("is taken")[0].seq_num;
                while within(live.next()).await.expect("a page").expect("no error").events.is_empty() {}
                let mut event = events(before.get() + 1..=before.get() + 1).remove(0);
                event.args = new.args.clone();
                proxy.set(Weather::NoAnswers);
                let cut = async {
                    while within(live.next()).await.expect("a page").expect("no error").events.is_empty() {}
                    proxy.set(Weather::Down);
                    offline(&client).await;
                    proxy.set(Weather::Fine);
                };
                let push = async {
                    if appended {
                        client.append([new.clone()]).await.map_err(|error| error.source).map(drop)
                    } else {
                        client.push(vec![event]).await
                    }
                };
                let (pushed, ()) = tokio::join!(within(push), cut);
                pushed.unwrap_or_else(|error| panic!("{error}: {args} {:?}", way.protocol));
                expected.extend([stored; 2]);
            }
        }
        let pulled = within(client.pull(None).events()).await.expect("the log");
        let args: Vec<_> = pulled.iter().map(|pulled| pulled.event.args.as_json()).collect();
        assert_eq!(args, expected, "each once, as JavaScript spells it: {:?}", way.protocol);
    }
}

/// In turn, not at once: the reference loses races that it lets happen (`UNIQUE constraint failed`).
#[tokio::test]
#[ignore = "needs the reference"]
async fn events_are_appended_after_those_of_others() {
    for way in ways("append") {
        let builder = || way.builder(way.address);
        let clients = ["a", "b", "c"].map(|id| builder().client_id(id).start().expect("a client"));
        let mut expected = Vec::new();
        for round in 0..5 {
            for client in &clients {
                let event = NewEvent::new("v1.Added", round).expect("JSON");
                // Others have pushed since this client's last one, so its guess is wrong.
                expected.extend(within(client.append([event.clone(), event])).await.expect("is taken"));
            }
        }
        let pulled = within(way.client().pull(None).events()).await.expect("the log");
        let pulled: Vec<_> = pulled.into_iter().map(|pulled| pulled.event).collect();
        assert_eq!(pulled, expected, "{:?}", way.protocol);
        assert_eq!(pulled.last().map(|event| event.seq_num), Some(at(30)));
    }
}

#[tokio::test]
#[ignore = "needs the reference"]
async fn a_backlog_is_complete_while_others_push() {
    for way in ways("race") {
        let writer = way.client();
        within(writer.push(events(1..=400))).await.expect("is taken");
        let pushing = async {
            for n in 0..20 {
                within(writer.push(events(401 + n * 5..=405 + n * 5))).await.expect("is taken");
            }
        };
        let reading = async {
            let reader = way.client();
            let mut live = reader.live_pull(None);
            let mut all = Vec::new();
            while all.len() < 500 {
                all.extend(numbers(&within(live.next()).await.expect("a page").expect("no error").events));
            }
            assert_eq!(all, (1..=500).collect::<Vec<_>>(), "{:?}", way.protocol);
        };
        tokio::join!(pushing, reading);
    }
}
