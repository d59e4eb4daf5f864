//! Reads `[socket:NAME]`.
//!
//! A value that circus would stumble over when it creates the socket refuses that socket only.

use super::env::EnvNames;
use super::ini::Ini;
use super::model::{SocketConfig, SocketFamily, SocketKind};
use super::near_miss;
use super::problem::{Report, Severity};
use super::reader::SectionReader;
use super::values;

/// What the name of such a section starts with.
pub(crate) const PREFIX: &str = "socket:";

/// The keys that are read.
const KNOWN: &[&str] = &[
    "host",
    "port",
    "family",
    "type",
    "proto",
    "backlog",
    "path",
    "umask",
    "replace",
    "interface",
    "so_reuseport",
    "blocking",
    "use_papa",
    "name",
];

/// The name of the socket: what follows the last `socket:`, in lower case.
pub(crate) fn name(section: &str) -> Option<String> {
    let (_, name) = section.strip_prefix(PREFIX).and(section.rsplit_once(PREFIX))?;
    Some(name.to_lowercase())
}

/// Reads the section; none if it is empty or refused. `use_papa` is what holds when the section does not
/// say.
pub(crate) fn read(
    ini: &Ini,
    section: &str,
    names: &EnvNames,
    use_papa: bool,
    report: &mut Report,
) -> Option<SocketConfig> {
    let name = name(section)?;
    let mut keys = SectionReader::open(ini, section, report)?;
    let (error, refused) = (Severity::Error, Severity::Refused);
    let path = keys.text("path", names);
    let family = keys.value(refused, "family", names, SocketFamily::Inet, family);
    if family == SocketFamily::Unix && path.is_none() {
        keys.key_problem(refused, "path", None, "is missing; AF_UNIX needs one");
    }
    let mut raw: indexmap::IndexMap<_, _> =
        keys.entries.iter().map(|(key, entry)| (key.clone(), names.expand(&entry.value))).collect();
    raw.shift_remove("name");
    let config = SocketConfig {
        name,
        host: keys.raw("host", names).unwrap_or_else(|| "localhost".to_owned()),
        port: keys
            .value(refused, "port", names, 8080, |text| values::integer_as(text, "0 to 65535")),
        family: if path.is_some() { SocketFamily::Unix } else { family },
        kind: keys.value(refused, "type", names, SocketKind::Stream, kind),
        proto: keys.text("proto", names),
        backlog: keys.value(refused, "backlog", names, 2048, |text| {
            values::integer_as(text, "at most 2147483647")
        }),
        path,
        umask: keys.value(refused, "umask", names, SocketConfig::DEFAULT_UMASK, values::umask),
        replace: keys.value(error, "replace", names, false, values::boolean),
        interface: keys.text("interface", names),
        so_reuseport: keys.value(error, "so_reuseport", names, false, values::boolean),
        blocking: keys.value(refused, "blocking", names, false, values::boolean),
        use_papa: keys.value(refused, "use_papa", names, use_papa, values::boolean),
        outdated: false,
        raw,
    };
    warn(&mut keys);
    (!keys.is_refused()).then_some(config)
}

fn warn(keys: &mut SectionReader<'_>) {
    let own: Vec<String> = keys
        .entries
        .iter()
        .filter(|(key, entry)| !entry.inherited && !KNOWN.contains(&key.as_str()))
        .map(|(key, _)| key.clone())
        .collect();
    for key in own {
        let message = match near_miss::nearest(&key, KNOWN) {
            Some(known) => format!("not a known key; did you mean `{known}`?"),
            None => "not a known key of a socket; it has no effect".to_owned(),
        };
        keys.key_problem(Severity::Warning, &key, None, message);
    }
}

fn family(text: &str) -> Result<SocketFamily, String> {
    match text.to_uppercase().as_str() {
        "AF_INET" => Ok(SocketFamily::Inet),
        "AF_INET6" => Ok(SocketFamily::Inet6),
        "AF_UNIX" => Ok(SocketFamily::Unix),
        _ => Err("not an address family; use AF_INET, AF_INET6 or AF_UNIX".to_owned()),
    }
}

fn kind(text: &str) -> Result<SocketKind, String> {
    match text.to_uppercase().as_str() {
        "SOCK_STREAM" => Ok(SocketKind::Stream),
        "SOCK_DGRAM" => Ok(SocketKind::Dgram),
        "SOCK_RAW" => Ok(SocketKind::Raw),
        "SOCK_RDM" => Ok(SocketKind::Rdm),
        "SOCK_SEQPACKET" => Ok(SocketKind::Seqpacket),
        _ => Err(
            "not a socket type; use SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_RDM or SOCK_SEQPACKET"
                .to_owned(),
        ),
    }
}
