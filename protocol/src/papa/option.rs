//! `name=value` options of `make`: writing them, and reading the kinds of values they have.

use super::line::{Form, Word};
use super::percent;
use super::spec::{OutputMode, SpecError};

/// Writes `VERB NAME` and then options.
pub(super) struct Options<'a> {
    form: Form,
    out: &'a mut Vec<u8>,
}

impl<'a> Options<'a> {
    pub(super) fn begin(verb: &str, form: Form, name: &str, out: &'a mut Vec<u8>) -> Self {
        if form == Form::Exact {
            out.push(b'%');
        }
        out.extend(verb.bytes());
        out.push(b' ');
        form.print_word(name.as_bytes(), out);
        Options { form, out }
    }

    pub(super) fn option(&mut self, name: &str, value: Option<&(impl AsRef<[u8]> + ?Sized)>) {
        if let Some(value) = value {
            self.named(b"", name.as_bytes(), value.as_ref());
        }
    }

    pub(super) fn number(&mut self, name: &str, value: Option<impl ToString>) {
        self.option(name, value.map(|number| number.to_string()).as_deref());
    }

    pub(super) fn named(&mut self, prefix: &[u8], name: &[u8], value: &[u8]) {
        self.out.push(b' ');
        self.out.extend(prefix);
        match self.form {
            Form::Exact => percent::encode_with(name, self.out, |_, byte| byte == b'='),
            Form::Classic => self.form.print_word(name, self.out),
        }
        self.out.push(b'=');
        // A value that ends with a backslash, or has quotes of its own, is protected by quotes.
        let quoted = self.form == Form::Classic
            && (value.ends_with(b"\\") || (value.starts_with(b"\"") && value.ends_with(b"\"")));
        let quote: &[u8] = if quoted { b"\"" } else { b"" };
        self.out.extend(quote);
        self.form.print_word(value, self.out);
        self.out.extend(quote);
    }
}

fn bad(option: &'static str, value: &Word, expected: &'static str) -> SpecError {
    let value = value.text().unwrap_or_else(|_| "(not text)".to_owned());
    SpecError::BadValue { option, value, expected }
}

pub(super) fn number<T: std::str::FromStr>(
    option: &'static str,
    value: &Word,
    expected: &'static str,
) -> Result<T, SpecError> {
    value.text()?.parse().map_err(|_| bad(option, value, expected))
}

pub(super) fn keyword<T>(
    option: &'static str,
    value: &Word,
    from_name: impl Fn(&str) -> Option<T>,
) -> Result<T, SpecError> {
    let expected = match option {
        "family" => "one of inet, inet6, unix",
        _ => "one of stream, dgram, raw, rdm, seqpacket",
    };
    from_name(&value.text()?).ok_or_else(|| bad(option, value, expected))
}

pub(super) fn flag(option: &'static str, value: &Word) -> Result<bool, SpecError> {
    match value.text()?.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(bad(option, value, "0 or 1")),
    }
}

pub(super) fn umask(value: &Word) -> Result<u32, SpecError> {
    let mask: u32 = number("umask", value, "a decimal number up to 511")?;
    if mask > 0o777 {
        return Err(bad("umask", value, "a decimal number up to 511"));
    }
    Ok(mask)
}

pub(super) fn output_mode(option: &'static str, value: &Word) -> Result<OutputMode, SpecError> {
    match (option, value.text()?.as_str()) {
        ("stderr", "stdout") => Ok(OutputMode::Stdout),
        ("stderr", text) if text.parse::<i64>().is_err() => {
            Err(bad(option, value, "0, 1 or stdout"))
        }
        (_, text) => match text.parse::<i64>() {
            Ok(0) => Ok(OutputMode::Null),
            Ok(_) => Ok(OutputMode::Pipe),
            Err(_) => Err(bad(option, value, "0 or 1")),
        },
    }
}

/// Reads `4096`, `64k`, `2m` or `1g`. A negative number is the default, as in papa.
pub(super) fn buffer_size(value: &Word) -> Result<Option<u64>, SpecError> {
    /// A ring is memory of the kernel: one process may not ask for all of it.
    const LARGEST: u64 = 1 << 30;
    const EXPECTED: &str = "bytes, or a number with k, m or g, up to 1g";
    let text = value.text()?;
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (text.get(..text.len() - 1), 1 << 10),
        Some(b'm' | b'M') => (text.get(..text.len() - 1), 1 << 20),
        Some(b'g' | b'G') => (text.get(..text.len() - 1), 1 << 30),
        _ => (Some(text.as_str()), 1),
    };
    let number = digits.unwrap_or_default().parse::<i64>();
    let number = number.map_err(|_| bad("bufsize", value, EXPECTED))?;
    let Ok(number) = u64::try_from(number) else { return Ok(None) };
    let size = number.checked_mul(unit).filter(|size| *size <= LARGEST);
    size.map(Some).ok_or_else(|| bad("bufsize", value, EXPECTED))
}
