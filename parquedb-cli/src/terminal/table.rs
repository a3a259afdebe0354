//! Plain tables.

/// Stands where there is nothing to show.
pub const NONE: &str = "–";

/// Rows under a header; columns of numbers are aligned to the right.
#[must_use]
pub fn render(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut lines = vec![String::new(); rows.len() + 1];
    for (index, name) in header.iter().enumerate() {
        let cell = |row: &Vec<String>| row.get(index).map_or(NONE, String::as_str).to_owned();
        let cells: Vec<String> = std::iter::once((*name).to_owned()).chain(rows.iter().map(cell)).collect();
        let width = cells.iter().map(|cell| cell.chars().count()).max().unwrap_or(0);
        let right = cells.iter().skip(1).all(|cell| cell == NONE || cell.parse::<f64>().is_ok());
        for (line, cell) in lines.iter_mut().zip(&cells) {
            if index > 0 {
                line.push_str("  ");
            }
            line.push_str(&if right { format!("{cell:>width$}") } else { format!("{cell:<width$}") });
        }
    }
    lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
}

/// Names and values, one pair a line.
#[must_use]
pub fn pairs(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    pairs.iter().map(|(name, value)| format!("{name:<width$}  {value}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::{NONE, render};

    #[test]
    fn columns_line_up() {
        let row = |name: &str, rows: &str| vec![name.to_owned(), rows.to_owned()];
        let text = render(&["name", "rows"], &[row("Wörker", "12"), row("A", NONE)]);
        assert_eq!(text, "name    rows\nWörker    12\nA          –");
    }
}
