//! The postings offset table of an index of version 2, of which every 32nd position is kept in memory.
//!
//! Its entries are sorted by name and value. Per name the positions of its entries 0, 32, 64 … are kept, four
//! bytes each; the values themselves stay in the file and are read, through the page cache, by binary search and
//! then a run of at most 32 entries.

use std::{
    cmp::Ordering,
    ops::{ControlFlow, Range},
};

use super::{
    cursor::{Cursor, Fault},
    format::{Layout, Section},
    room::Ledger,
    source::{Access, Source},
    symbols::relative,
    table::{ENTRY_TEXTS, SECTION, Visit},
};

/// Positions of the entries of the table.
#[derive(Debug)]
pub(super) struct SampledTable {
    /// Ascending.
    names: Vec<Box<str>>,
    /// Of each name.
    labels: Vec<Label>,
    /// Positions of the sampled entries of all names, counted from the first entry.
    samples: Vec<u32>,
    entries: Range<u64>,
    /// Where the last list of the index ends.
    last_list_end: u64,
}

#[derive(Debug, Clone, Copy)]
struct Label {
    /// The first of its samples.
    first_sample: usize,
    /// How many values it has.
    values: u32,
    /// The position behind its last entry.
    end: u32,
}

/// Collects the samples while the table is read once.
#[derive(Debug, Default)]
struct Builder {
    names: Vec<Box<str>>,
    labels: Vec<Label>,
    samples: Vec<u32>,
    last_value: Vec<u8>,
}

/// Finds values of one label, each time from where it stopped.
struct Search<'a, 'v> {
    cursor: Cursor<'a>,
    /// Position of the first entry of the table, from which the samples count.
    start: u64,
    /// A run of entries begins at each.
    samples: &'a [u32],
    /// Position behind the last entry of the label.
    end: u64,
    previous: Option<&'v str>,
    /// The first entry whose value is not less than the previous one.
    entry: u64,
    /// A run that begins at that entry or before it.
    run: usize,
}

impl SampledTable {
    /// Verifies the section and notes every `sampling`th position of a name; `None` if the table is not sorted.
    pub(super) fn scan(
        source: &Source,
        layout: &Layout,
        sampling: u32,
        ledger: &mut Ledger<'_>,
    ) -> Result<Option<Self>, Fault> {
        let section = Section::verify(source, SECTION, &layout.postings_table)?;
        let mut cursor = section.scan(source, SECTION);
        let mut builder = Builder::default();
        for _ in 0..section.count {
            if !builder.add(&mut cursor, (section.entries.start, sampling.max(1)), ledger)? {
                return Ok(None);
            }
        }
        if cursor.remaining() > 0 {
            return Err(cursor.corrupt(format!("bytes left behind the {} entries", section.count)));
        }
        let Builder {
            mut names,
            mut labels,
            mut samples,
            ..
        } = builder;
        names.shrink_to_fit();
        labels.shrink_to_fit();
        samples.shrink_to_fit();
        let last_list_end = layout.last_list_end();
        Ok(Some(Self {
            names,
            labels,
            samples,
            entries: section.entries,
            last_list_end,
        }))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let names: usize = self.names.iter().map(|name| name.len()).sum();
        names
            + self.names.capacity() * size_of::<Box<str>>()
            + self.labels.capacity() * size_of::<Label>()
            + self.samples.capacity() * size_of::<u32>()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    pub(super) fn value_count(&self, name: &str) -> u32 {
        self.label(name).map_or(0, |(label, _)| label.values)
    }

    /// See [`Table::ranges`](super::table::Table::ranges).
    pub(super) fn ranges<'v>(
        &self,
        source: &Source,
        name: &str,
        values: impl IntoIterator<Item = &'v str>,
    ) -> Result<Vec<Option<Range<u64>>>, Fault> {
        let values = values.into_iter();
        let Some(mut search) = self.search(source, name) else {
            return Ok(values.map(|_| None).collect());
        };
        let mut ranges = Vec::new();
        for value in values {
            ranges.push(match search.find(value)? {
                Some(list_start) => Some(self.range(&mut search.cursor, list_start)?),
                None => None,
            });
        }
        Ok(ranges)
    }

