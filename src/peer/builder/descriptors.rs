//! The limit of file descriptors of this process.

use crate::node::Config;

/// Descriptors that are reserved for everything else: dials, files, the runtime.
const RESERVE: usize = 64;

/// The soft limit, if the system reports it in `/proc` (Linux).
fn soft_limit() -> Option<usize> {
    parse(&std::fs::read_to_string("/proc/self/limits").ok()?)
}

/// Parses the table of `/proc/self/limits`, see proc(5). `None` if there is no limit.
fn parse(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// The number of connections that `limit` descriptors allow.
fn connections_within(limit: usize) -> usize {
    limit.saturating_sub(RESERVE).max(limit / 2).max(1)
}

/// Lowers the limit of connections to what the descriptors allow, and logs a warning.
pub(super) fn fit(mut config: Config) -> Config {
    let Some(limit) = soft_limit() else { return config };
    let most = connections_within(limit);
    if config.max_connections > most {
        tracing::warn!(
            limit,
            max_connections = most,
            "lowered max_connections: too few file descriptors (ulimit -n)"
        );
        config.max_connections = most;
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_read_from_the_table() {
        let table = "Limit                     Soft Limit           Hard Limit           Units     \n\
                     Max open files            1024                 1048576              files     \n";
        assert_eq!(parse(table), Some(1024));
        assert_eq!(
            parse("Max open files            unlimited            unlimited            files"),
            None
        );
        assert_eq!(parse(""), None);
    }

    #[test]
    fn descriptors_are_reserved_for_everything_but_connections() {
        assert_eq!([1024, 256, 100, 48, 1].map(connections_within), [960, 192, 50, 24, 1]);
    }
}
