//! Who may administer: named tokens with roles, from a mounted file that has only their keyed hashes, as of users' tokens. Where no file is
//! named there is no admin API at all. Never prints a hash in full, and finding a token takes as long whether it is nearly right or not.

mod roles;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use catalog::token::TOKEN_MAXIMUM;
use catalog::{TokenHash, TokenKey};
use jiff::Timestamp;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

pub use roles::{Action, Role};

/// How often the file is looked at. A mounted Secret changes by a link to another directory, of which some file systems tell nothing.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Bytes of the file at most.
const FILE_MAXIMUM: u64 = 1024 * 1024;

/// Administrators at most: all of them are compared with every token.
const ADMINISTRATORS_MAXIMUM: usize = 100;

/// Characters of a name at most.
const NAME_MAXIMUM: usize = 256;

/// Somebody, or something, that may administer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Administrator {
    /// What the log calls it: 1 to 256 characters.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Keyed hash of its token.
    pub token_hash: TokenHash,
    /// From when on the token proves nothing.
    #[serde(default)]
    pub expires: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    administrators: Vec<Administrator>,
}

/// Why a file of administrators cannot be used. What the file says is not repeated: somebody may have put a token there.
#[derive(Debug, thiserror::Error)]
pub enum AdministratorsError {
    /// It cannot be read.
    #[error("failed to read the administrators {path:?}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// It is too long.
    #[error("failed to read the administrators {path:?}: it has more than {FILE_MAXIMUM} bytes")]
    Long {
        /// The file.
        path: PathBuf,
    },
    /// It is no such document.
    #[error(
        "failed to read the administrators {path:?}, line {line}: write `administrators:` and a list of {{ name, role, tokenHash }}, \
         the role being admin, operator or support, and the hash as headend-admin hash-token prints it"
    )]
    Document {
        /// The file.
        path: PathBuf,
        /// Where it is wrong, from 1.
        line: u64,
    },
    /// It says what cannot be.
    #[error("failed to use the administrators {path:?}: {fault}")]
    Refused {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fault: String,
    },
}

/// All who may administer.
pub struct Administrators {
    key: TokenKey,
    current: RwLock<Arc<Vec<Arc<Administrator>>>>,
    file: Option<Followed>,
}

struct Followed {
    path: PathBuf,
    /// Hash of what was read last, good or not: a bad file is told once.
    seen: Mutex<[u8; 32]>,
}

impl fmt::Debug for Administrators {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Administrators(…)")
    }
}

impl Administrators {
    /// Those of a file: YAML with `administrators:`. The key is the one that hashes users' tokens.
    ///
    /// # Errors
    /// When the file cannot be read, or what it says is wrong.
    pub fn open(path: PathBuf, key: TokenKey) -> Result<Self, AdministratorsError> {
        let text = read(&path)?;
        let administrators = parse(&path, &text)?;
        tracing::info!(administrators = administrators.len(), "the admin API is on");
        let seen = Mutex::new(Sha256::digest(&text).into());
        Ok(Self {
            key,
            current: RwLock::new(Arc::new(administrators)),
            file: Some(Followed { path, seen }),
        })
    }

    /// One, who may do everything and whose token is known to whoever starts the process.
    #[must_use]
    pub fn only(name: &str, token: &str, key: TokenKey) -> Self {
        let administrator = Administrator {
            name: name.to_owned(),
            role: Role::Admin,
            token_hash: key.hash(token.as_bytes()),
            expires: None,
        };
        Self {
            key,
            current: RwLock::new(Arc::new(vec![Arc::new(administrator)])),
            file: None,
        }
    }

    /// Whose token it is. All hashes are compared as a whole, so the time it takes tells nothing about those that exist.
    #[must_use]
    pub fn by_token(&self, token: &str, now: Timestamp) -> Option<Arc<Administrator>> {
        if token.is_empty() || token.len() > TOKEN_MAXIMUM {
            return None;
        }
        let hash = self.key.hash(token.as_bytes());
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let current = current.clone();
        let mut found = None;
        for administrator in current.iter() {
            if administrator.token_hash.matches(&hash) {
                found = Some(administrator);
            }
        }
        let found = found?;
        let is_valid = found.expires.is_none_or(|expires| now < expires);
        is_valid.then(|| found.clone())
    }

