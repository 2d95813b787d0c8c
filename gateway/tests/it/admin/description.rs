//! The description of the API, and that it says what there is: nothing is routed but what is described.

use serde_json::{Value, json};

use super::{Api, request};

/// Every operation, and which roles it lets in. `any` needs no token; `viewers` lets those in, too.
const OPERATIONS: &[(&str, &str, &str)] = &[
    ("DELETE", "/api/v1/channels/{slug}", "admin operator"),
    ("DELETE", "/api/v1/groups/{id}", "admin operator"),
    ("DELETE", "/api/v1/sessions/{id}", "admin operator support"),
    ("DELETE", "/api/v1/users/{name}", "admin"),
    ("DELETE", "/api/v1/users/{name}/tokens/{token}", "admin"),
    ("GET", "/api/v1/channels", "admin operator support viewers"),
    ("GET", "/api/v1/channels/{slug}", "admin operator support"),
    ("GET", "/api/v1/export", "admin operator"),
    ("GET", "/api/v1/groups", "admin operator support"),
    ("GET", "/api/v1/groups/{id}", "admin operator support"),
    ("GET", "/api/v1/health", "admin operator support"),
    ("GET", "/api/v1/imports/{id}", "admin operator support"),
    ("GET", "/api/v1/openapi.json", "any"),
    ("GET", "/api/v1/sessions", "admin operator support"),
    ("GET", "/api/v1/sessions/{id}", "admin operator support"),
    ("GET", "/api/v1/stats", "admin operator support"),
    ("GET", "/api/v1/streams", "admin operator support"),
    ("GET", "/api/v1/streams/{name}", "admin operator support"),
    ("GET", "/api/v1/users", "admin operator support"),
    ("GET", "/api/v1/users/{name}", "admin operator support"),
    (
        "GET",
        "/api/v1/users/{name}/tokens",
        "admin operator support",
    ),
    ("POST", "/api/v1/channels", "admin operator"),
    ("POST", "/api/v1/groups", "admin operator"),
    ("POST", "/api/v1/imports", "admin operator"),
    ("POST", "/api/v1/streams/{name}/resume", "admin operator"),
    ("POST", "/api/v1/streams/{name}/stop", "admin operator"),
    ("POST", "/api/v1/streams/{name}/suspend", "admin operator"),
    ("POST", "/api/v1/users", "admin"),
    (
        "POST",
        "/api/v1/users/{name}/kick",
        "admin operator support",
    ),
    ("POST", "/api/v1/users/{name}/tokens", "admin"),
    ("PUT", "/api/v1/channels/{slug}", "admin operator"),
    ("PUT", "/api/v1/groups/{id}", "admin operator"),
    ("PUT", "/api/v1/users/{name}", "admin"),
];

async fn description(api: &Api) -> Value {
    api.get("/api/v1/openapi.json").await
}

#[tokio::test]
async fn the_description_has_every_operation_with_what_it_takes_and_gives() {
    let api = Api::start().await;
    let document = description(&api).await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            operations.push((method.to_uppercase(), path.clone()));
            let id = operation["operationId"].as_str().unwrap();
            assert!(operation["summary"].is_string(), "{id}");
            // OpenAPI 3.1, Response Object: each answer has one.
            let responses = operation["responses"].as_object().unwrap();
            let mut described = responses.values().map(|one| one["description"].is_string());
            assert!(!responses.is_empty() && described.all(|is| is), "{id}");
            let is_switch = path.starts_with("/api/v1/streams/") || path.ends_with("/kick");
            let takes = method == "put" || method == "post" && !is_switch;
            assert_eq!(operation["requestBody"].is_object(), takes, "{id}");
            let parameters = operation["parameters"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let in_path = parameters.iter().filter(|one| one["in"] == "path").count();
            assert_eq!(in_path, path.matches('{').count(), "{id}");
        }
    }
    operations.sort();
    let expected = OPERATIONS
        .iter()
        .map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned()));
    assert_eq!(operations, expected.collect::<Vec<_>>());
    let bearer = &document["components"]["securitySchemes"]["bearer"];
    assert_eq!(bearer, &json!({ "type": "http", "scheme": "bearer" }));
}

/// What is named is there: a generator of clients follows every reference.
#[tokio::test]
async fn every_reference_of_the_description_leads_somewhere() {
    let api = Api::start().await;
    let document = description(&api).await;
    let mut left = vec![&document];
    let mut references = 0;
    while let Some(value) = left.pop() {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
            references += 1;
        }
        match value {
            Value::Object(fields) => left.extend(fields.values()),
            Value::Array(values) => left.extend(values),
            _ => {}
        }
    }
    assert!(references > 20, "{references}");
}

#[tokio::test]
async fn each_operation_lets_in_its_roles_and_nobody_else() {
    let api = Api::start().await;
    let wish = json!({ "unknown": 7 });
    for (method, path, roles) in OPERATIONS {
        let uri = path.replace(['{', '}'], "");
        let body = matches!(*method, "POST" | "PUT").then_some(&wish);
        let status = async |token: &str| {
            let request = request(method, &uri, token, &[], body);
            api.replica.send(request).await.status
        };
        let is_open = *roles == "any";
        assert_eq!(status("").await == 401, !is_open, "{method} {path}");
        for (token, role) in [
            ("root-token", "admin"),
            ("ops-token", "operator"),
            ("desk-token", "support"),
        ] {
            let answered = status(token).await;
            let may = is_open || roles.contains(role);
            assert_eq!(answered != 403, may, "{method} {path} {role}: {answered}");
            assert_ne!(answered, 401, "{method} {path} {role}");
            assert_ne!(answered, 405, "{method} {path} {role}");
        }
    }
}

/// In the admin API a route comes from a description: `routes!` makes both. Aliases are described by what they are aliases of.
#[test]
fn no_route_is_made_without_a_description() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http");
    let mut files = vec![format!("{folder}/admin.rs")];
    for entry in std::fs::read_dir(format!("{folder}/admin")).unwrap() {
        files.push(entry.unwrap().path().to_str().unwrap().to_owned());
    }
    files.retain(|file| !file.ends_with("/aliases.rs"));
    assert!(files.len() > 5);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!text.contains(".route("), "{file}");
    }
}
