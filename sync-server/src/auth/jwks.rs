//! Keys of a URL: kept, and fetched again when a token names one that is not known, or when they are old. However many
//! such tokens come, that is once a minute. What fetches is the platform's.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::TokenError;
use super::keys::KeySet;
use super::token::Token;
use crate::platform::{BoxFuture, MaybeSend, MaybeSync};

/// Bytes of a key set.
pub const JWKS_BYTES_MAX: usize = 64 * 1024;

/// How long a fetch may take.
pub const JWKS_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(10);

/// The least time between two fetches.
const PAUSE_MS: u64 = 60_000;

/// Keys that are older are fetched again, so that one that was taken back is forgotten.
const AGE_MS_MAX: u64 = 3_600_000;

/// How often a request looks whether another one's fetch has ended.
const LOOKS_MAX: u32 = 220;

/// What fetches key sets, on one platform.
pub trait FetchJwks: MaybeSend + MaybeSync + 'static {
    /// Begins to fetch this URL, and tells `done` what came of it, be it that nothing came within [`JWKS_TIME_MAX`]
    /// or that it was larger than [`JWKS_BYTES_MAX`]. It goes on when the client that needed it is gone.
    fn start(&self, url: &str, done: FetchDone);

    /// A twentieth of a second.
    fn pause(&self) -> BoxFuture<()>;
}

/// Takes the text of a key set, or why there is none.
pub type FetchDone = Box<dyn FetchEnd>;

/// See [`FetchDone`].
pub trait FetchEnd: MaybeSend {
    /// Takes what came.
    fn done(self: Box<Self>, fetched: Result<String, String>);
}

pub(super) fn unknown_key(kid: Option<&str>) -> TokenError {
    TokenError::UnknownKey(match kid {
        Some(kid) => format!("kid {:?}", kid.chars().take(64).collect::<String>()),
        None => "it names none (kid), and there is none".to_owned(),
    })
}

#[derive(Default)]
struct State {
    keys: Option<Arc<KeySet>>,
    fetched_ms: u64,
    tried_ms: Option<u64>,
    /// Whether a fetch is under way.
    fetching: bool,
}

impl State {
    /// Whether to fetch now.
    fn is_due(&self, knows: bool, now_ms: u64) -> bool {
        let paused = self.tried_ms.is_none_or(|tried_ms| now_ms.saturating_sub(tried_ms) >= PAUSE_MS);
        paused && (!knows || now_ms.saturating_sub(self.fetched_ms) >= AGE_MS_MAX)
    }
}

pub(super) struct Cached {
    url: String,
    fetch: Arc<dyn FetchJwks>,
    state: Arc<Mutex<State>>,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Plain values, each set at once.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts what was fetched into the state.
struct Arrival {
    state: Arc<Mutex<State>>,
    now_ms: u64,
}

impl FetchEnd for Arrival {
    fn done(self: Box<Self>, fetched: Result<String, String>) {
        let keys = fetched.and_then(|text| match text.len() {
            bytes if bytes > JWKS_BYTES_MAX => Err(format!("it has {bytes} bytes, the limit is {JWKS_BYTES_MAX}")),
            _ => KeySet::of_jwks(&text),
        });
        let mut state = lock(&self.state);
        state.fetching = false;
        match keys {
            Ok(keys) => {
                state.keys = Some(Arc::new(keys));
                state.fetched_ms = self.now_ms;
            }
            // Those that are known go on counting.
            Err(error) => tracing::warn!(%error, "cannot fetch the keys of tokens (LIVESTORE_SYNC_AUTH_JWKS_URL)"),
        }
    }
}

impl Cached {
    pub(super) fn new(url: String, fetch: Arc<dyn FetchJwks>) -> Self {
        Self { url, fetch, state: Arc::default() }
    }

    /// The keys, looked for again if none is this token's. `None` where there are none yet.
    pub(super) async fn keys_for(&self, token: &Token<'_>, now_ms: u64) -> Option<Arc<KeySet>> {
        let knows =
            |state: &State| state.keys.as_ref().is_some_and(|keys| keys.of(token.kid.as_deref()).next().is_some());
        let begin = {
            let mut state = lock(&self.state);
            let begin = state.is_due(knows(&state), now_ms);
            if begin {
                state.tried_ms = Some(now_ms);
                state.fetching = true;
            }
            begin
        };
        if begin {
            self.fetch.start(&self.url, Box::new(Arrival { state: Arc::clone(&self.state), now_ms }));
        }
        for _ in 0..LOOKS_MAX {
            {
                let state = lock(&self.state);
                // Whose key is known need not wait for newer ones.
                if knows(&state) || !state.fetching {
                    return state.keys.clone();
                }
            }
            self.fetch.pause().await;
        }
        lock(&self.state).keys.clone()
    }
}
