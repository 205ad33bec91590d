//! A store of the server under test, and how to connect to it. Called by the tests.

use crate::event::quoted;
use crate::http::{self, Response};
use crate::{Answer, Event, Exit, Ids, Pulled, Rpc, Server, Socket, V03, parse_answers, pull_payload, push_payload};

/// A store on a server, and the ways to talk to it.
#[derive(Clone, Debug)]
pub struct Store {
    server: Server,
    id: String,
}

impl Store {
    pub(crate) fn new(server: Server, id: String) -> Self {
        Self { server, id }
    }

    /// The server that it is on.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its id as JSON.
    #[must_use]
    pub fn id_json(&self) -> String {
        quoted(&self.id)
    }

    /// `storeId=…`, percent-encoded.
    #[must_use]
    pub fn query(&self) -> String {
        format!("storeId={}", percent_encoded(&self.id))
    }

    /// A 0.4 client.
    pub async fn rpc(&self) -> Rpc {
        self.rpc_with(Ids::Text).await
    }

    /// A client of the next generation.
    pub async fn rpc_next(&self) -> Rpc {
        self.rpc_with(Ids::Number).await
    }

    /// An RPC client with this type of request ids.
    pub async fn rpc_with(&self, ids: Ids) -> Rpc {
        let socket = Socket::open(&self.server, &format!("/?{}&transport=ws", self.query()), &[]).await;
        Rpc::new(socket, self.clone(), ids)
    }

    /// A 0.3 client.
    pub async fn v03(&self) -> V03 {
        self.v03_with(&[]).await
    }

    /// A 0.3 client with more headers.
    pub async fn v03_with(&self, headers: &[(&str, &str)]) -> V03 {
        V03::new(Socket::open(&self.server, &format!("/websocket?{}", self.query()), headers).await)
    }

    /// Posts a body over the http transport.
    pub async fn post(&self, body: &str) -> Response {
        self.post_as("application/json", body.as_bytes()).await
    }

    /// Posts a body of another content type.
    pub async fn post_as(&self, content_type: &str, body: &[u8]) -> Response {
        let target = format!("/?{}&transport=http", self.query());
        http::request(&self.server, "POST", &target, &[("content-type", content_type)], body).await
    }

    /// Posts one request and reads its answers.
    pub async fn call(&self, id: &str, tag: &str, payload: &str) -> Vec<Answer> {
        let body = format!(r#"{{"_tag":"Request","id":{id},"tag":"{tag}","payload":{payload},"headers":[]}}"#);
        let response = self.post(&body).await;
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.media_type(), "application/json");
        parse_answers(response.text())
    }

    /// Pushes over the http transport.
    pub async fn http_push(&self, batch: &[Event]) -> Exit {
        self.http_pushed(batch, None).await
    }

    /// Pushes over the http transport to the log with this id.
    pub async fn http_push_to(&self, batch: &[Event], backend: &str) -> Exit {
        self.http_pushed(batch, Some(backend)).await
    }

    async fn http_pushed(&self, batch: &[Event], backend: Option<&str>) -> Exit {
        let mut answers = self.call("\"0\"", "SyncHttpRpc.Push", &push_payload(self, batch, backend)).await;
        match (answers.pop(), answers.is_empty()) {
            (Some(Answer::Exit(id, exit)), true) => {
                assert_eq!(id, "0", "the request's id");
                exit
            }
            (last, _) => panic!("expected one Exit, got {answers:?} and {last:?}"),
        }
    }

    /// Pulls over the http transport: everything above the cursor, and the backend id.
    pub async fn http_pull(&self, cursor: Option<(&str, i64)>) -> (Vec<Pulled>, String) {
        let answers = self.call("\"0\"", "SyncHttpRpc.Pull", &pull_payload(self, None, cursor)).await;
        let (events, backend, _) = crate::rpc::finite(&answers, &"0".into());
        (events, backend)
    }

    /// The whole log, read by a client that has nothing to do with others.
    pub async fn log(&self) -> Vec<Pulled> {
        self.rpc().await.pull_all().await.events
    }
}

fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
