//! The Worker in front of the objects: decides whether a request is one of a LiveStore client, asks the app, and
//! forwards to the store's object.

use std::sync::Arc;

use worker::js_sys::{Function, Reflect};
use worker::wasm_bindgen::{JsCast, JsValue};
use worker::{Context, Env, Error, ObjectNamespace, Request, Response, Result, Stub};

use super::forwarded::{self, Forwarded};
use super::http::{OwnedParts, Page, entries, failure, finish, refuse, text};
use super::options::BINDINGS;
use super::platform::Isolate;
use super::{WorkerOptions, log};
use crate::hooks::{Asked, Transport};
use crate::host::patience;
use crate::limits::Limits;
use crate::platform::{Platform, connection_id};
use crate::request::{self, Route, route};

/// How often a request over http is forwarded again, which takes half a minute.
const FORWARDS_MAX: u32 = 10;

/// A request that is one of a LiveStore client.
#[derive(Debug)]
pub struct SyncRequest(request::SyncRequest);

impl SyncRequest {
    /// The store that it is about.
    #[must_use]
    pub fn store_id(&self) -> &str {
        self.0.store_id()
    }

    /// How the client wants to be connected.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.0.transport()
    }
}

/// A Worker that only syncs.
pub struct SyncWorker {
    options: WorkerOptions,
}

/// Makes the Worker's side of the server, see [`SyncWorker::fetch`].
#[must_use]
pub fn make_worker(options: WorkerOptions) -> SyncWorker {
    log::install();
    SyncWorker { options }
}

impl SyncWorker {
    /// Answers a request: LiveStore's, and, as a reference worker does, `GET /` and `OPTIONS`.
    /// Everything else is refused with a text that says what is wrong.
    ///
    /// # Errors
    ///
    /// Only what the platform fails on.
    pub async fn fetch(&self, request: Request, env: Env, context: Context) -> Result<Response> {
        let options = &self.options;
        let parts = OwnedParts::new(&request)?;
        let page = Page::of(&request)?;
        let Some(path) = below(&options.endpoint, &parts.path) else {
            return finish(text(400, "Invalid path")?, options, &page);
        };
        let response = match route(&parts.borrow(path, options.origins.cors(page.asking()).is_some())) {
            Route::Sync(sync) => return handle_sync_request(request, SyncRequest(sync), env, context, options).await,
            Route::Info => text(200, request::INFO)?,
            Route::Preflight => Response::empty()?.with_status(204),
            Route::Refused(refused) => refuse(refused)?,
        };
        finish(response, options, &page)
    }
}

/// The path below an endpoint.
fn below<'a>(endpoint: &str, path: &'a str) -> Option<&'a str> {
    match path.strip_prefix(endpoint)? {
        "" => Some("/"),
        rest if rest.starts_with('/') => Some(rest),
        _ => None,
    }
}

/// Whether a request is a LiveStore client's, for workers that have routes of their own: a path that
/// ends in `/websocket` with a `storeId` (0.3), or any path with `storeId` and `transport=ws|http` (0.4).
/// What looks like one and is malformed is `None`.
#[must_use]
pub fn match_sync_request(request: &Request) -> Option<SyncRequest> {
    let parts = OwnedParts::new(request).ok()?;
    match route(&parts.borrow(&parts.path, false)) {
        Route::Sync(sync) => Some(SyncRequest(sync)),
        Route::Info | Route::Preflight | Route::Refused(_) => None,
    }
}

/// Serves a request of a path that the app has chosen for LiveStore, whatever its name.
///
/// # Errors
///
/// As [`SyncWorker::fetch`].
pub async fn handle_websocket(
    request: Request,
    env: Env,
    context: Context,
    options: &WorkerOptions,
) -> Result<Response> {
    let parts = OwnedParts::new(&request)?;
    match request::SyncRequest::from_query(&parts.query, parts.upgrade.as_deref()) {
        Ok(sync) => handle_sync_request(request, SyncRequest(sync), env, context, options).await,
        Err(refused) => finish(refuse(refused)?, options, &Page::of(&request)?),
    }
}

/// Serves a request that [`match_sync_request`] has found: validates the payload and forwards it to the
/// store's object.
///
/// # Errors
///
/// As [`SyncWorker::fetch`].
pub async fn handle_sync_request(
    request: Request,
    sync: SyncRequest,
    env: Env,
    _context: Context,
    options: &WorkerOptions,
) -> Result<Response> {
    let page = Page::of(&request)?;
    let response = match sync.0.check_page(&options.origins, page.asking(), page.content_type.as_deref()) {
        Ok(()) => forward(request, sync, &env, options).await?,
        Err(refused) => refuse(refused)?,
    };
    finish(response, options, &page)
}

