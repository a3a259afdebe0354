//! What can happen next.

use super::rules::{GRACE, HALF_GRACE, Look, Order, Protocol, ProvedAt, Resend, SLOTS};
use super::state::{Flight, NOWHERE, State, Step, name};
use stateright::{Model, Property};

/// One step of one process, of the store, of collection or of time. Processes and slots by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Half the grace passes.
    Tick,
    /// A process is started or reads everything anew, from the checkpoint at a slot. It may have read that
    /// checkpoint long ago, so that its commit may be gone.
    Load(usize, u8),
    /// It asks for the next commit: reads it, or finds none.
    Read(usize),
    /// It puts a commit, new or pending, into the next slot and gets an answer; finding the slot taken it
    /// reads what is there.
    Put(usize),
    /// The same, and the answer is lost; the request is away.
    PutUnanswered(usize),
    /// It looks whether what it found is the log.
    Look(usize),
    /// It believes that without a look, because the last proof is recent.
    Trust(usize),
    /// It tells its client that the commit was made before.
    Repeated(usize),
    /// It does not send its pending commit any more, because that is too old, and reads everything anew.
    GiveUp(usize),
    /// It loses everything it knows. Its client asks again.
    Crash(usize),
    /// A put arrives whose answer was lost.
    Land(usize),
    /// Collection deletes the object of a slot. There may be any number of collections at once, that crash
    /// and begin again at the lowest object.
    Delete(usize),
}

impl Protocol {
    /// What the client of a process wants now.
    fn wish(&self, state: &State, index: usize) -> Option<u8> {
        self.wishes[index].get(usize::from(state.processes[index].done)).copied()
    }

    fn process_actions(&self, state: &State, index: usize, actions: &mut Vec<Action>) {
        let process = &state.processes[index];
        let has_room = usize::from(process.tip_slot) < self.last_slot;
        let may_fly = state.flights[..self.flights].contains(&Flight::None);
        match process.step {
            Step::Down | Step::Discarded => {
                actions.extend((0..=state.end).map(|slot| Action::Load(index, slot)));
            }
            Step::Idle => {
                if has_room {
                    actions.push(Action::Read(index));
                }
                let Some(wish) = self.wish(state, index) else { return };
                let was_read = self.idempotent && process.read & 1 << wish != 0;
                if was_read {
                    let is_verified =
                        (process.tip_slot, process.tip) == (process.anchor_slot, process.anchor);
                    if is_verified || !self.repeats_are_verified {
                        actions.push(Action::Repeated(index));
                    }
                } else if has_room && process.begun < self.begun[index] {
                    actions.push(Action::Put(index));
                    if may_fly {
                        actions.push(Action::PutUnanswered(index));
                    }
                }
            }
            Step::Pending if self.resend == Resend::SameBytesInTime && process.sealed > HALF_GRACE => {
                actions.push(Action::GiveUp(index));
            }
            Step::Pending if has_room => {
                actions.push(Action::Put(index));
                if may_fly {
                    actions.push(Action::PutUnanswered(index));
                }
            }
            Step::Pending => {}
            Step::FoundEnd(_) | Step::Placed(_) => {
                actions.push(Action::Look(index));
                if self.trusted.is_some_and(|ticks| process.proved <= ticks) {
                    actions.push(Action::Trust(index));
                }
            }
            Step::Mismatch => actions.push(Action::Look(index)),
        }
        if process.step != Step::Down && state.crashes < self.crashes {
            actions.push(Action::Crash(index));
        }
    }

    fn load(&self, state: &mut State, index: usize, slot: u8) {
        let (tip, read) = (state.log[usize::from(slot)], state.wishes_until(usize::from(slot)));
        let process = &mut state.processes[index];
        process.step = Step::Idle;
        (process.tip_slot, process.tip, process.read) = (slot, tip, read);
        (process.anchor_slot, process.anchor) = (slot, tip);
        process.proved = self.old();
    }

    /// Moves a process to the object after its tip, if that follows the tip.
    fn walk(state: &mut State, index: usize) -> bool {
        let object = state.store[usize::from(state.processes[index].tip_slot) + 1];
        let wish = state.wish(object.name);
        let process = &mut state.processes[index];
        if object.before != process.tip {
            process.step = Step::Mismatch;
            return false;
        }
        process.tip_slot += 1;
        process.tip = object.name;
        process.read |= 1 << wish;
        true
    }

    fn read(state: &mut State, index: usize) {
        let process = &mut state.processes[index];
        let slot = usize::from(process.tip_slot);
        if state.store[slot + 1].name != 0 {
            Self::walk(state, index);
            return;
        }
        let is_end = slot == usize::from(state.end) && process.tip == state.log[slot];
        process.step = Step::FoundEnd(is_end);
        process.sent = 0;
    }

