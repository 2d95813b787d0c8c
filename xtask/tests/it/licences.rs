//! Every crate that we link may be shipped under Apache-2.0.

use crate::metadata;

/// Licences that may be shipped with ours; `deny.toml` says the same to cargo-deny.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Whether an SPDX expression can be satisfied by what is allowed: one side of each OR, all sides of each AND.
fn allows(expression: &str) -> bool {
    let plain = expression.replace(['(', ')'], " ").replace('/', " OR ");
    let all = |part: &str| {
        part.split(" AND ")
            .all(|licence| ALLOWED.contains(&licence.trim()))
    };
    plain.split(" OR ").any(all) || plain.split(" AND ").all(|part| part.split(" OR ").any(all))
}

#[test]
fn expressions_are_read_as_written() {
    assert!(
        allows("MIT OR GPL-3.0")
            && allows("MIT/Apache-2.0")
            && allows("(MIT OR Apache-2.0) AND Unicode-3.0")
    );
    assert!(!allows("GPL-3.0") && !allows("MIT AND GPL-3.0"));
}

#[test]
fn every_dependency_may_be_shipped() {
    let metadata = metadata(&["--locked"]);
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100);
    for package in packages {
        let licence = package["license"].as_str().unwrap_or("none");
        assert!(
            allows(licence),
            "{} {} is under {licence}",
            package["name"],
            package["version"]
        );
    }
    let deny = std::fs::read_to_string(crate::root().join("deny.toml")).unwrap();
    for licence in ALLOWED {
        assert!(
            deny.contains(&format!("\"{licence}\"")),
            "deny.toml does not allow {licence}"
        );
    }
}
