//! The packager on a real directory.
