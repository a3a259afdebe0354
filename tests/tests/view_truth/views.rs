//! Views with every part of the language, each with the SQL that says what it must hold. The SQL runs
//! over plain tables made from the rows: `r` has a column per path, `i` a row per item, `w` a row per word.

use super::rows::{Payment, Reading};
use parquedb::{database, views};

views! {
    pub(crate) Predicates: {
        $from: Reading,
        $select: {
            id,
            eq: name == "ann",
            ne: name != "ann",
            gt: value > 0,
            ge: ratio >= 1,
            lt: score < 2,
            le: tiny <= -1,
            not_gt: !(ratio > 0),
            columns: score < medium,
            same: name == kind,
            inside: { name: { $in: ["ann", "bob"] } },
            inside_null: { name: { $in: ["ann", null] } },
            outside: { name: { $nin: ["ann", "bob"] } },
            outside_null: { name: { $nin: ["ann", null] } },
            there: { name: { $exists: true } },
            gone: { origin.place: { $exists: false } },
            starts: { name: { $startsWith: "An" } },
            ends: { name: { $endsWith: "b" } },
            has: { name: { $contains: "n" } },
            regex: { name: { $regex: "^[A-Z]" } },
            size: { words: { $size: 2 } },
            all: { words: { $all: ["x", "y"] } },
            nor: { $nor: [{ score: { $gt: 1 } }, { flag: true }] },
            either: score > 1 || flag == true,
            both: score > 1 && ratio < 5,
            range: { medium: { $gte: -3, $lt: 4 } },
            later: ended > at,
        },
    }
    pub(crate) Filtered: {
        $from: Reading,
        $filter: {
            kind: { $ne: "c" },
            $or: [{ score: { $not: { $gte: 2 } } }, { labels["env"]: "prod" }],
            value: { $gte: -500.5 },
            name: { $nin: ["bob"] },
        },
        $select: { id, kind },
    }
    pub(crate) Computed: {
        $from: Reading,
        $select: {
            id,
            sum: medium + short,
            product: medium * tiny,
            unsigned_sum: unsigned + unsigned_tiny,
            difference: unsigned_tiny - unsigned_short,
            remainder: medium % 7,
            remainder_of: medium % tiny,
            quotient: big / 3,
            quotient_of: medium / tiny,
            scored: score + 1,
            negative: -medium,
            scaled: value * -2,
            choice: $cond(ratio > 0, score, 7),
            named: $switch { medium > 5 => "high", medium < -5 => "low", name == null => "nameless", _ => "middle" },
            known: $coalesce(name, kind, "none"),
            low: $lower(name),
            up: $upper(kind),
            characters: $length(name),
            joined: $concat(kind, "-", name),
            day: { day: at },
            week: { week: ended },
        },
    }
    pub(crate) Paths: {
        $from: Reading,
        $select: {
            id,
            at,
            host: origin.host,
            city: origin.place.city,
            zone: origin.place.zone,
            first: items[0].sku,
            second_price: items[1].price,
            env: labels["env"],
            word: words[0],
            score,
        },
    }
    pub(crate) Lines: {
        $from: Reading,
        $filter: { kind: { $in: ["a", "b", ""] } },
        $unnest: items,
        $where: items.quantity > 0,
        $select: {
            id, at, host: origin.host,
            sku: items.sku, quantity: items.quantity, price: items.price, twice: items.quantity * 2,
        },
    }
    pub(crate) Words: {
        $from: Reading,
        $unnest: words,
        $select: { id, word: words },
    }
    pub(crate) ByMinute: {
        $from: Reading,
        $groupBy: [{ minute: at }],
        $compute: { n: $count(*), total: $sum(medium) },
    }
    pub(crate) ByHour: {
        $from: Reading,
        $groupBy: [kind, { hour: at }],
        $compute: {
            n: $count(*), total: $sum(big), greatest: { $max: ratio }, mean: { $avg: score },
            least: $min(score, $filter: flag == true),
        },
    }
    pub(crate) ByDay: {
        $from: Reading,
        $groupBy: [{ day: at }, { host: origin.host }],
        $compute: { n: $count(*), scored: $count(score), people: $countDistinct(name) },
    }
    pub(crate) ByWeek: {
        $from: Reading,
        $groupBy: [{ week: ended }],
        $compute: { n: $count(*), first: $min(at), last: $max(at), total: $sum(unsigned_big) },
    }
    pub(crate) ByMonth: {
        $from: Reading,
        $filter: score >= -2,
        $groupBy: [{ month: at }, flag],
        $compute: { n: $count(*), total: $sum(value), mean: $avg(value) },
    }
    pub(crate) ByQuarter: {
        $from: Reading,
        $groupBy: [{ quarter: at }],
        $compute: { n: $count(*, $filter: name != "ann"), total: $sum(amount) },
    }
    pub(crate) ByYear: {
        $from: Reading,
        $groupBy: [{ year: ended }, { city: origin.place.city }],
        $compute: { n: $count(*), values: $countDistinct(ratio), last: $max(name) },
    }
    pub(crate) ByRatio: {
        $from: Reading,
        $groupBy: [ratio, { scaled: value * -2 }],
        $compute: { n: $count(*) },
    }
    pub(crate) Totals: {
        $from: Reading,
        $compute: {
            rows: { $count: * },
            named: { $count: name },
            bad: $count(*, $filter: !(score > 0)),
            tiny: $sum(tiny), short: $sum(short), medium: $sum(medium), big: $sum(big),
            utiny: $sum(unsigned_tiny), ushort: $sum(unsigned_short), u: $sum(unsigned), ubig: $sum(unsigned_big),
            some: $sum(score, $filter: kind == "a"),
            amount: $sum(amount),
            half: $sum(half), value: $sum(value, $filter: value < 1000000),
            constant: $sum(10),
            mean: $avg(score), mean_of_some: $avg(medium, $filter: flag == true), mean_value: $avg(half),
            least: $min(value), greatest: $max(value), first: $min(name), last: $max(ended), least_flag: $min(flag),
            least_amount: $min(amount),
            kinds: $countDistinct(kind), values: $countDistinct(value), halves: $countDistinct(half),
            names: $countDistinct(name, $filter: score != 1), times: $countDistinct(at),
            rate: { $avg: { $cond: [{ $ne: [kind, "a"] }, 1, 0] } },
        },
    }
    pub(crate) HostLines: {
        $from: Lines,
        $filter: { host: { $exists: true } },
        $select: { host, sku, quantity, price },
    }
    pub(crate) HostTotals: {
        $from: HostLines,
        $groupBy: [host, sku],
        $compute: { lines: $count(*), quantity: $sum(quantity), revenue: $sum(price), dearest: $max(price) },
    }
    pub(crate) Hosts: {
        $from: Paths,
        $groupBy: [host, { hour: at }],
        $compute: { n: $count(*), score: $sum(score), cities: $countDistinct(city) },
        $refresh: { mode: scheduled, schedule: "0 * * * *" },
    }
    pub(crate) Kinds: {
        $from: ByHour,
        $groupBy: [kind],
        $compute: { hours: $count(*), n: $sum(n), total: $sum(total), greatest: $max(greatest) },
        $refresh: { mode: manual },
    }
    pub(crate) Negatives: {
        $from: Reading,
        $filter: medium < 0,
        $select: { id, medium, name },
        $refresh: { mode: manual },
    }
    pub(crate) Payers: {
        $from: Payment,
        $groupBy: [payer],
        $compute: { n: $count(*), cents: $sum(cents), least: $min(cents), last: $max(at) },
    }
    pub(crate) PayersByDay: {
        $from: Payment,
        $groupBy: [payer, { day: at }],
        $compute: { n: $count(*), cents: $sum(cents) },
        $refresh: { mode: scheduled, schedule: "30 * * * *" },
    }
}

