//! Names: how they are written in Rust and SQL, and what a mistyped one may have meant.

/// FNV-1a of a field name, as `parquedb::__private::field_key`.
pub(crate) fn key(name: &str) -> u64 {
    name.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// `WorkerErrors` as `worker_errors`, `HTTPRequests` as `http_requests`.
pub(crate) fn snake(name: &str) -> String {
    let characters: Vec<char> = name.chars().collect();
    let mut out = String::new();
    for (position, character) in characters.iter().enumerate() {
        if character.is_uppercase() {
            let after_word = position > 0
                && (characters[position - 1].is_lowercase() || characters[position - 1].is_numeric());
            let ends_acronym = position > 0
                && characters[position - 1].is_uppercase()
                && characters.get(position + 1).is_some_and(|next| next.is_lowercase());
            if after_word || ends_acronym {
                out.push('_');
            }
            out.extend(character.to_lowercase());
        } else {
            out.push(*character);
        }
    }
    out
}

/// The candidate that is at most three edits away from what was found, the nearest of them.
pub(crate) fn similar<'a>(found: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let found = found.to_lowercase();
    candidates
        .iter()
        .map(|candidate| (distance(&candidate.to_lowercase(), &found), *candidate))
        .filter(|(edits, candidate)| *edits <= 3 && *edits < candidate.len())
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// The least number of characters to insert, remove or replace.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(from != *to)).min(row[j] + 1).min(above + 1);
            diagonal = above;
        }
    }
    row[b.len()]
}
