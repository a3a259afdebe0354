//! Plain tables of JSON rows.

use serde_json::Value;

/// Flattens a row of nested objects: `lag: {rows: 2}` becomes a column `lag.rows`.
pub(super) fn flatten(row: &Value) -> Vec<(String, String)> {
    fn add(name: &str, value: &Value, out: &mut Vec<(String, String)>) {
        match value {
            Value::Object(members) => {
                for (key, value) in members {
                    add(&if name.is_empty() { key.clone() } else { format!("{name}.{key}") }, value, out);
                }
            }
            Value::Null => out.push((name.to_owned(), "–".to_owned())),
            Value::String(text) => out.push((name.to_owned(), text.clone())),
            value => out.push((name.to_owned(), value.to_string())),
        }
    }
    let mut out = Vec::new();
    add("", row, &mut out);
    out
}

/// The rows under one header; numbers are aligned to the right.
pub(super) fn render(rows: &[Value]) -> String {
    let rows: Vec<_> = rows.iter().map(flatten).collect();
    let mut columns: Vec<&str> = Vec::new();
    for (name, _) in rows.iter().flatten() {
        if !columns.contains(&name.as_str()) {
            columns.push(name);
        }
    }
    let cell = |row: &[(String, String)], column: &str| {
        row.iter().find(|(name, _)| name == column).map_or_else(|| "–".to_owned(), |(_, value)| value.clone())
    };
    let mut lines = vec![String::new(); rows.len() + 1];
    for (index, column) in columns.iter().enumerate() {
        let cells: Vec<String> =
            std::iter::once((*column).to_owned()).chain(rows.iter().map(|row| cell(row, column))).collect();
        let width = cells.iter().map(|cell| cell.chars().count()).max().unwrap_or(0);
        let number = |cell: &String| cell == "–" || cell.parse::<f64>().is_ok();
        let right = cells.iter().skip(1).all(number);
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
pub(super) fn pairs(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    pairs.iter().map(|(name, value)| format!("{name:<width$}  {value}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::render;
    use serde_json::json;

    #[test]
    fn columns_line_up() {
        let rows =
            [json!({"name": "Wörker", "lag": {"rows": 12}}), json!({"name": "A", "lag": {"rows": null}})];
        let text = render(&rows);
        assert!(text.lines().all(|line| line.chars().count() <= 16), "{text}");
        assert!(text.contains("Wörker"), "{text}");
    }
}
