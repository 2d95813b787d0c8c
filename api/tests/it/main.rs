//! The committed CRDs are what the types say. Rewritten by `cargo xtask crds`, which runs this test with `UPDATE=1`.

mod wire;

use std::path::Path;
use std::{env, fs};

use serde_json::Value;

#[test]
fn the_committed_crds_match_the_types() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds");
    for crd in api::crds() {
        let path = folder.join(format!("{}.yaml", crd.metadata.name.as_deref().unwrap()));
        let fresh =
            serde_saphyr::to_string(&with_whole_numbers(serde_json::to_value(&crd).unwrap()))
                .unwrap();
        if env::var_os("UPDATE").is_some() {
            fs::write(&path, &fresh).unwrap();
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == fresh,
            "{} is stale: run `cargo xtask crds`",
            path.display()
        );
    }
}

/// `minimum: 1.0` comes back from the API server as `minimum: 1`, which GitOps tools show as a difference for ever.
fn with_whole_numbers(value: Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float) if float.fract() == 0.0 => Value::from(float as i64),
            _ => Value::Number(number),
        },
        Value::Array(items) => items.into_iter().map(with_whole_numbers).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, field)| (name, with_whole_numbers(field)))
            .collect(),
        other => other,
    }
}

#[test]
fn no_schema_has_what_api_servers_warn_about() {
    for crd in api::crds() {
        let text = serde_json::to_string(&crd).unwrap();
        for unwanted in ["\"uint", "\"double\"", "null]"] {
            assert!(
                !text.contains(unwanted),
                "{}: {unwanted}",
                crd.spec.names.kind
            );
        }
    }
}

#[test]
fn every_field_of_a_spec_and_status_explains_itself() {
    for crd in api::crds() {
        for version in crd.spec.versions {
            let schema =
                serde_json::to_value(version.schema.unwrap().open_api_v3_schema.unwrap()).unwrap();
            undescribed(
                &schema["properties"]["spec"],
                &format!("{}.spec", crd.spec.names.kind),
            );
            undescribed(
                &schema["properties"]["status"],
                &format!("{}.status", crd.spec.names.kind),
            );
        }
    }
}

fn undescribed(schema: &Value, path: &str) {
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    for (name, property) in properties {
        let path = format!("{path}.{name}");
        assert!(
            property["description"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{path} has no description"
        );
        undescribed(property, &path);
        undescribed(&property["items"], &format!("{path}[]"));
    }
}
