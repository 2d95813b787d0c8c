//! What `headend-admin` does: hash tokens for the users' file, check a catalog before it is rolled out, tasks on the store of the catalog, and
//! everything that the admin API has ([`remote`]). A token never stands on a command line, and is printed only when it was made just now.

pub mod remote;
mod store;

use std::io::{BufRead, Read, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use catalog::TokenKey;
use catalog::token::TOKEN_MAXIMUM;
use clap::Parser;
use runtime::exit::ProcessError;
pub use store::StoreSettings;

use self::remote::ApiCommand;

/// Bytes of a token that is made here.
const TOKEN_LENGTH: usize = 24;

/// Small tasks around a gateway.
#[derive(Debug, Parser)]
#[command(name = "headend-admin", version)]
pub enum Command {
    /// Prints the hash of a token, for `tokenHash` of a user or an administrator. The token is the first line of standard input.
    HashToken {
        /// File with the key that hashes tokens: `token` of the gateways' keys.
        key: PathBuf,
        /// Make a token, and print it before its hash.
        #[arg(long)]
        generate: bool,
    },
    /// Reads a catalog as a gateway would, and says what is wrong with it.
    CheckCatalog {
        /// Files and directories of the catalog, all of them together.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Puts channels, groups and users of files into the catalog in Redis: YAML, M3U, or .txt with rows of
    /// id|name|url|logo|category|quality|order|category_order. What is there beside them stays.
    ImportCatalog {
        /// Which catalog.
        #[command(flatten)]
        store: StoreSettings,
        /// Files and directories.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Writes all of the catalog in Redis to standard output. Addresses of sources are in it as they are: keep it like a password.
    BackupCatalog {
        /// Which catalog.
        #[command(flatten)]
        store: StoreSettings,
    },
    /// Tasks by the admin API of a gateway.
    #[command(flatten)]
    Api(ApiCommand),
    /// Makes the catalog in Redis what a backup on standard input says, and nothing else. A backup with a bad line changes nothing.
    RestoreCatalog {
        /// Which catalog.
        #[command(flatten)]
        store: StoreSettings,
    },
}

/// Why a task failed.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Standard input has no token.
    #[error(
        "failed to read a token: write it to standard input, or let one be made with --generate"
    )]
    NoToken,
    /// The token is longer than gateways accept.
    #[error("failed to use the token: it has more than {TOKEN_MAXIMUM} bytes")]
    LongToken,
    /// The system gives no random bytes.
    #[error("failed to make a token: {0}")]
    Random(getrandom::Error),
}

