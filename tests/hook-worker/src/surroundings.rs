//! `make_durable_object!` beside names that it could be confused by: it compiles, or it does not. The classes
//! are exported and no configuration names them.

use livestore_sync_server::make_durable_object;
use livestore_sync_server::worker::ObjectOptions;
use worker::*;

/// Of the caller, and none of the names that the macro uses inside.
struct Object;
#[expect(dead_code, reason = "it is only there to be confused with the standard one")]
struct String;

const COOKIE: &str = "cookie";

fn options(_env: &Env) -> ObjectOptions {
    let Object = Object;
    ObjectOptions::new().forward_headers(&[COOKIE])
}

make_durable_object! {
    /// Not visible outside of this module.
    #[derive(Clone, Copy)]
    struct Private;
    options = options;
}

make_durable_object! {
    pub(crate) struct Second;
    options = |env: &Env| ObjectOptions::new().forward_headers_with({
        let _same: Env = env.clone();
        |headers: &Headers| headers.entries().collect()
    });
}
