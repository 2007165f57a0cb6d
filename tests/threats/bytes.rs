//! Bytes of a remote: what is cut, too long, too slow, or not for this node.
