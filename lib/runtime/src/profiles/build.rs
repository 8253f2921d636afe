//! From stacks of addresses to a profile.

use std::collections::HashMap;

use super::{
    mappings::CodeMapping,
    message::{Function, Label, Line, Location, Mapping, Profile, Sample, ValueType},
};

/// What was seen of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stack {
    /// Addresses of code, the innermost first.
    pub(super) addresses: Vec<u64>,
    /// One for each type of value.
    pub(super) values: Vec<i64>,
    /// The name of its thread, if that is known.
    pub(super) thread: String,
}

/// A function at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) function: String,
    pub(super) system_name: String,
    /// Empty if it is not known.
    pub(super) file: String,
    /// 0 if it is not known.
    pub(super) line: u32,
}

/// Name and unit of values.
pub(super) type Kind = (&'static str, &'static str);

/// A profile that is being made.
pub(super) struct Builder {
    profile: Profile,
    strings: HashMap<String, i64>,
    /// By name and file.
    functions: HashMap<(i64, i64), u64>,
    by_address: HashMap<u64, u64>,
    mappings: Vec<CodeMapping>,
}

impl Builder {
    /// Begins with the types of the values, what lies between two samples and how much of it.
    pub(super) fn new(
        kinds: &[Kind],
        (period_kind, period): (Kind, i64),
        mappings: Vec<CodeMapping>,
    ) -> Self {
        let mut builder = Self {
            profile: Profile {
                string_table: vec![String::new()],
                period,
                ..Profile::default()
            },
            strings: HashMap::from([(String::new(), 0)]),
            functions: HashMap::new(),
            by_address: HashMap::new(),
            mappings,
        };
        for kind in kinds {
            let kind = builder.value_type(*kind);
            builder.profile.sample_type.push(kind);
        }
        builder.profile.period_type = Some(builder.value_type(period_kind));
        for (id, mapping) in (1..).zip(builder.mappings.clone()) {
            let filename = builder.text(&mapping.file);
            builder.profile.mapping.push(Mapping {
                id,
                memory_start: mapping.start,
                memory_limit: mapping.end,
                file_offset: mapping.file_offset,
                filename,
                has_functions: true,
            });
        }
        builder
    }

    /// Says when it was taken and how long that took.
    pub(super) fn taken(&mut self, time_nanos: i64, duration_nanos: i64) {
        self.profile.time_nanos = time_nanos;
        self.profile.duration_nanos = duration_nanos;
    }

    /// Says which type of value is shown first.
    pub(super) fn shows_first(&mut self, name: &str) {
        self.profile.default_sample_type = self.text(name);
    }

    /// Adds a stack whose addresses get their names from `resolve`.
    pub(super) fn add(&mut self, stack: &Stack, mut resolve: impl FnMut(u64) -> Vec<Frame>) {
        let mut locations = Vec::with_capacity(stack.addresses.len());
        for address in &stack.addresses {
            let id = match self.by_address.get(address) {
                Some(id) => *id,
                None => self.location(*address, &resolve(*address)),
            };
            locations.push(id);
        }
        self.sample(locations, stack.values.clone(), &stack.thread);
    }

    /// Adds what has no stack under a name of its own.
    pub(super) fn add_named(&mut self, name: &str, values: Vec<i64>) {
        let frame = Frame {
            function: name.to_owned(),
            system_name: name.to_owned(),
            file: String::new(),
            line: 0,
        };
        let line = self.line(&frame);
        let id = self.push_location(0, 0, vec![line]);
        self.sample(vec![id], values, "");
    }

    /// The profile.
    pub(super) fn finish(self) -> Profile {
        self.profile
    }

    fn sample(&mut self, location_id: Vec<u64>, value: Vec<i64>, thread: &str) {
        let mut label = Vec::new();
        if !thread.is_empty() {
            label.push(Label {
                key: self.text("thread"),
                str: self.text(thread),
            });
        }
        self.profile.sample.push(Sample {
            location_id,
            value,
            label,
        });
    }

    fn location(&mut self, address: u64, frames: &[Frame]) -> u64 {
        let lines = frames.iter().map(|frame| self.line(frame)).collect();
        let holds = |mapping: &CodeMapping| (mapping.start..mapping.end).contains(&address);
        let mapping_id = self
            .mappings
            .iter()
            .position(holds)
            .map_or(0, |index| (index as u64).saturating_add(1));
        let id = self.push_location(address, mapping_id, lines);
        self.by_address.insert(address, id);
        id
    }

