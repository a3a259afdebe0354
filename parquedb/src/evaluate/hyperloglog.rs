//! The approximate number of distinct values: HyperLogLog with 4096 registers, a standard error of 1.6 %.
//!
//! The estimate is the one of O. Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017),
//! <https://arxiv.org/abs/1702.01284>, section 4: it needs no table of biases, and the registers alone decide
//! it, so that neither the order of values nor how often they were merged can show.

mod hash;
#[cfg(test)]
mod tests;

use super::aggregate_function::{GroupStates, Input, Selection, StateFunction};
use super::function::ColumnFunction;
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int64Array};
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::logical_expr::Expr;
use hash::hashes;
use std::sync::Arc;

const VERSION: u8 = 1;
/// The binary logarithm of the number of registers.
const PRECISION: u8 = 12;
const REGISTERS: usize = 1 << PRECISION;
/// The greatest rank: a hash of which all further bits are zero.
const MAX_RANK: u8 = 64 - PRECISION + 1;
/// What follows the version and the precision.
const SPARSE: u8 = 0;
const DENSE: u8 = 1;
/// Registers that take more room one by one than all of them together.
const SPARSE_LIMIT: usize = REGISTERS / 3;
/// Registers that a group lists before it keeps all.
const LISTED: usize = 512;

/// The state over values.
pub(crate) fn distinct_sketch(value: Expr) -> Expr {
    StateFunction::new("distinct_sketch", Input::Rows, binary, Sketches::boxed).call(vec![value])
}

/// Merges states.
pub(crate) fn merge_distinct_sketch(state: Expr) -> Expr {
    StateFunction::new("merge_distinct_sketch", Input::States, binary, Sketches::boxed).call(vec![state])
}

/// The estimate, rounded; zero of null.
pub(crate) fn distinct_estimate(state: Expr) -> Expr {
    let compute = |columns: &[ArrayRef], _: &DataType| {
        let states = columns[0].as_binary::<i32>();
        let estimates = states.iter().map(|state| {
            let mut sketch = Sketch::default();
            state.map_or(Ok(()), |state| sketch.merge(state))?;
            Ok(sketch.estimate().round() as i64)
        });
        Ok(Arc::new(estimates.collect::<Result<Vec<_>>>().map(Int64Array::from)?) as ArrayRef)
    };
    ColumnFunction::new("distinct_estimate", |_| Ok(DataType::Int64), compute).call(vec![state])
}

fn binary(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::Binary)
}

/// The sketch of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Sketch {
    /// Registers with their ranks, some more than once: `register << 8 | rank`.
    Listed(Vec<u32>),
    /// The rank of each register.
    All(Vec<u8>),
}

impl Default for Sketch {
    fn default() -> Self {
        Sketch::Listed(Vec::new())
    }
}

impl Sketch {
    fn add_hash(&mut self, hash: u64) {
        let register = (hash >> (64 - PRECISION)) as usize;
        // The added bit ends the run of zeros where the hash does not.
        let rank = (hash << PRECISION | 1 << (PRECISION - 1)).leading_zeros() + 1;
        self.raise(register, u8::try_from(rank).unwrap_or(MAX_RANK));
    }

    fn raise(&mut self, register: usize, rank: u8) {
        match self {
            Sketch::All(ranks) => ranks[register] = ranks[register].max(rank),
            Sketch::Listed(list) => {
                list.push((register as u32) << 8 | u32::from(rank));
                if list.len() >= 2 * LISTED {
                    let registers = self.registers();
                    *self = if registers.len() < LISTED {
                        Sketch::Listed(registers)
                    } else {
                        Sketch::All(ranks(&registers))
                    };
                }
            }
        }
    }

    /// The registers that are not zero in ascending order: `register << 8 | rank`.
    fn registers(&self) -> Vec<u32> {
        match self {
            Sketch::Listed(list) => {
                let mut sorted = list.clone();
                // The greatest rank of a register first, which is the one that stays.
                sorted.sort_unstable_by_key(|entry| (entry >> 8, u32::MAX - entry));
                sorted.dedup_by_key(|entry| *entry >> 8);
                sorted
            }
            Sketch::All(ranks) => {
                let registers = (0_u32..).zip(ranks).filter(|(_, rank)| **rank > 0);
                registers.map(|(register, rank)| register << 8 | u32::from(*rank)).collect()
            }
        }
    }

    /// The stored form: the version, the precision, then either each register that is not zero as `u16` and
    /// `u8`, ascending, or the ranks of all, whichever is shorter.
    fn encode(&self) -> Vec<u8> {
        let registers = self.registers();
        let mut bytes = vec![VERSION, PRECISION];
        if registers.len() > SPARSE_LIMIT {
            bytes.push(DENSE);
            bytes.extend(ranks(&registers));
        } else {
            bytes.push(SPARSE);
            for entry in registers {
                let [rank, low, high, _] = entry.to_le_bytes();
                bytes.extend([low, high, rank]);
            }
        }
        bytes
    }

