//! Layer 2: ids, the peer table, routing, joining and maintenance, without IO.