database! {
    pub(crate) struct TruthDb {
        Reading, Payment, Predicates, Filtered, Computed, Paths, Lines, Words, ByMinute, ByHour, ByDay, ByWeek,
        ByMonth, ByQuarter, ByYear, ByRatio, Totals, HostLines, HostTotals, Hosts, Kinds, Negatives, Payers,
        PayersByDay,
    }
}

/// What each view must hold. Columns after `|` are floats whose last digits depend on the order of addition.
pub(crate) const EXPECTED: [(&str, &str, &str); 22] = [
    ("predicates", "", "SELECT id, name IS NOT DISTINCT FROM 'ann', name IS DISTINCT FROM 'ann', value > 0,
        coalesce(ratio >= 1, false), coalesce(score < 2, false), tiny <= -1, NOT coalesce(ratio > 0, false),
        coalesce(score < medium, false), name IS NOT DISTINCT FROM kind, coalesce(name IN ('ann', 'bob'), false),
        name IS NULL OR name = 'ann', NOT coalesce(name IN ('ann', 'bob'), false), name IS NOT NULL AND name <> 'ann',
        name IS NOT NULL, place IS NULL, coalesce(name LIKE 'An%', false), coalesce(name LIKE '%b', false),
        coalesce(name LIKE '%n%', false), coalesce(name IN ('Anna', 'Zoë'), false), words = 2,
        x_and_y, NOT (coalesce(score > 1, false) OR coalesce(flag, false)),
        coalesce(score > 1, false) OR coalesce(flag, false), coalesce(score > 1, false) AND coalesce(ratio < 5, false),
        medium >= -3 AND medium < 4, coalesce(ended > at, false) FROM r"),
    ("filtered", "", "SELECT id, kind FROM r WHERE kind <> 'c' AND (NOT coalesce(score >= 2, false) OR
        coalesce(env = 'prod', false)) AND value >= -500.5 AND name IS DISTINCT FROM 'bob'"),
    ("computed", "quotient quotient_of scaled", "SELECT id, medium + short, medium * tiny, unsigned_ + unsigned_tiny,
        unsigned_tiny - unsigned_short, medium % 7, medium % nullif(tiny, 0), cast(big as double) / 3,
        cast(medium as double) / nullif(cast(tiny as double), 0), score + 1, -medium, value * -2 + 0.0,
        CASE WHEN coalesce(ratio > 0, false) THEN score ELSE 7 END,
        CASE WHEN medium > 5 THEN 'high' WHEN medium < -5 THEN 'low' WHEN name IS NULL THEN 'nameless' ELSE 'middle' END,
        coalesce(name, kind, 'none'), lower(name), upper(kind), character_length(name),
        kind || '-' || coalesce(name, ''), at_day, ended_week FROM r"),
    ("paths", "", "SELECT id, at, host, city, zone, first, second_price, env, word, score FROM r"),
    ("lines", "", "SELECT id, at, host, sku, quantity, price, quantity * 2 FROM i WHERE kind IN ('a', 'b', '') AND quantity > 0"),
    ("words", "", "SELECT id, word FROM w"),
    ("by_minute", "", "SELECT at_minute, count(*), sum(medium) FROM r GROUP BY at_minute"),
    ("by_hour", "mean", "SELECT kind, at_hour, count(*), sum(cast(big as decimal(20,0))),
        CASE WHEN count(*) FILTER (WHERE isnan(ratio)) > 0 THEN 'NaN'::double ELSE max(ratio) END, avg(score),
        min(score) FILTER (WHERE flag) FROM r GROUP BY kind, at_hour"),
    ("by_day", "", "SELECT at_day, host, count(*), count(score), count(distinct name) FROM r GROUP BY at_day, host"),
    ("by_week", "", "SELECT ended_week, count(*), min(at), max(at), sum(cast(unsigned_big as decimal(20,0))) FROM r GROUP BY ended_week"),
    ("by_month", "total mean", "SELECT at_month, flag, count(*), sum(value), avg(value) FROM r WHERE score >= -2 GROUP BY at_month, flag"),
    ("by_quarter", "", "SELECT at_quarter, count(*) FILTER (WHERE name IS DISTINCT FROM 'ann'), cast(coalesce(sum(amount), 0) as decimal(38,2)) FROM r GROUP BY at_quarter"),
    ("by_year", "", "SELECT ended_year, city, count(*), count(distinct ratio), max(name) FROM r GROUP BY ended_year, city"),
    ("by_ratio", "", "SELECT ratio, value * -2 + 0.0, count(*) FROM r GROUP BY ratio, value * -2 + 0.0"),
    ("totals", "half value mean mean_of_some mean_value rate", "SELECT count(*), count(name), count(*) FILTER (WHERE NOT coalesce(score > 0, false)),
        coalesce(sum(tiny), 0), coalesce(sum(short), 0), coalesce(sum(medium), 0), coalesce(sum(cast(big as decimal(20,0))), 0), coalesce(sum(unsigned_tiny), 0),
        coalesce(sum(unsigned_short), 0), coalesce(sum(unsigned_), 0), coalesce(sum(cast(unsigned_big as decimal(20,0))), 0),
        coalesce(sum(score) FILTER (WHERE kind = 'a'), 0), cast(coalesce(sum(amount), 0) as decimal(38,2)), coalesce(sum(half), 0.0),
        coalesce(sum(value) FILTER (WHERE value < 1000000), 0.0), 10 * count(*), avg(score), avg(medium) FILTER (WHERE flag),
        avg(half), coalesce(min(value) FILTER (WHERE NOT isnan(value)), min(value)),
        CASE WHEN count(*) FILTER (WHERE isnan(value)) > 0 THEN 'NaN'::double ELSE max(value) END, min(name), max(ended),
        min(flag), min(amount), count(distinct kind), count(distinct value), count(distinct half),
        count(distinct name) FILTER (WHERE score IS DISTINCT FROM 1), count(distinct at),
        avg(CASE WHEN kind <> 'a' THEN 1.0 ELSE 0.0 END) FROM r"),
    ("host_lines", "", "SELECT host, sku, quantity, price FROM i WHERE kind IN ('a', 'b', '') AND quantity > 0 AND host IS NOT NULL"),
    ("host_totals", "revenue", "SELECT host, sku, count(*), sum(quantity), coalesce(sum(price), 0.0),
        CASE WHEN count(*) FILTER (WHERE isnan(price)) > 0 THEN 'NaN'::double ELSE max(price) END
        FROM i WHERE kind IN ('a', 'b', '') AND quantity > 0 AND host IS NOT NULL GROUP BY host, sku"),
    ("hosts", "", "SELECT host, at_hour, count(*), coalesce(sum(score), 0), count(distinct city) FROM r GROUP BY host, at_hour"),
    ("kinds", "", "SELECT kind, count(distinct at_hour), count(*), sum(cast(big as decimal(20,0))),
        CASE WHEN count(*) FILTER (WHERE isnan(ratio)) > 0 THEN 'NaN'::double ELSE max(ratio) END FROM r GROUP BY kind"),
    ("negatives", "", "SELECT id, medium, name FROM r WHERE medium < 0"),
    ("payers", "", "SELECT payer, count(*), sum(cents), min(cents), max(at) FROM p GROUP BY payer"),
    ("payers_by_day", "", "SELECT payer, at_day, count(*), sum(cents) FROM p GROUP BY payer, at_day"),
];
