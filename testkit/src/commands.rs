//! One file per subcommand. Never more than arguments in and text out.

pub(crate) mod check;
pub(crate) mod source;
