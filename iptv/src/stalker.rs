//! What a Stalker portal answers to a box: always `{"js": …}`, with numbers as text or not, or a line of text when it refuses.
//! Every word that is kept is bounded and printable, because it goes into headers and addresses.

use serde_json::Value;

/// Bytes of an answer that are read at most.
pub const BYTES_MAXIMUM: usize = 256 << 10;
/// Letters of a token.
const TOKEN_MAXIMUM: usize = 256;
/// Letters of an address.
const ADDRESS_MAXIMUM: usize = 4096;

/// Why an answer is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The token is no longer known, or the device never was.
    #[error("it refuses the authorization")]
    Unauthorised,
    /// It is something else.
    #[error("it does not answer like a Stalker portal")]
    NotAnAnswer,
}

/// What a portal says of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// What the device may do.
    pub standing: Standing,
    /// How often the portal wants to hear from a device, in seconds.
    pub watchdog_seconds: Option<u64>,
}

/// What a device may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Play.
    Good,
    /// Nothing: it is switched off.
    Blocked,
    /// Nothing yet: it has to give a login first.
    NeedsLogin,
}

/// What a portal makes of a channel's command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// The address that is played.
    Address(String),
    /// None, because the connections that are allowed are in use.
    Limit,
    /// None, because the device or its subscription may not play this.
    Denied,
    /// None.
    Nothing,
}

/// The token of a handshake.
///
/// # Errors
/// When there is none.
pub fn token(bytes: &[u8]) -> Result<String, Trouble> {
    let js = js(bytes)?;
    let token = js.get("token").and_then(Value::as_str).unwrap_or_default();
    let is_printable = token.bytes().all(|byte| byte.is_ascii_graphic());
    if token.is_empty() || token.len() > TOKEN_MAXIMUM || !is_printable {
        return Err(Trouble::NotAnAnswer);
    }
    Ok(token.to_owned())
}

/// The profile of a device.
///
/// # Errors
/// When it is none.
pub fn profile(bytes: &[u8]) -> Result<Profile, Trouble> {
    let js = js(bytes)?;
    let js = js.as_object().ok_or(Trouble::NotAnAnswer)?;
    let number = |key: &str| js.get(key).and_then(number);
    Ok(Profile {
        standing: match number("status") {
            Some(1) => Standing::Blocked,
            Some(2) => Standing::NeedsLogin,
            _ => Standing::Good,
        },
        watchdog_seconds: number("watchdog_timeout").filter(|&seconds| seconds > 0),
    })
}

/// Whether a login was accepted.
///
/// # Errors
/// When the answer is none.
pub fn login(bytes: &[u8]) -> Result<bool, Trouble> {
    Ok(js(bytes)?.as_bool().unwrap_or(false))
}

/// What was made of a channel's command.
///
/// # Errors
/// When the answer is none.
pub fn link(bytes: &[u8]) -> Result<Link, Trouble> {
    let js = js(bytes)?;
    let word = |key: &str| js.get(key).and_then(Value::as_str).unwrap_or_default();
    match word("error") {
        "" => {}
        "limit" => return Ok(Link::Limit),
        "access_denied" => return Ok(Link::Denied),
        _ => return Ok(Link::Nothing),
    }
    // Boxes are told which player to use; the address is the rest.
    let address = word("cmd")
        .split_whitespace()
        .find(|word| word.contains("://"));
    Ok(match address {
        Some(address) if address.len() <= ADDRESS_MAXIMUM => Link::Address(address.to_owned()),
        _ => Link::Nothing,
    })
}

/// Whether a portal still knows the token, by its answer to anything.
///
/// # Errors
/// When it does not.
pub fn acknowledged(bytes: &[u8]) -> Result<(), Trouble> {
    js(bytes).map(drop)
}

fn js(bytes: &[u8]) -> Result<Value, Trouble> {
    if bytes.len() > BYTES_MAXIMUM {
        return Err(Trouble::NotAnAnswer);
    }
    let bytes = bytes.trim_ascii();
    let refusal = b"authorization failed";
    if bytes.len() >= refusal.len() && bytes[..refusal.len()].eq_ignore_ascii_case(refusal) {
        return Err(Trouble::Unauthorised);
    }
    let mut answer: Value = serde_json::from_slice(bytes).map_err(|_| Trouble::NotAnAnswer)?;
    let js = answer.get_mut("js").map(Value::take);
    js.ok_or(Trouble::NotAnAnswer)
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_printable_and_short() {
        let of = |text: &str| token(format!(r#"{{"js":{{"token":"{text}"}}}}"#).as_bytes());
        assert_eq!(of("A1B2"), Ok("A1B2".to_owned()));
        for bad in ["", "a b", "a\\r\\nX: y", &"a".repeat(300)] {
            assert_eq!(of(bad), Err(Trouble::NotAnAnswer), "{bad}");
        }
    }

    #[test]
    fn a_profile_is_read_whatever_types_a_portal_has() {
        for (answer, standing, watchdog) in [
            (
                r#"{"status":0,"watchdog_timeout":120}"#,
                Standing::Good,
                Some(120),
            ),
            (r#"{"status":"1"}"#, Standing::Blocked, None),
            (
                r#"{"status":"2","watchdog_timeout":"90"}"#,
                Standing::NeedsLogin,
                Some(90),
            ),
            (r#"{"id":7,"watchdog_timeout":0}"#, Standing::Good, None),
        ] {
            let profile = profile(format!("{{\"js\":{answer}}}").as_bytes()).unwrap();
            assert_eq!(
                (profile.standing, profile.watchdog_seconds),
                (standing, watchdog)
            );
        }
        assert_eq!(profile(br#"{"js":false}"#), Err(Trouble::NotAnAnswer));
    }

    #[test]
    fn a_link_is_what_follows_the_name_of_the_player() {
        for (answer, expected) in [
            (
                r#"{"cmd":"ffmpeg http://edge.example/7?token=1"}"#,
                Link::Address("http://edge.example/7?token=1".to_owned()),
            ),
            (
                r#"{"cmd":" http://edge.example/7 ","error":""}"#,
                Link::Address("http://edge.example/7".to_owned()),
            ),
            (r#"{"cmd":"","error":"limit"}"#, Link::Limit),
            (r#"{"error":"access_denied"}"#, Link::Denied),
            (r#"{"cmd":"x","error":"nothing_to_play"}"#, Link::Nothing),
            (r#"{"cmd":"ffmpeg"}"#, Link::Nothing),
            (r#"{"cmd":7}"#, Link::Nothing),
            ("null", Link::Nothing),
        ] {
            let answer = format!("{{\"js\":{answer}}}");
            assert_eq!(link(answer.as_bytes()), Ok(expected), "{answer}");
        }
    }

    #[test]
    fn a_refusal_is_told_from_nonsense() {
        for refusal in ["Authorization failed.", " authorization FAILED. \n"] {
            assert_eq!(acknowledged(refusal.as_bytes()), Err(Trouble::Unauthorised));
        }
        let long = "[".repeat(BYTES_MAXIMUM + 1);
        for nonsense in ["", "<html>", "{}", "[]", &long] {
            assert_eq!(acknowledged(nonsense.as_bytes()), Err(Trouble::NotAnAnswer));
        }
        assert_eq!(acknowledged(br#"{"js":null}"#), Ok(()));
        assert_eq!(login(br#"{"js":true}"#), Ok(true));
        assert_eq!(login(br#"{"js":"no"}"#), Ok(false));
    }
}
