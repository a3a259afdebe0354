#[path = "support/tail.rs"]
mod tail;
#[allow(unused_imports)]
use tail::*;

fn find<R: parquedb::__private::Record, P: parquedb::declare::operand::Predicate>(
    _: impl FnOnce(R::Handles<parquedb::__private::NotNull>) -> P,
) {
}

fn main() {
    find::<TailEvents, _>(|event| event.outcome);
}
