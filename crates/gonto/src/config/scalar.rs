//! The types that YAML 1.1 gives to scalars, as PyYAML's safe loader resolves them.
//!
//! A plain (unquoted) scalar has a type by the way it is written: `36` is an integer, `no` a boolean. The rules are those
//! of <https://yaml.org/type/> in the form that PyYAML uses: a float needs a dot and the sign in its exponent, `y` and
//! `n` are strings, `08` is one too. They are matched by hand, because regular expressions take longer to compile
//! than a configuration takes to read.

use std::rc::Rc;

/// A scalar with its type.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    /// None when the value is beyond `i128`: nothing here takes such a number, but it is an integer.
    Integer(Option<i128>),
    Float,
    Timestamp,
    Binary,
    String(Rc<str>),
    /// Plain `=`, which has a type of its own in YAML 1.1 but no value that a loader could make.
    Default,
    /// Plain `<<`: merges mappings when it is a key, and has no value elsewhere.
    Merge,
}

/// The type of a plain scalar without a tag.
pub(super) fn resolve_plain(text: &str) -> Scalar {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Scalar::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Scalar::Bool(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Scalar::Bool(false),
        "=" => Scalar::Default,
        "<<" => Scalar::Merge,
        // In this order: `1:30.5` is a float, `1:30` an integer, and no text is two of them.
        _ if is_float(text) => Scalar::Float,
        // `0b_` is written as an integer, although it has no digit.
        _ if is_integer(text) => integer(text).unwrap_or(Scalar::Integer(None)),
        _ if is_timestamp(text) => Scalar::Timestamp,
        _ => Scalar::String(text.into()),
    }
}

/// The value of an integer, as `!!int` reads it; None for what is not an integer.
pub(super) fn integer(text: &str) -> Option<Scalar> {
    let text = text.trim().replace('_', "");
    let (negative, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) => (text.starts_with('-'), digits),
        None => (false, text.as_str()),
    };
    let magnitude = if let Some(binary) = digits.strip_prefix("0b") {
        magnitude(binary, 2)?
    } else if let Some(hex) = digits.strip_prefix("0x") {
        magnitude(hex, 16)?
    } else if digits.len() > 1 && digits.starts_with('0') {
        magnitude(digits, 8)?
    } else if digits.contains(':') {
        sexagesimal(digits)?
    } else {
        magnitude(digits, 10)?
    };
    Some(Scalar::Integer(magnitude.map(|magnitude| if negative { -magnitude } else { magnitude })))
}

/// Whether `!!float` reads it.
pub(super) fn is_float_value(text: &str) -> bool {
    float(text).is_some()
}

/// The value of a floating-point number, as `!!float` reads it. No key of the configuration takes one.
pub(super) fn float(text: &str) -> Option<f64> {
    let text = text.trim().replace('_', "").to_ascii_lowercase();
    let (sign, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) => (if text.starts_with('-') { -1.0 } else { 1.0 }, digits),
        None => (1.0, text.as_str()),
    };
    let magnitude = match digits {
        ".inf" => f64::INFINITY,
        ".nan" => f64::NAN,
        _ => digits.split(':').try_fold(0.0, |sum, part| Some(sum * 60.0 + part.parse::<f64>().ok()?))?,
    };
    Some(sign * magnitude)
}

/// Whether `!!bool` reads it, and as what.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "yes" | "true" | "on" => Some(true),
        "no" | "false" | "off" => Some(false),
        _ => None,
    }
}

/// Whether a number is written with an exponent that YAML 1.2 takes for a float and PyYAML for a string, such as `1e3`.
/// Where a string is asked for, the two must not be mistaken for each other.
pub(super) fn is_bare_exponent(text: &str) -> bool {
    let mut rest = Rest(text);
    rest.optional(b"+-");
    let integral = rest.many(is_digit_or_underscore);
    let fraction = rest.optional(b".") && rest.many(is_digit_or_underscore) > 0;
    if integral == 0 && !fraction || !rest.optional(b"eE") {
        return false;
    }
    rest.optional(b"+-");
    rest.many(|byte| byte.is_ascii_digit()) > 0 && rest.is_empty()
}

/// The digits' value; the inner None when it is too large.
fn magnitude(digits: &str, radix: u32) -> Option<Option<i128>> {
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    Some(i128::from_str_radix(digits, radix).ok())
}

/// Base 60, as in `1:30:00`: each part may be any decimal number.
fn sexagesimal(digits: &str) -> Option<Option<i128>> {
    let mut sum = Some(0i128);
    for part in digits.split(':') {
        let part = magnitude(part, 10)?;
        sum = sum.and_then(|sum| sum.checked_mul(60)?.checked_add(part?));
    }
    Some(sum)
}