    fn push_location(&mut self, address: u64, mapping_id: u64, line: Vec<Line>) -> u64 {
        let id = (self.profile.location.len() as u64).saturating_add(1);
        self.profile.location.push(Location {
            id,
            mapping_id,
            address,
            line,
        });
        id
    }

    fn line(&mut self, frame: &Frame) -> Line {
        let (name, filename) = (self.text(&frame.function), self.text(&frame.file));
        let function_id = match self.functions.get(&(name, filename)) {
            Some(id) => *id,
            None => {
                let id = (self.profile.function.len() as u64).saturating_add(1);
                let system_name = self.text(&frame.system_name);
                self.profile.function.push(Function {
                    id,
                    name,
                    system_name,
                    filename,
                });
                self.functions.insert((name, filename), id);
                id
            }
        };
        Line {
            function_id,
            line: i64::from(frame.line),
        }
    }

    fn value_type(&mut self, (name, unit): Kind) -> ValueType {
        ValueType {
            r#type: self.text(name),
            unit: self.text(unit),
        }
    }

    fn text(&mut self, text: &str) -> i64 {
        if let Some(index) = self.strings.get(text) {
            return *index;
        }
        let index = i64::try_from(self.profile.string_table.len()).unwrap_or(i64::MAX);
        self.profile.string_table.push(text.to_owned());
        self.strings.insert(text.to_owned(), index);
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(function: &str, line: u32) -> Frame {
        Frame {
            function: function.to_owned(),
            system_name: format!("_{function}"),
            file: "lib.rs".to_owned(),
            line,
        }
    }

    #[test]
    fn addresses_functions_and_texts_stand_there_once() {
        let mapping = CodeMapping {
            start: 0x100,
            end: 0x200,
            file_offset: 0x40,
            file: "/bin/sabre".to_owned(),
        };
        let kinds = [("samples", "count"), ("cpu", "nanoseconds")];
        let mut builder = Builder::new(&kinds, (("cpu", "nanoseconds"), 10), vec![mapping]);
        let names = |address| match address {
            0x101 => vec![frame("inlined", 3), frame("outer", 7)],
            0x1ff => vec![frame("outer", 9)],
            _ => Vec::new(),
        };
        for (addresses, count) in [(vec![0x101, 0x1ff], 1), (vec![0x1ff, 0x200], 2)] {
            let stack = Stack {
                addresses,
                values: vec![count, count * 10],
                thread: "main".to_owned(),
            };
            builder.add(&stack, names);
        }
        builder.add_named("elsewhere", vec![0, 5]);
        builder.taken(1, 2);
        builder.shows_first("cpu");
        let profile = builder.finish();
        let text = |index: i64| profile.string_table[usize::try_from(index).unwrap()].as_str();
        assert_eq!(text(0), "");
        assert_eq!(text(profile.default_sample_type), "cpu");
        assert_eq!(text(profile.sample_type[0].unit), "count");
        assert_eq!(
            (profile.period, profile.time_nanos, profile.duration_nanos),
            (10, 1, 2)
        );
        let functions: Vec<&str> = profile
            .function
            .iter()
            .map(|function| text(function.name))
            .collect();
        assert_eq!(functions, ["inlined", "outer", "elsewhere"]);
        assert_eq!(text(profile.function[0].system_name), "_inlined");
        let locations: Vec<_> = profile
            .location
            .iter()
            .map(|location| {
                let lines = location.line.iter().map(|line| (line.function_id, line.line));
                (location.address, location.mapping_id, lines.collect::<Vec<_>>())
            })
            .collect();
        assert_eq!(
            locations,
            [
                (0x101, 1, vec![(1, 3), (2, 7)]),
                (0x1ff, 1, vec![(2, 9)]),
                (0x200, 0, vec![]),
                (0, 0, vec![(3, 0)]),
            ]
        );
        let samples: Vec<(&[u64], &[i64])> = profile
            .sample
            .iter()
            .map(|sample| (sample.location_id.as_slice(), sample.value.as_slice()))
            .collect();
        assert_eq!(
            samples,
            [
                (&[1, 2][..], &[1, 10][..]),
                (&[2, 3][..], &[2, 20][..]),
                (&[4][..], &[0, 5][..]),
            ]
        );
        assert_eq!(text(profile.sample[1].label[0].str), "main");
        assert!(profile.sample[2].label.is_empty());
        assert_eq!(profile.mapping[0].memory_limit, 0x200);
        let mut texts = profile.string_table.clone();
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), profile.string_table.len());
    }
}
