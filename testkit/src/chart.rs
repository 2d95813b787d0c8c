//! The product's environment variables, as the chart's templates set them and as a process's settings read them.
//! Judges nothing: what must agree with what is said by the tests of each process.

use std::collections::BTreeSet;
use std::path::Path;
use std::{fs, io};

/// How the names of variables begin: of our own, and of OpenTelemetry's.
const PREFIXES: [&str; 2] = ["HEADEND_", "OTEL_"];

/// Names of the variables that these templates of the chart set.
///
/// # Errors
/// When a template cannot be read.
pub fn variables_set(templates: &[&str]) -> io::Result<BTreeSet<String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/headend/templates");
    let mut variables = BTreeSet::new();
    for template in templates {
        let text = fs::read_to_string(folder.join(template))?;
        let names = text.lines().filter_map(|line| {
            let name = line.trim().strip_prefix("- name: ")?;
            let is_ours = PREFIXES.iter().any(|prefix| name.starts_with(prefix));
            is_ours.then(|| name.to_owned())
        });
        variables.extend(names);
    }
    Ok(variables)
}

/// Names of the variables that a command reads where its arguments are not given.
#[must_use]
pub fn variables_read(command: &clap::Command) -> BTreeSet<String> {
    let variables = command
        .get_arguments()
        .filter_map(|argument| argument.get_env());
    variables
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}
