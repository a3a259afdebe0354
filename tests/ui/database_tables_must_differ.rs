#[path = "support/tail.rs"]
mod tail;
#[allow(unused_imports)]
use tail::*;

views! {
    pub Errors: { $from: TailEvents, $filter: outcome != "ok", $select: { outcome } }
}

mod other {
    use super::*;
    views! {
        pub errors: { $from: TailEvents, $select: { outcome } }
    }
}
use other::errors;

database! {
    pub struct ObsDb { TailEvents, Errors, errors }
}

fn main() {}
