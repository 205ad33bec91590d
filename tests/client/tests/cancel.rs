//! What is dropped leaves nothing behind. The server is the test itself, frame by frame.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use livestore_sync_client::SyncClient;
use livestore_sync_client::protocol::rpc::{ClientMessage, Rpc, ServerMessage};
use livestore_sync_client_tests::{events, numbers, within};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

struct Server {
    listener: TcpListener,
}

struct Peer(WebSocketStream<TcpStream>);

impl Server {
    async fn start() -> (Self, SyncClient) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("works");
        let url = format!("ws://{}", listener.local_addr().expect("works"));
        let client =
            SyncClient::builder(url, "notes").timing(livestore_sync_client_tests::timing()).start().expect("works");
        (Self { listener }, client)
    }

    async fn accept(&self) -> Peer {
        let (stream, _) = within(self.listener.accept()).await.expect("works");
        Peer(within(tokio_tungstenite::accept_async(stream)).await.expect("works"))
    }
}

impl Peer {
    /// The next message; `None` when the client closes the connection.
    async fn next(&mut self) -> Option<ClientMessage> {
        match within(self.0.next()).await?.expect("works") {
            Message::Text(text) => Some(ClientMessage::decode(&text).remove(0).expect("works")),
            Message::Close(_) => None,
            other => panic!("{other:?}"),
        }
    }

    async fn send(&mut self, message: ServerMessage) {
        self.0.send(Message::text(message.encode())).await.expect("works");
    }
}

#[tokio::test]
async fn a_dropped_pull_is_interrupted() {
    for live in [false, true] {
        let (server, client) = Server::start().await;
        let pull: Box<dyn Send> = if live { Box::new(client.live_pull(None)) } else { Box::new(client.pull(None)) };
        let mut peer = server.accept().await;
        let Some(ClientMessage::Request(request)) = peer.next().await else { panic!("a pull") };
        drop(pull);
        let Some(ClientMessage::Interrupt { request_id }) = peer.next().await else { panic!("an interrupt") };
        assert_eq!(request_id, request.id);
        // Nothing of it is sent again on the next connection.
        drop(peer);
        let mut peer = server.accept().await;
        drop(client);
        assert!(peer.next().await.is_none());
    }
}

#[tokio::test]
async fn what_is_dropped_before_there_is_a_connection_is_never_sent() {
    let (server, client) = Server::start().await;
    drop(client.live_pull(None));
    drop(client.pull(None));
    let moment = Duration::from_millis(1);
    tokio::time::timeout(moment, client.push(events(1..=1))).await.unwrap_err();
    tokio::time::timeout(moment, client.ping()).await.unwrap_err();
    let mut peer = server.accept().await;
    drop(client);
    assert!(peer.next().await.is_none());
}

#[tokio::test]
async fn the_answer_to_a_dropped_push_is_nobodys() {
    let (server, client) = Server::start().await;
    let mut peer = {
        let push = client.push(events(1..=1));
        tokio::pin!(push);
        let peer = tokio::select! {
            _ = &mut push => panic!("nobody answered"),
            peer = server.accept() => peer,
        };
        tokio::time::timeout(Duration::from_millis(100), push).await.unwrap_err();
        peer
    };
    let Some(ClientMessage::Request(dropped)) = peer.next().await else { panic!("a push") };
    let push = tokio::spawn({
        let client = client.clone();
        async move { client.push(events(1..=1)).await }
    });
    let Some(ClientMessage::Request(again)) = peer.next().await else { panic!("a push") };
    assert!(matches!(again.rpc, Rpc::Push(..)) && again.id != dropped.id);
    peer.send(ServerMessage::push_success(dropped.id)).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!push.is_finished());
    peer.send(ServerMessage::push_success(again.id)).await;
    within(push).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_connection_is_closed_with_the_last_handle() {
    let (server, client) = Server::start().await;
    let live = client.live_pull(None);
    let mut peer = server.accept().await;
    drop(client);
    assert!(matches!(peer.next().await, Some(ClientMessage::Request(_))), "the stream keeps it open");
    drop(live);
    assert!(matches!(peer.next().await, Some(ClientMessage::Interrupt { .. })));
    assert!(peer.next().await.is_none());
}

#[tokio::test]
async fn closing_ends_what_others_wait_for() {
    let (server, client) = Server::start().await;
    let mut live = client.live_pull(None);
    let other = client.clone();
    let _peer = server.accept().await;
    let (ping, ()) = tokio::join!(other.ping(), client.close());
    assert!(ping.is_err());
    assert!(within(live.next()).await.unwrap().is_err());
    assert!(within(live.next()).await.is_none());
    assert!(within(other.push(events(1..=1))).await.is_err());
}

#[tokio::test]
async fn a_page_is_not_lost_with_the_future_that_waited_for_it() {
    let server = livestore_sync_client_tests::start().await;
    let client = server.client();
    let mut live = client.live_pull(None);
    let pushing = tokio::spawn({
        let client = server.client();
        async move {
            for n in 1..=200 {
                client.push(events(n..=n)).await.unwrap();
            }
        }
    });
    let mut all = Vec::new();
    let take = async {
        while all.len() < 200 {
            // Sometimes it is dropped before the page is there.
            let wait = Duration::from_micros(all.len() as u64 * 7 % 500);
            if let Ok(page) = tokio::time::timeout(wait, live.next()).await {
                all.extend(numbers(&page.unwrap().unwrap().events));
            }
        }
    };
    within(take).await;
    assert_eq!(all, (1..=200).collect::<Vec<_>>());
    pushing.await.unwrap();
}
