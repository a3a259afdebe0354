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

views! {
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
    pub struct Database { Events, Times, Totals }
}

fn main() {}