    /// See [`Table::for_each`](super::table::Table::for_each).
    pub(super) fn for_each(
        &self,
        source: &Source,
        name: &str,
        prefix: &str,
        visit: Visit<'_>,
    ) -> Result<(), Fault> {
        let Some(mut search) = self.search(source, name) else {
            return Ok(());
        };
        search.seek(prefix)?;
        let cursor = &mut search.cursor;
        // Where a list ends is only known from the next entry: so the one before waits for it.
        let mut waiting: Option<u64> = None;
        let (mut value, mut next_value) = (String::new(), String::new());
        while cursor.position() < search.end {
            let entry = cursor.position();
            skip_head(cursor)?;
            let text = cursor.text()?;
            if !text.starts_with(prefix) {
                cursor.seek(entry);
                break;
            }
            next_value.clear();
            next_value.push_str(text);
            let list_start = cursor.uvarint()?;
            if let Some(waiting_start) = waiting.replace(list_start)
                && visit(&value, list(cursor, waiting_start, list_start)?) == ControlFlow::Break(())
            {
                return Ok(());
            }
            std::mem::swap(&mut value, &mut next_value);
        }
        if let Some(list_start) = waiting {
            let _ = visit(&value, self.range(cursor, list_start)?);
        }
        Ok(())
    }

    /// The bytes of the list at `list_start`, whose entry lies before the cursor: up to the list of the next entry.
    fn range(&self, cursor: &mut Cursor<'_>, list_start: u64) -> Result<Range<u64>, Fault> {
        let next_entry = cursor.position();
        let list_end = if next_entry >= self.entries.end {
            self.last_list_end
        } else {
            skip_head(cursor)?;
            cursor.skip_text()?;
            let list_end = cursor.uvarint()?;
            cursor.seek(next_entry);
            list_end
        };
        list(cursor, list_start, list_end)
    }

    fn search<'a, 'v>(&'a self, source: &'a Source, name: &str) -> Option<Search<'a, 'v>> {
        let (label, samples) = self.label(name)?;
        let Range { start, end } = self.entries;
        Some(Search {
            cursor: Cursor::new(source, Access::Random, SECTION, start, end),
            start,
            samples,
            end: start.saturating_add(u64::from(label.end)),
            previous: None,
            entry: start.saturating_add(u64::from(*samples.first()?)),
            run: 0,
        })
    }

    fn label(&self, name: &str) -> Option<(&Label, &[u32])> {
        let i = self.names.binary_search_by(|probe| (**probe).cmp(name)).ok()?;
        let label = self.labels.get(i)?;
        let behind = self
            .labels
            .get(i.saturating_add(1))
            .map_or(self.samples.len(), |next| next.first_sample);
        Some((label, self.samples.get(label.first_sample..behind)?))
    }
}

impl Builder {
    /// Reads the next entry; false if it does not come after the one before.
    fn add(
        &mut self,
        cursor: &mut Cursor<'_>,
        (start, sampling): (u64, u32),
        ledger: &mut Ledger<'_>,
    ) -> Result<bool, Fault> {
        let position = relative(cursor.position(), start);
        if cursor.uvarint()? != ENTRY_TEXTS {
            return Err(cursor.corrupt("an entry that is not a name and a value"));
        }
        let name = cursor.text()?;
        match self.names.last().map(|last| (**last).cmp(name)) {
            Some(Ordering::Equal) => {}
            Some(Ordering::Greater) => return Ok(false),
            Some(Ordering::Less) | None => {
                ledger.grow(name.len() + size_of::<Box<str>>() + size_of::<Label>())?;
                self.names.push(name.into());
                self.labels.push(Label {
                    first_sample: self.samples.len(),
                    values: 0,
                    end: 0,
                });
            }
        }
        let Some(label) = self.labels.last_mut() else {
            return Ok(false);
        };
        let value = cursor.text_bytes()?;
        if label.values > 0 && *self.last_value >= *value {
            return Ok(false);
        }
        self.last_value.clear();
        self.last_value.extend_from_slice(value);
        cursor.uvarint()?;
        if label.values.is_multiple_of(sampling) {
            ledger.grow(size_of::<u32>())?;
            self.samples.push(position);
        }
        label.values = label.values.saturating_add(1);
        label.end = relative(cursor.position(), start);
        Ok(true)
    }
}

