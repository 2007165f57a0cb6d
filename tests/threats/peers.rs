//! The table of peers, who may change it, and what a remote can have a node do to others.