/// `[-+]?0b[0-1_]+ | [-+]?0[0-7_]+ | [-+]?(0|[1-9][0-9_]*) | [-+]?0x[0-9a-fA-F_]+ | [-+]?[1-9][0-9_]*(:[0-5]?[0-9])+`
fn is_integer(text: &str) -> bool {
    let mut rest = Rest(text);
    rest.optional(b"+-");
    let Some(first) = rest.next() else { return false };
    let well_formed = match first {
        b'0' if rest.is_empty() => true,
        b'0' if rest.optional(b"b") => rest.many(|byte| matches!(byte, b'0' | b'1' | b'_')) > 0,
        b'0' if rest.optional(b"x") => rest.many(|byte| byte.is_ascii_hexdigit() || byte == b'_') > 0,
        b'0' => rest.many(|byte| matches!(byte, b'0'..=b'7' | b'_')) > 0,
        b'1'..=b'9' => {
            rest.many(is_digit_or_underscore);
            rest.sixties();
            true
        }
        _ => false,
    };
    well_formed && rest.is_empty()
}

/// `[-+]?[0-9][0-9_]*\.[0-9_]*([eE][-+][0-9]+)? | \.[0-9][0-9_]*([eE][-+][0-9]+)? | [-+]?[0-9][0-9_]*(:[0-5]?[0-9])+\.[0-9_]*
/// | [-+]?\.(inf|Inf|INF) | \.(nan|NaN|NAN)`
fn is_float(text: &str) -> bool {
    let mut rest = Rest(text);
    let signed = rest.optional(b"+-");
    match rest.next() {
        Some(b'.') => match rest.0 {
            "inf" | "Inf" | "INF" => true,
            "nan" | "NaN" | "NAN" => !signed,
            fraction if !signed && fraction.starts_with(|c: char| c.is_ascii_digit()) => {
                rest.many(is_digit_or_underscore);
                rest.signed_exponent();
                rest.is_empty()
            }
            _ => false,
        },
        Some(b'0'..=b'9') => {
            rest.many(is_digit_or_underscore);
            let sixties = rest.sixties();
            if !rest.optional(b".") {
                return false;
            }
            rest.many(is_digit_or_underscore);
            if !sixties {
                rest.signed_exponent();
            }
            rest.is_empty()
        }
        _ => false,
    }
}

/// `YYYY-MM-DD`, or a date with one or two digits for month and day, then a time and perhaps a zone.
pub(super) fn is_timestamp(text: &str) -> bool {
    let mut rest = Rest(text);
    let digit = |byte: u8| byte.is_ascii_digit();
    let year = rest.many(digit) == 4 && rest.optional(b"-");
    let month = rest.many(digit);
    let dash = rest.optional(b"-");
    let day = rest.many(digit);
    if !year || !dash || !matches!(month, 1 | 2) || !matches!(day, 1 | 2) {
        return false;
    }
    if rest.is_empty() {
        return month == 2 && day == 2;
    }
    if !rest.optional(b"Tt") && rest.many(is_blank) == 0 {
        return false;
    }
    let hour = rest.many(digit);
    let minute = rest.optional(b":") && rest.many(digit) == 2;
    let second = rest.optional(b":") && rest.many(digit) == 2;
    if !matches!(hour, 1 | 2) || !minute || !second {
        return false;
    }
    if rest.optional(b".") {
        rest.many(digit);
    }
    rest.many(is_blank);
    if rest.is_empty() {
        // Blanks alone cannot follow: a plain scalar has none at its end, and a quoted one is no timestamp.
        return !text.ends_with([' ', '\t']);
    }
    if rest.optional(b"Z") {
        return rest.is_empty();
    }
    rest.optional(b"+-")
        && matches!(rest.many(digit), 1 | 2)
        && (!rest.optional(b":") || rest.many(digit) == 2)
        && rest.is_empty()
}

fn is_digit_or_underscore(byte: u8) -> bool {
    byte.is_ascii_digit() || byte == b'_'
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// What is left of a text while it is matched from the left. Only ASCII is ever taken from it.
struct Rest<'a>(&'a str);

impl Rest<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn next(&mut self) -> Option<u8> {
        let first = *self.0.as_bytes().first()?;
        self.0 = self.0.get(1..)?;
        Some(first)
    }

    /// Takes one byte when it is one of `choices`.
    fn optional(&mut self, choices: &[u8]) -> bool {
        let there = self.0.as_bytes().first().is_some_and(|first| choices.contains(first));
        if there {
            self.0 = &self.0[1..];
        }
        there
    }

    /// Takes bytes while they match, and counts them.
    fn many(&mut self, matching: impl Fn(u8) -> bool) -> usize {
        let count = self.0.bytes().take_while(|&byte| byte.is_ascii() && matching(byte)).count();
        self.0 = &self.0[count..];
        count
    }

    /// `(:[0-5]?[0-9])*`; whether there was one.
    fn sixties(&mut self) -> bool {
        let before = self.0.len();
        loop {
            let mut ahead = Rest(self.0);
            let colon = ahead.optional(b":");
            let digits = ahead.0;
            let taken = match ahead.many(|byte| byte.is_ascii_digit()) {
                1 => true,
                2 => matches!(digits.as_bytes().first(), Some(b'0'..=b'5')),
                _ => false,
            };
            if !colon || !taken {
                return self.0.len() < before;
            }
            self.0 = ahead.0;
        }
    }

    /// `([eE][-+][0-9]+)?`
    fn signed_exponent(&mut self) {
        let mut ahead = Rest(self.0);
        if ahead.optional(b"eE") && ahead.optional(b"+-") && ahead.many(|byte| byte.is_ascii_digit()) > 0 {
            self.0 = ahead.0;
        }
    }
}
