//! Reading the tree of a TOML file strictly: each key is asked for once, with its kind and its
//! default, and what nobody asked for is a mistake.
//!
//! Nothing stops at the first mistake: a wrong value counts as its default until the end, so that
//! all of them are told at once.

use std::{
    collections::BTreeSet,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use toml::de::{DeTable, DeValue};

use super::{
    problem::{Place, Problem},
    value::{Value, written},
};

/// How alike a key and a known one must be for a "did you mean"; 1 is equal.
const LIKENESS: f64 = 0.8;

/// A key and what is in force for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// With its sections, `http.listen`.
    pub key: String,
    /// As TOML, without secrets; none for an optional key that is not set.
    pub value: Option<String>,
    /// The default as TOML; none for a key that has none.
    pub default: Option<String>,
    /// Where the value comes from.
    pub place: Place,
}

/// A value that goes before the file's.
pub(super) struct Override {
    pub(super) key: &'static str,
    pub(super) place: Place,
    pub(super) value: String,
}

/// What is common to all sections of one reading.
pub(super) struct Reader<'t> {
    file: Option<&'t Path>,
    text: &'t str,
    /// Those that go before the file; of two for one key the first counts.
    overrides: Vec<Override>,
    problems: Vec<Problem>,
    settings: Vec<Setting>,
    /// Every key and section that was asked for, in full.
    known: BTreeSet<String>,
    /// Keys that nobody asked for, with their places.
    unknown: Vec<(String, Place)>,
}

impl<'t> Reader<'t> {
    pub(super) const fn new(
        file: Option<&'t Path>,
        text: &'t str,
        overrides: Vec<Override>,
    ) -> Self {
        Self {
            file,
            text,
            overrides,
            problems: Vec::new(),
            settings: Vec::new(),
            known: BTreeSet::new(),
            unknown: Vec::new(),
        }
    }

    /// The whole file as a section.
    pub(super) fn root<'s>(&'s mut self, table: &'s DeTable<'t>) -> Section<'s, 't> {
        Section {
            reader: self,
            table: Some(table),
            path: String::new(),
        }
    }

    /// Every setting, or every problem.
    pub(super) fn finish(mut self) -> Result<Vec<Setting>, Vec<Problem>> {
        for (key, place) in std::mem::take(&mut self.unknown) {
            let hint = self.meant(&key).map_or_else(
                || "config/edge-outbox.toml lists every key with its default".into(),
                |meant| format!("did you mean {meant}?"),
            );
            self.problems.push(Problem {
                place,
                message: format!("{key} is not a key"),
                hint: Some(hint),
            });
        }
        if self.problems.is_empty() {
            return Ok(self.settings);
        }
        self.problems.sort_by_key(|problem| match problem.place {
            Place::File { line, .. } => line,
            _ => None,
        });
        Err(self.problems)
    }

    /// The known key that an unknown one is most like: of its own section by likeness, of another
    /// one by name.
    fn meant(&self, unknown: &str) -> Option<&str> {
        let split = |key: &'_ str| match key.rsplit_once('.') {
            Some((section, name)) => (section.to_owned(), name.to_owned()),
            None => (String::new(), key.to_owned()),
        };
        let (section, name) = split(unknown);
        let alike = self
            .known
            .iter()
            .filter(|key| split(key).0 == section)
            .map(|key| (strsim::jaro_winkler(&split(key).1, &name), key))
            .max_by(|(left, _), (right, _)| left.total_cmp(right))
            .filter(|(likeness, _)| *likeness >= LIKENESS)
            .map(|(_, key)| key);
        let elsewhere = || self.known.iter().find(|key| split(key).1 == name);
        alike.or_else(elsewhere).map(String::as_str)
    }

    fn place(&self, start: usize) -> Place {
        let before = self.text.get(..start).unwrap_or(self.text);
        match self.file {
            Some(path) => Place::File {
                path: path.to_owned(),
                line: Some(before.matches('\n').count() + 1),
            },
            None => Place::Default,
        }
    }
}

