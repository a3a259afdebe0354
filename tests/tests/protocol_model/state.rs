//! What the store holds, what each process believes, and what really happened.

use super::rules::{BEGUN, COMMITS, FLIGHTS, PROCESSES, SLOTS, WISHES};

/// One object's bytes: the commit, and which of its headers. Zero is none.
pub(super) type Name = u8;

/// The first commit of the log.
pub(super) const FIRST: Name = name(1, 0);

pub(super) const fn name(commit: u8, copy: u8) -> Name {
    commit << 2 | copy
}

pub(super) fn commit_of(name: Name) -> usize {
    usize::from(name >> 2)
}

/// An object of the log in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Object {
    pub(super) name: Name,
    /// The object it says it follows.
    pub(super) before: Name,
    /// Ticks since it was put.
    pub(super) age: u8,
}

/// A put without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Flight {
    /// No answer was lost yet.
    #[default]
    None,
    /// Under way: it lands at some time, or never.
    Away { slot: u8, name: Name, before: Name, age: u8 },
    /// It has landed.
    Landed,
}

/// What a process does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Step {
    /// It was just started, or crashed: it knows nothing.
    #[default]
    Down,
    /// What it had read is not the log: it knows nothing.
    Discarded,
    /// It knows a state, and begins nothing.
    Idle,
    /// It has found no commit after its own, and has not yet looked whether that is so. The flag, which it
    /// does not know, tells whether it was the end of the log.
    FoundEnd(bool),
    /// It has found a commit that does not follow the one it knows.
    Mismatch,
    /// A commit of its own was sent, or is to be sent, to the next slot; it has no answer.
    Pending,
    /// This commit of its own is in the next slot. It has not yet looked whether that is the log.
    Placed(Name),
}

/// A process, and the client that asks it to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Process {
    pub(super) step: Step,
    /// The last commit it has read.
    pub(super) tip_slot: u8,
    pub(super) tip: Name,
    /// The last commit it knows to be real.
    pub(super) anchor_slot: u8,
    pub(super) anchor: Name,
    /// The idempotence ids in what it has read, as bits.
    pub(super) read: u8,
    /// Ticks since the end of the log was last proved.
    pub(super) proved: u8,
    /// Ticks since the request was sent that is to prove it next.
    pub(super) sent: u8,
    /// The commit it tries to place, or zero.
    pub(super) commit: u8,
    /// How many headers that commit has had.
    pub(super) headers: u8,
    /// Whether a header of the commit was sent to the next slot.
    pub(super) was_sent: bool,
    /// The commit lost a slot.
    pub(super) moved: bool,
    /// Ticks since the commit was sealed.
    pub(super) sealed: u8,
    /// Commits begun so far.
    pub(super) begun: u8,
    /// Wishes acknowledged so far.
    pub(super) done: u8,
}

impl Process {
    /// Forgets everything; its client does not.
    pub(super) fn forget(&mut self, step: Step) {
        *self = Process { step, begun: self.begun, done: self.done, ..Process::default() };
    }

    pub(super) fn grow_older(&mut self, old: u8) {
        for age in [&mut self.proved, &mut self.sent, &mut self.sealed] {
            *age = (*age + 1).min(old);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) store: [Object; SLOTS],
    pub(super) processes: [Process; PROCESSES],
    pub(super) flights: [Flight; FLIGHTS],
    pub(super) crashes: u8,
    /// The wish in each commit begun.
    pub(super) wish_of: [u8; COMMITS],

    // From here on what really happened, of which no process knows.
    /// The real log: what was put first in each slot.
    pub(super) log: [Name; SLOTS],
    pub(super) end: u8,
    /// Real commits before this one were deleted.
    pub(super) floor: u8,
    /// The slot in which each wish was acknowledged to be, or zero.
    pub(super) acknowledged: [u8; WISHES],
    /// A process took for the end of the log what was not.
    pub(super) stale_end: bool,
    /// A process took the log for damaged, with its anchor intact.
    pub(super) false_alarm: bool,
}

/// Acknowledged, and nowhere in the log.
pub(super) const NOWHERE: u8 = u8::MAX;

impl State {
    pub(super) fn new() -> Self {
        let mut state = State {
            store: Default::default(),
            processes: Default::default(),
            flights: Default::default(),
            crashes: 0,
            wish_of: [0; COMMITS],
            log: [0; SLOTS],
            end: 0,
            floor: 0,
            acknowledged: [0; WISHES],
            stale_end: false,
            false_alarm: false,
        };
        state.store[0] = Object { name: FIRST, before: 0, age: 0 };
        state.log[0] = FIRST;
        state
    }

    /// A number for a commit that a process begins.
    pub(super) fn number(process: usize, begun: u8) -> u8 {
        (2 + process * BEGUN) as u8 + begun
    }

    pub(super) fn wish(&self, name: Name) -> u8 {
        self.wish_of[commit_of(name)]
    }

    /// The idempotence ids of the real log up to a slot.
    pub(super) fn wishes_until(&self, slot: usize) -> u8 {
        self.log[1..=slot].iter().fold(0, |bits, name| bits | 1 << self.wish(*name))
    }

    /// Where a wish is in the real log.
    pub(super) fn place_of(&self, wish: u8) -> Option<u8> {
        (1..=self.end).find(|slot| self.wish(self.log[usize::from(*slot)]) == wish)
    }

    /// Puts an object into a free slot.
    pub(super) fn land(&mut self, slot: usize, name: Name, before: Name) {
        let end = usize::from(self.end);
        if slot == end + 1 && before == self.log[end] {
            self.log[slot] = name;
            self.end += 1;
        }
        self.store[slot] = Object { name, before, age: 0 };
    }

    /// An object that is not what was put first in its slot, or that was put again.
    pub(super) fn is_garbage(&self, slot: usize) -> bool {
        self.store[slot].name != 0
            && (slot < usize::from(self.floor) || self.store[slot].name != self.log[slot])
    }
}
