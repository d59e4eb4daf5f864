//! The value types of the ini file: text to boolean, number, umask, signal.
//!
//! Accepts what Python's own conversions accept, because that is what circus does; the few exceptions
//! are in `docs/differences.md`. Every function returns the end of a sentence that begins with
//! "key = value: ".

use super::ini::strip;
use super::model::MOST_PROCESSES;
use protocol::signal::Signal;

/// `yes true on 1` or `no false off 0`, in any case.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match strip(text).to_lowercase().as_str() {
        "yes" | "true" | "on" | "1" => Ok(true),
        "no" | "false" | "off" | "0" => Ok(false),
        _ => Err("not a boolean; use yes, true, on or 1, or no, false, off or 0".to_owned()),
    }
}

/// A whole number, decimal, with a sign and single underscores between digits if wanted.
pub(crate) fn integer(text: &str) -> Result<i64, String> {
    plain_digits(text)
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| "not a whole number".to_owned())
}

/// How many processes are wanted; negative counts as 0.
pub(crate) fn processes(text: &str) -> Result<i64, String> {
    integer(text).and_then(|number| match number {
        number if number <= i64::from(MOST_PROCESSES) => Ok(number),
        _ => Err(format!("out of range; use at most {MOST_PROCESSES}")),
    })
}

/// A whole number that fits the type.
pub(crate) fn integer_as<T: TryFrom<i64>>(text: &str, range: &str) -> Result<T, String> {
    T::try_from(integer(text)?).map_err(|_| format!("out of range; use {range}"))
}

/// A number such as `5`, `.5`, `1e1` or `inf`.
pub(crate) fn float(text: &str) -> Result<f64, String> {
    plain_digits(text)
        .and_then(|digits| digits.parse::<f64>().ok())
        .filter(|number| !number.is_nan())
        .ok_or_else(|| "not a number".to_owned())
}

/// Seconds between two rounds of statistics: not so few that measuring is all that is done, as
/// circusd-stats accepts them.
pub(crate) fn stats_interval(text: &str) -> Result<f64, String> {
    float(text)
        .ok()
        .filter(|seconds| (0.1..=3600.0).contains(seconds))
        .ok_or_else(|| "not an interval; use 0.1 to 3600 seconds".to_owned())
}

/// Where circusd or one of its helpers can listen by ZeroMQ.
pub(crate) fn endpoint(text: &str) -> Result<String, String> {
    let text = strip(text);
    // A slash behind it is what people write, and libzmq takes it.
    let port = |port: &str| {
        let port = port.trim_end_matches('/');
        port == "*" || port.parse::<u16>().is_ok()
    };
    let fits = match (text.strip_prefix("ipc://"), text.strip_prefix("tcp://")) {
        (Some(path), _) => !path.is_empty(),
        (_, Some(address)) => {
            address.rsplit_once(':').is_some_and(|(host, last)| !host.is_empty() && port(last))
        }
        _ => false,
    };
    if fits {
        return Ok(text.to_owned());
    }
    Err("not an endpoint; use tcp://HOST:PORT or ipc:///PATH".to_owned())
}

/// A umask in octal, `022` or `0o22`.
pub(crate) fn umask(text: &str) -> Result<u32, String> {
    let text = strip(text);
    let digits = text.strip_prefix("0o").or_else(|| text.strip_prefix("0O")).unwrap_or(text);
    plain_digits(digits)
        .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|digits| u32::from_str_radix(&digits, 8).ok())
        .filter(|mask| *mask <= 0o777)
        .ok_or_else(|| "not a umask; use octal digits from 000 to 777".to_owned())
}

/// A signal by name or number.
pub(crate) fn signal(text: &str) -> Result<Signal, String> {
    Signal::parse(text).map_err(|_| {
        "not a signal; use a name such as TERM, SIGTERM or RTMIN+1, or a number from 1 to 64"
            .to_owned()
    })
}

