//! A model of the log's protocol, all of whose states within bounds are visited by
//! [Stateright](https://docs.rs/stateright): that no interleaving of writers, readers, collection, crashes
//! and late requests loses or doubles what was acknowledged.
//!
//! Modelled are the rules of `docs/design/log.md`, not the code: slots that objects are put into only where
//! there is none, and that collection empties again; processes that read forward, put the next commit, move
//! it on when they lose the slot, and look at their anchor before they believe what they found; collections,
//! any number of them, each ascending, that stop anywhere and begin again at the lowest object; processes that
//! crash at any step and begin again from any checkpoint, even one read long ago; clients that ask again, of
//! another process too, with the same idempotence id; puts whose answer is lost and that land at any later
//! time or never, while the writer sends them again; and a clock, by which collection deletes only what is
//! old and by which a process that knew the log's end a short time ago does not look. A process that stands
//! still is one that is not chosen for any number of steps.
//!
//! Not modelled are the contents of commits and hence conflicts between them, exclusive writers, pins and
//! retention (any snapshot but the last may be collected), the hint `HEAD`, data files, damage, clocks that
//! run at different speeds, and the forgetting of idempotence ids. That checkpoints are written only of
//! what is believed is taken for granted.
//!
//! Wrong rules are tried too, and each must be found out: a checker that finds nothing proves nothing.

#[path = "protocol_model/rules.rs"]
mod rules;
#[path = "protocol_model/state.rs"]
mod state;
#[path = "protocol_model/steps.rs"]
mod steps;

use rules::{GRACE, Look, Order, Protocol, ProvedAt, Resend};
use stateright::{Checker, HasDiscoveries, Model};
use std::time::Instant;

const LOST: &str = "acknowledged commits are in the log where it was said";
const TWICE: &str = "no commit is in the log twice";
const STALE: &str = "nobody takes a gap for the end of the log";

/// Visits all states, and gives their number.
fn visit(what: &str, protocol: Protocol) -> usize {
    let started = Instant::now();
    let checker = protocol.checker().threads(2).spawn_bfs().join();
    let states = checker.unique_state_count();
    println!("{what}: {states} states to depth {} in {:.1?}", checker.max_depth(), started.elapsed());
    checker.assert_properties();
    states
}

/// Makes sure that a rule is found to be wrong, by what it does.
fn refute(protocol: Protocol, expected: &[&'static str]) {
    for property in expected {
        let finished = HasDiscoveries::AnyOf([*property].into());
        let checker = protocol.clone().checker().threads(2).finish_when(finished).spawn_bfs().join();
        let path = checker.assert_any_discovery(property);
        println!("{property}, but: {:?}", path.into_actions());
    }
}

#[test]
fn right_rules_hold() {
    let mut states = 0;
    states += visit("three writers", Protocol::right(&["1", "2", "3"], &[1, 1, 1], 3));
    states += visit("crashes", Protocol::right(&["12", "13"], &[2, 2], 3).with_faults(1, 0));
    states += visit("lost answers", Protocol::right(&["12", "3"], &[2, 2], 3).with_faults(0, 1));
    states += visit("a clock", Protocol::right(&["12", "3"], &[2, 1], 3).with_clock());
    let all = Protocol::right(&["1", "2"], &[2, 1], 2).with_faults(1, 1).with_clock();
    states += visit("all of them", all);
    assert!(states > 3_000_000, "only {states} states were visited");
}

#[test]
#[ignore = "takes minutes"]
fn right_rules_hold_within_wider_bounds() {
    visit("three writers", Protocol::right(&["12", "3", "4"], &[2, 1, 1], 4));
    visit("three writers and a crash", Protocol::right(&["1", "1", "2"], &[1, 1, 1], 2).with_faults(1, 1));
    visit("lost answers", Protocol::right(&["12", "3"], &[2, 2], 4).with_faults(0, 2));
    visit("lost answers, a clock", Protocol::right(&["12", "3"], &[2, 1], 3).with_faults(0, 1).with_clock());
    let same_bytes = Protocol::right(&["12", "3"], &[2, 1], 3).with_faults(0, 1).with_clock();
    visit("the same bytes in time", Protocol { resend: Resend::SameBytesInTime, ..same_bytes });
}

/// Each rule is needed.
#[test]
fn wrong_rules_do_not_hold() {
    let right = Protocol::right(&["12", "3"], &[3, 2], 4);
    refute(Protocol { look: Look::Nowhere, ..right.clone() }, &[LOST, STALE]);
    refute(Protocol { order: Order::Any, ..right.clone() }, &[LOST, STALE]);
    refute(Protocol { idempotent: false, ..right }, &[TWICE]);
    let three = Protocol::right(&["12", "3", "4"], &[3, 2, 2], 4);
    refute(Protocol { look: Look::Predecessor, ..three }, &[LOST, STALE]);
    let shared = Protocol::right(&["12", "13"], &[2, 2], 4).with_faults(1, 0);
    refute(Protocol { repeats_are_verified: false, ..shared }, &[LOST]);
}

/// A put whose answer was lost and that was sent again may land twice: the second time after collection, just
/// as it was. Who holds that very commit for its anchor takes the copy for proof that nothing was collected.
#[test]
fn copies_of_the_same_bytes_deceive_anchors() {
    let right = Protocol::right(&["12", "34"], &[2, 2], 4).with_faults(0, 1);
    refute(Protocol { resend: Resend::SameBytes, ..right }, &[LOST, STALE]);
}

/// Not to look needs that collection waits for twice as long, and counts from the first request that can have
/// had the effect that proves where the log ends.
#[test]
fn trust_needs_grace_and_the_first_request() {
    let right = Protocol::right(&["12", "34"], &[2, 2], 4).with_clock();
    refute(Protocol { trusted: Some(GRACE), ..right.clone() }, &[LOST, STALE]);
    refute(Protocol { grace: 0, ..right.clone() }, &[LOST, STALE]);
    refute(Protocol { proved_at: ProvedAt::Believed, ..right.clone() }, &[LOST, STALE]);
    refute(Protocol { proved_at: ProvedAt::LastSent, ..right.with_faults(0, 1) }, &[LOST, STALE]);
}
