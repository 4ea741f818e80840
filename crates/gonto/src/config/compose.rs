//! From YAML text to the tree: anchors, tags, merge keys and duplicate keys, as PyYAML's safe loader treats them.
//!
//! The parser below reads YAML 1.2. What it lets pass and PyYAML refuses is refused here: tabs between tokens, characters
//! that cannot be printed, anchors that are defined twice, a second document. What YAML 1.1 takes beyond it is refused with a
//! remedy: `{a:[b]}` (a space is missing), `"a"#b` (a comment without a space), quoted text whose lines are indented
//! less than their key.
//!
//! The file is hostile until shown otherwise. Aliases can make a small file into an enormous tree, so every value has
//! a weight, an alias weighs what it stands for, and the whole is bounded; so is the depth, because the tree is walked
//! (and dropped) by recursion.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};

use super::diagnostic::{Diagnostic, Report, shown};
use super::scalar::{self, Scalar};
use super::source::{Place, Source};
use super::syntax::{self, Properties, Stop};
use super::tree::{Entry, Mapping, Node, Value};

/// Deepest nesting. The configuration itself nests seven levels.
pub(super) const MAX_DEPTH: usize = 64;

/// Heaviest tree, aliases counted as what they stand for. A value weighs [`NODE_WEIGHT`] and the bytes of its text, so
/// that a file of the largest size fits when its values are of the usual length.
const MAX_WEIGHT: usize = 16 << 20;

/// Weight of a value beside its text.
const NODE_WEIGHT: usize = 32;

/// Reads one file. An empty document gives an empty mapping. What is wrong is reported; None when there is no tree that
/// would be worth checking any further.
pub(super) fn compose(source: &Arc<Source>, report: &Report) -> Option<Mapping> {
    let mut composer = Composer::new(source, report);
    match composer.document() {
        Ok(mapping) => mapping,
        Err(Stop(diagnostic)) => {
            report.add(*diagnostic);
            None
        }
    }
}

struct Composer<'a> {
    source: &'a Arc<Source>,
    report: &'a Report,
    parser: Parser<'a, StrInput<'a>>,
    positions: syntax::Positions<'a>,
    /// Up to where the text has been looked at, in bytes.
    seen: usize,
    /// Anchors by the parser's numbers; None while the value is not finished.
    anchors: HashMap<usize, Option<Rc<Node>>>,
    anchor_names: HashMap<&'a str, Place>,
    weight: usize,
}

