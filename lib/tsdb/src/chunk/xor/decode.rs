//! Decoding floats, as fast as safe code goes.
//!
//! One peek at the stream shows the whole of a timestamp of up to 20 bits together with the control bits of
//! the value; a second one fetches the value's bits. The order of the tests in [`Cursor::advance`] is that of
//! how often the cases occur in data scraped with a jitter of milliseconds.

use super::super::header_count;
use super::SECTION;
use crate::bits::{BitReader, signed_from, significant_bits};
use crate::error::Corruption;

/// Bits of the header.
const HEADER_BYTES: usize = 2;

/// The place in a chunk, and the sample read last.
#[derive(Debug, Clone)]
struct Cursor<'a> {
    reader: BitReader<'a>,
    t: i64,
    t_delta: i64,
    value: u64,
    lead: u32,
    trail: u32,
}

impl<'a> Cursor<'a> {
    fn new(data: &'a [u8]) -> Self {
        let reader = BitReader::new(SECTION, data, HEADER_BYTES);
        Self {
            reader,
            t: 0,
            t_delta: 0,
            value: 0,
            lead: 0,
            trail: 0,
        }
    }

    #[inline(always)]
    fn sample(&self) -> (i64, f64) {
        (self.t, f64::from_bits(self.value))
    }

    /// Reads sample 0.
    fn first(&mut self) -> Result<(), Corruption> {
        self.t = self.reader.varint()?;
        self.value = self.reader.read(64);
        self.reader.check()
    }

    /// Reads sample 1.
    fn second(&mut self) -> Result<(), Corruption> {
        self.t_delta = self.reader.uvarint()?.cast_signed();
        self.t = self.t.wrapping_add(self.t_delta);
        let word = self.reader.peek();
        self.read_value(word, 0)
    }

    /// Reads a later sample.
    #[inline(always)]
    fn advance(&mut self) -> Result<(), Corruption> {
        let word = self.reader.peek();
        if word >> 62 == 0b10 {
            return self.finish(word, signed_from(word << 2 >> 50, 14), 16);
        }
        if word >> 63 == 0 {
            return self.finish(word, 0, 1);
        }
        if word >> 61 == 0b110 {
            return self.finish(word, signed_from(word << 3 >> 47, 17), 20);
        }
        if word >> 60 == 0b1110 {
            return self.finish(word, signed_from(word << 4 >> 44, 20), 24);
        }
        self.reader.skip(4);
        let dod = self.reader.read(64).cast_signed();
        let word = self.reader.peek();
        self.finish(word, dod, 0)
    }

    /// Takes the change of the time step, then the value behind the `used` first bits of `word`.
    #[inline(always)]
    fn finish(&mut self, word: u64, dod: i64, used: u32) -> Result<(), Corruption> {
        self.t_delta = self.t_delta.wrapping_add(dod);
        self.t = self.t.wrapping_add(self.t_delta);
        self.read_value(word, used)
    }

    /// Reads a value whose control bits are in `word` behind `used` bits, at most 24.
    #[inline(always)]
    fn read_value(&mut self, word: u64, used: u32) -> Result<(), Corruption> {
        let word = word << used;
        if word >> 63 == 0 {
            self.reader.skip(used + 1);
            return self.reader.check();
        }
        if word >> 62 == 0b10 {
            self.reader.skip(used + 2);
        } else {
            let lead = (word << 2 >> 59) as u32;
            let significant = significant_bits(word << 7 >> 58);
            if lead + significant > 64 {
                return Err(self.reader.corruption("xor window of more than 64 bits"));
            }
            (self.lead, self.trail) = (lead, 64 - lead - significant);
            self.reader.skip(used + 13);
        }
        let difference = self.reader.read(64 - self.lead - self.trail);
        self.value ^= difference << self.trail;
        self.reader.check()
    }
}

/// Decodes a chunk sample by sample.
#[derive(Debug, Clone)]
pub struct XorIter<'a> {
    cursor: Cursor<'a>,
    total: u16,
    read: u16,
}

impl<'a> XorIter<'a> {
    /// Starts before the first sample of the chunk `data`.
    pub fn new(data: &'a [u8]) -> Result<Self, Corruption> {
        let total = header_count(SECTION, data)?;
        Ok(Self {
            cursor: Cursor::new(data),
            total,
            read: 0,
        })
    }

    /// Number of samples the header announces.
    pub fn num_samples(&self) -> u16 {
        self.total
    }
}

impl Iterator for XorIter<'_> {
    type Item = Result<(i64, f64), Corruption>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.read >= self.total {
            return None;
        }
        let read = match self.read {
            0 => self.cursor.first(),
            1 => self.cursor.second(),
            _ => self.cursor.advance(),
        };
        match read {
            Ok(()) => {
                self.read += 1;
                Some(Ok(self.cursor.sample()))
            }
            Err(corruption) => {
                self.read = self.total;
                Some(Err(corruption))
            }
        }
    }
}

/// Decodes a whole chunk and hands its samples to `each`: the quickest way if each sample is looked at once.
///
/// On an error some samples were handed over.
#[inline]
pub fn for_each(data: &[u8], mut each: impl FnMut(i64, f64)) -> Result<(), Corruption> {
    let total = header_count(SECTION, data)?;
    let mut cursor = Cursor::new(data);
    if total > 0 {
        cursor.first()?;
        let (t, value) = cursor.sample();
        each(t, value);
    }
    if total > 1 {
        cursor.second()?;
        let (t, value) = cursor.sample();
        each(t, value);
    }
    // A copy that nobody else sees stays in registers.
    let mut cursor = cursor.clone();
    for _ in 2..total {
        cursor.advance()?;
        let (t, value) = cursor.sample();
        each(t, value);
    }
    Ok(())
}

/// Decodes a whole chunk and appends its samples to `timestamps` and `values`.
///
/// On an error both are left as they were.
pub fn decode(data: &[u8], timestamps: &mut Vec<i64>, values: &mut Vec<f64>) -> Result<(), Corruption> {
    let count = usize::from(header_count(SECTION, data)?);
    let (old_timestamps, old_values) = (timestamps.len(), values.len());
    let cursor = Cursor::new(data);
    // A sample takes two bits at least: a header that announces more cannot make us allocate for it.
    if count > cursor.reader.remaining() / 2 {
        return Err(Corruption::at(
            SECTION,
            0,
            format!("{count} samples announced in {} bytes", data.len()),
        ));
    }
    timestamps.resize(old_timestamps + count, 0);
    values.resize(old_values + count, 0.0);
    let t_out = timestamps.get_mut(old_timestamps..).unwrap_or_default();
    let v_out = values.get_mut(old_values..).unwrap_or_default();
    let result = fill(&cursor, t_out, v_out);
    if result.is_err() {
        timestamps.truncate(old_timestamps);
        values.truncate(old_values);
    }
    result
}

fn fill(start: &Cursor<'_>, t_out: &mut [i64], v_out: &mut [f64]) -> Result<(), Corruption> {
    // A copy that nobody else sees stays in registers.
    let mut cursor = start.clone();
    let mut out = t_out.iter_mut().zip(v_out);
    if let Some(place) = out.next() {
        cursor.first()?;
        (*place.0, *place.1) = cursor.sample();
    }
    if let Some(place) = out.next() {
        cursor.second()?;
        (*place.0, *place.1) = cursor.sample();
    }
    let mut cursor = cursor.clone();
    for (t, value) in out {
        cursor.advance()?;
        (*t, *value) = cursor.sample();
    }
    Ok(())
}
