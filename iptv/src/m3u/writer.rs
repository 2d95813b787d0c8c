//! Lists as players read them: every attribute quoted, nothing in a value that could end it.

use std::fmt::{Result, Write};

use super::Entry;

/// Writes the header with the guide's address under both names that players look for.
///
/// # Errors
/// Those of `out`.
pub fn write_header(out: &mut impl Write, guide_url: Option<&str>) -> Result {
    out.write_str("#EXTM3U")?;
    if let Some(url) = guide_url {
        attribute(out, "x-tvg-url", url)?;
        attribute(out, "url-tvg", url)?;
    }
    out.write_char('\n')
}

/// Writes one channel.
///
/// # Errors
/// Those of `out`.
pub fn write_entry(out: &mut impl Write, entry: &Entry) -> Result {
    out.write_str("#EXTINF:-1")?;
    let known = [
        ("tvg-id", &entry.guide_id),
        ("tvg-name", &entry.guide_name),
        ("tvg-logo", &entry.logo),
        ("tvg-chno", &entry.number),
    ];
    for (key, value) in known {
        if let Some(value) = value {
            attribute(out, key, value)?;
        }
    }
    if !entry.groups.is_empty() {
        attribute(out, "group-title", &entry.groups.join(";"))?;
    }
    if entry.radio {
        attribute(out, "radio", "true")?;
    }
    for (key, value) in &entry.attributes {
        attribute(out, key, value)?;
    }
    writeln!(out, ",{}", one_line(&entry.name))?;
    if let Some(user_agent) = &entry.user_agent {
        writeln!(out, "#EXTVLCOPT:http-user-agent={}", one_line(user_agent))?;
    }
    let url = one_line(&entry.url);
    // A bar of the address is not the one that headers stand behind.
    let url = match entry.headers.is_empty() {
        true => url,
        false => url.replace('|', "%7C"),
    };
    out.write_str(&url)?;
    for (index, (name, value)) in entry.headers.iter().enumerate() {
        let separator = if index == 0 { '|' } else { '&' };
        write!(out, "{separator}{name}={}", percent_encoded(value))?;
    }
    out.write_char('\n')
}

fn attribute(out: &mut impl Write, key: &str, value: &str) -> Result {
    write!(out, " {key}=\"{}\"", one_line(value).replace('"', "'"))
}

fn one_line(text: &str) -> String {
    text.replace(['\r', '\n'], " ")
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
