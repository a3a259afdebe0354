//! Decoding real tail events, and what must not go wrong with broken ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use flate2::Compression;
use flate2::write::GzEncoder;
use parquedb::{Row, Timestamp};
use parquedb_tail::decode::{BodyError, Decoded, Splitter, decode, inflate};
use parquedb_tail::{DeadLetters, TailEvents};
use serde::Deserialize;
use serde_json::Value;
use std::io::Write;
use std::path::PathBuf;

const NOW: Timestamp = Timestamp::from_micros(1_795_191_731_000_000);

/// The committed sample, or the file that `PARQUEDB_TAIL_ITEMS` names.
fn sample() -> Vec<u8> {
    let path = std::env::var_os("PARQUEDB_TAIL_ITEMS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/data/tail_events.ndjson"),
        PathBuf::from,
    );
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn value(text: &str) -> Value {
    let mut reader = serde_json::Deserializer::from_str(text);
    reader.disable_recursion_limit();
    Value::deserialize(serde_stacker::Deserializer::new(&mut reader))
        .unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Unpaired surrogate escapes as U+FFFD, by another way than the crate's: reading the text as UTF-16
/// code units, as JavaScript does.
fn well_formed(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let mut units = Vec::new();
        while let Some(unit) = rest
            .strip_prefix("\\u")
            .and_then(|hex| hex.get(..4))
            .and_then(|hex| u16::from_str_radix(hex, 16).ok())
        {
            units.push(unit);
            rest = &rest[6..];
        }
        for unit in char::decode_utf16(units.iter().copied()) {
            out.push_str(&match unit {
                Ok(unit) => {
                    unit.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect()
                }
                Err(_) => "\\ufffd".to_owned(),
            });
        }
        if units.is_empty() {
            out.push_str(&rest[..2]);
            rest = &rest[2..];
        }
    }
    out + rest
}

#[test]
fn every_real_item_comes_back_from_its_row() {
    let body = sample();
    let started = std::time::Instant::now();
    let decoded = decode(&body, "sample", NOW).unwrap();
    let seconds = started.elapsed().as_secs_f64();
    let lines: Vec<&str> = std::str::from_utf8(&body).unwrap().lines().collect();
    println!(
        "{} items, {} bytes in {seconds:.3} s: {:.0} items/s",
        lines.len(),
        body.len(),
        lines.len() as f64 / seconds
    );
    assert_eq!(decoded.dead_letters, []);
    assert_eq!(decoded.items, lines.len() as u64);
    assert_eq!(decoded.events.len(), lines.len());
    for (position, (row, line)) in decoded.events.iter().zip(&lines).enumerate() {
        assert!(
            value(&row.to_item()) == value(&well_formed(line)),
            "item {position}:\n{line}\n{}",
            row.to_item()
        );
    }
}

#[test]
fn every_real_row_comes_back_from_arrow() {
    let rows = decode(&sample(), "sample", NOW).unwrap().events;
    let started = std::time::Instant::now();
    let batch = TailEvents::to_batch(&rows).unwrap();
    println!("{} rows to Arrow in {:.3} s", rows.len(), started.elapsed().as_secs_f64());
    assert!(TailEvents::from_batch(&batch).unwrap() == rows);
    let dead = read("[1,2]").dead_letters;
    assert_eq!(DeadLetters::from_batch(&DeadLetters::to_batch(&dead).unwrap()).unwrap(), dead);
}