impl<'a> Composer<'a> {
    fn new(source: &'a Arc<Source>, report: &'a Report) -> Composer<'a> {
        Composer {
            source,
            report,
            parser: Parser::new_from_str(&source.text),
            positions: syntax::Positions::new(&source.text),
            seen: 0,
            anchors: HashMap::new(),
            anchor_names: HashMap::new(),
            weight: 0,
        }
    }

    fn document(&mut self) -> Result<Option<Mapping>, Stop> {
        syntax::check_characters(self.source)?;
        let mut event = self.next()?;
        while matches!(event.0, Event::StreamStart | Event::DocumentStart(_)) {
            event = self.next()?;
        }
        if matches!(event.0, Event::StreamEnd) {
            return Ok(Some(Mapping::default()));
        }
        let root = self.node(event, MAX_DEPTH)?;
        loop {
            match self.next()? {
                (Event::DocumentStart(_), place, _) => {
                    return Err(Diagnostic::error(
                        "a configuration file holds one YAML document, but a second one begins",
                    )
                    .at(place, "the second document")
                    .help("remove the line `---`, or move what follows it to a file of its own")
                    .into());
                }
                (Event::StreamEnd, ..) => break,
                _ => {}
            }
        }
        Ok(match &root.value {
            Value::Mapping(mapping) => Some(mapping.clone()),
            Value::Scalar(Scalar::Null) => Some(Mapping::default()),
            Value::Invalid => None,
            _ => {
                self.report.add(
                    Diagnostic::error("a configuration file must hold a mapping")
                        .at(
                            root.place.clone(),
                            format!("expected `gonto:` and `targets:`, found {}", root.kind()),
                        )
                        .help("write `KEY: VALUE` lines; a colon must be followed by a space"),
                );
                None
            }
        })
    }

    /// The next event with its place and the properties (anchor, tag) that are written before its value.
    fn next(&mut self) -> Result<(Event<'a>, Place, Properties<'a>), Stop> {
        let (event, span) = match self.parser.next_event() {
            Some(Ok(next)) => next,
            Some(Err(error)) => return Err(syntax::explain(self.source, &self.positions, &error).into()),
            None => (Event::StreamEnd, Span::default()),
        };
        let start = self.positions.byte(span.start.index());
        let end = self.positions.byte(span.end.index());
        let (style, has_properties) = match &event {
            Event::Scalar(_, style, anchor, tag) => (Some(*style), *anchor > 0 || tag.is_some()),
            Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => {
                (None, *anchor > 0 || tag.is_some())
            }
            _ => (None, false),
        };
        let properties = if has_properties {
            Properties::read(&self.source.text, start, end)
        } else {
            Properties::none(start)
        };
        let value = self.source.text.get(properties.end..end.max(properties.end)).unwrap_or_default();
        // White space belongs to block scalars only; after the others the parser counts some in.
        let is_block = matches!(style, Some(ScalarStyle::Literal | ScalarStyle::Folded));
        let value_end = properties.end + if is_block { value.len() } else { value.trim_end().len() };
        if self.seen < properties.end {
            syntax::check_gap(self.source, self.seen..properties.end)?;
        }
        if style == Some(ScalarStyle::Plain) {
            syntax::check_plain(self.source, properties.end..value_end)?;
        }
        self.seen = self.seen.max(value_end);
        Ok((event, Place::new(self.source, properties.end..value_end), properties))
    }

    /// A value and all below it. `depth` is how many levels there may still be.
    fn node(&mut self, (event, place, properties): Next<'a>, depth: usize) -> Result<Rc<Node>, Stop> {
        if depth == 0 {
            return Err(too_deep(place));
        }
        let anchor = match &event {
            Event::Scalar(_, _, anchor, _)
            | Event::SequenceStart(anchor, _)
            | Event::MappingStart(anchor, _) => *anchor,
            _ => 0,
        };
        if anchor > 0 {
            self.define(anchor, &properties)?;
        }
        let node = match event {
            Event::Alias(anchor) => return self.alias(anchor, place, depth),
            Event::Scalar(text, style, _, tag) => self.scalar(&text, style, tag.as_deref(), place)?,
            Event::SequenceStart(_, tag) => self.sequence(tag.as_deref(), place, depth)?,
            Event::MappingStart(_, tag) => self.mapping(tag.as_deref(), place, depth)?,
            _ => return Err(Diagnostic::error("a value is missing").at(place, "expected a value").into()),
        };
        let node = Rc::new(node);
        if anchor > 0 {
            self.anchors.insert(anchor, Some(Rc::clone(&node)));
        }
        Ok(node)
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        place: Place,
    ) -> Result<Node, Stop> {
        let weight = NODE_WEIGHT + text.len();
        self.add_weight(weight, &place)?;
        let name = tag.map(tag_name);
        let scalar = match name.as_deref() {
            None if style != ScalarStyle::Plain => {
                Ok(Scalar::String(self.block_end(text, style, &place).into()))
            }
            // The tag `!` asks for the type that the plain text would have, even for a quoted one.
            None | Some("!") => Ok(scalar::resolve_plain(text)),
            Some("null") => Ok(Scalar::Null),
            Some("bool") => scalar::boolean(text).map(Scalar::Bool).ok_or("a boolean such as `true`"),
            Some("int") => scalar::integer(text).ok_or("an integer"),
            Some("float") if scalar::is_float_value(text) => Ok(Scalar::Float),
            Some("float") => Err("a floating-point number"),
            Some("timestamp") if scalar::is_timestamp(text) => Ok(Scalar::Timestamp),
            Some("timestamp") => Err("a date such as `2020-01-31`"),
            Some("binary") => Ok(Scalar::Binary),
            Some("str") => Ok(Scalar::String(self.block_end(text, style, &place).into())),
            Some("merge") => Ok(Scalar::Merge),
            Some("seq" | "omap" | "pairs") => Err("a list"),
            Some("map" | "set") => Err("a mapping"),
            Some(_) => return Ok(self.unknown_tag(tag, place, 1, weight)),
        };
        let value = scalar
            .map_or_else(|expected| self.tag_does_not_fit(tag, &place, expected, "the text"), Value::Scalar);
        Ok(Node { value, plain: style == ScalarStyle::Plain && tag.is_none(), height: 1, weight, place })
    }

    /// A block scalar that ends with the file, without a newline, has none: the parser adds one.
    fn block_end<'t>(&self, text: &'t str, style: ScalarStyle, place: &Place) -> &'t str {
        let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
        let ends_the_file =
            place.range().end == self.source.text.len() && !self.source.text.ends_with(['\n', '\r']);
        match text.strip_suffix('\n') {
            Some(without) if is_block && ends_the_file => without,
            _ => text,
        }
    }

    fn sequence(&mut self, tag: Option<&Tag>, place: Place, depth: usize) -> Result<Node, Stop> {
        self.add_weight(NODE_WEIGHT, &place)?;
        let (mut items, mut height, mut weight) = (Vec::new(), 0, NODE_WEIGHT);
        loop {
            let next = self.next()?;
            if matches!(next.0, Event::SequenceEnd) {
                break;
            }
            let item = self.node(next, depth - 1)?;
            self.refuse_key_without_value(&item);
            height = height.max(item.height);
            weight += item.weight;
            items.push(item);
        }
        let height = height + 1;
        let name = tag.map(tag_name);
        let value = match name.as_deref() {
            None | Some("!" | "seq") => Value::Sequence(items),
            Some("omap" | "pairs") => self.pairs(items),
            Some("map" | "set") => self.tag_does_not_fit(tag, &place, "a mapping", "a list"),
            Some("null" | "bool" | "int" | "float" | "timestamp" | "binary" | "str") => {
                self.tag_does_not_fit(tag, &place, "a single value", "a list")
            }
            Some(_) => return Ok(self.unknown_tag(tag, place, height, weight)),
        };
        Ok(Node { value, plain: false, height, weight, place })
    }

    /// The entries of an `!!omap` or `!!pairs`: each is a mapping with one entry.
    fn pairs(&mut self, items: Vec<Rc<Node>>) -> Value {
        let pairs = items.iter().map(|item| {
            let one =
                matches!(&item.value, Value::Mapping(it) if it.entries.len() + it.other_keys.len() == 1);
            if !one && !matches!(item.value, Value::Invalid) {
                self.report.add(
                    Diagnostic::error("an entry of an ordered mapping must be a mapping with one key")
                        .at(item.place.clone(), format!("expected `KEY: VALUE`, found {}", item.kind())),
                );
            }
            Rc::new(Node { value: Value::Pair, ..Node::clone(item) })
        });
        Value::Sequence(pairs.collect())
    }

    fn mapping(&mut self, tag: Option<&Tag>, place: Place, depth: usize) -> Result<Node, Stop> {
        self.add_weight(NODE_WEIGHT, &place)?;
        let (mut own, mut merged) = (Vec::new(), Mapping::default());
        let (mut height, mut weight) = (0, NODE_WEIGHT);
        loop {
            let next = self.next()?;
            if matches!(next.0, Event::MappingEnd) {
                break;
            }
            let key = self.node(next, depth - 1)?;
            let next = self.next()?;
            let value = self.node(next, depth - 1)?;
            height = height.max(key.height).max(value.height);
            weight += key.weight + value.weight;
            if matches!(key.value, Value::Scalar(Scalar::Merge)) {
                self.merge(&mut merged, &value);
            } else {
                self.refuse_key_without_value(&value);
                own.push(Entry { key, value });
            }
        }
        let height = height + 1;
        let mapping = self.with_own_entries(merged, own);
        let name = tag.map(tag_name);
        let value = match name.as_deref() {
            None | Some("!" | "map") => Value::Mapping(mapping),
            Some("set") => Value::Set,
            Some("seq" | "omap" | "pairs") => self.tag_does_not_fit(tag, &place, "a list", "a mapping"),
            Some("null" | "bool" | "int" | "float" | "timestamp" | "binary" | "str") => {
                self.tag_does_not_fit(tag, &place, "a single value", "a mapping")
            }
            Some(_) => return Ok(self.unknown_tag(tag, place, height, weight)),
        };
        Ok(Node { value, plain: false, height, weight, place })
    }

    /// `<<: MAPPING` or `<<: [MAPPING, ...]`. Of several mappings in a list, the earlier ones override the later ones.
    fn merge(&mut self, merged: &mut Mapping, value: &Node) {
        let mappings: Vec<&Node> = match &value.value {
            Value::Sequence(items) => items.iter().rev().map(Rc::as_ref).collect(),
            _ => vec![value],
        };
        for node in mappings {
            match &node.value {
                Value::Mapping(mapping) => {
                    for (name, entry) in &mapping.entries {
                        merged.entries.insert(Rc::clone(name), entry.clone());
                    }
                    merged.other_keys.extend(mapping.other_keys.iter().cloned());
                }
                Value::Invalid => {}
                _ => self.report.add(
                    Diagnostic::error("`<<` merges mappings only")
                        .at(node.place.clone(), format!("expected a mapping, found {}", node.kind()))
                        .help("write `<<: *NAME`, where `&NAME` stands before a mapping"),
                ),
            }
        }
    }

    /// A mapping's own entries override what it merges in, whatever their order.
    fn with_own_entries(&mut self, merged: Mapping, own: Vec<Entry>) -> Mapping {
        let mut mapping = merged;
        let mut written: HashMap<Rc<str>, Place> = HashMap::new();
        for entry in own {
            let name = match &entry.key.value {
                Value::Scalar(Scalar::String(name)) => Rc::clone(name),
                Value::Scalar(Scalar::Default) => "=".into(),
                Value::Scalar(_) => {
                    mapping.other_keys.push(entry.key);
                    continue;
                }
                Value::Invalid => continue,
                _ => {
                    self.report.add(
                        Diagnostic::error(format!("{} cannot be a key", entry.key.kind()))
                            .at(entry.key.place.clone(), "expected a single value before the colon")
                            .help("placeholders such as {{mount_point}} must be in quotes"),
                    );
                    continue;
                }
            };
            let key_place = entry.key.place.clone();
            if let Some(first) = written.insert(Rc::clone(&name), key_place.clone()) {
                self.report.add(
                    Diagnostic::warning(format!("`{}` is set twice; the last value is used", shown(&name)))
                        .at(key_place, "this value is used")
                        .related(first, "this one is ignored"),
                );
            }
            mapping.entries.insert(name, entry);
        }
        mapping
    }

    /// Plain `=` and `<<` mean something as keys only.
    fn refuse_key_without_value(&mut self, node: &Node) {
        if matches!(node.value, Value::Scalar(Scalar::Default | Scalar::Merge)) {
            self.report.add(
                Diagnostic::error(format!("`{}` is not a value", shown(node.place.text())))
                    .at(node.place.clone(), "expected a value")
                    .help(format!("write '{}' in quotes if you mean the text", shown(node.place.text()))),
            );
        }
    }

    fn define(&mut self, anchor: usize, properties: &Properties<'a>) -> Result<(), Stop> {
        self.anchors.insert(anchor, None);
        let Some((name, range)) = properties.anchor.clone() else { return Ok(()) };
        let place = Place::new(self.source, range);
        syntax::check_anchor_name(name, &place)?;
        if let Some(first) = self.anchor_names.insert(name, place.clone()) {
            return Err(Diagnostic::error(format!("the anchor `&{}` is defined twice", shown(name)))
                .at(place, "the second definition")
                .related(first, "the first one")
                .help("give one of them another name")
                .into());
        }
        Ok(())
    }

    fn alias(&mut self, anchor: usize, place: Place, depth: usize) -> Result<Rc<Node>, Stop> {
        syntax::check_anchor_name(place.text().strip_prefix('*').unwrap_or_default(), &place)?;
        let Some(node) = self.anchors.get(&anchor).cloned().flatten() else {
            return Err(Diagnostic::error("an alias cannot stand inside the value that it repeats")
                .at(place, "this would nest without end")
                .help("set the anchor (`&NAME`) on the part that is to be repeated")
                .into());
        };
        if node.height > depth {
            return Err(too_deep(place));
        }
        self.add_weight(node.weight, &place)?;
        Ok(node)
    }

    fn add_weight(&mut self, weight: usize, place: &Place) -> Result<(), Stop> {
        self.weight = self.weight.saturating_add(weight);
        if self.weight <= MAX_WEIGHT {
            return Ok(());
        }
        Err(Diagnostic::error("the configuration is too large once its aliases are written out")
            .at(place.clone(), format!("more than {} MiB at this point", MAX_WEIGHT >> 20))
            .help("repeat less with aliases (`*NAME`)")
            .into())
    }

    fn unknown_tag(&self, tag: Option<&Tag>, place: Place, height: usize, weight: usize) -> Node {
        let tag = tag.map(written_tag).unwrap_or_default();
        self.report.add(
            Diagnostic::error(format!("the tag `{}` is unknown", shown(&tag)))
                .at(place.clone(), "nothing is known about the type of this value")
                .help("remove the tag; put text that begins with `!` in quotes"),
        );
        Node { value: Value::Invalid, plain: false, height, weight, place }
    }

    fn tag_does_not_fit(&self, tag: Option<&Tag>, place: &Place, expected: &str, found: &str) -> Value {
        let tag = tag.map(written_tag).unwrap_or_default();
        self.report.add(
            Diagnostic::error(format!("the tag `{tag}` does not fit its value"))
                .at(place.clone(), format!("expected {expected}, found {found}"))
                .help("remove the tag, or write the value that it asks for"),
        );
        Value::Invalid
    }
}

type Next<'a> = (Event<'a>, Place, Properties<'a>);

fn too_deep(place: Place) -> Stop {
    Diagnostic::error("the configuration is nested too deeply")
        .at(place, format!("this would be level {}", MAX_DEPTH + 1))
        .help("check the indentation and the brackets: the configuration needs seven levels at most")
        .into()
}

/// `!!int` is `int`; a tag of somebody else's keeps its whole name; `!` alone is itself.
fn tag_name(tag: &Tag) -> String {
    let full = format!("{}{}", tag.handle, tag.suffix);
    match full.strip_prefix(YAML_TAGS) {
        Some(name) => name.to_owned(),
        None if full == "!" => full,
        // No tag of YAML begins so: it cannot be taken for one of them.
        None => format!("!{full}"),
    }
}

/// The tag as people write it.
fn written_tag(tag: &Tag) -> String {
    let full = format!("{}{}", tag.handle, tag.suffix);
    match full.strip_prefix(YAML_TAGS) {
        Some(name) => format!("!!{name}"),
        None => full,
    }
}

const YAML_TAGS: &str = "tag:yaml.org,2002:";