    /// Begins a commit where none is pending, and gives what is sent.
    fn prepare(&self, state: &mut State, index: usize) {
        let wish = self.wish(state, index).unwrap_or_default();
        let process = &mut state.processes[index];
        if process.step == Step::Idle {
            process.commit = State::number(index, process.begun);
            process.begun += 1;
            process.step = Step::Pending;
            (process.headers, process.sealed, process.was_sent, process.moved) = (0, 0, false, false);
            state.wish_of[usize::from(process.commit)] = wish;
        } else if process.was_sent && self.resend == Resend::NewHeader {
            process.headers += 1;
        }
        if !process.was_sent || self.proved_at == ProvedAt::LastSent {
            process.sent = 0;
        }
        process.was_sent = true;
    }

    fn put(&self, state: &mut State, index: usize) {
        self.prepare(state, index);
        let process = state.processes[index];
        let slot = usize::from(process.tip_slot) + 1;
        let sent = name(process.commit, process.headers);
        let present = state.store[slot].name;
        if present == 0 {
            state.land(slot, sent, process.tip);
            state.processes[index].step = Step::Placed(sent);
        } else if present >> 2 == process.commit {
            state.processes[index].step = Step::Placed(present);
        } else if Self::walk(state, index) {
            let process = &mut state.processes[index];
            (process.was_sent, process.moved) = (false, true);
            let wish = state.wish_of[usize::from(process.commit)];
            if self.idempotent && process.read & 1 << wish != 0 {
                process.step = Step::Idle;
                (process.commit, process.headers, process.sealed, process.sent) = (0, 0, 0, 0);
                process.moved = false;
            }
        }
    }

    fn put_unanswered(&self, state: &mut State, index: usize) {
        self.prepare(state, index);
        let process = state.processes[index];
        let flight = Flight::Away {
            slot: process.tip_slot + 1,
            name: name(process.commit, process.headers),
            before: process.tip,
            age: process.sealed,
        };
        if let Some(free) = state.flights.iter_mut().find(|flight| **flight == Flight::None) {
            *free = flight;
        }
    }

    fn look(&self, state: &mut State, index: usize) {
        let process = &state.processes[index];
        let holds = |slot: u8, name| state.store[usize::from(slot)].name == name;
        let is_intact = match self.look {
            Look::Nowhere => true,
            Look::Predecessor => holds(process.tip_slot, process.tip),
            Look::Anchor => holds(process.anchor_slot, process.anchor),
        };
        if is_intact {
            self.believe(state, index);
        } else {
            state.processes[index].forget(Step::Discarded);
        }
    }

    fn believe(&self, state: &mut State, index: usize) {
        let process = &mut state.processes[index];
        match process.step {
            Step::Mismatch => {
                state.false_alarm = true;
                return;
            }
            Step::FoundEnd(is_end) => state.stale_end |= !is_end,
            Step::Placed(placed) => {
                process.tip_slot += 1;
                process.tip = placed;
                let wish = state.wish_of[usize::from(process.commit)];
                process.read |= 1 << wish;
                process.done += 1;
                (process.commit, process.headers, process.sealed) = (0, 0, 0);
                (process.was_sent, process.moved) = (false, false);
                let is_real = state.log[usize::from(process.tip_slot)] == placed;
                let place = if is_real { process.tip_slot } else { NOWHERE };
                Self::acknowledge(state, wish, place);
            }
            _ => {}
        }
        let process = &mut state.processes[index];
        process.step = Step::Idle;
        (process.anchor_slot, process.anchor) = (process.tip_slot, process.tip);
        process.proved = if self.proved_at == ProvedAt::Believed { 0 } else { process.sent };
        process.sent = 0;
    }

    fn acknowledge(state: &mut State, wish: u8, place: u8) {
        let known = &mut state.acknowledged[usize::from(wish)];
        *known = if *known == 0 || *known == place { place } else { NOWHERE };
    }