/// Carries a command out.
///
/// # Errors
/// What is wrong with the input, or that the output cannot be written.
pub fn run(
    command: &Command,
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> Result<(), ProcessError> {
    match command {
        Command::HashToken { key, generate } => hash_token(key, *generate, input, output),
        Command::CheckCatalog { files } => check_catalog(files, output),
        Command::ImportCatalog { store, files } => store::import(store, files, output),
        Command::BackupCatalog { store } => store::backup(store, output),
        Command::RestoreCatalog { store } => store::restore(store, input, output),
        Command::Api(command) => remote::run(command, input, output),
    }
}

fn hash_token(
    key: &Path,
    generate: bool,
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> Result<(), ProcessError> {
    let key = TokenKey::read(key).map_err(ProcessError::input)?;
    let token = if generate {
        make_token().map_err(AdminError::Random)?
    } else {
        read_token(input)?
    };
    if generate {
        writeln!(output, "token: {token}")?;
        write!(output, "tokenHash: ")?;
    }
    writeln!(output, "{}", key.hash(token.as_bytes()))?;
    Ok(())
}

/// A token that nobody guesses, of letters that need no quoting anywhere.
pub(crate) fn make_token() -> Result<String, getrandom::Error> {
    let mut bytes = [0; TOKEN_LENGTH];
    getrandom::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn read_token(input: &mut impl BufRead) -> Result<String, ProcessError> {
    let mut line = String::new();
    input.take(4 * TOKEN_MAXIMUM as u64).read_line(&mut line)?;
    let token = line.trim_end_matches(['\r', '\n']);
    match token.len() {
        0 => Err(ProcessError::input(AdminError::NoToken)),
        1..=TOKEN_MAXIMUM => Ok(token.to_owned()),
        _ => Err(ProcessError::input(AdminError::LongToken)),
    }
}

fn check_catalog(files: &[PathBuf], output: &mut impl Write) -> Result<(), ProcessError> {
    let (snapshot, warnings) = catalog::files::load(files).map_err(ProcessError::input)?;
    for warning in &warnings.kept {
        writeln!(output, "warning: {warning}")?;
    }
    if warnings.left_out > 0 {
        writeln!(output, "warning: and {} more", warnings.left_out)?;
    }
    let (channels, users) = (snapshot.channel_count(), snapshot.user_count());
    writeln!(output, "{channels} channels, {users} users")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Command::command().debug_assert();
    }

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn with(files: &[(&str, &str)]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            for (name, text) in files {
                std::fs::write(folder.path().join(name), text).unwrap();
            }
            Self(folder)
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }
    }

    fn outcome(command: &Command, input: &str) -> Result<String, String> {
        let mut output = Vec::new();
        run(command, &mut input.as_bytes(), &mut output).map_err(|error| error.message())?;
        Ok(String::from_utf8(output).unwrap())
    }

    #[test]
    fn the_hash_is_the_one_that_gateways_compare() {
        let folder = Folder::with(&[("token", &"k".repeat(32))]);
        let command = Command::HashToken {
            key: folder.path("token"),
            generate: false,
        };
        let expected = TokenKey::new(&b"k".repeat(32))
            .unwrap()
            .hash(b"secret token");
        assert_eq!(
            outcome(&command, "secret token\nmore"),
            Ok(format!("{expected}\n"))
        );
        assert_eq!(
            outcome(&command, "secret token"),
            Ok(format!("{expected}\n"))
        );
    }

    #[test]
    fn a_token_that_is_made_is_shown_once_with_its_hash() {
        let folder = Folder::with(&[("token", &"k".repeat(32))]);
        let command = Command::HashToken {
            key: folder.path("token"),
            generate: true,
        };
        let text = outcome(&command, "").unwrap();
        let (token, hash) = text.split_once('\n').unwrap();
        let token = token.strip_prefix("token: ").unwrap();
        let expected = TokenKey::new(&b"k".repeat(32))
            .unwrap()
            .hash(token.as_bytes());
        assert_eq!(hash, format!("tokenHash: {expected}\n"));
        assert_ne!(outcome(&command, "").unwrap(), text);
    }

    #[test]
    fn bad_input_is_named() {
        let folder = Folder::with(&[("token", &"k".repeat(32)), ("short", "k")]);
        let hash = |name: &str| Command::HashToken {
            key: folder.path(name),
            generate: false,
        };
        assert!(
            outcome(&hash("token"), "\n")
                .unwrap_err()
                .contains("--generate")
        );
        assert!(
            outcome(&hash("token"), &"x".repeat(513))
                .unwrap_err()
                .contains("more than 512")
        );
        assert!(
            outcome(&hash("short"), "x")
                .unwrap_err()
                .contains("1 bytes")
        );
        assert!(outcome(&hash("none"), "x").unwrap_err().contains("none"));
    }

    #[test]
    fn a_catalog_is_counted_or_its_mistakes_are_named() {
        let m3u = "#EXTM3U\n#EXTINF:-1,News One\nhttp://source.example/one.ts\n";
        let folder = Folder::with(&[("channels.m3u", m3u), ("bad.yaml", "channels: 7\n")]);
        let check = |name: &str| Command::CheckCatalog {
            files: vec![folder.path(name)],
        };
        assert_eq!(
            outcome(&check("channels.m3u"), ""),
            Ok("1 channels, 0 users\n".to_owned())
        );
        assert!(
            outcome(&check("bad.yaml"), "")
                .unwrap_err()
                .contains("bad.yaml")
        );
    }
}