    /// Takes in a stored sketch.
    fn merge(&mut self, bytes: &[u8]) -> Result<()> {
        let wrong = |problem: &str| exec_datafusion_err!("stored state: a distinct sketch {problem}");
        match bytes {
            [VERSION, PRECISION, DENSE, ranks @ ..] if ranks.len() == REGISTERS => {
                for (register, rank) in ranks.iter().enumerate().filter(|(_, rank)| **rank > 0) {
                    self.raise(register, (*rank).min(MAX_RANK));
                }
                Ok(())
            }
            [VERSION, PRECISION, SPARSE, entries @ ..] if entries.len() % 3 == 0 => {
                for [low, high, rank] in entries.as_chunks::<3>().0 {
                    let register = usize::from(u16::from_le_bytes([*low, *high]));
                    if register >= REGISTERS {
                        return Err(wrong("with a register too many"));
                    }
                    self.raise(register, (*rank).min(MAX_RANK));
                }
                Ok(())
            }
            [VERSION, PRECISION, ..] => Err(wrong("of a wrong length")),
            _ => Err(wrong("in a format that this version does not know")),
        }
    }

    /// Ertl's improved raw estimate.
    fn estimate(&self) -> f64 {
        let mut with_rank = [0_usize; MAX_RANK as usize + 1];
        let registers = self.registers();
        with_rank[0] = REGISTERS - registers.len();
        for entry in registers {
            with_rank[(entry & 0xff) as usize] += 1;
        }
        let all = REGISTERS as f64;
        let mut sum = all * tau(1.0 - with_rank[usize::from(MAX_RANK)] as f64 / all);
        for rank in (1..usize::from(MAX_RANK)).rev() {
            sum = 0.5 * (sum + with_rank[rank] as f64);
        }
        sum += all * sigma(with_rank[0] as f64 / all);
        all / (2.0 * std::f64::consts::LN_2) * all / sum
    }
}

fn ranks(registers: &[u32]) -> Vec<u8> {
    let mut ranks = vec![0; REGISTERS];
    for entry in registers {
        ranks[(entry >> 8) as usize] = entry.to_le_bytes()[0];
    }
    ranks
}

/// The share of registers that are still zero, corrected.
fn sigma(mut zeros: f64) -> f64 {
    if zeros >= 1.0 {
        return f64::INFINITY;
    }
    let (mut factor, mut sum) = (1.0, zeros);
    loop {
        zeros *= zeros;
        let before = sum;
        sum += zeros * factor;
        factor += factor;
        if sum == before {
            return sum;
        }
    }
}

/// The share of registers that have not the greatest rank, corrected.
fn tau(mut rest: f64) -> f64 {
    if rest <= 0.0 || rest >= 1.0 {
        return 0.0;
    }
    let (mut factor, mut sum) = (1.0, 1.0 - rest);
    loop {
        rest = rest.sqrt();
        let before = sum;
        factor *= 0.5;
        sum -= (1.0 - rest) * (1.0 - rest) * factor;
        if sum == before {
            return sum / 3.0;
        }
    }
}

/// The sketches of all groups.
struct Sketches(Vec<Sketch>);

impl Sketches {
    fn boxed(_: &DataType) -> Result<Box<dyn GroupStates>> {
        Ok(Box::new(Self(Vec::new())))
    }
}

impl GroupStates for Sketches {
    fn resize(&mut self, groups: usize) {
        if self.0.len() < groups {
            self.0.resize_with(groups, Sketch::default);
        }
    }

    fn add_rows(&mut self, columns: &[ArrayRef], rows: Selection<'_>) -> Result<()> {
        let hashes = hashes(&columns[0])?;
        rows.rows(columns[0].nulls()).for_each(|(row, group)| self.0[group].add_hash(hashes[row]));
        Ok(())
    }

    fn add_states(&mut self, states: &ArrayRef, rows: Selection<'_>) -> Result<()> {
        let states = states.as_binary::<i32>();
        rows.rows(states.nulls()).try_for_each(|(row, group)| self.0[group].merge(states.value(row)))
    }

    fn emit(&mut self, groups: usize) -> Result<ArrayRef> {
        let states = self.0.drain(..groups).map(|sketch| sketch.encode());
        Ok(Arc::new(BinaryArray::from_iter_values(states)))
    }

    fn size(&self) -> usize {
        // Most groups of a commit are small.
        self.0.capacity() * (size_of::<Sketch>() + 64)
    }
}
