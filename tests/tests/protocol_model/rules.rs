//! The rules that processes follow, right or wrong, and the bounds within which all is tried.

/// What a process looks at after a commit, or when it finds no further one, before it believes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Nothing.
    Nowhere,
    /// The commit before: is it the one that was read?
    Predecessor,
    /// The last commit that is known to be real.
    Anchor,
}

/// In which order collection deletes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Ascending,
    Any,
}

/// From when on a proof of the log's end counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProvedAt {
    /// When the first request was sent whose effect is the proof.
    FirstSent,
    /// When the last one was sent: a put's repetition that finds the first one there.
    LastSent,
    /// When everything was looked at.
    Believed,
}

/// What a put sends when the answer to the one before was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resend {
    /// The same bytes. An anchor cannot tell a copy that lands after the first one was deleted.
    SameBytes,
    /// The same bytes, and only while the commit is younger than half the grace. No request is under way
    /// for longer than that.
    SameBytesInTime,
    /// The same commit with another time in its header. Anchors are compared by their whole headers.
    NewHeader,
}

/// How old an object has to be before it is deleted, in ticks. A tick is half the grace.
pub(super) const GRACE: u8 = 2;

/// The most ticks that may have passed since a proof for half the grace to be left: of two events with
/// one tick between them, nearly none or nearly two units of time may be between.
pub(super) const HALF_GRACE: u8 = 1;

/// Slots of the log, the first of which holds the first commit.
pub(super) const SLOTS: usize = 5;
pub(super) const PROCESSES: usize = 3;
/// Commits that one process can begin, those that it makes again after a crash or a reload included.
pub(super) const BEGUN: usize = 3;
/// Requests whose answers are lost.
pub(super) const FLIGHTS: usize = 2;
pub(super) const COMMITS: usize = 2 + PROCESSES * BEGUN;
/// What clients want written, each with an idempotence id. Number zero is the first commit.
pub(super) const WISHES: usize = 5;

/// The rules and the bounds of one model.
#[derive(Debug, Clone)]
pub(super) struct Protocol {
    pub(super) look: Look,
    pub(super) order: Order,
    pub(super) resend: Resend,
    /// Commits of the same idempotence id are noticed.
    pub(super) idempotent: bool,
    /// A commit counts as repeated only by what was believed, not by what was merely read.
    pub(super) repeats_are_verified: bool,
    /// No look when at most so many ticks have passed since the last proof.
    pub(super) trusted: Option<u8>,
    pub(super) proved_at: ProvedAt,
    /// Collection deletes only what has this age.
    pub(super) grace: u8,

    /// What the clients of each process want, in order. Two processes may be asked for the same: a client
    /// that got no answer from one turns to another.
    pub(super) wishes: Vec<Vec<u8>>,
    /// The last slot used.
    pub(super) last_slot: usize,
    /// How many commits each process may begin.
    pub(super) begun: Vec<u8>,
    pub(super) crashes: u8,
    /// How many answers may be lost.
    pub(super) flights: usize,
    /// Whether time passes.
    pub(super) clock: bool,
}

impl Protocol {
    /// The right rules, always looking, without faults. Each process has the digits of its text as wishes.
    pub(super) fn right(wishes: &[&str], begun: &[u8], last_slot: usize) -> Self {
        Self {
            look: Look::Anchor,
            order: Order::Ascending,
            resend: Resend::NewHeader,
            idempotent: true,
            repeats_are_verified: true,
            trusted: None,
            proved_at: ProvedAt::FirstSent,
            grace: 0,
            wishes: wishes.iter().map(|wishes| wishes.bytes().map(|digit| digit - b'0').collect()).collect(),
            last_slot,
            begun: begun.to_vec(),
            crashes: 0,
            flights: 0,
            clock: false,
        }
    }

    pub(super) fn with_faults(mut self, crashes: u8, flights: usize) -> Self {
        (self.crashes, self.flights) = (crashes, flights);
        self
    }

    /// Time passes, and nobody looks who knew the log's end less than half the grace ago.
    pub(super) fn with_clock(mut self) -> Self {
        (self.clock, self.grace, self.trusted) = (true, GRACE, Some(HALF_GRACE));
        self
    }

    /// The age from which on ages are not told apart.
    pub(super) fn old(&self) -> u8 {
        self.trusted.map_or(0, |ticks| ticks + 1).max(self.grace)
    }

    pub(super) fn processes(&self) -> usize {
        self.wishes.len()
    }
}
