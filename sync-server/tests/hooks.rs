//! An app's hooks in the native server: what they see, what they may forbid, what they cannot break.

#![cfg(feature = "native")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use livestore_sync_server::native::Server;
use livestore_sync_server::protocol::Generation;
use livestore_sync_server::{Access, HookError, HookFns, Hooks, IDENTITY_BYTES_MAX, Identity, Limits, Transport};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

struct Running {
    address: SocketAddr,
    _data: tempfile::TempDir,
}

async fn serve(hooks: impl Hooks) -> Running {
    serve_limited(hooks, Limits::native()).await
}

async fn serve_limited(hooks: impl Hooks, limits: Limits) -> Running {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::builder(data.path()).hooks(hooks).limits(limits).build().expect("a server");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { server.serve(listener, std::future::pending()).await });
    Running { address, _data: data }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

impl Running {
    async fn open(&self, query: &str) -> Socket {
        let url = format!("ws://{}{query}", self.address);
        connect_async(&url).await.expect("an open socket").0
    }

    /// As soon as there is a place.
    async fn open_in_the_end(&self, query: &str) -> Socket {
        let url = format!("ws://{}{query}", self.address);
        let opening = async {
            loop {
                match connect_async(&url).await {
                    Ok((socket, _)) => return socket,
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), opening).await.expect("a place")
    }

    async fn post(&self, query: &str, body: &Value) -> Value {
        let mut stream = TcpStream::connect(self.address).await.expect("a connection");
        let body = body.to_string();
        let head = format!(
            "POST /?{query}&transport=http HTTP/1.0\r\nhost: x\r\nx-user: ada\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).await.expect("sends");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        serde_json::from_str(body).expect(body)
    }
}

async fn ask(socket: &mut Socket, message: Value) -> Value {
    socket.send(Message::text(message.to_string())).await.expect("sends");
    receive(socket).await
}

async fn receive(socket: &mut Socket) -> Value {
    let message = tokio::time::timeout(Duration::from_secs(10), socket.next()).await;
    let message = message.expect("an answer in time").expect("an open socket").expect("a frame");
    serde_json::from_str(message.to_text().expect("text")).expect("JSON")
}

fn push(transport: &str, id: Value, name: &str, seq: i64) -> Value {
    let event =
        json!({ "name": name, "args": {}, "seqNum": seq, "parentSeqNum": seq - 1, "clientId": "c", "sessionId": "s" });
    let payload = json!({ "storeId": "a", "batch": [event], "backendId": { "_tag": "None" } });
    json!({ "_tag": "Request", "id": id, "tag": format!("Sync{transport}Rpc.Push"), "payload": payload, "headers": [] })
}

fn pull(id: &str) -> Value {
    let payload = json!({ "storeId": "a", "live": false, "cursor": { "_tag": "None" } });
    json!({ "_tag": "Request", "id": id, "tag": "SyncWsRpc.Pull", "payload": payload, "headers": [] })
}

fn failure(answer: &Value) -> &Value {
    &answer["exit"]["cause"]["error"]["cause"]["message"]
}

const SUCCESS: &str = r#"{"_tag":"Success","value":{}}"#;

#[tokio::test]
async fn a_rejected_push_stores_nothing_and_the_store_goes_on() {
    let hooks = HookFns::new().on_push(async |push, _| match push.batch[0].name.as_str() {
        "forbidden" => Err(HookError::new("not you")),
        _ => Ok(()),
    });
    let server = serve(hooks).await;
    let mut socket = server.open("/?storeId=a&transport=ws").await;
    assert_eq!(failure(&ask(&mut socket, push("Ws", json!("1"), "forbidden", 1)).await), "not you");
    assert_eq!(ask(&mut socket, push("Ws", json!("2"), "fine", 1)).await["exit"].to_string(), SUCCESS);
    let mut old = server.open("/websocket?storeId=a").await;
    let event = json!({ "name": "forbidden", "seqNum": 2, "parentSeqNum": 1, "clientId": "c", "sessionId": "s" });
    let refused = ask(&mut old, json!({ "_tag": "WSMessage.PushReq", "requestId": "r", "batch": [event] })).await;
    assert_eq!(refused, json!({ "_tag": "WSMessage.Error", "requestId": "r", "message": "not you" }));
    assert_eq!(ask(&mut socket, pull("3")).await["values"][0]["batch"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_panicking_hook_fails_its_own_request_only() {
    let hooks = HookFns::new()
        .on_push(async |push, _| if push.batch[0].name == "boom" { panic!("a bug in the app") } else { Ok(()) })
        .on_push_res(async |push, _, _| assert_ne!(push.batch[0].name, "late", "another bug in the app"))
        .on_pull(async |_, context| {
            assert!(context.connection.header("x-no-pull").is_none());
            Ok(())
        });
    let server = serve(hooks).await;
    let mut socket = server.open("/?storeId=a&transport=ws").await;
    assert_eq!(
        failure(&ask(&mut socket, push("Ws", json!("1"), "boom", 1)).await),
        "the server failed on this request"
    );
    assert_eq!(ask(&mut socket, push("Ws", json!("2"), "late", 1)).await["exit"].to_string(), SUCCESS);
    assert_eq!(ask(&mut socket, push("Ws", json!("3"), "fine", 2)).await["exit"].to_string(), SUCCESS);
    assert_eq!(ask(&mut socket, pull("4")).await["values"][0]["batch"].as_array().map(Vec::len), Some(2));
    let answer = server.post("storeId=a", &push("Http", json!("5"), "boom", 3)).await;
    assert_eq!(failure(&answer[0]), "the server failed on this request");
    assert_eq!(server.post("storeId=a", &push("Http", json!("6"), "fine", 3)).await[0]["exit"].to_string(), SUCCESS);
}

#[tokio::test]
async fn a_hook_that_does_not_return_fails_its_own_request_only() {
    let hooks = HookFns::new()
        .validate_payload(async |connection| match &connection.payload {
            Some(_) => std::future::pending().await,
            None => Ok(()),
        })
        .on_push(async |push, _| match push.batch[0].name.as_str() {
            "hangs" => std::future::pending().await,
            _ => Ok(()),
        })
        .on_pull(async |_, context| match context.connection.transport {
            Transport::Ws => std::future::pending().await,
            _ => Ok(()),
        });
    let limits = Limits::native().with_hook_timeout(Duration::from_millis(300)).with_connections_max(1);
    let server = serve_limited(hooks, limits).await;
    let Err(Error::Http(response)) =
        connect_async(format!("ws://{}/?storeId=a&transport=ws&payload=1", server.address)).await
    else {
        panic!("it must not connect");
    };
    assert_eq!(response.status(), 503);
    let mut socket = server.open("/?storeId=a&transport=ws").await;
    let answer = ask(&mut socket, push("Ws", json!("1"), "hangs", 1)).await;
    assert_eq!(failure(&answer), "the app did not answer in time");
    assert_eq!(ask(&mut socket, push("Ws", json!("2"), "fine", 1)).await["exit"].to_string(), SUCCESS);
    socket.send(Message::text(pull("3").to_string())).await.expect("sends");
    let closed = socket.next().await.expect("a frame").expect("a closing frame");
    assert!(matches!(&closed, Message::Close(Some(frame)) if u16::from(frame.code) == 1011), "{closed:?}");
    while socket.next().await.is_some() {}
    // A client that goes away from a hook that hangs leaves its place to the next.
    let mut gone = server.open_in_the_end("/?storeId=a&transport=ws").await;
    for id in 0..100 {
        gone.send(Message::text(push("Ws", json!(id.to_string()), "hangs", 2).to_string())).await.expect("sends");
    }
    drop(gone);
    server.open_in_the_end("/?storeId=a&transport=ws").await;
}

#[tokio::test]
async fn a_rejected_payload_does_not_connect() {
    let hooks = HookFns::new().validate_payload(async |connection| {
        if connection.payload_as::<String>()? == "secret" { Ok(()) } else { Err(HookError::new("unknown token")) }
    });
    let server = serve(hooks).await;
    server.open("/?storeId=a&transport=ws&payload=%2522secret%2522").await;
    for (url, text) in [
        ("/?storeId=a&transport=ws&payload=%2522guess%2522", "unknown token"),
        ("/?storeId=a&transport=ws&payload=1", "payload: invalid type"),
        ("/websocket?storeId=a", "the connection has no payload"),
    ] {
        let Err(Error::Http(response)) = connect_async(format!("ws://{}{url}", server.address)).await else {
            panic!("{url} must not connect");
        };
        assert_eq!(response.status(), 400, "{url}");
        let body = String::from_utf8(response.into_body().expect("a text")).expect("UTF-8");
        assert!(body.starts_with(text), "{url}: {body}");
    }
}

#[tokio::test]
async fn hooks_see_who_calls() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let hooks = HookFns::new().on_push(move |_, context| {
        log.lock().expect("no panic").push(context);
        async { Ok(()) }
    });
    let server = serve(hooks).await;
    let query = "storeId=a&payload=%257B%2522user%2522%253A1%257D";
    let mut socket = server.open(&format!("/?{query}&transport=ws")).await;
    ask(&mut socket, push("Ws", json!("1"), "n", 1)).await;
    ask(&mut socket, push("Ws", json!(2), "n", 2)).await;
    server.post(query, &push("Http", json!("3"), "n", 3)).await;
    let mut old = server.open(&format!("/websocket?{query}")).await;
    let event = json!({ "name": "n", "seqNum": 4, "parentSeqNum": 3, "clientId": "c", "sessionId": "s" });
    ask(&mut old, json!({ "_tag": "WSMessage.PushReq", "requestId": "r", "batch": [event] })).await;

    let seen = seen.lock().expect("no panic");
    let told: Vec<_> = seen.iter().map(|context| (context.generation, context.connection.transport)).collect();
    assert_eq!(
        told,
        [
            (Generation::V04, Transport::Ws),
            (Generation::Next, Transport::Ws),
            (Generation::V04, Transport::Http),
            (Generation::V03, Transport::Ws),
        ]
    );
    for context in seen.iter() {
        let connection = &context.connection;
        assert_eq!(&*connection.store_id, "a");
        assert_eq!(connection.payload.as_deref().map(|payload| payload.get()), Some(r#"{"user":1}"#));
        assert_eq!(connection.id.get_version_num(), 7);
        let connected_at = connection.connected_at();
        assert!(connected_at.ends_with('Z') && connected_at.len() == 24 && connection.connected_ms > 1_700_000_000_000);
    }
    assert_eq!(seen[0].connection.id, seen[1].connection.id, "one socket is one connection");
    assert_eq!(seen[2].connection.header("x-user"), Some("ada"));
}

#[tokio::test]
async fn hooks_are_told_how_it_went() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (pushes, pulls) = (Arc::clone(&seen), Arc::clone(&seen));
    let hooks = HookFns::new()
        .on_push_res(move |_, result, _| {
            pushes.lock().expect("no panic").push(format!("push {}", result.is_ok()));
            async {}
        })
        .on_pull_res(move |_, result, _| {
            pulls.lock().expect("no panic").push(format!("pull {:?}", result.ok()));
            async {}
        });
    let server = serve(hooks).await;
    server.post("storeId=a", &push("Http", json!("1"), "n", 1)).await;
    server.post("storeId=a", &push("Http", json!("2"), "n", 9)).await;
    let mut pull = pull("3");
    pull["tag"] = json!("SyncHttpRpc.Pull");
    server.post("storeId=a", &pull).await;
    assert_eq!(*seen.lock().expect("no panic"), ["push true", "push false", "pull Some(1)"]);
}

/// A payload, as it stands in a URL.
fn payload(text: &str) -> String {
    format!("&payload=%22{text}%22")
}

/// Whoever says `reader` may read, `short` has a second, everybody else may do everything; `stranger` may not connect.
fn by_payload() -> HookFns {
    HookFns::new()
        .authenticate(async |connection| {
            let who: String = connection.payload_as()?;
            let identity = Identity::new(who.clone()).with_data(&json!({ "team": 7 }))?;
            match who.as_str() {
                "stranger" => Err(HookError::unauthorized("who are you?")),
                "huge" => Ok(Identity::new("x".repeat(IDENTITY_BYTES_MAX))),
                "reader" => Ok(identity.with_access(Access::Read)),
                "short" => Ok(identity.with_expires_ms(connection.connected_ms + 1_000)),
                _ => Ok(identity),
            }
        })
        .on_push(async |push, context| match push.batch[0].name.as_str() {
            "who" => {
                let team: Value = context.connection.identity.data_as()?;
                Err(HookError::new(format!("{:?} {team}", context.connection.user_id())))
            }
            _ => Ok(()),
        })
}

fn v03_push(name: &str, seq: i64) -> Value {
    let event =
        json!({ "name": name, "args": {}, "seqNum": seq, "parentSeqNum": seq - 1, "clientId": "c", "sessionId": "s" });
    json!({ "_tag": "WSMessage.PushReq", "requestId": "r", "batch": [event] })
}

#[tokio::test]
async fn a_reader_pulls_and_is_refused_on_push_in_every_generation() {
    let server = serve(by_payload()).await;
    let mut writer = server.open(&format!("/?storeId=a&transport=ws{}", payload("writer"))).await;
    assert_eq!(ask(&mut writer, push("Ws", json!("1"), "fine", 1)).await["exit"].to_string(), SUCCESS);
    let text = "this connection may read and not write";
    let mut reader = server.open(&format!("/?storeId=a&transport=ws{}", payload("reader"))).await;
    for id in [json!("1"), json!(2)] {
        let refused = ask(&mut reader, push("Ws", id, "fine", 2)).await;
        assert_eq!(
            failure(&refused).as_str().or(refused["exit"]["cause"][0]["error"]["cause"]["message"].as_str()),
            Some(text),
            "{refused}"
        );
        assert!(refused.to_string().contains("ReadOnlyError"), "{refused}");
    }
    assert_eq!(ask(&mut reader, pull("3")).await["values"][0]["batch"].as_array().map(Vec::len), Some(1));
    let answer = server.post(&format!("storeId=a{}", payload("reader")), &push("Http", json!("5"), "fine", 2)).await;
    assert_eq!(failure(&answer[0]), text);
    let mut old = server.open(&format!("/websocket?storeId=a{}", payload("reader"))).await;
    let refused = ask(&mut old, v03_push("fine", 2)).await;
    assert_eq!(refused, json!({ "_tag": "WSMessage.Error", "requestId": "r", "message": text }));
    let pulled = ask(&mut old, json!({ "_tag": "WSMessage.PullReq", "requestId": "p" })).await;
    assert_eq!(pulled["batch"].as_array().map(Vec::len), Some(1));
    assert_eq!(ask(&mut writer, push("Ws", json!("2"), "fine", 2)).await["exit"].to_string(), SUCCESS);
}

#[tokio::test]
async fn hooks_see_who_it_is() {
    let server = serve(by_payload()).await;
    let mut socket = server.open(&format!("/?storeId=a&transport=ws{}", payload("ada"))).await;
    let said = r#"Some("ada") {"team":7}"#;
    assert_eq!(failure(&ask(&mut socket, push("Ws", json!("1"), "who", 1)).await), said);
    let answer = server.post(&format!("storeId=a{}", payload("ada")), &push("Http", json!("5"), "who", 1)).await;
    assert_eq!(failure(&answer[0]), said);
}

#[tokio::test]
async fn a_refusal_has_the_status_that_the_hook_says() {
    let server = serve(by_payload()).await;
    for (who, status, text) in [("stranger", 401, "who are you?"), ("huge", 400, "the limit is 4096")] {
        let url = format!("ws://{}/?storeId=a&transport=ws{}", server.address, payload(who));
        let Err(Error::Http(response)) = connect_async(&url).await else { panic!("{who} is connected") };
        let body = String::from_utf8(response.body().clone().unwrap_or_default()).expect("text");
        assert_eq!(response.status(), status);
        assert!(body.contains(text), "{body}");
    }
}

#[tokio::test]
async fn an_access_that_expires_stops_pushes_at_once_and_ends_the_connection_later() {
    let server = serve_limited(by_payload(), Limits::native().with_expiry_grace(Duration::from_millis(700))).await;
    for (url, message) in [("/?transport=ws&", push("Ws", json!("1"), "fine", 1)), ("/websocket?", v03_push("fine", 1))]
    {
        let mut socket =
            server.open(&format!("{url}storeId={}{}", message["_tag"].as_str().unwrap(), payload("short"))).await;
        let answer = ask(&mut socket, message.clone()).await.to_string();
        if answer.contains("WSMessage") {
            // 0.3 gets its own events, too.
            receive(&mut socket).await;
        }
        assert!(answer.contains("Success") || answer.contains("PushAck"), "{answer}");
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        let answer = ask(&mut socket, message).await.to_string();
        assert!(answer.contains("has expired: connect again with a new token"), "{answer}");
        let end = tokio::time::timeout(Duration::from_secs(10), socket.next()).await.expect("an end in time");
        let Some(Ok(Message::Close(Some(frame)))) = end else { panic!("{end:?}") };
        assert_eq!(u16::from(frame.code), 4401);
    }
}

#[tokio::test]
async fn a_user_and_a_store_have_so_many_connections() {
    let limits = Limits::native().with_connections_per_store_max(3).with_connections_per_user_max(2);
    let server = serve_limited(by_payload(), limits).await;
    let url = |who: &str| format!("/?storeId=a&transport=ws{}", payload(who));
    let refused = async |who: &str| {
        let Err(Error::Http(response)) = connect_async(&format!("ws://{}{}", server.address, url(who))).await else {
            panic!("{who} is connected")
        };
        assert_eq!(response.status(), 503);
        String::from_utf8(response.body().clone().unwrap_or_default()).expect("text")
    };
    let mut held = vec![server.open(&url("ada")).await, server.open(&url("ada")).await];
    assert!(refused("ada").await.contains("2 (--max-connections-per-user)"));
    held.push(server.open(&url("bob")).await);
    assert!(refused("eve").await.contains("3 (--max-connections-per-store)"));
    // Another store has its own.
    server.open(&url("ada").replace("storeId=a", "storeId=b")).await;
    drop(held.remove(0));
    server.open_in_the_end(&url("ada")).await;
}
