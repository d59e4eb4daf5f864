//! The answer to `info`: the kernel about itself, one `key=value` line each.

use papa_handover::snapshot::FORMAT;

use crate::tables::Tables;

/// The lines, without a line feed after the last.
pub(crate) fn text(tables: &Tables) -> String {
    let status = tables.status.0;
    let processes = &tables.processes;
    let hosted = || processes.iter().map(|(.., hosted)| hosted);
    let lines = [
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("pid", std::process::id().to_string()),
        ("uptime", uptime().to_string()),
        ("clients", status.clients.to_string()),
        ("processes", hosted().count().to_string()),
        ("running", hosted().filter(|hosted| hosted.is_running()).count().to_string()),
        ("sockets", tables.sockets.len().to_string()),
        ("values", tables.values.len().to_string()),
        ("memory", resident_bytes().to_string()),
        ("client_memory", status.client_memory.to_string()),
        ("unread", processes.unread().to_string()),
        ("dropped", processes.dropped().to_string()),
        ("discarded", processes.leftovers.discarded.to_string()),
        ("leftover_pipes", processes.leftovers.pipes.len().to_string()),
        ("snapshot_format", FORMAT.to_string()),
    ];
    lines.map(|(key, value)| format!("{key}={value}")).join("\n")
}

/// The number in one place of a file with words between blanks; 0 if there is none.
fn number(path: &str, place: usize) -> f64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    // The name of a process may hold blanks; only its brackets tell where it ends (proc(5)).
    let words = text.rsplit_once(')').map_or(text.as_str(), |(_, words)| words);
    words.split_ascii_whitespace().nth(place).and_then(|word| word.parse().ok()).unwrap_or_default()
}

/// Seconds since this process was made; an upgrade in place does not begin anew.
fn uptime() -> u64 {
    // Fixed for programs on Linux, whatever the system itself counts with.
    const TICKS_PER_SECOND: f64 = 100.0;
    // The 20th field after the name.
    let started = number("/proc/self/stat", 19) / TICKS_PER_SECOND;
    (number("/proc/uptime", 0) - started).max(0.0) as u64
}

fn resident_bytes() -> u64 {
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
    number("/proc/self/statm", 1) as u64
        * page.and_then(|size| size.try_into().ok()).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_a_key_and_a_value() {
        let text = text(&Tables::default());
        let lines: Vec<_> = text.lines().map(|line| line.split_once('=').unwrap()).collect();
        assert!(lines.iter().all(|(key, value)| !key.is_empty() && !value.is_empty()));
        let memory = lines.iter().find(|(key, _)| *key == "memory").unwrap().1;
        assert!(memory.parse::<u64>().unwrap() > 0);
    }
}
