//! Requests and responses of the platform, in the terms of the engine.

use worker::{Headers, Request, Response, Result};

use super::WorkerOptions;
use crate::request::path_and_query;

/// The parts of a request that decide what it asks for.
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) upgrade: Option<String>,
}

impl Asked {
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

    pub(super) fn is_upgrade(&self) -> bool {
        self.upgrade.as_deref().is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket"))
    }
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
pub(super) fn finish(response: Response, options: &WorkerOptions, asked_headers: Option<String>) -> Result<Response> {
    if response.status_code() == 101 || (!options.enable_cors && options.response_headers.is_empty()) {
        return Ok(response);
    }
    // Those of a response that was fetched cannot be changed.
    let headers = Headers::new();
    for (name, value) in response.headers().entries() {
        headers.append(&name, &value)?;
    }
    if options.enable_cors {
        headers.set("access-control-allow-origin", "*")?;
        headers.set("access-control-allow-methods", "GET, POST, OPTIONS")?;
        headers.set("access-control-allow-headers", asked_headers.as_deref().unwrap_or("*"))?;
    }
    for (name, value) in &options.response_headers {
        headers.set(name, value)?;
    }
    Ok(response.with_headers(headers))
}
