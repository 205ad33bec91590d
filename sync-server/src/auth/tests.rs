use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use livestore_sync_protocol::Generation;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::hooks::{Access, Transport};
use crate::platform::BoxFuture;

const OLD: &str = "2026-10:an old secret of at least 32 bytes";
const NEW: &str = "2026-11:a new secret of at least 32 bytes!";

/// Seconds since 1970 at which the tests take place.
const NOW: u64 = 1_900_000_000;

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors.json")).unwrap()
}

fn settings() -> JwtSettings {
    JwtSettings { secrets: Some(format!("{NEW},{OLD}")), ..JwtSettings::default() }
}

fn auth(settings: &JwtSettings) -> JwtAuth {
    JwtAuth::new(settings).unwrap()
}

async fn check(auth: &JwtAuth, token: &str) -> Result<Identity, TokenError> {
    auth.check(token, Some("team-a"), NOW * 1_000).await
}

/// A token with these claims, whatever they are.
fn signed(secret: &str, claims: &Value) -> String {
    let made = create_token(&JwtSecret::parse(secret).unwrap(), &TokenClaims::new("x", 0));
    let header = made.split('.').next().unwrap().to_owned();
    sign_with(secret, &header, claims)
}

fn sign_with(secret: &str, header: &str, claims: &Value) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let key = secret.split_once(':').map_or(secret, |(_, key)| key);
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

fn claims() -> Value {
    json!({ "sub": "ada", "exp": NOW + 60, "stores": ["team-*", "shared"] })
}

fn with(member: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[member] = value;
    claims
}

