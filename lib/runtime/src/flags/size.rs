//! Sizes as Go's kingpin writes them: `250MB`, `1.5GiB`, `1GB512MB`; all units are powers of 1024.

/// Reads a size in bytes; the error is a sentence.
pub(super) fn parse_bytes(text: &str) -> Result<u64, String> {
    let refuse = || format!("a size such as 250MB or 2GiB is wanted, not {text:?}");
    if text == "0" {
        return Ok(0);
    }
    let mut total_bytes = 0.0_f64;
    let mut rest = text;
    while !rest.is_empty() {
        let unit_at = rest
            .find(|letter: char| letter.is_ascii_alphabetic())
            .ok_or_else(refuse)?;
        let (digits, tail) = rest.split_at_checked(unit_at).ok_or_else(refuse)?;
        let unit_end = tail
            .find(|letter: char| !letter.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(unit_end).ok_or_else(refuse)?;
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let number: f64 = if plain {
            digits.parse().map_err(|_| refuse())?
        } else {
            return Err(refuse());
        };
        total_bytes += number * unit_bytes(unit).ok_or_else(refuse)?;
        rest = tail;
    }
    // Larger numbers are neither exact in f64 nor sensible; Go's are signed 64-bit.
    let fits = !text.is_empty() && total_bytes <= (1_u64 << 62) as f64;
    if fits {
        Ok(total_bytes as u64)
    } else {
        Err(refuse())
    }
}

fn unit_bytes(unit: &str) -> Option<f64> {
    let prefix = match unit {
        "B" => return Some(1.0),
        _ => unit.strip_suffix("iB").or_else(|| unit.strip_suffix('B'))?,
    };
    let power = match prefix {
        "K" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        "P" => 5,
        "E" => 6,
        _ => return None,
    };
    Some(1024_f64.powi(power))
}

#[cfg(test)]
mod tests {
    use super::parse_bytes;

    #[test]
    fn units_are_powers_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("0B", 0),
            ("5B", 5),
            ("250MB", 250 << 20),
            ("250MiB", 250 << 20),
            ("2GB", 2 << 30),
            ("64GB", 64 << 30),
            ("1.5KB", 1536),
            ("1GB512MB", (1 << 30) + (512 << 20)),
            ("1EiB", 1 << 60),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "", "1", "MB", "-1MB", "1 MB", "1mb", "1M", "1e3MB", "1..5MB", "9EB", "NaNMB", "1MBx", "1MB2",
        ] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }
}
