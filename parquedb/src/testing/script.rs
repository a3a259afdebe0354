//! Which request goes wrong, and how.

use super::random::Random;
use object_store::path::Path;
use object_store::{PutOptions, PutPayload};

/// Kinds of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// A put of any mode.
    Put,
    /// A read.
    Get,
    /// A removal.
    Delete,
    /// A listing.
    List,
}

/// What goes wrong. A fault that makes no sense for a request (a read that is applied later) fails it
/// without doing anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The store does nothing and gives an error of which the cause is not known.
    FailBefore,
    /// The store does it and gives an error of which the cause is not known.
    ApplyThenFail,
    /// The store does it and says "already exists": object_store's own retry met its first request.
    ApplyThenExists,
    /// The store does nothing and says "already exists": a 409, as object_store reports it.
    Undecided,
    /// The store does nothing and refuses for want of permission.
    Refuse,
    /// The store does nothing and wants fewer requests: a 429, as object_store gives it after its retries.
    Throttle,
    /// The store does it and never answers.
    ApplyThenHang,
    /// The store does nothing and never answers.
    Hang,
    /// The store does nothing and gives an error. It does it later: before the next put of the same
    /// object, when [`super::FaultStore::land`] is called, or at any time in random mode.
    ApplyLater,
    /// Only the first half of a body arrives, as if that were all. A listing fails in its middle.
    Truncate,
    /// One bit in a body's middle is another.
    Flip,
}

impl Fault {
    /// All there are for a kind of request, for random choice.
    #[must_use]
    pub fn all(request: Request) -> &'static [Fault] {
        use Fault::*;
        match request {
            Request::Put => &[
                FailBefore,
                ApplyThenFail,
                ApplyThenExists,
                Undecided,
                Refuse,
                Throttle,
                ApplyThenHang,
                Hang,
                ApplyLater,
            ],
            Request::Get => &[FailBefore, Throttle, Hang, Truncate, Flip],
            Request::Delete => &[FailBefore, ApplyThenFail, Throttle, ApplyThenHang, Hang, ApplyLater],
            Request::List => &[FailBefore, Throttle, Truncate],
        }
    }
}

/// A request that the store still carries out some time.
#[derive(Debug, Clone)]
pub(super) enum Late {
    Put(Path, PutPayload, PutOptions),
    Delete(Path),
}

#[derive(Debug)]
pub(super) struct Rule {
    pub(super) request: Request,
    pub(super) path_contains: String,
    pub(super) skip: usize,
    pub(super) times: usize,
    pub(super) fault: Fault,
}

/// Faults by chance.
#[derive(Debug)]
pub(super) struct Chance {
    pub(super) random: Random,
    /// One of so many requests fails.
    pub(super) one_in: u64,
    pub(super) except: Vec<Fault>,
}

#[derive(Debug, Default)]
pub(super) struct Script {
    pub(super) rules: Vec<Rule>,
    pub(super) chance: Option<Chance>,
    pub(super) late: Vec<Late>,
    pub(super) requests: usize,
    /// From this request on nothing is done; with the flag, that one is still done, but not answered.
    pub(super) crash: Option<(usize, bool)>,
    pub(super) faults: usize,
}

impl Script {
    /// What happens to the next request.
    pub(super) fn fault(&mut self, request: Request, path: &Path) -> Option<Fault> {
        let number = self.requests;
        self.requests += 1;
        let fault = self.decide(number, request, path);
        self.faults += usize::from(fault.is_some());
        fault
    }

    fn decide(&mut self, number: usize, request: Request, path: &Path) -> Option<Fault> {
        if let Some((at, applied)) = self.crash
            && number >= at
        {
            let is_done = number == at && applied;
            return Some(if is_done { Fault::ApplyThenFail } else { Fault::FailBefore });
        }
        let matches = |rule: &&mut Rule| {
            rule.times > 0 && rule.request == request && path.as_ref().contains(&rule.path_contains)
        };
        if let Some(rule) = self.rules.iter_mut().find(matches) {
            if rule.skip > 0 {
                rule.skip -= 1;
                return None;
            }
            rule.times -= 1;
            return Some(rule.fault);
        }
        let chance = self.chance.as_mut()?;
        if !chance.random.one_in(chance.one_in) {
            return None;
        }
        let fault = *chance.random.pick(Fault::all(request));
        (!chance.except.contains(&fault)).then_some(fault)
    }

    /// The late requests that are carried out before a put of this object.
    pub(super) fn due(&mut self, location: &Path) -> Vec<Late> {
        let Some(chance) = &mut self.chance else {
            let (due, rest) = std::mem::take(&mut self.late)
                .into_iter()
                .partition(|late| matches!(late, Late::Put(path, ..) if path == location));
            self.late = rest;
            return due;
        };
        let (mut due, mut rest) = (Vec::new(), Vec::new());
        for late in std::mem::take(&mut self.late) {
            if chance.random.one_in(4) { due.push(late) } else { rest.push(late) }
        }
        self.late = rest;
        due
    }
}
