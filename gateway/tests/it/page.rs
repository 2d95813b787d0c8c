//! The start page.

use crate::support::world::World;

#[tokio::test]
async fn the_page_and_its_files_are_served_and_nothing_else() {
    let world = World::start().await;
    let page = world.get("/").await;
    assert_eq!(
        (page.status, page.body.as_str()),
        (200, "<!doctype html>start")
    );
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(
        page.header("content-security-policy")
            .contains("default-src 'self'")
    );
    let script = world.get("/assets/app.js").await;
    assert_eq!(
        (script.body.as_str(), script.header("content-type")),
        ("start()", "text/javascript; charset=utf-8")
    );
    for uri in [
        "/assets/",
        "/assets/none.js",
        "/assets/..%2Fusers.yaml",
        "/assets/%2e%2e/users.yaml",
        "/users.yaml",
    ] {
        assert_eq!(world.get(uri).await.status, 404, "{uri}");
    }
}

#[test]
fn a_page_that_is_not_built_says_how_to_build_it() {
    let page = gateway::http::page::Page::load(std::path::Path::new("/nonexistent"));
    let text = std::str::from_utf8(page.index()).unwrap();
    assert!(text.contains("npm run build"), "{text}");
}