/// One section, while it is read.
pub(super) struct Section<'s, 't> {
    reader: &'s mut Reader<'t>,
    /// None where the file has no such section.
    table: Option<&'s DeTable<'t>>,
    path: String,
}

impl<'t> Section<'_, 't> {
    /// A key with a default.
    pub(super) fn get<V: Value>(&mut self, key: &'static str, default: V) -> V {
        let found = self.find(key);
        self.record(key, found, Some(default.clone()))
            .unwrap_or(default)
    }

    /// A key with a default and bounds.
    pub(super) fn get_within<V: Value + PartialOrd>(
        &mut self,
        key: &'static str,
        default: V,
        bounds: RangeInclusive<V>,
    ) -> V {
        let found = self.find_within(key, &bounds);
        self.record(key, found, Some(default.clone()))
            .unwrap_or(default)
    }

    /// A key without a default.
    pub(super) fn optional<V: Value>(&mut self, key: &'static str) -> Option<V> {
        let found = self.find(key);
        self.record(key, found, None)
    }

    /// A key with bounds and without a default.
    pub(super) fn optional_within<V: Value + PartialOrd>(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<V>,
    ) -> Option<V> {
        let found = self.find_within(key, &bounds);
        self.record(key, found, None)
    }

    /// A path without a default. One that the file writes relatively is relative to the file.
    #[cfg(any(
        feature = "http",
        feature = "nats",
        feature = "mqtt",
        feature = "postgres"
    ))]
    pub(super) fn optional_path(&mut self, key: &'static str) -> Option<PathBuf> {
        self.optional::<String>(key)
            .map(|path| self.resolve(key, &path))
    }

    /// Where a path that was read from `key` leads.
    pub(super) fn resolve(&self, key: &'static str, path: &str) -> PathBuf {
        let directory = self.reader.file.and_then(Path::parent);
        match (self.place_of(key), directory) {
            (Place::File { .. }, Some(directory)) if self.has(key) => directory.join(path),
            _ => path.into(),
        }
    }

    /// Lets a value go before the file's, in full and after those that were given first.
    pub(super) fn put_before(&mut self, key: &'static str, place: Place, value: String) {
        self.reader.overrides.push(Override { key, place, value });
    }

    /// A section below this one.
    pub(super) fn section<'s>(&'s mut self, key: &str) -> Section<'s, 't> {
        let path = self.full(key);
        self.reader.known.insert(path.clone());
        let found = self.table.and_then(|table| table.get(key));
        let table = match found.map(toml::Spanned::get_ref) {
            None => None,
            Some(DeValue::Table(table)) => Some(table),
            Some(other) => {
                let place = self
                    .reader
                    .place(found.map_or(0, |value| value.span().start));
                self.reader.problems.push(Problem {
                    place,
                    message: format!("{path} = {} is not a section", written(other)),
                    hint: Some(format!("write [{path}] and its keys below it")),
                });
                None
            }
        };
        Section {
            reader: self.reader,
            table,
            path,
        }
    }

    /// The names of the sections below `key`, for those that a person names.
    pub(super) fn names(&self, key: &str) -> Vec<String> {
        match self
            .table
            .and_then(|table| table.get(key))
            .map(toml::Spanned::get_ref)
        {
            Some(DeValue::Table(table)) => table
                .keys()
                .map(|name| name.get_ref().clone().into_owned())
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Refuses what was read from `key` for a reason that only its meaning gives.
    pub(super) fn refuse(&mut self, key: &'static str, message: &str, hint: Option<&str>) {
        let place = self.place_of(key);
        let message = format!("{}{message}", self.full(key));
        self.reader.problems.push(Problem {
            place,
            message,
            hint: hint.map(str::to_owned),
        });
    }

    /// Refuses the section as a whole.
    pub(super) fn refuse_whole(&mut self, message: &str, hint: &str) {
        let place = self.place_of("");
        self.reader.problems.push(Problem {
            place,
            message: format!("{} {message}", self.path),
            hint: Some(hint.to_owned()),
        });
    }

    /// Whether the file has the section.
    pub(super) const fn is_there(&self) -> bool {
        self.table.is_some()
    }

    /// Whether the file has this key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Where the value of `key` comes from; the section's own place where it is not set.
    pub(super) fn place_of(&self, key: &'static str) -> Place {
        let full = self.full(key);
        if let Some(found) = self.reader.overrides.iter().find(|found| found.key == full) {
            return found.place.clone();
        }
        let Some(table) = self.table else {
            return Place::Default;
        };
        let start = match table.get(key) {
            Some(value) => value.span().start,
            // A section has no span of its own: its first key is near enough.
            None => table
                .values()
                .map(|value| value.span().start)
                .min()
                .unwrap_or(0),
        };
        self.reader.place(start)
    }

    /// Tells which keys of the section nobody asked for.
    pub(super) fn finish(self) {
        for (key, _) in self.table.into_iter().flatten() {
            let full = self.full(key.get_ref());
            if !self.reader.known.contains(&full) {
                let place = self.reader.place(key.span().start);
                self.reader.unknown.push((full, place));
            }
        }
    }

    fn full(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// The value in force. The file's is checked even where another goes before it.
    fn find<V: Value>(&mut self, key: &'static str) -> Option<(V, Place)> {
        let full = self.full(key);
        self.reader.known.insert(full.clone());
        let in_file = self
            .table
            .and_then(|table| table.get(key))
            .and_then(|value| {
                let place = self.reader.place(value.span().start);
                self.read(key, value.get_ref(), place)
            });
        let before = self.reader.overrides.iter().find(|found| found.key == full);
        match before.map(|found| (found.value.clone(), found.place.clone())) {
            Some((value, place)) => self.read(key, &DeValue::String(value.into()), place),
            None => in_file,
        }
    }

    /// The value in force, where it is within the bounds.
    fn find_within<V: Value + PartialOrd>(
        &mut self,
        key: &'static str,
        bounds: &RangeInclusive<V>,
    ) -> Option<(V, Place)> {
        self.find(key).filter(|(value, place)| {
            let within = bounds.contains(value);
            if !within {
                let (low, high) = (bounds.start().show(), bounds.end().show());
                let wrong = format!("is not between {low} and {high}");
                self.refuse_value(key, &value.show(), &wrong, place, None);
            }
            within
        })
    }

    fn read<V: Value>(
        &mut self,
        key: &'static str,
        value: &DeValue<'_>,
        place: Place,
    ) -> Option<(V, Place)> {
        let read = V::read(value);
        if read.is_none() {
            let wrong = format!("is not {}", V::KIND);
            let shown = if V::SECRET {
                "***".into()
            } else {
                written(value)
            };
            self.refuse_value(key, &shown, &wrong, &place, Some(V::EXAMPLE));
        }
        read.map(|value| (value, place))
    }

    fn refuse_value(
        &mut self,
        key: &str,
        value: &str,
        wrong: &str,
        place: &Place,
        example: Option<&str>,
    ) {
        let full = self.full(key);
        self.reader.problems.push(Problem {
            place: place.clone(),
            message: format!("{full} = {value} {wrong}"),
            hint: example.map(|example| format!("write it like {key} = {example}")),
        });
    }

    fn record<V: Value>(
        &mut self,
        key: &'static str,
        found: Option<(V, Place)>,
        default: Option<V>,
    ) -> Option<V> {
        let default = default.map(|value| value.show());
        let (value, place) = found.map_or((None, Place::Default), |(value, place)| {
            (Some(value), place)
        });
        self.reader.settings.push(Setting {
            key: self.full(key),
            value: value.as_ref().map(Value::show).or_else(|| default.clone()),
            default,
            place,
        });
        value
    }
}