    /// Takes the file over whenever it changes, until `shutdown` is cancelled.
    pub async fn follow(self: Arc<Self>, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let this = self.clone();
            if let Err(error) = tokio::task::spawn_blocking(move || this.refresh()).await {
                tracing::error!(%error, "failed to look at the administrators");
            }
        }
    }

    /// Takes the file over if it is not what it was. One that is wrong leaves those who are known. Blocks on the file.
    pub fn refresh(&self) {
        let Some(file) = &self.file else {
            return;
        };
        match self.reload(file) {
            Ok(None) => {}
            Ok(Some(administrators)) => {
                tracing::info!(administrators, "other administrators are in use");
            }
            Err(error) => tracing::error!(%error, "keeping the administrators that are known"),
        }
    }

    fn reload(&self, file: &Followed) -> Result<Option<usize>, AdministratorsError> {
        let text = read(&file.path)?;
        {
            let mut seen = file.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let hash: [u8; 32] = Sha256::digest(&text).into();
            if *seen == hash {
                return Ok(None);
            }
            *seen = hash;
        }
        let administrators = parse(&file.path, &text)?;
        let count = administrators.len();
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(administrators);
        Ok(Some(count))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, AdministratorsError> {
    let refused = |source| AdministratorsError::Read {
        path: path.to_owned(),
        source,
    };
    if std::fs::metadata(path).map_err(refused)?.len() > FILE_MAXIMUM {
        let path = path.to_owned();
        return Err(AdministratorsError::Long { path });
    }
    std::fs::read(path).map_err(refused)
}

fn parse(path: &Path, text: &[u8]) -> Result<Vec<Arc<Administrator>>, AdministratorsError> {
    let document: Document = serde_saphyr::from_slice(text).map_err(|error| {
        let location = error.location();
        AdministratorsError::Document {
            path: path.to_owned(),
            line: location.map_or(1, |location| location.line()),
        }
    })?;
    let administrators = document.administrators;
    match fault(&administrators) {
        None => Ok(administrators.into_iter().map(Arc::new).collect()),
        Some(fault) => Err(AdministratorsError::Refused {
            path: path.to_owned(),
            fault,
        }),
    }
}

fn fault(administrators: &[Administrator]) -> Option<String> {
    if administrators.len() > ADMINISTRATORS_MAXIMUM {
        return Some(format!("there are more than {ADMINISTRATORS_MAXIMUM}"));
    }
    for (index, one) in administrators.iter().enumerate() {
        let length = one.name.chars().count();
        if !(1..=NAME_MAXIMUM).contains(&length) || one.name.chars().any(char::is_control) {
            return Some(format!(
                "a name has 1 to {NAME_MAXIMUM} characters, none of them a control character"
            ));
        }
        for other in &administrators[..index] {
            if other.name == one.name {
                return Some(format!("two have the name {:?}", one.name));
            }
            if other.token_hash == one.token_hash {
                let (one, other) = (&one.name, &other.name);
                return Some(format!("{other:?} and {one:?} have the same token"));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> TokenKey {
        TokenKey::new(&[3; 32]).unwrap()
    }

    fn now() -> Timestamp {
        "2026-06-01T12:00:00Z".parse().unwrap()
    }

    fn row(name: &str, role: &str, token: &str) -> String {
        let hash = key().hash(token.as_bytes());
        format!("  - {{ name: {name}, role: {role}, tokenHash: '{hash}' }}\n")
    }

    fn file(rows: &[String]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("administrators.yaml");
        std::fs::write(&path, format!("administrators:\n{}", rows.concat())).unwrap();
        (folder, path)
    }

    fn refused(rows: &[String]) -> String {
        let (_folder, path) = file(rows);
        Administrators::open(path, key()).unwrap_err().to_string()
    }

    fn who(administrators: &Administrators, token: &str) -> Option<(String, Role)> {
        let found = administrators.by_token(token, now())?;
        Some((found.name.clone(), found.role))
    }

    #[test]
    fn a_token_is_that_of_its_name_and_role_and_of_nobody_else() {
        let expired =
            row("gone", "admin", "gone-token").replace(" }", ", expires: 2026-06-01T12:00:00Z }");
        let (_folder, path) = file(&[
            row("team", "admin", "team-token"),
            row("desk", "support", "desk-token"),
            expired,
        ]);
        let administrators = Administrators::open(path, key()).unwrap();
        let team = ("team".to_owned(), Role::Admin);
        let desk = ("desk".to_owned(), Role::Support);
        assert_eq!(who(&administrators, "team-token"), Some(team));
        assert_eq!(who(&administrators, "desk-token"), Some(desk));
        let hash = key().hash(b"team-token").to_string();
        for token in ["", "team", "gone-token", &hash, &"x".repeat(513)] {
            assert_eq!(who(&administrators, token), None, "{token}");
        }
    }

    #[test]
    fn a_file_that_is_wrong_is_refused_without_repeating_what_it_says() {
        let team = row("team", "admin", "team-token");
        let token = "  - { name: team, role: admin, tokenHash: hunter2 }\n".to_owned();
        let message = refused(&[team.clone(), token]);
        assert!(
            message.contains("administrators.yaml\", line 3"),
            "{message}"
        );
        assert!(!message.contains("hunter2"), "{message}");
        for (rows, told) in [
            (vec![row("team", "king", "t")], "admin, operator or support"),
            (vec![team.replace(" }", ", rank: 1 }")], "line 2"),
            (
                vec![team.clone(), row("team", "support", "t")],
                "two have the name \"team\"",
            ),
            (
                vec![team.clone(), row("desk", "support", "team-token")],
                "\"team\" and \"desk\" have the same token",
            ),
            (vec![row("''", "admin", "t")], "1 to 256 characters"),
            (
                (0..101)
                    .map(|one| row(&one.to_string(), "admin", &one.to_string()))
                    .collect(),
                "more than 100",
            ),
        ] {
            let message = refused(&rows);
            assert!(message.contains(told), "{message}");
        }
        let missing = Administrators::open("/nonexistent/administrators".into(), key());
        assert!(missing.unwrap_err().to_string().contains("/nonexistent/"));
    }

    #[test]
    fn whoever_is_taken_out_of_the_file_is_out_and_a_bad_file_changes_nothing() {
        let (_folder, path) = file(&[row("team", "admin", "team-token")]);
        let administrators = Administrators::open(path.clone(), key()).unwrap();
        std::fs::write(&path, "administrators: 7").unwrap();
        administrators.refresh();
        assert!(who(&administrators, "team-token").is_some());
        let desk = row("desk", "operator", "desk-token");
        std::fs::write(&path, format!("administrators:\n{desk}")).unwrap();
        administrators.refresh();
        assert_eq!(who(&administrators, "team-token"), None);
        assert!(who(&administrators, "desk-token").is_some());
    }

    #[test]
    fn nothing_of_it_is_printed() {
        let only = Administrators::only("me", "secret", key());
        assert_eq!(format!("{only:?}"), "Administrators(…)");
        assert_eq!(who(&only, "secret"), Some(("me".to_owned(), Role::Admin)));
        assert_eq!(who(&only, "secreT"), None);
    }
}
