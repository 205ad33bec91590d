//! Public keys by the runtime's Web Crypto (`crypto.subtle`).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use worker::js_sys::{Array, JSON, Promise, Uint8Array};
use worker::wasm_bindgen;
use worker::wasm_bindgen::prelude::*;
use worker::wasm_bindgen_futures::JsFuture;

use super::Material;

/// A key as `importKey` takes it, and the names of its algorithm.
pub(crate) struct PublicKey {
    jwk: String,
    import: &'static str,
    verify: &'static str,
}

#[wasm_bindgen(wasm_bindgen = wasm_bindgen)]
extern "C" {
    #[wasm_bindgen(js_namespace = ["crypto", "subtle"], js_name = importKey, catch)]
    fn import_key(
        format: &str,
        key: &JsValue,
        algorithm: &JsValue,
        extractable: bool,
        usages: &Array,
    ) -> Result<Promise, JsValue>;

    #[wasm_bindgen(js_namespace = ["crypto", "subtle"], catch)]
    fn verify(
        algorithm: &JsValue,
        key: &JsValue,
        signature: &Uint8Array,
        data: &Uint8Array,
    ) -> Result<Promise, JsValue>;
}

impl PublicKey {
    /// `None` for what is no key. Whether the numbers are ones of a key is only known when one is used.
    pub(crate) fn new(material: &Material<'_>) -> Option<Self> {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        Some(match material {
            Material::Rsa { n, e } => Self {
                jwk: format!(r#"{{"kty":"RSA","n":"{}","e":"{}"}}"#, text(n), text(e)),
                import: r#"{"name":"RSASSA-PKCS1-v1_5","hash":"SHA-256"}"#,
                verify: r#"{"name":"RSASSA-PKCS1-v1_5"}"#,
            },
            Material::P256 { x, y } => Self {
                jwk: format!(r#"{{"kty":"EC","crv":"P-256","x":"{}","y":"{}"}}"#, text(*x), text(*y)),
                import: r#"{"name":"ECDSA","namedCurve":"P-256"}"#,
                verify: r#"{"name":"ECDSA","hash":"SHA-256"}"#,
            },
            Material::Ed25519 { x } => Self {
                jwk: format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#, text(*x)),
                import: r#"{"name":"Ed25519"}"#,
                verify: r#"{"name":"Ed25519"}"#,
            },
        })
    }

    /// Whether its owner has signed this: RS256, ES256 or EdDSA.
    pub(crate) async fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        // What the runtime throws on is no signature.
        self.verified(signed, signature).await.is_ok_and(|verified| verified.is_truthy())
    }

    async fn verified(&self, signed: &[u8], signature: &[u8]) -> Result<JsValue, JsValue> {
        let usages = Array::of1(&"verify".into());
        let key = import_key("jwk", &JSON::parse(&self.jwk)?, &JSON::parse(self.import)?, false, &usages)?;
        let key = JsFuture::from(key).await?;
        let (signed, signature) = (Uint8Array::from(signed), Uint8Array::from(signature));
        JsFuture::from(verify(&JSON::parse(self.verify)?, &key, &signature, &signed)?).await
    }
}