impl<'v> Search<'_, 'v> {
    /// Where the list of `value` begins; the cursor stands behind its entry then.
    fn find(&mut self, value: &'v str) -> Result<Option<u64>, Fault> {
        self.seek(value)?;
        if self.entry >= self.end {
            return Ok(None);
        }
        skip_head(&mut self.cursor)?;
        if self.cursor.text_bytes()? != value.as_bytes() {
            return Ok(None);
        }
        self.cursor.uvarint().map(Some)
    }

    /// Goes to the first entry whose value is not less than `value`, or to the end of the label.
    fn seek(&mut self, value: &'v str) -> Result<(), Fault> {
        let goes_on = self.previous.is_some_and(|previous| previous <= value);
        self.previous = Some(value);
        if goes_on {
            // Often the next value is near: only if this run has it not, look for its run.
            if self.scan(self.position_of(self.run.saturating_add(1)), value)? {
                return Ok(());
            }
            let run = self.last_run_ahead(value)?;
            if run > self.run {
                self.go_to(run);
            }
        } else {
            let run = self.last_run_between(0, self.samples.len(), value)?;
            self.go_to(run);
        }
        self.scan(self.end, value).map(|_| ())
    }

    /// Goes on to the first entry before `end` whose value is not less than `value`; false if there is none.
    fn scan(&mut self, end: u64, value: &str) -> Result<bool, Fault> {
        self.cursor.seek(self.entry);
        while self.entry < end {
            skip_head(&mut self.cursor)?;
            if *self.cursor.text_bytes()? >= *value.as_bytes() {
                self.cursor.seek(self.entry);
                return Ok(true);
            }
            self.cursor.uvarint()?;
            self.entry = self.cursor.position();
        }
        Ok(false)
    }

    fn go_to(&mut self, run: usize) {
        (self.run, self.entry) = (run, self.position_of(run));
    }

    /// The last run from this one on that begins with a value not greater than `value`.
    fn last_run_ahead(&mut self, value: &str) -> Result<usize, Fault> {
        let mut low = self.run;
        let mut step = 1usize;
        loop {
            let probe = low.saturating_add(step);
            if probe >= self.samples.len() {
                return self.last_run_between(low, self.samples.len(), value);
            }
            if !self.begins_at_or_before(probe, value)? {
                return self.last_run_between(low, probe, value);
            }
            low = probe;
            step = step.saturating_mul(2);
        }
    }

    /// The last run before `high` that begins with a value not greater than `value`; `low` if no later one does.
    fn last_run_between(&mut self, mut low: usize, mut high: usize, value: &str) -> Result<usize, Fault> {
        while high.saturating_sub(low) > 1 {
            let middle = low.midpoint(high);
            if self.begins_at_or_before(middle, value)? {
                low = middle;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    fn begins_at_or_before(&mut self, run: usize, value: &str) -> Result<bool, Fault> {
        self.cursor.seek(self.position_of(run));
        skip_head(&mut self.cursor)?;
        Ok(*self.cursor.text_bytes()? <= *value.as_bytes())
    }

    fn position_of(&self, run: usize) -> u64 {
        self.samples
            .get(run)
            .map_or(self.end, |sample| self.start.saturating_add(u64::from(*sample)))
    }
}

/// The range of a list, which must not be empty.
fn list(cursor: &Cursor<'_>, start: u64, end: u64) -> Result<Range<u64>, Fault> {
    if end <= start {
        return Err(cursor.corrupt(format!("a list at {start} would end at {end}")));
    }
    Ok(start..end)
}

/// Reads an entry up to its value.
fn skip_head(cursor: &mut Cursor<'_>) -> Result<(), Fault> {
    if cursor.uvarint()? != ENTRY_TEXTS {
        return Err(cursor.corrupt("an entry that is not a name and a value"));
    }
    cursor.skip_text()
}
