use std::sync::Arc;

use livestore_sync_protocol::Generation;
use livestore_sync_protocol::target::{self, Target, TargetError};
use worker::js_sys::{Function, Reflect};
use worker::wasm_bindgen::{JsCast, JsValue};
use worker::{Context, Date, Env, ObjectNamespace, Request, Response, Result, Stub};

use super::http::{Asked, entries, failure, finish, text};
use super::internal::{self, Internal};
use super::options::BINDINGS;
use super::{WorkerOptions, log};
use crate::protocol::rpc::Transport as Parameter;
use crate::request::{self, Parts, Refused, Route, route};
use crate::{Connection, Hooks, Transport, connection_id, iso_timestamp};

/// A request that is one of a LiveStore client.
#[derive(Debug)]
pub struct SyncRequest {
    target: Target,
    generation: Generation,
    transport: Transport,
}

impl SyncRequest {
    /// The store that it is about.
    #[must_use]
    pub fn store_id(&self) -> &str {
        &self.target.store_id
    }

    /// How the client wants to be connected.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.transport
    }

    fn of(route: Route) -> Result<Self, Route> {
        match route {
            Route::V03 { target, .. } => Ok(Self { target, generation: Generation::V03, transport: Transport::Ws }),
            Route::Ws { target, .. } => Ok(Self { target, generation: Generation::V04, transport: Transport::Ws }),
            Route::Http { target } => Ok(Self { target, generation: Generation::V04, transport: Transport::Http }),
            other => Err(other),
        }
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
    /// Only what the platform fails on or [`WorkerOptions::modify_response`] returns.
    pub async fn fetch(&self, request: Request, env: Env, context: Context) -> Result<Response> {
        let options = &self.options;
        let asked = Asked::new(&request)?;
        let asked_headers = request.headers().get("access-control-request-headers")?;
        let Some(path) = below(&options.endpoint, &asked.path) else {
            return finish(text(400, "Invalid path")?, options, asked_headers);
        };
        let parts = Parts {
            method: &asked.method,
            path,
            query: &asked.query,
            upgrade: asked.upgrade.as_deref(),
            cors: options.cors,
        };
        let response = match SyncRequest::of(route(&parts)) {
            Ok(sync) => return handle_sync_request(request, sync, env, context, options).await,
            Err(Route::Info) => text(200, request::INFO)?,
            Err(Route::Preflight) => Response::empty()?.with_status(204),
            Err(Route::Refused(Refused { status, text: reason })) => text(status, reason)?,
            Err(Route::V03 { .. } | Route::Ws { .. } | Route::Http { .. }) => text(500, "unreachable")?,
        };
        finish(response, options, asked_headers)
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
    let asked = Asked::new(request).ok()?;
    let parts = Parts {
        method: &asked.method,
        path: &asked.path,
        query: &asked.query,
        upgrade: asked.upgrade.as_deref(),
        cors: false,
    };
    SyncRequest::of(route(&parts)).ok()
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
    let asked = Asked::new(&request)?;
    let sync = target::transport(&asked.query).and_then(|transport| {
        let target = Target::from_query(&asked.query)?;
        let (generation, transport) = match transport {
            None => (Generation::V03, Transport::Ws),
            Some(Parameter::Ws) => (Generation::V04, Transport::Ws),
            Some(Parameter::Http) => (Generation::V04, Transport::Http),
            // Calls between objects have no URL.
            Some(Parameter::DurableObject) => return Err(TargetError::InvalidTransport),
        };
        Ok(SyncRequest { target, generation, transport })
    });
    match sync {
        Ok(sync) => handle_sync_request(request, sync, env, context, options).await,
        Err(error) => finish(text(400, format!("Invalid search params: {error}."))?, options, None),
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
    let asked_headers = request.headers().get("access-control-request-headers")?;
    let response = forward(request, sync, &env, options).await?;
    finish(response, options, asked_headers)
}

async fn forward(request: Request, sync: SyncRequest, env: &Env, options: &WorkerOptions) -> Result<Response> {
    let now_ms = Date::now().as_millis();
    let connection = Connection {
        id: connection_id(now_ms),
        connected_at: iso_timestamp(now_ms),
        store_id: sync.target.store_id.into(),
        payload: sync.target.payload,
        headers: entries(request.headers()),
        transport: sync.transport,
        generation: sync.generation,
    };
    let connection = Arc::new(connection);
    if let Err(error) = Hooks::validate_payload(&*options.hooks, Arc::clone(&connection)).await {
        return text(400, error.to_string());
    }
    if sync.transport == Transport::Ws && !Asked::new(&request)?.is_upgrade() {
        return text(426, request::UPGRADE_REQUIRED);
    }
    let stub = match stub(env, options, &connection.store_id) {
        Ok(Some(stub)) => stub,
        Ok(None) => return text(424, missing_binding(options)),
        Err(error) => return failure(500, "The store's Durable Object cannot be addressed.", error),
    };
    let mut forwarded = request.clone_mut()?;
    let internal = Internal { connection: connection.id, connected_ms: now_ms };
    forwarded.headers_mut()?.set(internal::HEADER, &internal.encode())?;
    match stub.fetch_with_request(forwarded).await {
        Ok(response) => Ok(response),
        Err(error) => failure(503, "The store's Durable Object failed. The request may be repeated.", error),
    }
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
