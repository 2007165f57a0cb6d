//! Rates, bytes in memory, bans, and what a flood may write to the log.
