//! Cuts a body into items without parsing it.
//!
//! An item is delimited by its brackets and strings alone, so an item that is not valid JSON between
//! them is still one item. Where lines delimit (NDJSON), a line that breaks off costs only itself.

/// Longest beginning of a body in which a line end is looked for.
const FIRST_LINE: usize = 1 << 20;

/// One item, as it arrived.
#[derive(Debug)]
pub struct RawItem<'a> {
    /// Its index, from 0.
    pub position: u64,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// All bytes since the end of the item before it: separators, then the item.
    pub advance: &'a [u8],
    /// How deep its brackets nest.
    pub depth: u32,
    /// Why it is known not to be an event.
    pub fault: Option<&'static str>,
    /// Whether the input ended within it.
    pub cut_off: bool,
}

/// Why a body cannot be cut into items.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {offset}")]
pub struct SplitError {
    /// Where, in bytes of the decompressed body.
    pub offset: u64,
    /// What is wrong there.
    pub what: String,
}

/// Cuts bytes, fed piece by piece, into items.
#[derive(Debug)]
pub struct Splitter {
    buffer: Vec<u8>,
    /// Input offset of the buffer's first byte.
    offset: u64,
    /// End of the last item given out.
    taken: usize,
    /// Where the next item begins, or separators before it.
    at: usize,
    ended: bool,
    mode: Mode,
    /// End of the line being cut.
    line: Option<usize>,
    in_array: bool,
    scan: Scan,
    position: u64,
    limit: usize,
    found: Option<Found>,
}

/// Where the last item found lies in the buffer.
#[derive(Debug, Clone, Copy)]
struct Found {
    from: usize,
    begin: usize,
    end: usize,
    depth: u32,
    fault: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Unknown,
    Lines,
    Values,
}

enum Step {
    Item { end: usize, depth: u32, fault: Option<&'static str> },
    More,
    End,
}

impl Splitter {
    /// A splitter that holds no more than about `limit` bytes: the longest item, or line of NDJSON.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            buffer: Vec::new(),
            offset: 0,
            taken: 0,
            at: 0,
            ended: false,
            mode: Mode::Unknown,
            line: None,
            in_array: false,
            scan: Scan::default(),
            position: 0,
            limit,
            found: None,
        }
    }

    /// Adds input.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.found = None;
        if self.taken > 0 {
            self.buffer.drain(..self.taken);
            self.offset += self.taken as u64;
            self.at -= self.taken;
            self.line = self.line.map(|end| end - self.taken);
            self.scan.at = self.scan.at.saturating_sub(self.taken);
            self.taken = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Says that no more input comes.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// The next item; none when more input is needed, or when the ended input holds no more.
    ///
    /// # Errors
    /// When what follows cannot be cut into items. Every item before it was given out.
    pub fn next_item(&mut self) -> Result<Option<RawItem<'_>>, SplitError> {
        self.advance()?;
        Ok(self.item())
    }

    /// Moves on to the next item; false when more input is needed, or when the ended input holds no
    /// more.
    ///
    /// # Errors
    /// As [`Splitter::next_item`].
    pub fn advance(&mut self) -> Result<bool, SplitError> {
        self.found = None;
        if self.mode == Mode::Unknown {
            self.detect()?;
        }
        let step = match self.mode {
            Mode::Unknown => Step::More,
            Mode::Values => self.step(self.buffer.len(), self.ended, false)?,
            Mode::Lines => self.step_in_line()?,
        };
        match step {
            Step::Item { end, depth, fault } => {
                self.found = Some(Found { from: self.taken, begin: self.at, end, depth, fault });
                self.taken = end;
                self.at = end;
                self.scan = Scan::default();
                self.position += 1;
                Ok(true)
            }
            Step::End => Ok(false),
            Step::More if self.buffer.len() - self.taken > self.limit => {
                Err(self.error(self.taken, format!("no item ends within {} bytes", self.limit)))
            }
            Step::More => Ok(false),
        }
    }

    /// The item that [`Splitter::advance`] found.
    #[must_use]
    pub fn item(&self) -> Option<RawItem<'_>> {
        let Found { from, begin, end, depth, fault } = self.found?;
        Some(RawItem {
            position: self.position - 1,
            bytes: self.buffer.get(begin..end)?,
            advance: self.buffer.get(from..end)?,
            depth,
            fault,
            cut_off: fault.is_some() && self.ended && end == self.buffer.len(),
        })
    }

    /// Bytes of input before the end of the last item given out.
    #[must_use]
    pub fn consumed(&self) -> u64 {
        self.offset + self.taken as u64
    }

    fn error(&self, at: usize, what: impl Into<String>) -> SplitError {
        SplitError { offset: self.offset + at as u64, what: what.into() }
    }

    /// Finds out whether lines delimit the items, from the first line and the start of the second.
    fn detect(&mut self) -> Result<(), SplitError> {
        const MARK: &[u8] = b"\xef\xbb\xbf";
        if self.at == 0 && self.offset == 0 {
            if self.buffer.starts_with(MARK) {
                self.at = MARK.len();
            } else if !self.ended && MARK.starts_with(&self.buffer) {
                return Ok(());
            }
        }
        self.at += blanks(&self.buffer[self.at..]);
        let Some(&first) = self.buffer.get(self.at) else {
            if self.ended {
                self.mode = Mode::Values;
            }
            return Ok(());
        };
        if first != b'{' && first != b'[' {
            return Err(self.error(self.at, "expected a JSON object or array"));
        }
        let rest = &self.buffer[self.at..];
        let Some(end) = memchr::memchr(b'\n', rest) else {
            if self.ended || rest.len() > FIRST_LINE {
                self.mode = Mode::Values;
            }
            return Ok(());
        };
        let (line, after) = (rest[..end].trim_ascii_end(), &rest[end + 1..]);
        if is_closed(line) {
            self.mode = Mode::Lines;
            return Ok(());
        }
        // The first line is either the start of a value laid out over many lines, or it broke off.
        let Some(&next) = after.first() else {
            if self.ended {
                self.mode = Mode::Values;
            }
            return Ok(());
        };
        let open = matches!(line.last(), Some(b'[' | b','));
        self.mode = match first {
            b'{' if next == b'{' => Mode::Lines,
            b'[' if next == b'[' && !open => Mode::Lines,
            _ => Mode::Values,
        };
        Ok(())
    }

    fn step_in_line(&mut self) -> Result<Step, SplitError> {
        loop {
            if let Some(end) = self.line {
                match self.step(end, true, true)? {
                    Step::End => {
                        self.line = None;
                        self.in_array = false;
                        self.at = end;
                    }
                    step => return Ok(step),
                }
            }
            self.at += blanks(&self.buffer[self.at..]);
            let rest = &self.buffer[self.at.max(self.scan.at)..];
            match memchr::memchr(b'\n', rest) {
                Some(end) => self.line = Some(self.buffer.len() - rest.len() + end),
                None if !self.ended => {
                    self.scan.at = self.buffer.len();
                    return Ok(Step::More);
                }
                None if self.at == self.buffer.len() => return Ok(Step::End),
                None => self.line = Some(self.buffer.len()),
            }
            self.scan = Scan::default();
        }
    }

    /// The next item before `end`. With `last`, nothing follows `end` that could complete one; with
    /// `lines`, an item that is not complete there is an item all the same.
    fn step(&mut self, end: usize, last: bool, lines: bool) -> Result<Step, SplitError> {
        loop {
            self.at += blanks(&self.buffer[self.at..end]);
            let Some(&byte) = self.buffer[..end].get(self.at) else {
                if !last {
                    return Ok(Step::More);
                }
                if !self.in_array {
                    return Ok(Step::End);
                }
                if !lines {
                    return Err(self.error(end, "the body ends inside an array"));
                }
                self.in_array = false;
                return Ok(Step::Item { end, depth: 0, fault: Some("the line ends inside an array") });
            };
            match byte {
                b',' | b']' if self.in_array => {
                    self.in_array = byte == b',';
                    self.at += 1;
                    continue;
                }
                b'[' if !self.in_array => {
                    self.in_array = true;
                    self.at += 1;
                    continue;
                }
                b'{' | b'[' => {}
                _ if !self.in_array && lines => {
                    return Ok(Step::Item { end, depth: 0, fault: Some("expected a JSON object or array") });
                }
                _ if !self.in_array => return Err(self.error(self.at, "expected a JSON object or array")),
                _ => {}
            }
            self.scan.at = self.scan.at.max(self.at);
            if self.scan.value(&self.buffer[..end], self.at, last) {
                return Ok(Step::Item { end: self.scan.at, depth: self.scan.deepest, fault: None });
            }
            return match (last, lines) {
                (false, _) => Ok(Step::More),
                (true, true) => Ok(Step::Item {
                    end,
                    depth: self.scan.deepest,
                    fault: Some("the line ends inside this item"),
                }),
                (true, false) => Err(self.error(
                    end,
                    format!(
                        "the body ends inside the item that begins at byte {}, cut off",
                        self.offset + self.at as u64
                    ),
                )),
            };
        }
    }
}

