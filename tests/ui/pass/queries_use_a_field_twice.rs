#[path = "../support/tail.rs"]
mod tail;
#[allow(unused_imports)]
use tail::*;

fn find<R: parquedb::__private::Record, P: parquedb::declare::operand::Predicate>(
    _: impl FnOnce(R::Handles<parquedb::__private::NotNull>) -> P,
) {
}

fn main() {
    find::<TailEvents, _>(|event| event.retries.ge(4).and(event.retries.lt(6)));
    find::<TailEvents, _>(|event| !event.outcome.eq("ok") | event.script_name.eq(None) & event.event.exists());
    find::<TailEvents, _>(|event| event.outcome.is_in(["ok", "canceled"]).not());
    find::<TailEvents, _>(|event| (event.wall_time / 2).gt(1.5).or(event.tags.at("tier").eq("gold")));
    find::<TailEvents, _>(|event| event.logs.at(0).level.lower().eq("error"));
    find::<TailEvents, _>(|event| event.event.status.ge(500u16).and(event.event_timestamp.lt(Timestamp::MAX)));
    find::<TailEvents, _>(|event| event.event.status.is_null().or(event.script_name.starts_with("api")));
    find::<TailEvents, _>(|event| event.outcome.eq(&event.script_name).and(event.retries.plus(1).gt(3_000_000_000u64)));
}
