//! A program that documents everything.
#![deny(missing_docs, missing_debug_implementations, unused, nonstandard_style)]

use parquedb::{Collection, database, views};

/// What happened.
#[derive(Debug, Collection)]
pub struct Events {
    /// To whom.
    pub who: String,
    /// How often.
    pub times: Vec<u32>,
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Collection)]
#[collection(key = id)]
pub struct Person {
    /// Their number.
    pub id: u32,
}

/// What they did.
#[derive(Debug, Clone, PartialEq, Collection)]
pub struct Deed {
    /// Who did it.
    pub by: parquedb::Ref<Person>,
}

views! {
    pub Deeds: { $from: Deed, $expand: { by: asOf }, $flatten: { by: person } }
    /// Each time.
    pub Times: {
        $from: Events,
        $unnest: times,
        $where: times > 3,
        $select: {
            who,
            /// A column's own words.
            time: times,
        },
    }
    pub Totals: {
        $from: Events,
        $groupBy: [who],
        $compute: { n: $count(*) },
    }
}

database! {
    pub struct Database { Events, Times, Totals, Person, Deed, Deeds }
}

fn main() {}
