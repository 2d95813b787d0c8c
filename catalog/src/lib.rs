//! Channels and users behind one port; the files adapter reads them from mounted files.
