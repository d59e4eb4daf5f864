//! What of the reply to `INFO` is told.

use crate::plugin::statsd::Value;
use std::collections::HashMap;

/// The figures that the original tells, in its order. Redis has renamed `client_biggest_input_buf` and
/// `client_longest_output_list` since.
const FIGURES: [&str; 22] = [
    "pubsub_channels",
    "connected_slaves",
    "lru_clock",
    "connected_clients",
    "keyspace_misses",
    "used_memory",
    "used_memory_peak",
    "total_commands_processed",
    "used_memory_rss",
    "total_connections_received",
    "pubsub_patterns",
    "used_cpu_sys",
    "used_cpu_sys_children",
    "blocked_clients",
    "used_cpu_user",
    "client_biggest_input_buf",
    "mem_fragmentation_ratio",
    "expired_keys",
    "evicted_keys",
    "client_longest_output_list",
    "uptime_in_seconds",
    "keyspace_hits",
];

/// The figures as gauges; one that this Redis does not tell, or that is no number, is left out.
pub(super) fn gauges(info: &str) -> Vec<(&'static str, Value)> {
    let lines: HashMap<&str, &str> = info.lines().filter_map(|line| line.split_once(':')).collect();
    let gauge = |key: &'static str| Some((key, value(lines.get(key)?.trim())?));
    FIGURES.into_iter().filter_map(gauge).collect()
}

fn value(text: &str) -> Option<Value> {
    if let Ok(number) = text.parse() {
        return Some(Value::Whole(number));
    }
    text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::Float)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_figures_are_told_in_their_order_and_others_left_out() {
        let info = "# Server\r\nredis_version:7.0.15\r\nuptime_in_seconds:3\r\n\r\n# Clients\r\n\
                    connected_clients:1\r\nused_cpu_sys:0.002142\r\nused_cpu_sys_children:0.000000\r\n\
                    mem_fragmentation_ratio:-nan\r\nlru_clock:302605\r\n";
        let expected = [
            ("lru_clock", Value::Whole(302_605)),
            ("connected_clients", Value::Whole(1)),
            ("used_cpu_sys", Value::Float(0.002_142)),
            ("used_cpu_sys_children", Value::Float(0.0)),
            ("uptime_in_seconds", Value::Whole(3)),
        ];
        assert_eq!(gauges(info), expected);
        assert_eq!(gauges(""), []);
    }
}
