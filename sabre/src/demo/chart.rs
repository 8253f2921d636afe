//! A small graph for a terminal.

/// Eighths of a line, from below.
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// The greatest number of a line in eighths.
const EIGHTHS: f64 = 8.0;

/// Draws columns from zero to the greatest value, one for each value; NaN leaves a gap. The greatest value and zero stand
/// before the first and the last line.
pub(crate) fn draw(values: &[f64], height: usize) -> Vec<String> {
    let greatest = values
        .iter()
        .copied()
        .filter(|value| value.is_finite())
        .fold(0.0, f64::max);
    let top = short(greatest);
    let margin = top.chars().count().max(1);
    let mut lines = Vec::new();
    for line in (0..height).rev() {
        let label = match line {
            0 => "0",
            _ if line + 1 == height => &top,
            _ => "",
        };
        let columns = values.iter().map(|value| column(*value, greatest, height, line));
        lines.push(format!("{label:>margin$} ┤{}", columns.collect::<String>()));
    }
    lines
}

/// What a value fills of a line, the lowest of which is 0.
fn column(value: f64, greatest: f64, height: usize, line: usize) -> char {
    if !value.is_finite() || greatest <= 0.0 {
        return ' ';
    }
    let eighths = value / greatest * height as f64 * EIGHTHS - line as f64 * EIGHTHS;
    let filled = eighths.round().clamp(0.0, EIGHTHS) as usize;
    // What is there is seen, however small.
    let least = usize::from(line == 0 && value > 0.0);
    BLOCKS.get(filled.max(least)).copied().unwrap_or(' ')
}

/// A number in few characters.
fn short(value: f64) -> String {
    for (size, unit) in [(1e9, "G"), (1e6, "M"), (1e3, "k")] {
        if value >= size {
            return format!("{:.1}{unit}", value / size);
        }
    }
    match value {
        10.0.. => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_reach_from_zero_to_the_greatest() {
        let values = [0.0, 4.0, 8.0, 16.0, f64::NAN, 0.01];
        assert_eq!(draw(&values, 2), ["16 ┤   █  ", " 0 ┤ ▄██ ▁"]);
    }

    #[test]
    fn nothing_and_zero_are_drawn_as_nothing() {
        assert_eq!(draw(&[], 1), ["   0 ┤"]);
        assert_eq!(draw(&[0.0, f64::INFINITY], 1), ["   0 ┤  "]);
    }

    #[test]
    fn numbers_are_short() {
        let texts = [0.5, 9.99, 123.4, 1_234.0, 5e6, 2.5e9].map(short);
        assert_eq!(texts, ["0.50", "9.99", "123", "1.2k", "5.0M", "2.5G"]);
    }
}