#[tokio::test]
async fn a_token_says_who_it_is_until_when_and_what_it_may() {
    let claims = TokenClaims::new("ada", NOW + 60).with_store("team-*").with_access(Access::Read);
    let claims = TokenClaims { data: Some(RawValue::from_string(r#"{"role":1}"#.into()).unwrap()), ..claims };
    for secret in [NEW, OLD] {
        let token = create_token(&JwtSecret::parse(secret).unwrap(), &claims);
        let identity = check(&auth(&settings()), &token).await.unwrap();
        assert_eq!((identity.user_id.as_deref(), identity.access), (Some("ada"), Access::Read));
        assert_eq!(identity.expires_ms, Some((NOW + 60 + 60) * 1_000), "with the leeway");
        assert_eq!(identity.data_as::<Value>(), Ok(json!({ "role": 1 })));
    }
    // A single secret needs no kid, and tokens need not name one.
    let secret = "no kid and at least 32 bytes long";
    let lone = auth(&JwtSettings { secrets: Some(secret.into()), ..JwtSettings::default() });
    let token = create_token(&JwtSecret::parse(secret).unwrap(), &claims);
    assert!(!token.contains("kid") && check(&lone, &token).await.is_ok());
}

#[tokio::test]
async fn each_claim_is_held_to() {
    let strict = JwtSettings { issuer: Some("me".into()), audience: Some("sync".into()), ..settings() };
    let (plain, strict) = (auth(&settings()), auth(&strict));
    let (iss_aud, no_exp) = (
        |claims: Value, iss, aud: Value| {
            let mut claims = claims;
            claims["iss"] = Value::from(iss);
            claims["aud"] = aud;
            claims
        },
        {
            let mut claims = claims();
            claims.as_object_mut().unwrap().remove("exp");
            claims
        },
    );
    for (auth, claims, expected) in [
        (&plain, claims(), ""),
        (&plain, no_exp, "no exp"),
        (&plain, with("exp", Value::Null), "no exp"),
        (&plain, with("exp", json!("soon")), "malformed"),
        // The clock may differ by a minute ...
        (&plain, with("exp", json!(NOW - 59)), ""),
        (&plain, with("exp", json!(NOW - 60)), "has expired"),
        (&plain, with("exp", json!(-5)), "has expired"),
        (&plain, with("exp", json!(NOW as f64 + 0.5)), ""),
        (&plain, with("exp", json!(1e300)), ""),
        // ... in both directions.
        (&plain, with("nbf", json!(NOW + 60)), ""),
        (&plain, with("nbf", json!(NOW + 61)), "counts from"),
        (&plain, with("sub", Value::Null), "no user"),
        (&plain, with("sub", json!("")), "no user"),
        (&plain, with("stores", json!([])), "names no stores"),
        (&plain, with("stores", Value::Null), "malformed"),
        (&plain, with("access", json!("admin")), "malformed"),
        (&strict, iss_aud(claims(), "me", json!("sync")), ""),
        (&strict, iss_aud(claims(), "me", json!(["other", "sync"])), ""),
        (&strict, iss_aud(claims(), "me", json!("other")), "audience"),
        (&strict, iss_aud(claims(), "you", json!("sync")), "issuer"),
        (&strict, claims(), "issuer"),
    ] {
        let checked = check(auth, &signed(NEW, &claims)).await;
        let text = checked.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(text.contains(expected) && text.is_empty() == expected.is_empty(), "{claims}: {text:?}");
    }
}

#[tokio::test]
async fn stores_are_ids_or_what_they_begin_with() {
    let auth = auth(&settings());
    for (stores, store, expected) in [
        (json!("team-a"), "team-a", true),
        (json!(["x", "team-a"]), "team-a", true),
        (json!("team-a"), "team-ab", false),
        (json!("team-*"), "team-", true),
        (json!("team-*"), "team", false),
        (json!("*"), "anything", true),
        // Only what stands last is a pattern.
        (json!("*-a"), "team-a", false),
        (json!("*-a"), "*-a", true),
        (json!("Team-a"), "team-a", false),
        (json!(""), "team-a", false),
    ] {
        let token = signed(NEW, &with("stores", stores.clone()));
        let checked = auth.check(&token, Some(store), NOW * 1_000).await;
        assert_eq!(checked.is_ok(), expected, "{stores} {store}");
        let Err(error) = checked else { continue };
        assert_eq!(HookError::from(error), HookError::forbidden(format!("the token is not for the store {store}")));
        assert!(auth.check(&token, None, NOW * 1_000).await.is_ok());
    }
}

#[tokio::test]
async fn what_nobody_has_signed_is_refused() {
    let auth = auth(&settings());
    let good = signed(NEW, &claims());
    let [header, body, signature] = <[_; 3]>::try_from(good.split('.').collect::<Vec<_>>()).unwrap();
    let encode = |json: &str| URL_SAFE_NO_PAD.encode(json);
    let none = encode(r#"{"alg":"none"}"#);
    let forged = encode(&with("sub", json!("root")).to_string());
    for (token, expected) in [
        (String::new(), "three parts"),
        ("a.b".into(), "three parts"),
        ("a.b.c.d.e".into(), "three parts"),
        ("!.b.c".into(), "header is not base64url"),
        (format!("{}.{body}.{signature}", encode("[]")), "header is no JSON"),
        (format!("{none}.{body}."), "algorithm none"),
        (format!("{}.{body}.{signature}", encode(r#"{"alg":"nOnE"}"#)), "algorithm nOnE"),
        (format!("{}.{body}.{signature}", encode(r#"{"alg":"HS512","kid":"2026-11"}"#)), "algorithm HS512"),
        (format!("{}.{body}.{signature}", encode(r#"{"alg":"RS256","kid":"2026-11"}"#)), "algorithm RS256"),
        (format!("{}.{body}.{signature}", encode(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#)), "crit"),
        (format!("{header}.{forged}.{signature}"), "signature is wrong"),
        (format!("{header}.{body}."), "signature is wrong"),
        (format!("{header}.{body}.{}", &signature[..20]), "signature is wrong"),
        (sign_with(OLD, header, &claims()), "signature is wrong"),
        (signed("2026-09:a secret that was taken out of use", &claims()), "kid \"2026-09\""),
        (format!("{good}="), "base64url"),
    ] {
        let error = check(&auth, &token).await.expect_err(&token);
        assert!(error.to_string().contains(expected), "{token}: {error}");
        assert_eq!(HookError::from(error).status(), 401);
    }
}

#[tokio::test]
async fn a_token_may_have_so_many_bytes() {
    let auth = auth(&settings());
    let of = |filler: usize| signed(NEW, &with("filler", json!("x".repeat(filler))));
    // Three bytes of JSON are four of base64.
    let filler = (TOKEN_BYTES_MAX - of(0).len()) / 4 * 3;
    let largest = (filler - 3..filler + 6).map(of).rfind(|token| token.len() <= TOKEN_BYTES_MAX).unwrap();
    assert!(largest.len() > TOKEN_BYTES_MAX - 2 && check(&auth, &largest).await.is_ok());
    let error = check(&auth, &of(filler + 6)).await.expect_err("too large");
    assert!(
        matches!(error, TokenError::TooLarge(bytes) if bytes > TOKEN_BYTES_MAX)
            && error.to_string().contains("TOKEN_BYTES_MAX")
    );
}

#[tokio::test]
async fn public_keys_are_each_for_their_own_algorithm() {
    let vectors = vectors();
    let settings = JwtSettings {
        jwks: Some(vectors["jwks"].to_string()),
        issuer: Some("https://issuer.example".into()),
        audience: Some("sync".into()),
        ..JwtSettings::default()
    };
    let auth = auth(&settings);
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        let token = vectors["tokens"][algorithm].as_str().unwrap();
        assert_eq!(check(&auth, token).await.unwrap().access, Access::Read, "{algorithm}");
        let mut forged = token.to_owned();
        let last = forged.pop().unwrap();
        // The last but one, as not all bits of the last one count.
        let other = forged.pop().map(|c| if c == 'A' { 'B' } else { 'A' });
        forged.extend(other.into_iter().chain([last]));
        assert_eq!(check(&auth, &forged).await.err(), Some(TokenError::Signature), "{algorithm}");
        // The key of another one.
        let (_, rest) = token.split_once('.').unwrap();
        for (kid, alg) in [("rsa", "ES256"), ("ec", "EdDSA"), ("ed", "RS256"), ("ec", "HS256")] {
            let header = URL_SAFE_NO_PAD.encode(json!({ "alg": alg, "kid": kid }).to_string());
            assert!(matches!(check(&auth, &format!("{header}.{rest}")).await, Err(TokenError::Algorithm(_))));
        }
    }
    let confused = vectors["tokens"]["confused"].as_str().unwrap();
    assert_eq!(check(&auth, confused).await.err(), Some(TokenError::Algorithm("HS256".into())));
}

#[test]
fn a_key_set_has_only_what_is_fit() {
    let vectors = vectors();
    let key = |change: &dyn Fn(&mut Value)| {
        let mut key = vectors["jwks"]["keys"][0].clone();
        change(&mut key);
        JwtSettings { jwks: Some(json!({ "keys": [key] }).to_string()), ..JwtSettings::default() }
    };
    assert!(JwtAuth::new(&key(&|_| ())).is_ok());
    let small = vectors["tokens"]["small"].clone();
    for (what, settings) in [
        ("a small one", key(&|key| *key = small.clone())),
        ("for encryption", key(&|key| key["use"] = json!("enc"))),
        ("of another algorithm", key(&|key| key["alg"] = json!("RS512"))),
        ("a secret", key(&|key| *key = json!({ "kty": "oct", "k": "c2VjcmV0" }))),
        ("a broken point", key(&|key| *key = json!({ "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA" }))),
        ("no JSON", JwtSettings { jwks: Some("{".into()), ..JwtSettings::default() }),
    ] {
        assert!(matches!(JwtAuth::new(&settings).err(), Some(AuthConfigError::Jwks(_))), "{what}");
    }
}

#[test]
fn settings_are_read_by_their_names() {
    let read = |variables: &[(&str, &str)]| {
        let settings = JwtSettings::from_variables(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        });
        settings.map(|settings| settings.map(|settings| JwtAuth::new(&settings).map(drop)))
    };
    let secret = "a secret of at least 32 bytes really";
    assert_eq!(read(&[]), Ok(None));
    assert_eq!(read(&[("LIVESTORE_SYNC_AUTH_SECRETS", " ")]), Ok(None));
    assert_eq!(read(&[("LIVESTORE_SYNC_AUTH_SECRETS", secret)]), Ok(Some(Ok(()))));
    // Without keys nobody may be let in by mistake.
    assert_eq!(read(&[("LIVESTORE_SYNC_AUTH_AUDIENCE", "sync")]), Ok(Some(Err(AuthConfigError::NoKeys))));
    assert_eq!(read(&[("LIVESTORE_SYNC_AUTH_SECRETS", "short")]), Ok(Some(Err(AuthConfigError::Secret))));
    let two = format!("{secret},{NEW}");
    assert_eq!(read(&[("LIVESTORE_SYNC_AUTH_SECRETS", &two)]), Ok(Some(Err(AuthConfigError::Kid))));
    let twice = format!("{NEW},{NEW}");
    assert_eq!(read(&[("LIVESTORE_SYNC_AUTH_SECRETS", &twice)]), Ok(Some(Err(AuthConfigError::Kid))));
    assert_eq!(read(&[("LIVESTORE_SYNC_AUTH_LEEWAY", "soon")]), Err(AuthConfigError::Leeway));
    assert_eq!(read(&[("LIVESTORE_SYNC_AUTH_JWKS_URL", "https://a")]), Ok(Some(Err(AuthConfigError::NoFetch))));
    let secrets = JwtSettings { secrets: Some(secret.into()), ..JwtSettings::default() };
    assert!(!format!("{secrets:?} {:?}", JwtSecret::parse(secret).unwrap()).contains("really"));
}

fn connection(payload: Option<Value>, headers: &[(&str, &str)], trusted: bool) -> Arc<Connection> {
    let connection = Connection::new(Uuid::nil(), "team-a".into(), Transport::Ws, Generation::V04, NOW * 1_000);
    let payload = payload.map(|payload| RawValue::from_string(payload.to_string()).unwrap());
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Arc::new(connection.with_payload(payload).with_headers(headers).with_trusted_origin(trusted))
}

#[tokio::test]
async fn the_token_comes_in_one_of_three_places() {
    let cookies = JwtSettings { cookie: Some("session".into()), payload_field: "jwt".into(), ..settings() };
    let (plain, cookies) = (auth(&settings()), auth(&cookies));
    let token = signed(NEW, &claims());
    let (bearer, cookie) = (format!("bearer {token}"), format!("a=b; session={token}; c"));
    let (authorization, cookie) = (("authorization", &*bearer), ("cookie", &*cookie));
    let in_field = |field: &str| Some(json!({ field: token }));
    for (auth, connection, expected) in [
        (&plain, connection(in_field("authToken"), &[], false), ""),
        (&plain, connection(None, &[authorization], false), ""),
        (&plain, connection(Some(json!({ "other": 1 })), &[authorization], false), ""),
        (&plain, connection(Some(json!("text")), &[], false), "in the payload's authToken, or as Authorization"),
        (&plain, connection(in_field("jwt"), &[], false), "no token"),
        (&plain, connection(None, &[("authorization", "Basic x")], false), "no token"),
        (&plain, connection(None, &[cookie], true), "no token"),
        (&cookies, connection(in_field("jwt"), &[], false), ""),
        (&cookies, connection(None, &[cookie], true), ""),
        // Another page's browser sends it, too.
        (&cookies, connection(None, &[cookie], false), "--allow-origin"),
        (&cookies, connection(None, &[], true), "or in the cookie session"),
        // Who says something says who it is: the cookie does not mend it.
        (&cookies, connection(Some(json!({ "jwt": "x" })), &[cookie], true), "malformed"),
    ] {
        let said = auth.authenticate(Arc::clone(&connection)).await.map(|_| String::new());
        let text = said.unwrap_or_else(|error| error.to_string());
        assert!(text.contains(expected) && text.is_empty() == expected.is_empty(), "{connection:?}: {text:?}");
        assert!(!format!("{connection:?}").contains(&token), "secrets are not for logs");
    }
}

/// Answers with what the test has put there, once it is told to.
#[derive(Clone, Default)]
struct Fetch {
    started: Arc<AtomicUsize>,
    waiting: Arc<Mutex<Vec<FetchDone>>>,
    answer: Arc<Mutex<Option<Result<String, String>>>>,
}

impl Fetch {
    fn say(&self, answer: Result<String, String>) {
        *self.answer.lock().unwrap() = Some(answer);
    }

    fn started(&self) -> usize {
        self.started.load(Ordering::Relaxed)
    }
}

impl FetchJwks for Fetch {
    fn start(&self, url: &str, done: FetchDone) {
        assert_eq!(url, "https://keys.example/jwks");
        self.started.fetch_add(1, Ordering::Relaxed);
        self.waiting.lock().unwrap().push(done);
    }

    fn pause(&self) -> BoxFuture<()> {
        // Whatever waits is answered in the first pause.
        let (waiting, answer) =
            (std::mem::take(&mut *self.waiting.lock().unwrap()), self.answer.lock().unwrap().clone());
        for done in waiting {
            done.done(answer.clone().expect("an answer"));
        }
        Box::pin(tokio::task::yield_now())
    }
}

#[tokio::test]
async fn keys_of_a_url_are_fetched_once_a_minute_however_many_tokens_come() {
    let vectors = vectors();
    let (rsa, ed) = (vectors["tokens"]["RS256"].as_str().unwrap(), vectors["tokens"]["EdDSA"].as_str().unwrap());
    let all = vectors["jwks"].to_string();
    let first = json!({ "keys": [vectors["jwks"]["keys"][0]] }).to_string();
    let fetch = Fetch::default();
    let settings = JwtSettings { jwks_url: Some("https://keys.example/jwks".into()), ..settings() };
    let auth = JwtAuth::with_fetch(&settings, fetch.clone()).unwrap();
    let at =
        async |token: &str, seconds: u64| auth.check(token, Some("team-a"), (NOW + seconds) * 1_000).await.map(drop);

    // Nothing is fetched for what secrets have signed.
    assert_eq!((at(&signed(NEW, &claims()), 0).await, fetch.started()), (Ok(()), 0));
    fetch.say(Err("it is down".into()));
    assert_eq!((at(rsa, 0).await, fetch.started()), (Err(TokenError::NoKeys), 1));
    fetch.say(Ok(first));
    assert_eq!((at(rsa, 59).await, fetch.started()), (Err(TokenError::NoKeys), 1));
    assert_eq!((at(rsa, 60).await, fetch.started()), (Ok(()), 2));
    // The key is new: it is known a minute later, at the latest.
    fetch.say(Ok(all));
    let unknown = |token| matches!(token, Err(TokenError::UnknownKey(_)));
    for second in 60..120 {
        assert!(unknown(at(ed, second).await), "{second}");
    }
    assert_eq!((at(ed, 120).await, fetch.started()), (Ok(()), 3));
    // However many come with keys that nobody has.
    let (_, rest) = ed.split_once('.').unwrap();
    for n in 0..200 {
        let header = URL_SAFE_NO_PAD.encode(json!({ "alg": "EdDSA", "kid": n.to_string() }).to_string());
        assert!(unknown(at(&format!("{header}.{rest}"), 150).await));
    }
    assert_eq!(fetch.started(), 3);
    // What fails takes nothing away.
    fetch.say(Ok("x".repeat(JWKS_BYTES_MAX + 1)));
    assert_eq!((at(ed, 3_720).await, fetch.started()), (Ok(()), 4), "after an hour they are looked at anew");
    assert_eq!((at(rsa, 3_721).await, fetch.started()), (Ok(()), 4));
}

#[test]
fn keys_are_fetched_from_where_only_one_can_answer() {
    for (url, expected) in [
        ("https://issuer.example/.well-known/jwks.json", true),
        ("http://127.0.0.1:9000/jwks", true),
        ("http://localhost/jwks", true),
        ("http://issuer.example/jwks", false),
        ("http://localhost.evil.example/jwks", false),
        ("https://", false),
        ("ftp://issuer.example", false),
        ("issuer.example", false),
    ] {
        let settings = JwtSettings { jwks_url: Some(url.into()), ..JwtSettings::default() };
        assert_eq!(JwtAuth::with_fetch(&settings, Fetch::default()).is_ok(), expected, "{url}");
    }
}
