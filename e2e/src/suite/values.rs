//! What the tests set in the chart. Only computes, from the environment and what it is given.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{Listed, NARROW_TOKEN, SOURCE_PORT, TOKEN, TOKEN_KEY};

fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

/// The tag of the product's images.
#[must_use]
pub fn tag() -> String {
    setting("HEADEND_E2E_TAG", "dev")
}

/// Values on top of the others: the output volume is one that a single node mounts.
#[must_use]
pub fn one_node() -> Value {
    let class = setting("HEADEND_E2E_STORAGE_CLASS", "one-node");
    json!({ "output": { "accessMode": "ReadWriteOnce", "storageClass": class } })
}

/// Puts values on top of others, object by object.
pub(super) fn merge(base: &mut Value, others: &Value) {
    match (base, others) {
        (Value::Object(base), Value::Object(others)) => {
            for (name, value) in others {
                merge(base.entry(name).or_insert(Value::Null), value);
            }
        }
        (base, others) => *base = others.clone(),
    }
}

/// The address of this machine that pods can reach: given, or the one towards the API server.
pub(super) fn source_address() -> Result<SocketAddr> {
    let given = std::env::var("HEADEND_E2E_ADDRESS")
        .ok()
        .map(|text| text.parse::<IpAddr>());
    let address = match given {
        Some(address) => address.context("HEADEND_E2E_ADDRESS is no address")?,
        None => IpAddr::from([198, 18, 0, 1]),
    };
    Ok(SocketAddr::new(address, SOURCE_PORT))
}

/// What is set in the chart. Images and storage are those of the test cluster unless the environment names others.
pub(super) fn of(source: &SocketAddr, listed: &[Listed]) -> Value {
    let image = |name: &str| json!({ "repository": format!("{}/{name}", setting("HEADEND_E2E_IMAGES", "localhost")), "tag": tag() });
    let channels: Vec<Value> = listed
        .iter()
        .map(|Listed { slug, class, path }| json!({ "slug": slug, "name": slug, "class": class, "sources": [{ "url": format!("http://{source}/{path}") }] }))
        .collect();
    let storage = setting("HEADEND_E2E_STORAGE_CLASS", "-");
    json!({
        "image": image("headend"),
        "transcoderImage": image("headend-transcoder"),
        "redis": { "image": image("redis"), "storageClass": storage },
        "output": { "storageClass": storage, "size": "1Gi" },
        // The tests are all viewers at one address.
        "gateway": { "replicas": 2, "drainSeconds": 1, "limits": { "startsPerSecond": 0, "mediaPerSecond": 0, "coldStartsPerMinute": 0, "connectionsPerAddress": 0 } },
        "keys": { "existingSecret": "e2e-keys" },
        "catalog": {
            "channels": channels,
            "users": [
                { "name": "everybody", "tokenHash": token_hash(TOKEN), "channels": "all" },
                { "name": "narrow", "tokenHash": token_hash(NARROW_TOKEN), "channels": ["plain"] },
            ],
        },
    })
}

/// A token's hash as the documentation of the catalog says it: HMAC-SHA-256 with the key `token`.
fn token_hash(token: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(TOKEN_KEY).expect("HMAC takes keys of any length");
    mac.update(token.as_bytes());
    format!("hmac-sha256:{}", hex::encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_on_top_leave_the_others() {
        let mut values = json!({ "output": { "size": "1Gi", "storageClass": "-" }, "keys": {} });
        merge(
            &mut values,
            &json!({ "output": { "storageClass": "fast" } }),
        );
        let expected = json!({ "output": { "size": "1Gi", "storageClass": "fast" }, "keys": {} });
        assert_eq!(values, expected);
    }
}
