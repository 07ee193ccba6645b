//! An operator, an account and its users, as JWTs: what `nsc` would make.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use nkeys::KeyPair;
use serde_json::{Value, json};

/// An operator with one account that may use JetStream.
pub(crate) struct Operator {
    jwt: String,
    account: KeyPair,
    account_jwt: String,
    /// The account of the server itself, without which it has no JetStream.
    system: KeyPair,
    system_jwt: String,
}

/// A user of the account.
pub(crate) struct User {
    pub(crate) jwt: String,
    pub(crate) seed: String,
}

impl Operator {
    pub(crate) fn new() -> Self {
        let operator = KeyPair::new_operator();
        let account = KeyPair::new_account();
        let system = KeyPair::new_account();
        let unlimited = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1,
            "wildcards": true, "conn": -1, "leaf": -1,
            "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1,
        });
        let claims = json!({"limits": unlimited, "type": "account", "version": 2});
        let system_claims = json!({"type": "account", "version": 2});
        Self {
            system_jwt: sign(&operator, &system, system_claims, None),
            system,
            jwt: sign(
                &operator,
                &operator,
                json!({"type": "operator", "version": 2}),
                None,
            ),
            account_jwt: sign(&operator, &account, claims, None),
            account,
        }
    }

    /// What a server needs to know.
    pub(crate) fn server_config(&self) -> String {
        format!(
            "jetstream {{ store_dir: \"$DIR/store\" }}\noperator: {}\nresolver: MEMORY\n\
             system_account: {}\nresolver_preload: {{ {}: {}, {}: {} }}\n",
            self.jwt,
            self.system.public_key(),
            self.account.public_key(),
            self.account_jwt,
            self.system.public_key(),
            self.system_jwt
        )
    }

    /// A user, good until a moment in seconds since the Unix epoch.
    pub(crate) fn user(&self, expires: Option<u64>) -> User {
        let user = KeyPair::new_user();
        let claims = json!({
            "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1,
            "type": "user", "version": 2,
        });
        User {
            jwt: sign(&self.account, &user, claims, expires),
            seed: user.seed().unwrap(),
        }
    }
}

impl User {
    /// As a credentials file.
    pub(crate) fn credentials(&self) -> String {
        format!(
            "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            self.jwt, self.seed
        )
    }
}

fn sign(issuer: &KeyPair, subject: &KeyPair, nats: Value, expires: Option<u64>) -> String {
    let mut claims = json!({
        "jti": "test", "iat": 1_700_000_000, "name": "test",
        "iss": issuer.public_key(), "sub": subject.public_key(), "nats": nats,
    });
    if let Some(expires) = expires {
        claims["exp"] = expires.into();
    }
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({"typ": "JWT", "alg": "ed25519-nkey"});
    let signed = format!("{}.{}", part(&header), part(&claims));
    let signature = issuer.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}