#[test]
fn the_sample_holds_every_trap() {
    let body = sample();
    let text = std::str::from_utf8(&body).unwrap();
    let rows = decode(&body, "sample", NOW).unwrap().events;
    let kinds: std::collections::BTreeSet<&str> =
        rows.iter().filter_map(|row| row.event.as_ref()).map(|event| event.kind.as_str()).collect();
    assert_eq!(
        kinds.into_iter().collect::<Vec<_>>(),
        ["alarm", "fetch", "queue", "rpc", "scheduled", "tail", "websocket"]
    );
    assert!(text.lines().filter(|line| well_formed(line) != **line).count() >= 8, "unpaired surrogates");
    assert!(rows.iter().any(|row| row.truncated));
    assert!(rows.iter().any(|row| row.exceptions.len() >= 60));
    assert!(rows.iter().any(|row| row.logs.len() >= 500));
    assert!(rows.iter().any(|row| row.outcome == "ok" && !row.exceptions.is_empty()));
    assert!(rows.iter().any(|row| row.outcome != "ok" && row.exceptions.is_empty()));
    let request = |row: &TailEvents| row.event.as_ref().and_then(|event| event.request.clone());
    assert!(
        rows.iter().filter_map(request).any(|request| request.url.is_empty() && request.headers.is_empty())
    );
    assert!(rows.iter().filter_map(request).any(|request| request.cf.is_none()));
    assert!(rows.iter().any(|row| request(row).is_some() && row.event.as_ref().unwrap().response.is_none()));
    let deepest = |line: &str| {
        line.bytes()
            .fold((0, 0), |(depth, most), byte| match byte {
                b'{' | b'[' => (depth + 1, std::cmp::max(depth + 1, most)),
                b'}' | b']' => (depth - 1, most),
                _ => (depth, most),
            })
            .1
    };
    assert!(text.lines().any(|line| deepest(line) >= 200), "depth");
    assert!(rows.iter().any(|row| row.logs.iter().any(|log| log.error_info.is_some())));
}

const ITEM: &str = r#"{"wallTime":7,"cpuTime":2,"truncated":false,"executionModel":"stateless","outcome":"ok","scriptName":null,"diagnosticsChannelEvents":[],"exceptions":[],"logs":[{"message":["a",1e308,{"b":null}],"level":"log","timestamp":1795191731622}],"eventTimestamp":1795191731622,"event":{"request":{"url":"https://shop.example.com/","method":"GET","headers":{"x":"y"},"cf":{"colo":"JNB","asn":1,"country":null,"city":7}},"response":{"status":204}}}"#;

fn read(body: impl AsRef<[u8]>) -> Decoded {
    decode(body.as_ref(), "test", NOW).unwrap()
}

fn reason_of(item: &str) -> String {
    let decoded = read(format!("[{ITEM},{item},{ITEM}]"));
    assert_eq!(decoded.events.len(), 2, "{item}");
    assert_eq!(decoded.dead_letters.len(), 1, "{item}");
    let dead = &decoded.dead_letters[0];
    assert_eq!((dead.position, dead.source.as_str(), &dead.raw[..]), (1, "test", item.as_bytes()));
    dead.reason.clone()
}

#[test]
fn arrays_objects_lines_and_sequences_are_the_same_items() {
    let pretty = serde_json::to_string_pretty(&value(ITEM)).unwrap();
    let forms = [
        format!("[{ITEM},{ITEM}]"),
        format!("{ITEM}\n{ITEM}"),
        format!("{ITEM}\r\n\r\n{ITEM}\r\n"),
        format!("[{ITEM}]\n[{ITEM}]\n"),
        format!("[{ITEM},\n{ITEM}\n]\n"),
        format!("[\n{ITEM},\n{ITEM}]"),
        format!("{ITEM}{ITEM}"),
        format!("{pretty}\n{pretty}"),
        format!("[\n{pretty}\n,{pretty}]"),
        format!("\u{feff}[{ITEM},{ITEM}]"),
        format!("  \n {ITEM}\n[ ]\n[{ITEM}]"),
    ];
    for form in forms {
        let decoded = read(&form);
        assert_eq!((decoded.items, decoded.events.len()), (2, 2), "{form}");
        assert_eq!(value(&decoded.events[1].to_item()), value(ITEM));
        // The same pieces, however they arrive.
        for size in [1, 2, 3, 7, 64] {
            let mut splitter = Splitter::new(usize::MAX);
            let mut pieces = form.as_bytes().chunks(size);
            let mut decoded = Decoded::default();
            let mut advanced = Vec::new();
            loop {
                while let Some(item) = splitter.next_item().unwrap() {
                    advanced.extend_from_slice(item.advance);
                    decoded.push(&item, "test", NOW);
                    assert_eq!(splitter.consumed(), advanced.len() as u64);
                }
                match pieces.next() {
                    Some(piece) => splitter.feed(piece),
                    None => break,
                }
                if pieces.len() == 0 {
                    splitter.end();
                }
            }
            assert_eq!(decoded.events.len(), 2, "{form} in pieces of {size}");
            assert!(form.as_bytes().starts_with(&advanced));
        }
    }
    assert_eq!(read("").items, 0);
    assert_eq!(read(" \n\n").items, 0);
    assert_eq!(read("[]").items, 0);
}

