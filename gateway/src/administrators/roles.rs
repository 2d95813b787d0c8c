//! What each role may do: one table, and nothing else decides it.

use serde::Deserialize;

/// What an administrator is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything.
    Admin,
    /// Runs channels and streams. Gives nobody access.
    Operator,
    /// Helps viewers: looks, sees no login of a source, and ends sessions.
    Support,
}

/// What may be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Reads channels and groups.
    ReadCatalog,
    /// Reads addresses and headers of sources, which may hold logins.
    ReadSources,
    /// Makes, changes and removes channels and groups.
    ChangeCatalog,
    /// Reads users and the names of their tokens.
    ReadUsers,
    /// Makes, changes and removes users and their tokens.
    ChangeUsers,
    /// Ends the sessions of a user, who may begin new ones.
    EndSessions,
    /// Reads what streams do, who watches, and how the gateway is.
    ReadStreams,
    /// Stops, suspends and resumes streams.
    ControlStreams,
}

impl Role {
    /// Whether the role may do that.
    #[must_use]
    pub const fn may(self, action: Action) -> bool {
        use Action::{
            ChangeCatalog, ControlStreams, EndSessions, ReadCatalog, ReadSources, ReadStreams,
            ReadUsers,
        };
        match self {
            Self::Admin => true,
            Self::Operator => matches!(
                action,
                ReadCatalog
                    | ReadSources
                    | ChangeCatalog
                    | ReadUsers
                    | EndSessions
                    | ReadStreams
                    | ControlStreams
            ),
            Self::Support => matches!(action, ReadCatalog | ReadUsers | EndSessions | ReadStreams),
        }
    }

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Support => "support",
        }
    }
}

impl Action {
    /// What comes after "may not".
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadCatalog => "read channels and groups",
            Self::ReadSources => "read the sources of channels",
            Self::ChangeCatalog => "change channels and groups",
            Self::ReadUsers => "read users",
            Self::ChangeUsers => "change users and their tokens",
            Self::EndSessions => "end sessions",
            Self::ReadStreams => "read streams",
            Self::ControlStreams => "stop, suspend and resume streams",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_do_what_the_table_says() {
        for (action, admin, operator, support) in [
            (Action::ReadCatalog, true, true, true),
            (Action::ReadSources, true, true, false),
            (Action::ChangeCatalog, true, true, false),
            (Action::ReadUsers, true, true, true),
            (Action::ChangeUsers, true, false, false),
            (Action::EndSessions, true, true, true),
            (Action::ReadStreams, true, true, true),
            (Action::ControlStreams, true, true, false),
        ] {
            let may = [Role::Admin, Role::Operator, Role::Support].map(|role| role.may(action));
            assert_eq!(may, [admin, operator, support], "{action:?}");
        }
    }

    #[test]
    fn roles_are_named_as_they_are_written() {
        for role in [Role::Admin, Role::Operator, Role::Support] {
            let written = format!("{:?}", role.as_str());
            assert_eq!(serde_json::from_str::<Role>(&written).unwrap(), role);
        }
    }
}
