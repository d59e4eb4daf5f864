//! Sizes as `stats` tells them and as options give them: `512B`, `1.49M`, `2 kilo`, `3Gi`.

/// The units of the original: each row is bytes, then each 1024 times the one before.
const UNITS: [[&str; 9]; 4] = [
    ["B", "K", "M", "G", "T", "P", "E", "Z", "Y"],
    ["byte", "kilo", "mega", "giga", "tera", "peta", "exa", "zetta", "iotta"],
    ["Bi", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"],
    ["byte", "kibi", "mebi", "gibi", "tebi", "pebi", "exbi", "zebi", "yobi"],
];

/// The number of bytes; none if the text is no number with a unit.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "digits and a point are no negative number, and what is too large is the largest"
)]
pub fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 = number.parse().ok()?;
    let unit = match unit.trim() {
        "k" => "K",
        unit => unit,
    };
    let power = UNITS.iter().find_map(|row| row.iter().position(|known| *known == unit))?;
    Some((number * 1024f64.powi(i32::try_from(power).ok()?)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_in_the_original() {
        for (text, expected) in [
            ("512B", 512),
            ("1.49M", 1_562_378),
            ("784.00K", 802_816),
            ("2k", 2048),
            (" 1 kilo ", 1024),
            ("3Gi", 3 << 30),
            ("1iotta", u64::MAX),
        ] {
            assert_eq!(bytes(text), Some(expected), "{text}");
        }
        for text in ["", "12", "M", "-1M", "1.2.3M", "1 m", "N/A", "1e3K"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }
}