/// A resource limit; empty and -1 mean unlimited (none).
pub(crate) fn resource_limit(text: &str) -> Result<Option<i64>, String> {
    if strip(text).is_empty() {
        return Ok(None);
    }
    match integer(text) {
        Ok(-1) => Ok(None),
        Ok(limit) if limit >= 0 => Ok(Some(limit)),
        _ => Err("not a limit; use a whole number from 0, or nothing for unlimited".to_owned()),
    }
}

/// Removes blanks around and single underscores between digits; none if an underscore is elsewhere.
fn plain_digits(text: &str) -> Option<String> {
    let text = strip(text);
    let bytes = text.as_bytes();
    let digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    let placed_well = bytes
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'_')
        .all(|(at, _)| digit(at.checked_sub(1)) && digit(at.checked_add(1)));
    placed_well.then(|| text.replace('_', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_words_in_any_case() {
        for text in [" Yes", "TRUE", "on", "1"] {
            assert_eq!(boolean(text), Ok(true), "{text}");
        }
        for text in ["", "y", "t", "2", "true x", "\"true\""] {
            assert!(boolean(text).is_err(), "{text}");
        }
    }

    #[test]
    fn integers_are_decimal_with_leading_zeros_and_underscores() {
        for (text, expected) in [("+1_000", 1000), (" 010 ", 10), ("-1", -1), ("\n2", 2)] {
            assert_eq!(integer(text), Ok(expected), "{text}");
        }
        for text in ["", "1.5", "_1", "1_", "1__0", "0x10", "99999999999999999999"] {
            assert!(integer(text).is_err(), "{text}");
        }
        assert_eq!(
            integer_as::<u16>("65536", "0 to 65535"),
            Err("out of range; use 0 to 65535".into())
        );
    }

    #[test]
    fn no_more_processes_are_wanted_than_there_are_pids() {
        assert_eq!(processes("4194304"), Ok(4_194_304));
        assert_eq!(processes("-1"), Ok(-1));
        assert_eq!(processes("4194305"), Err("out of range; use at most 4194304".into()));
    }

    #[test]
    fn floats_take_exponents_and_infinity_but_not_nan() {
        for (text, expected) in [("5", 5.0), (".5", 0.5), ("1e1", 10.0), ("1_0.5", 10.5)] {
            assert_eq!(float(text), Ok(expected), "{text}");
        }
        assert_eq!(float("inf"), Ok(f64::INFINITY));
        for text in ["", "5s", "nan", "1_.5"] {
            assert!(float(text).is_err(), "{text}");
        }
    }

    #[test]
    fn umasks_are_octal() {
        for (text, expected) in [("002", 2), ("22", 0o22), ("0o22", 0o22), ("777", 0o777)] {
            assert_eq!(umask(text), Ok(expected), "{text}");
        }
        for text in ["", "8", "-1", "+7", "1000"] {
            assert!(umask(text).is_err(), "{text}");
        }
    }

    #[test]
    fn endpoints_have_a_place_to_listen_at() {
        for text in [
            "tcp://127.0.0.1:5555",
            "tcp://h:1/",
            "tcp://*:*",
            "tcp://[::1]:1",
            "ipc://x",
            "ipc://@x",
        ] {
            assert_eq!(endpoint(&format!("\n  {text}")).as_deref(), Ok(text));
        }
        for text in
            ["", "x", "tcp://", "tcp://h", "tcp://:1", "tcp://h:65536", "ipc://", "udp://h:1"]
        {
            assert!(endpoint(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_empty_limit_is_unlimited() {
        assert_eq!(resource_limit(""), Ok(None));
        assert_eq!(resource_limit("-1"), Ok(None));
        assert_eq!(resource_limit("1_0"), Ok(Some(10)));
        assert!(resource_limit("unlimited").is_err());
        assert!(resource_limit("-2").is_err());
    }
}