async fn forward(request: Request, sync: SyncRequest, env: &Env, options: &WorkerOptions) -> Result<Response> {
    let SyncRequest(sync) = sync;
    let now_ms = Isolate.now_ms();
    // Said after validation: a client without a right learns nothing.
    let upgrade = sync.check_upgrade();
    let connection = sync.into_connection(connection_id(now_ms), now_ms, entries(request.headers()));
    let connection = Arc::new(connection.with_trusted_origin(options.origins.trusts(Page::of(&request)?.asking())));
    let time_max = options.hook_timeout.unwrap_or(Limits::worker().hook_timeout);
    let hooks = Asked::new(Arc::clone(&options.hooks), Isolate, time_max);
    let mut failures = 0;
    let connection = loop {
        match hooks.authenticate(&connection).await {
            Ok(Ok(connection)) => break connection,
            Ok(Err(error)) => return refuse(request::Refused::rejected(&error)),
            Err(failure) => {
                failures += 1;
                match patience::before_request(connection.transport, failures) {
                    Some(pause) => Isolate.sleep(pause).await,
                    None => return refuse(request::Refused::failed(failure)),
                }
            }
        }
    };
    if let Err(refused) = upgrade {
        return refuse(refused);
    }
    let mut request = request.clone_mut()?;
    let forwarded =
        Forwarded { connection: connection.id, connected_ms: now_ms, identity: connection.identity.clone() };
    request.headers_mut()?.set(forwarded::HEADER, &forwarded.encode())?;
    let mut failures = 0;
    loop {
        // A new one each time: one that has failed may go on failing.
        let stub = match stub(env, options, &connection.store_id) {
            Ok(Some(stub)) => stub,
            Ok(None) => return text(424, missing_binding(options)),
            Err(error) => return failure(500, "The store's Durable Object cannot be addressed.", error),
        };
        let pause = patience::before_request(connection.transport, failures + 1).filter(|_| failures < FORWARDS_MAX);
        // Copied where it may be needed again.
        let sent = if pause.is_some() { request.clone()? } else { request.clone_mut()? };
        match (stub.fetch_with_request(sent).await, pause) {
            (Ok(response), _) => return Ok(response),
            (Err(error), Some(pause)) if passes(&error) => {
                tracing::warn!(%error, "a store's Durable Object failed");
                Isolate.sleep(pause).await;
            }
            (Err(error), _) => {
                return failure(503, "The store's Durable Object failed. The request may be repeated.", error);
            }
        }
        failures += 1;
    }
}

/// Whether the platform says that it may work next time: an object that is moved or gets new code, a lost connection.
/// What the object itself has thrown is not among it.
/// <https://developers.cloudflare.com/durable-objects/best-practices/error-handling/>
fn passes(error: &Error) -> bool {
    let says = |name: &str| Reflect::get(&error.to_js_value(), &name.into()).is_ok_and(|value| value.is_truthy());
    says("retryable") && !says("overloaded")
}

fn missing_binding(options: &WorkerOptions) -> String {
    let names = match &options.binding {
        Some(name) => name.clone(),
        None => BINDINGS.join(" or "),
    };
    format!("There is no Durable Object binding {names}. Add it to the wrangler configuration.")
}

fn stub(env: &Env, options: &WorkerOptions, store_id: &str) -> Result<Option<Stub>> {
    let found = match &options.binding {
        Some(name) => env.durable_object(name).ok(),
        None => BINDINGS.iter().find_map(|name| env.durable_object(name).ok()),
    };
    let Some(mut namespace) = found else { return Ok(None) };
    if let Some(jurisdiction) = &options.jurisdiction {
        namespace = within(&namespace, jurisdiction)?;
    }
    let id = namespace.id_from_name(store_id)?;
    match &options.location_hint {
        Some(hint) => id.get_stub_with_location_hint(hint),
        None => id.get_stub(),
    }
    .map(Some)
}

/// `namespace.jurisdiction(…)`, which the `worker` crate does not have.
fn within(namespace: &ObjectNamespace, jurisdiction: &str) -> Result<ObjectNamespace> {
    let namespace: &JsValue = namespace.as_ref();
    let method: Function = Reflect::get(namespace, &JsValue::from("jurisdiction"))?.dyn_into()?;
    Ok(method.call1(namespace, &JsValue::from(jurisdiction))?.unchecked_into())
}