/// How far one value has been scanned.
#[derive(Debug, Default)]
struct Scan {
    at: usize,
    depth: u32,
    deepest: u32,
    in_string: bool,
}

impl Scan {
    /// Scans on through the value that begins at `start`; true once it is complete and ends at `at`.
    fn value(&mut self, bytes: &[u8], start: usize, last: bool) -> bool {
        while let Some(&byte) = bytes.get(self.at) {
            if self.in_string {
                let Some(found) = memchr::memchr2(b'"', b'\\', &bytes[self.at..]) else {
                    self.at = bytes.len();
                    return false;
                };
                self.at += found;
                if bytes[self.at] == b'\\' {
                    if self.at + 1 == bytes.len() {
                        return false;
                    }
                    self.at += 2;
                    continue;
                }
                self.at += 1;
                self.in_string = false;
                if self.depth == 0 {
                    return true;
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => {
                    self.depth += 1;
                    self.deepest = self.deepest.max(self.depth);
                }
                // A stray closing bracket is a value of its own, or ends the scalar before it.
                b'}' | b']' if self.depth == 0 => {
                    self.at += usize::from(self.at == start);
                    return true;
                }
                b'}' | b']' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        self.at += 1;
                        return true;
                    }
                }
                b',' | b' ' | b'\t' | b'\r' | b'\n' if self.depth == 0 => return true,
                _ => {}
            }
            self.at += 1;
        }
        last && self.depth == 0 && !self.in_string && self.at > start
    }
}

/// How many bytes of white space come first.
fn blanks(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).unwrap_or(bytes.len())
}

/// Whether every bracket and string of a line is closed within it.
fn is_closed(line: &[u8]) -> bool {
    let mut at = 0;
    while at < line.len() {
        let mut scan = Scan { at, ..Scan::default() };
        if !scan.value(line, at, true) {
            return false;
        }
        at = scan.at + blanks(&line[scan.at..]);
        if line.get(at) == Some(&b',') {
            at += 1;
        }
    }
    true
}