    fn tick(&self, state: &mut State) {
        let old = self.old();
        for object in state.store.iter_mut().filter(|object| object.name != 0) {
            object.age = (object.age + 1).min(old);
        }
        for process in &mut state.processes {
            if !matches!(process.step, Step::Down | Step::Discarded) {
                process.grow_older(old);
            }
        }
        for flight in &mut state.flights {
            if let Flight::Away { age, .. } = flight {
                *age = (*age + 1).min(old);
            }
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for index in 0..self.processes() {
            self.process_actions(state, index, actions);
        }
        for (index, flight) in state.flights.iter().enumerate() {
            if let Flight::Away { slot, age, .. } = flight {
                let is_in_time = self.resend != Resend::SameBytesInTime || *age <= HALF_GRACE;
                if is_in_time && state.store[usize::from(*slot)].name == 0 {
                    actions.push(Action::Land(index));
                }
            }
        }
        let floor = usize::from(state.floor);
        for slot in 0..usize::from(state.end) {
            let object = state.store[slot];
            let is_next = self.order == Order::Any || slot <= floor;
            if object.name != 0 && is_next && object.age >= self.grace {
                actions.push(Action::Delete(slot));
            }
        }
        if self.clock {
            actions.push(Action::Tick);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = *last;
        match action {
            Action::Tick => self.tick(&mut state),
            Action::Load(index, slot) => self.load(&mut state, index, slot),
            Action::Read(index) => Self::read(&mut state, index),
            Action::Put(index) => self.put(&mut state, index),
            Action::PutUnanswered(index) => self.put_unanswered(&mut state, index),
            Action::Look(index) => self.look(&mut state, index),
            Action::Trust(index) => self.believe(&mut state, index),
            Action::Repeated(index) => {
                let wish = self.wish(&state, index)?;
                state.processes[index].done += 1;
                let place = state.place_of(wish).unwrap_or(NOWHERE);
                Self::acknowledge(&mut state, wish, place);
            }
            Action::GiveUp(index) => state.processes[index].forget(Step::Discarded),
            Action::Crash(index) => {
                state.crashes += 1;
                state.processes[index].forget(Step::Down);
            }
            Action::Land(index) => {
                let Flight::Away { slot, name, before, .. } = state.flights[index] else { return None };
                state.flights[index] = Flight::Landed;
                state.land(usize::from(slot), name, before);
            }
            Action::Delete(slot) => {
                state.store[slot] = Default::default();
                // In ascending order only the slot at the floor holds what was not deleted yet.
                state.floor = state.floor.max(slot as u8 + 1);
            }
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always("acknowledged commits are in the log where it was said", |_, state: &State| {
                let wishes = state.acknowledged.iter().enumerate().filter(|(_, slot)| **slot != 0);
                let mut places = wishes.map(|(wish, slot)| {
                    state.log.get(usize::from(*slot)).is_some_and(|name| state.wish(*name) == wish as u8)
                });
                places.all(|is_there| is_there)
            }),
            Property::always("no commit is in the log twice", |_, state: &State| {
                let wishes = state.wishes_until(usize::from(state.end));
                wishes.count_ones() == u32::from(state.end)
            }),
            Property::always("what a process believes is the log", |_, state: &State| {
                let mut anchors = state.processes.iter().filter(|process| process.anchor != 0);
                anchors.all(|process| state.log[usize::from(process.anchor_slot)] == process.anchor)
            }),
            Property::always("nobody takes a gap for the end of the log", |_, state: &State| {
                !state.stale_end
            }),
            Property::always("nobody takes a collected log for a damaged one", |_, state: &State| {
                !state.false_alarm
            }),
            Property::always("garbage is nowhere but before the floor", |_, state: &State| {
                let floor = usize::from(state.floor);
                (floor..SLOTS).all(|slot| state.store[slot].name == state.log[slot])
            }),
            Property::sometimes("collection deletes", |_, state: &State| state.floor > 0),
            Property::sometimes("a writer that stood still leaves garbage", |_, state: &State| {
                (0..SLOTS).any(|slot| state.is_garbage(slot))
            }),
            Property::sometimes("a process reads everything anew", |_, state: &State| {
                state.processes.iter().any(|process| process.step == Step::Discarded)
            }),
            Property::sometimes("a commit is discarded that is in the log", |model: &Self, state: &State| {
                (0..model.processes()).any(|index| {
                    let is_there =
                        |wish| state.place_of(wish).is_some() && state.acknowledged[usize::from(wish)] == 0;
                    state.processes[index].step == Step::Discarded
                        && model.wish(state, index).is_some_and(is_there)
                })
            }),
            Property::sometimes("a commit moves to the next slot and lands there", |_, state: &State| {
                state.processes.iter().any(|process| process.moved && matches!(process.step, Step::Placed(_)))
            }),
            Property::sometimes("everybody gets what they want", |model: &Self, state: &State| {
                (0..model.processes()).all(|index| model.wish(state, index).is_none())
            }),
        ];
        if self.flights > 0 {
            properties.extend(late());
        }
        if self.clock {
            properties.extend(timely());
        }
        properties
    }
}

/// What happens only with lost answers.
fn late() -> Vec<Property<Protocol>> {
    vec![
        Property::sometimes("a put lands after its answer was lost", |_, state: &State| {
            state.flights.contains(&Flight::Landed)
        }),
        Property::sometimes("a put lands in a slot that was collected", |_, state: &State| {
            let commit = |name: u8| name >> 2;
            let away = |name: u8| {
                state.flights.iter().any(|flight| {
                matches!(flight, Flight::Away { name: other, .. } if commit(*other) == commit(name))
            })
            };
            (0..SLOTS).any(|slot| state.is_garbage(slot) && away(state.store[slot].name))
        }),
    ]
}

/// What happens only with a clock.
fn timely() -> Vec<Property<Protocol>> {
    vec![Property::sometimes("a commit is believed without a look", |model: &Protocol, state: &State| {
        let trusts = |ticks| {
            state.processes.iter().any(|process| {
                matches!(process.step, Step::Placed(_)) && process.proved <= ticks && process.proved > 0
            })
        };
        state.floor > 0
            && state.store.iter().any(|object| object.age >= GRACE)
            && model.trusted.is_some_and(trusts)
    })]
}
