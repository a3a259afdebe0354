//! Names: their spellings, their hashes, and what a misspelt one was meant to be.

/// `TailEvents` as `tail_events`, `HTTPLog2` as `http_log2`.
pub(crate) fn snake_case(name: &str) -> String {
    let characters: Vec<char> = name.chars().collect();
    let mut snake = String::with_capacity(name.len() + 4);
    for (index, character) in characters.iter().enumerate() {
        let starts_word = character.is_uppercase()
            && index > 0
            && characters[index - 1] != '_'
            && (!characters[index - 1].is_uppercase()
                || characters.get(index + 1).is_some_and(|next| next.is_lowercase()));
        if starts_word {
            snake.push('_');
        }
        snake.extend(character.to_lowercase());
    }
    snake
}

/// FNV-1a of a field name: the same function as `parquedb::__private::field_key`.
pub(crate) fn field_key(name: &str) -> u64 {
    name.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Whether `name` can be the name of a table: it needs no quoting in SQL and is safe in a path.
pub(crate) fn is_plain(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The name among `known` that `found` most resembles, if any does.
pub(crate) fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (found.len().div_ceil(3)).clamp(1, 3);
    known
        .into_iter()
        .map(|name| (distance(name, found), name))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Levenshtein distance.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, from) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, to) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snake_case_splits_words() {
        for (name, snake) in [
            ("TailEvents", "tail_events"),
            ("HTTPLog2", "http_log2"),
            ("A", "a"),
            ("already_snake", "already_snake"),
            ("UserID", "user_id"),
            ("P95Latency", "p95_latency"),
        ] {
            assert_eq!(snake_case(name), snake);
        }
    }

    #[test]
    fn nearest_forgives_small_slips() {
        assert_eq!(nearest("verison", ["key", "version"]), Some("version"));
        assert_eq!(nearest("ttl", ["key", "version"]), None);
    }
}
