//! Who is watching what: touch, count and fence, behind one port with two adapters.
