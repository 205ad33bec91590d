//! A client and the published servers, which the interop suite starts (`tests/interop/test/reference.test.mjs`). Their
//! addresses (`host:port`) are in `REFERENCE_V04` and `REFERENCE_V03`.

use std::net::SocketAddr;

use livestore_sync_client::protocol::Cursor;
use livestore_sync_client::{Builder, Protocol, PushError, SyncClient};
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
