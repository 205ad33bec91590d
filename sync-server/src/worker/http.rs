//! Requests and responses of the platform, in the terms of the engine.

use futures_util::StreamExt;
use worker::{Headers, Request, Response, Result};

use super::WorkerOptions;
use crate::budget::Budget;
use crate::request::{Asking, Refused, RequestParts, body_text, path_and_query};

/// The parts of a request that decide what it asks for. The platform gives them as copies.
pub(super) struct OwnedParts {
    method: String,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) upgrade: Option<String>,
}

impl OwnedParts {
    pub(super) fn new(request: &Request) -> Result<Self> {
        let url = request.inner().url();
        let (path, query) = path_and_query(&url);
        Ok(Self {
            method: request.inner().method(),
            path: path.to_owned(),
            query: query.to_owned(),
            upgrade: request.headers().get("upgrade")?,
        })
    }

    /// As the rules of `request` take them, with the path as it is below an endpoint.
    pub(super) fn borrow<'a>(&'a self, path: &'a str, cors: bool) -> RequestParts<'a> {
        RequestParts { method: &self.method, path, query: &self.query, upgrade: self.upgrade.as_deref(), cors }
    }
}

/// What a request's headers say of the web page that asks, where it is one.
pub(super) struct Page {
    origin: Option<String>,
    host: Option<String>,
    pub(super) content_type: Option<String>,
    asked_headers: Option<String>,
}

impl Page {
    pub(super) fn of(request: &Request) -> Result<Self> {
        let headers = request.headers();
        Ok(Self {
            origin: headers.get("origin")?,
            host: headers.get("host")?,
            content_type: headers.get("content-type")?,
            asked_headers: headers.get("access-control-request-headers")?,
        })
    }

    pub(super) fn asking(&self) -> Asking<'_> {
        Asking { origin: self.origin.as_deref(), host: self.host.as_deref() }
    }
}

pub(super) fn refuse(refused: Refused) -> Result<Response> {
    text(refused.status, refused.text)
}

/// The body, or what is wrong with it. As long as it is not whole, which may take its client any time, it counts as held
/// for that.
pub(super) async fn read_body(
    request: &mut Request,
    bytes_max: usize,
    budget: &Budget,
) -> Result<std::result::Result<String, Refused>> {
    let mut body = Vec::new();
    let mut held = budget.take_anyway(0);
    // GET and HEAD requests have none.
    if let Ok(mut stream) = request.stream() {
        while let Some(bytes) = stream.next().await {
            let bytes = bytes?;
            if held.grow(bytes.len() as u64).is_err() {
                return Ok(Err(Refused::out_of_memory()));
            }
            body.extend(bytes);
            if body.len() > bytes_max {
                return Ok(Err(Refused::body_too_large(bytes_max)));
            }
        }
    }
    Ok(body_text(body))
}

pub(super) fn text(status: u16, text: impl Into<String>) -> Result<Response> {
    let response = Response::ok(text)?.with_status(status);
    response.headers().set("content-type", "text/plain; charset=utf-8")?;
    Ok(response)
}

/// Logs what went wrong and answers without it.
pub(super) fn failure(status: u16, what: &str, error: impl std::fmt::Display) -> Result<Response> {
    tracing::error!(%error, "{what}");
    text(status, what)
}

pub(super) fn entries(headers: &Headers) -> Vec<(String, String)> {
    headers.entries().collect()
}

/// Adds what the options want to a response that is not the opening of a WebSocket.
pub(super) fn finish(response: Response, options: &WorkerOptions, page: &Page) -> Result<Response> {
    let cors = options.origins.cors(page.asking());
    if response.status_code() == 101 || (cors.is_none() && options.response_headers.is_empty()) {
        return Ok(response);
    }
    // Those of a response that was fetched cannot be changed.
    let headers = Headers::new();
    for (name, value) in response.headers().entries() {
        headers.append(&name, &value)?;
    }
    for (name, value) in cors.into_iter().flat_map(|cors| cors.headers(page.asked_headers.as_deref())) {
        match name {
            "vary" => headers.append(name, value)?,
            _ => headers.set(name, value)?,
        }
    }
    for (name, value) in &options.response_headers {
        headers.set(name, value)?;
    }
    Ok(response.with_headers(headers))
}
