//! How times, selections and label names are written into a request.

/// What selects series: a selector text and a closed range of milliseconds.
#[derive(Clone, Debug)]
pub struct Selection<'a> {
    /// Such as `{job="a"}`; `None` selects all.
    pub selector: Option<&'a str>,
    /// First instant, in milliseconds.
    pub mint_ms: i64,
    /// Last instant, in milliseconds.
    pub maxt_ms: i64,
    /// At most this many entries; 0 is no limit.
    pub limit: i64,
}

impl Selection<'_> {
    pub(crate) fn params(&self) -> Vec<(&'static str, String)> {
        let mut params = vec![("start", seconds(self.mint_ms)), ("end", seconds(self.maxt_ms))];
        if let Some(selector) = self.selector {
            params.push(("match[]", selector.to_string()));
        }
        if self.limit > 0 {
            params.push(("limit", self.limit.to_string()));
        }
        params
    }
}

/// Milliseconds as Prometheus' API reads them. It refuses what does not fit its own range of times, so times
/// "before everything" and "after everything" are cut to years that do.
pub(crate) fn seconds(ms: i64) -> String {
    const YEAR_1: i64 = -62_135_596_800_000;
    const YEAR_9999: i64 = 253_402_300_799_000;
    let ms = ms.clamp(YEAR_1, YEAR_9999);
    let sign = if ms < 0 { "-" } else { "" };
    let (whole, rest) = (ms.unsigned_abs() / 1000, ms.unsigned_abs() % 1000);
    if rest == 0 {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{rest:03}")
    }
}

/// Names that are not letters, digits and underscores are escaped as Prometheus' API wants them in a path.
pub(crate) fn escape_label_name(name: &str) -> String {
    let legacy = |c: char| c == '_' || c.is_ascii_alphanumeric();
    if !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(legacy) {
        return name.to_string();
    }
    let mut escaped = String::from("U__");
    for (position, c) in name.chars().enumerate() {
        match c {
            '_' => escaped.push_str("__"),
            c if legacy(c) && !(position == 0 && c.is_ascii_digit()) => escaped.push(c),
            c => escaped.push_str(&format!("_{:x}_", u32::from(c))),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_cut_to_what_prometheus_parses() {
        assert_eq!(seconds(1_500), "1.500");
        assert_eq!(seconds(-1_500), "-1.500");
        assert_eq!(seconds(-500), "-0.500");
        assert_eq!(seconds(2_000), "2");
        assert_eq!(seconds(i64::MIN), "-62135596800");
        assert_eq!(seconds(i64::MAX), "253402300799");
    }

    #[test]
    fn odd_label_names_are_escaped() {
        assert_eq!(escape_label_name("job"), "job");
        assert_eq!(escape_label_name("http.status_code"), "U__http_2e_status__code");
        assert_eq!(escape_label_name("0a"), "U___30_a");
        assert_eq!(escape_label_name("été"), "U___e9_t_e9_");
    }
}
