//! The collections of the test, and rows made from a seed.

use parquedb::{Collection, Decimal, Timestamp};
use std::collections::BTreeMap;

#[derive(Collection, Clone, Debug, PartialEq)]
pub(crate) struct Reading {
    pub(crate) id: i64,
    pub(crate) tiny: i8,
    pub(crate) short: i16,
    pub(crate) medium: i32,
    pub(crate) big: i64,
    pub(crate) unsigned_tiny: u8,
    pub(crate) unsigned_short: u16,
    pub(crate) unsigned: u32,
    pub(crate) unsigned_big: u64,
    pub(crate) half: f32,
    pub(crate) value: f64,
    pub(crate) ratio: Option<f64>,
    pub(crate) score: Option<i32>,
    pub(crate) flag: Option<bool>,
    pub(crate) kind: String,
    pub(crate) name: Option<String>,
    pub(crate) amount: Option<Decimal<12, 2>>,
    pub(crate) at: Timestamp,
    pub(crate) ended: Option<Timestamp>,
    pub(crate) words: Vec<String>,
    pub(crate) items: Vec<Item>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) origin: Option<Origin>,
}

#[derive(Collection, Clone, Debug, PartialEq)]
pub(crate) struct Item {
    pub(crate) sku: String,
    pub(crate) quantity: u32,
    pub(crate) price: Option<f64>,
}

#[derive(Collection, Clone, Debug, PartialEq)]
pub(crate) struct Origin {
    pub(crate) host: String,
    pub(crate) place: Option<Place>,
}

#[derive(Collection, Clone, Debug, PartialEq)]
pub(crate) struct Place {
    pub(crate) city: Option<String>,
    pub(crate) zone: i16,
}

#[derive(Collection, Clone, Debug, PartialEq)]
pub(crate) struct Payment {
    pub(crate) id: i64,
    pub(crate) cents: i64,
    pub(crate) payer: Option<String>,
    pub(crate) at: Timestamp,
}

/// A reproducible source of numbers (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn between(&mut self, from: i64, to: i64) -> i64 {
        from + i64::try_from(self.below(u64::try_from(to - from + 1).unwrap())).unwrap()
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick(&mut self, of: &[&str]) -> String {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()].to_owned()
    }

    fn float(&mut self) -> f64 {
        match self.below(30) {
            0 => f64::NAN,
            1 => -0.0,
            2 => 0.0,
            3..=9 => self.between(-3, 3) as f64,
            _ => self.between(-1_000_000, 1_000_000) as f64 / 1024.0,
        }
    }

    fn time(&mut self) -> Timestamp {
        // Around 1970 and around 2024, in few buckets, with microseconds.
        let day = 86_400_000_000;
        let around = if self.one_in(3) { 0 } else { 19_800 * day };
        let micros = match self.below(4) {
            0 => self.between(-400, 400) * day,
            1 => self.between(-100, 100) * 60_000_000,
            _ => self.between(-3 * day, 3 * day),
        };
        Timestamp::from_micros(around + micros)
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.one_in(3) { None } else { Some(make(self)) }
    }

    fn list<T>(&mut self, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(4)).map(|_| make(self)).collect()
    }

    pub(crate) fn reading(&mut self, id: i64) -> Reading {
        Reading {
            id,
            tiny: i8::try_from(self.between(-3, 3)).unwrap(),
            short: i16::try_from(self.between(-32_768, 32_767)).unwrap(),
            medium: i32::try_from(self.between(-10, 10)).unwrap(),
            big: self.between(-(1 << 55), 1 << 55),
            unsigned_tiny: u8::try_from(self.below(256)).unwrap(),
            unsigned_short: u16::try_from(self.below(65_536)).unwrap(),
            unsigned: u32::try_from(self.below(1 << 32)).unwrap(),
            unsigned_big: self.below(1 << 50),
            half: self.between(-8, 8) as f32 / 2.0,
            value: self.float(),
            ratio: self.maybe(Self::float),
            score: self.maybe(|random| i32::try_from(random.between(-5, 5)).unwrap()),
            flag: self.maybe(|random| random.one_in(2)),
            kind: self.pick(&["a", "b", "c", ""]),
            name: self.maybe(|random| random.pick(&["ann", "Anna", "bob", "Zoë", ""])),
            amount: self.maybe(|random| {
                Decimal::from_unscaled(i128::from(random.between(-999_999_999_999, 999_999_999_999))).unwrap()
            }),
            at: self.time(),
            ended: self.maybe(Self::time),
            words: self.list(|random| random.pick(&["x", "y", "z"])),
            items: self.list(|random| Item {
                sku: random.pick(&["nut", "bolt", "nail"]),
                quantity: u32::try_from(random.below(4)).unwrap(),
                price: random.maybe(Self::float),
            }),
            labels: self
                .list(|random| (random.pick(&["env", "tier"]), random.pick(&["prod", "dev"])))
                .into_iter()
                .collect(),
            origin: self.maybe(|random| Origin {
                host: random.pick(&["h1", "h2", "h3"]),
                place: random.maybe(|random| Place {
                    city: random.maybe(|random| random.pick(&["Paris", "Oslo"])),
                    zone: i16::try_from(random.between(-12, 12)).unwrap(),
                }),
            }),
        }
    }

    pub(crate) fn payment(&mut self, id: i64) -> Payment {
        Payment {
            id,
            cents: self.between(-1_000_000, 1_000_000),
            payer: self.maybe(|random| random.pick(&["ann", "bob"])),
            at: self.time(),
        }
    }
}