#[test]
fn a_value_that_fits_no_column_is_kept() {
    let row = &read(ITEM).events[0];
    let cf = row.event.as_ref().unwrap().request.as_ref().unwrap().cf.as_ref().unwrap();
    assert_eq!((cf.colo.as_deref(), cf.asn, cf.country.as_deref()), (Some("JNB"), Some(1), None));
    assert_eq!(cf.rest.as_ref().unwrap().to_string(), r#"{"country":null,"city":7}"#);
    let odd = ITEM
        .replacen('{', r#"{"new":[1,{"x":2}],"a\"b":"c","#, 1)
        .replace(r#""status":204"#, r#""status":204,"body":null"#)
        .replace(r#""level":"log""#, r#""level":"log","group":1"#);
    assert_eq!(value(&read(&odd).events[0].to_item()), value(&odd));
    assert_eq!(row.wall_time, Some(7));
    assert_eq!(row.logs[0].message.to_string(), r#"["a",1e308,{"b":null}]"#);
}

#[test]
fn production_fields_have_columns() {
    let item = ITEM
        .replacen('{', r#"{"scriptVersion":{"id":"v","tag":"t"},"scriptTags":["a","b"],"dispatchNamespace":"n","preview":{"id":"1","slug":"s","name":"n"},"tailAttributes":{"a":true},"entrypoint":"E","durableObjectId":"00","#, 1)
        .replace(r#""scriptName":null"#, r#""scriptName":"shop""#);
    let row = &read(&item).events[0];
    assert_eq!(value(&row.to_item()), value(&item));
    assert_eq!(row.rest, None);
    assert_eq!(row.script_tags, ["a", "b"]);
    for (event, kind) in [
        (r#"{"mailFrom":"a@b.c","rcptTo":"d@e.f","rawSize":5}"#, "email"),
        (r#"{"reason":"idle"}"#, "hibernate"),
        ("{}", "custom"),
        (r#"{"type":"overload","message":"sampled"}"#, "notice"),
        (r#"{"consumedEvents":[]}"#, "tail"),
        (r#"{"scheduledTime":"2026-11-20T16:05:07.801Z"}"#, "alarm"),
        (r#"{"scheduledTime":1760000000000,"cron":"* * * * *"}"#, "scheduled"),
    ] {
        let mut item = value(ITEM);
        item["event"] = value(event);
        let row = read(item.to_string()).events.remove(0);
        assert_eq!(row.event.as_ref().unwrap().kind, kind);
        assert_eq!(value(&row.to_item()), item);
    }
    let mut item = value(ITEM);
    item["event"] = Value::Null;
    assert_eq!(read(item.to_string()).events[0].event, None);
}

#[test]
fn a_broken_item_is_a_dead_letter_and_its_neighbours_are_rows() {
    let with = |from: &str, to: &str| reason_of(&ITEM.replace(from, to));
    assert_eq!(
        with(r#""wallTime":7"#, r#""wallTime":"x""#),
        "wallTime: invalid type: string \"x\", expected an integer at line 1 column 15"
    );
    assert!(
        with(r#""wallTime":7"#, r#""wallTime":1.5"#)
            .starts_with("wallTime: invalid type: floating point `1.5`")
            || with(r#""wallTime":7"#, r#""wallTime":1.5"#).starts_with("wallTime: invalid value")
    );
    assert!(
        with(r#""wallTime":7"#, r#""wallTime":18446744073709551615"#).starts_with("wallTime: invalid value")
    );
    assert!(with(r#""wallTime":7"#, r#""wallTime":1e400"#).contains("out of range"));
    assert!(with(r#""outcome":"ok","#, "").starts_with("missing field `outcome`"));
    assert!(
        with(r#""eventTimestamp":1795191731622"#, r#""eventTimestamp":null"#)
            .starts_with("eventTimestamp: invalid type: null")
    );
    assert!(
        with(r#""eventTimestamp":1795191731622"#, r#""eventTimestamp":9000000000000000"#)
            .contains("no moment")
    );
    assert!(with(r#""status":204"#, r#""status":70000"#).starts_with("event.response.status: invalid value"));
    assert!(with(r#""level":"log""#, r#""level":[]"#).starts_with("logs.level: invalid type: sequence"));
    assert!(
        with(r#""headers":{"x":"y"}"#, r#""headers":{"x":1}"#)
            .starts_with("event.request.headers: invalid type: integer")
    );
    assert!(with(r#""message":["a""#, r#""message":["a" "b""#).contains("expected"));
    assert!(reason_of("17").contains("a tail event"));
    assert!(reason_of("null").contains("a tail event"));
    assert!(reason_of("nonsense").contains("expected"));
    assert!(reason_of(r#""text""#).contains("a tail event"));
    assert!(reason_of("{}").contains("missing field"));
    let deep = format!("{}1{}", "[".repeat(1001), "]".repeat(1001));
    assert!(with(r#""a""#, &deep).starts_with("nested 1005 levels deep"));
    let deep = format!("{}1{}", "[".repeat(900), "]".repeat(900));
    assert_eq!(read(ITEM.replace(r#""a""#, &deep)).events.len(), 1);
}

#[test]
fn a_line_that_breaks_off_costs_only_itself() {
    for cut in [1, 40, 100, ITEM.len() - 1] {
        for body in [
            format!("{ITEM}\n{}\n{ITEM}\n", &ITEM[..cut]),
            format!("{}\n{ITEM}\n{ITEM}\n", &ITEM[..cut]),
            format!("{ITEM}\n{ITEM}\n{}", &ITEM[..cut]),
        ] {
            let decoded = read(&body);
            assert_eq!((decoded.events.len(), decoded.dead_letters.len()), (2, 1), "{body}");
            assert_eq!(&decoded.dead_letters[0].raw[..], &ITEM.as_bytes()[..cut]);
            assert_eq!(decoded.dead_letters[0].reason, "the line ends inside this item");
        }
    }
    let decoded = read(format!("{ITEM}\nsome text {{\n[{ITEM},\n{ITEM} x\n"));
    assert_eq!((decoded.events.len(), decoded.dead_letters.len()), (3, 3), "{decoded:?}");
    let mut body = format!("{ITEM}\n{ITEM}\n{ITEM}").into_bytes();
    let at = ITEM.find("stateless").unwrap();
    body[ITEM.len() + 1 + at] = 0xff;
    let decoded = read(&body);
    assert_eq!((decoded.events.len(), decoded.dead_letters.len()), (2, 1));
    assert_eq!(decoded.dead_letters[0].reason, format!("invalid UTF-8 at byte {at} of the item"));
    assert_eq!(&decoded.dead_letters[0].raw[..], &body[ITEM.len() + 1..2 * ITEM.len() + 1]);
}

#[test]
fn a_body_that_breaks_off_is_refused_with_the_place() {
    let offset = |body: &str| match decode(body.as_bytes(), "test", NOW) {
        Err(BodyError::Split(error)) => (error.offset as usize, error.to_string()),
        other => panic!("{body}: {other:?}"),
    };
    for cut in [1, 40, ITEM.len() - 1] {
        let body = format!("[{ITEM},{}", &ITEM[..cut]);
        let (at, text) = offset(&body);
        assert_eq!(at, body.len());
        assert!(text.contains(&format!("begins at byte {}", ITEM.len() + 2)), "{text}");
        assert_eq!(offset(&ITEM[..cut]).0, cut);
    }
    assert_eq!(offset(&format!("[{ITEM}")).0, ITEM.len() + 1);
    assert_eq!(offset("  hello"), (2, "expected a JSON object or array at byte 2".to_owned()));
    assert_eq!(offset(&format!("{ITEM} hello")).0, ITEM.len() + 1);
    let pretty = serde_json::to_string_pretty(&value(ITEM)).unwrap();
    assert_eq!(offset(&pretty[..200]).0, 200);
}

#[test]
fn nothing_breaks_on_any_cut_or_flipped_byte() {
    let body = format!("[{ITEM},{ITEM}]\n{ITEM}\n").into_bytes();
    for at in 0..body.len() {
        let _ = decode(&body[..at], "test", NOW);
        for byte in *b"\"\\{}[],\n\xff0" {
            let mut body = body.clone();
            body[at] = byte;
            let _ = decode(&body, "test", NOW);
        }
    }
}

#[test]
fn logpush_records_become_the_same_rows() {
    let record = r#"{"CPUTimeMs":3,"DispatchNamespace":"","Entrypoint":"","Event":{"RayID":"88a1","Request":{"URL":"https://a.b/c","Method":"POST"},"Response":{"Status":500}},"EventTimestampMs":1700000000000,"EventType":"fetch","Exceptions":[{"name":"Error","Message":"boom","TimestampMs":1700000000001}],"Logs":[{"Level":"log","Message":["x <<<Logpush: log message truncated>>>"],"TimestampMs":1700000000002}],"Outcome":"exception","ScriptName":"shop","ScriptTags":["t"],"ScriptVersion":{"ID":"i","Message":"","Tag":""},"WallTimeMs":12}"#;
    let decoded = read(format!("{record}\n{record}\n"));
    assert_eq!(decoded.dead_letters, []);
    let row = &decoded.events[1];
    let event = row.event.as_ref().unwrap();
    assert_eq!(
        (row.script_name.as_deref(), row.outcome.as_str(), row.wall_time),
        (Some("shop"), "exception", Some(12))
    );
    assert_eq!(
        (row.entrypoint.as_deref(), row.dispatch_namespace.as_deref(), row.truncated),
        (None, None, true)
    );
    assert_eq!((event.kind.as_str(), event.response.as_ref().unwrap().status), ("fetch", 500));
    assert_eq!(event.request.as_ref().unwrap().url, "https://a.b/c");
    assert_eq!(event.rest.as_ref().unwrap().to_string(), r#"{"RayID":"88a1"}"#);
    assert_eq!((row.exceptions[0].message.as_str(), row.logs[0].level.as_str()), ("boom", "log"));
    assert_eq!(row.rest, None);
    let rpc = record.replace(r#""EventType":"fetch""#, r#""EventType":"worker_rpc""#);
    assert_eq!(read(rpc).events[0].event.as_ref().unwrap().kind, "rpc");
    for test in [r#"{"content":"tests"}"#, r#"{"content":"test"}"#] {
        let decoded = read(test);
        assert_eq!((decoded.items, decoded.events.len(), decoded.dead_letters.len()), (1, 0, 0));
    }
    assert_eq!(read(r#"{"content":"other"}"#).dead_letters.len(), 1);
}

#[test]
fn gzip_is_bounded() {
    let pack = |bytes: &[u8]| {
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    };
    let packed = pack(ITEM.as_bytes());
    assert_eq!(inflate(packed.clone().into(), 1000).unwrap(), ITEM.as_bytes());
    let twice = [packed.clone(), packed.clone()].concat();
    assert_eq!(inflate(twice.into(), 1000).unwrap().len(), 2 * ITEM.len());
    assert!(matches!(
        inflate(packed.clone().into(), 10),
        Err(BodyError::TooLarge { decompressed: false, .. })
    ));
    let bomb = pack(&vec![b' '; 20_000_000]);
    assert!(bomb.len() < 200_000);
    assert!(matches!(inflate(bomb.into(), 1_000_000), Err(BodyError::TooLarge { decompressed: true, .. })));
    assert!(matches!(inflate(packed[..packed.len() / 2].to_vec().into(), 1000), Err(BodyError::Gzip(_))));
}
