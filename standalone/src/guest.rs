//! The user that needs no catalog: a guest with one token, who may watch everything. Its token is printed, never logged.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use catalog::{Allowed, TokenKey, User, UserToken};

/// Random bytes of a generated token.
const TOKEN_BYTES: usize = 18;

/// A guest, and the token that proves it.
pub(crate) struct Guest {
    pub(crate) user: User,
    pub(crate) token: String,
}

impl Guest {
    /// The guest with this token, or with a new one.
    pub(crate) fn new(key: &TokenKey, token: Option<String>) -> Result<Self, getrandom::Error> {
        let token = match token {
            Some(token) => token,
            None => generate()?,
        };
        let user = User {
            id: "guest".to_owned(),
            name: "guest".to_owned(),
            tokens: vec![UserToken::of_hash(key.hash(token.as_bytes()))],
            channels: Allowed::All,
            ..User::default()
        };
        Ok(Self { user, token })
    }
}

fn generate() -> Result<String, getrandom::Error> {
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_token_is_new_each_time_and_fits_a_url() {
        let key = TokenKey::new(&[7; 32]).unwrap();
        let guests = [(); 2].map(|()| Guest::new(&key, None).unwrap());
        assert_ne!(guests[0].token, guests[1].token);
        for Guest { user, token } in guests {
            assert_eq!(user.tokens[0].hash, key.hash(token.as_bytes()));
            assert_eq!(token.len(), 24);
            assert!(
                token
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
            );
        }
    }
}
