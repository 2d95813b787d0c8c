//! What an Xtream panel says of an account (`player_api.php` without an action). Panels differ in types: numbers may be text, and
//! text numbers. What is not there is not guessed.

use serde_json::Value;

/// Bytes of an answer that are read at most.
pub const BYTES_MAXIMUM: usize = 256 << 10;
/// Letters of a panel's own word that are kept.
const WORD_MAXIMUM: usize = 32;

/// An account as its panel describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// The login is right.
    pub is_authorised: bool,
    /// `Active`, `Expired`, `Banned`, `Disabled`, or a word of the panel's own; may be empty.
    pub status: String,
    /// When it expires or expired, in Unix seconds; absent where it never does.
    pub expires: Option<i64>,
    /// Connections in use.
    pub active_connections: Option<i64>,
    /// Connections that it may have at once; 0 is without limit.
    pub maximum_connections: Option<i64>,
}

/// What an account is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nothing speaks against it.
    Good,
    /// The login is wrong.
    WrongLogin,
    /// Its time is over.
    Expired {
        /// Since when, in Unix seconds.
        since: Option<i64>,
    },
    /// The panel has switched it off.
    Refused {
        /// The panel's word for it.
        status: String,
    },
    /// All its connections are in use.
    Full {
        /// So many are in use.
        active: i64,
        /// So many there are.
        maximum: i64,
    },
}

/// It is not what a panel says of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it says nothing of an account")]
pub struct NotAnAccount;

/// Reads the answer of a panel.
///
/// # Errors
/// When it has no `user_info`.
pub fn account(bytes: &[u8]) -> Result<Account, NotAnAccount> {
    if bytes.len() > BYTES_MAXIMUM {
        return Err(NotAnAccount);
    }
    let answer: Value = serde_json::from_slice(bytes).map_err(|_| NotAnAccount)?;
    let user = answer.get("user_info").and_then(Value::as_object);
    let user = user.ok_or(NotAnAccount)?;
    let number = |key: &str| user.get(key).and_then(number);
    let status = user.get("status").and_then(Value::as_str);
    let letters = status.unwrap_or_default().chars();
    Ok(Account {
        is_authorised: number("auth").map_or(status.is_some(), |auth| auth != 0),
        status: letters
            .filter(|letter| letter.is_alphanumeric() || *letter == ' ')
            .take(WORD_MAXIMUM)
            .collect(),
        expires: number("exp_date").filter(|&seconds| seconds > 0),
        active_connections: number("active_cons"),
        maximum_connections: number("max_connections"),
    })
}

fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(is_true) => Some(i64::from(*is_true)),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

impl Account {
    /// What it is good for at a time in Unix seconds.
    #[must_use]
    pub fn standing(&self, now: i64) -> Standing {
        if !self.is_authorised {
            return Standing::WrongLogin;
        }
        let is = |status: &str| self.status.eq_ignore_ascii_case(status);
        if is("Expired") || self.expires.is_some_and(|expires| expires <= now) {
            let since = self.expires.filter(|&expires| expires <= now);
            return Standing::Expired { since };
        }
        if is("Banned") || is("Disabled") {
            let status = self.status.clone();
            return Standing::Refused { status };
        }
        match (self.active_connections, self.maximum_connections) {
            (Some(active), Some(maximum)) if maximum > 0 && active >= maximum => {
                Standing::Full { active, maximum }
            }
            _ => Standing::Good,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_767_225_600;

    fn standing(user: &str) -> Result<Standing, NotAnAccount> {
        let answer = format!(r#"{{"user_info":{user},"server_info":{{}}}}"#);
        Ok(account(answer.as_bytes())?.standing(NOW))
    }

    #[test]
    fn an_account_is_judged_whatever_types_a_panel_has() {
        let refused = |status: &str| Standing::Refused {
            status: status.to_owned(),
        };
        for (user, expected) in [
            (
                r#"{"auth":1,"status":"Active","exp_date":null,"active_cons":"0","max_connections":"1"}"#,
                Standing::Good,
            ),
            (r#"{"auth":"1","status":"Active"}"#, Standing::Good),
            (r#"{"status":"Active"}"#, Standing::Good),
            (r#"{"auth":0}"#, Standing::WrongLogin),
            (r#"{"auth":"0","status":"Active"}"#, Standing::WrongLogin),
            ("{}", Standing::WrongLogin),
            (
                r#"{"auth":1,"status":"Active","exp_date":"1767225599"}"#,
                Standing::Expired {
                    since: Some(NOW - 1),
                },
            ),
            (
                r#"{"auth":true,"status":"expired","exp_date":1999999999}"#,
                Standing::Expired { since: None },
            ),
            (r#"{"auth":1,"status":"Banned"}"#, refused("Banned")),
            (r#"{"auth":1,"status":"Disabled"}"#, refused("Disabled")),
            (
                r#"{"auth":1,"status":"Active","active_cons":2,"max_connections":"2"}"#,
                Standing::Full {
                    active: 2,
                    maximum: 2,
                },
            ),
            (
                r#"{"auth":1,"status":"Active","active_cons":"7","max_connections":"0"}"#,
                Standing::Good,
            ),
        ] {
            assert_eq!(standing(user), Ok(expected), "{user}");
        }
    }

    #[test]
    fn what_is_no_account_is_told_apart() {
        for answer in ["", "[]", "<html>", "{\"user_info\":[]}", "null"] {
            assert_eq!(account(answer.as_bytes()), Err(NotAnAccount), "{answer}");
        }
        let long = "[".repeat(BYTES_MAXIMUM);
        assert_eq!(account(long.as_bytes()), Err(NotAnAccount));
    }

    #[test]
    fn a_panels_word_is_kept_short_and_printable() {
        let word = "B\\u001b[31m".repeat(20);
        let answer = format!(r#"{{"user_info":{{"auth":1,"status":"{word}"}}}}"#);
        let status = account(answer.as_bytes()).unwrap().status;
        assert!(
            status.starts_with("B31m") && status.len() == WORD_MAXIMUM,
            "{status}"
        );
    }
}
