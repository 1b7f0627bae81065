//! Resource quantities: `500m`, `1.5Gi`, `2e3`.
//!
//! A quantity is an exact number of billionths, as fine as Kubernetes keeps them, with the notation that it
//! is written in. Digits beyond a billionth are rounded away from zero and amounts beyond 2^63-1 are
//! cut to it, as upstream does. Used by validation, scheduling, quotas and the kubelet; knows no resource.

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};
use std::str::FromStr;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;

const NANO: i128 = 1_000_000_000;
/// The largest amount, in billionths: the largest signed 64-bit integer.
const MAX: i128 = i64::MAX as i128 * NANO;

/// How a quantity is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// `m`, `k`, `M`, `G`…: powers of a thousand.
    #[default]
    DecimalSi,
    /// `Ki`, `Mi`, `Gi`…: powers of 1024.
    BinarySi,
    /// `e3`, `e6`…
    DecimalExponent,
}

/// An exact amount. Compared and hashed by amount, whatever the notation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// Why a text is no quantity, in upstream's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    #[error("unable to parse numeric part of quantity")]
    Numeric,
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// A unit: a power of ten or of 1024.
enum Scale {
    Ten(i32),
    Binary(u32),
}

const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

fn scale(suffix: &str) -> Option<(Scale, Format)> {
    let ten = match suffix {
        "n" => -9,
        "u" => -6,
        "m" => -3,
        "" => 0,
        "k" => 3,
        "M" => 6,
        "G" => 9,
        "T" => 12,
        "P" => 15,
        "E" => 18,
        _ => {
            if let Some(at) = BINARY.iter().position(|unit| *unit == suffix) {
                return Some((Scale::Binary(10 * (at as u32 + 1)), Format::BinarySi));
            }
            let exponent: i64 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            // Beyond this every amount is zero or cut already.
            return Some((Scale::Ten(exponent.clamp(-60, 60) as i32), Format::DecimalExponent));
        }
    };
    Some((Scale::Ten(ten), Format::DecimalSi))
}

/// Splits a quantity into sign, digits before and after the point, and suffix.
fn split(text: &str) -> Result<(bool, &str, &str, &str), ParseError> {
    let negative = text.starts_with('-');
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let number_end = unsigned.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(number_end);
    let letters_end = suffix.find(|c: char| !"eEinumkKMGTP".contains(c)).unwrap_or(suffix.len());
    let exponent = &suffix[letters_end..];
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if !exponent.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ParseError::Format);
    }
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') {
        return Err(ParseError::Format);
    }
    Ok((negative, whole, fraction, suffix))
}

/// The digits times ten to the `exponent`, in billionths: rounded up, cut at the maximum.
fn decimal(whole: &str, fraction: &str, exponent: i32) -> i128 {
    let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).map(|byte| byte - b'0').collect();
    let Some(first) = digits.iter().position(|digit| *digit != 0) else { return 0 };
    let digits = &digits[first..];
    // The place of the last digit, counted in billionths.
    let place = i64::from(exponent) + 9 - fraction.len() as i64;
    if digits.len() as i64 + place > 30 {
        return MAX;
    }
    // The largest amount has 28 digits; of those past the 36th it matters only whether one is not zero.
    let kept = digits.len().min(36);
    let inexact = digits[kept..].iter().any(|digit| *digit != 0);
    let value = digits[..kept].iter().fold(0i128, |sum, digit| sum * 10 + i128::from(*digit));
    finish(value, place + (digits.len() - kept) as i64, inexact)
}

/// The digits times two to the `bits`, in billionths: rounded up, cut at the maximum. The fraction counts to its
/// eighteenth digit.
fn binary(whole: &str, fraction: &str, bits: u32) -> i128 {
    let units = decimal(whole, "", 0) / NANO;
    if units > i128::from(i64::MAX >> bits) {
        return MAX;
    }
    let kept: i128 = format!("{fraction:0<18.18}").parse().unwrap_or_default();
    let inexact = fraction.len() > 18 && fraction[18..].bytes().any(|digit| digit != b'0');
    let parts = finish(kept << bits, -9, inexact);
    ((units << bits) * NANO + parts).min(MAX)
}

/// `value` times ten to the `place`, rounded up and cut at the maximum.
fn finish(mut value: i128, mut place: i64, mut inexact: bool) -> i128 {
    while place < 0 && value > 0 {
        inexact |= value % 10 != 0;
        value /= 10;
        place += 1;
    }
    if inexact {
        value += 1;
    }
    while place > 0 && value <= MAX {
        value *= 10;
        place -= 1;
    }
    value.min(MAX)
}

impl FromStr for Quantity {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text.is_empty() {
            return Err(ParseError::Format);
        }
        let (negative, whole, fraction, suffix) = split(text)?;
        let (scale, format) = scale(suffix).ok_or(ParseError::Suffix)?;
        if whole.is_empty() && fraction.is_empty() {
            return Err(ParseError::Numeric);
        }
        let nanos = match scale {
            Scale::Ten(exponent) => decimal(whole, fraction, exponent),
            Scale::Binary(bits) => binary(whole, fraction, bits),
        };
        Ok(Self { nanos: if negative { -nanos } else { nanos }, format })
    }
}

impl Quantity {
    pub const ZERO: Self = Self { nanos: 0, format: Format::DecimalSi };

    /// Reads the text; see [`ParseError`].
    ///
    /// # Errors
    /// In upstream's words.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        text.parse()
    }

    /// A stored quantity. Validation has read it before it was stored, so what cannot be read counts as none.
    pub fn of(wire: &Wire) -> Self {
        wire.0.parse().unwrap_or_default()
    }

    pub fn from_value(value: i64, format: Format) -> Self {
        Self { nanos: i128::from(value) * NANO, format }
    }

    pub fn from_milli(milli: i64, format: Format) -> Self {
        Self { nanos: i128::from(milli) * 1_000_000, format }
    }

    /// The amount in whole units, rounded up away from zero.
    pub fn value(self) -> i64 {
        saturate(divide_up(self.nanos, NANO))
    }

    /// The amount in thousandths, rounded up away from zero.
    pub fn milli(self) -> i64 {
        saturate(divide_up(self.nanos, 1_000_000))
    }

    /// The exact amount in billionths.
    pub fn nanos(self) -> i128 {
        self.nanos
    }

    pub fn as_f64(self) -> f64 {
        self.nanos as f64 / NANO as f64
    }

    pub fn format(self) -> Format {
        self.format
    }

    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// Whether the amount is a whole number.
    pub fn is_integer(self) -> bool {
        self.nanos % NANO == 0
    }

    /// The same in whole thousandths, rounded up away from zero.
    #[must_use]
    pub fn round_up_to_milli(self) -> Self {
        const MILLI: i128 = 1_000_000;
        Self { nanos: divide_up(self.nanos, MILLI) * MILLI, ..self }
    }

    /// The canonical text as the wire type.
    pub fn to_wire(self) -> Wire {
        Wire(self.to_string())
    }

    fn with(self, nanos: i128, other: Self) -> Self {
        // Nothing yet takes the notation of what is added to it.
        let format = if self.is_zero() { other.format } else { self.format };
        Self { nanos: nanos.clamp(-MAX, MAX), format }
    }
}

fn divide_up(nanos: i128, unit: i128) -> i128 {
    let whole = nanos / unit;
    if nanos % unit == 0 { whole } else { whole + nanos.signum() }
}

fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}
impl Eq for Quantity {}
impl std::hash::Hash for Quantity {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.nanos.hash(state);
    }
}
impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}
impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Add for Quantity {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        self.with(self.nanos + other.nanos, other)
    }
}
impl Sub for Quantity {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self.with(self.nanos - other.nanos, other)
    }
}
impl AddAssign for Quantity {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}
impl SubAssign for Quantity {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}
impl Neg for Quantity {
    type Output = Self;
    fn neg(self) -> Self {
        Self { nanos: -self.nanos, ..self }
    }
}
impl std::iter::Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(quantities: I) -> Self {
        quantities.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Quantity {
    /// The canonical form: no fraction, the largest unit that allows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        // Small amounts are written in decimal, so that they are not rounded to whole units.
        if self.format == Format::BinarySi && self.nanos.abs() >= 1024 * NANO {
            let mut value = divide_up(self.nanos, NANO);
            let mut unit = 0;
            while unit < BINARY.len() && value % 1024 == 0 {
                value /= 1024;
                unit += 1;
            }
            return write!(f, "{value}{}", if unit == 0 { "" } else { BINARY[unit - 1] });
        }
        let (mut value, mut exponent) = (self.nanos, -9);
        while exponent < 18 && value % 1000 == 0 {
            value /= 1000;
            exponent += 3;
        }
        match (self.format, exponent) {
            (_, 0) => write!(f, "{value}"),
            (Format::DecimalExponent, _) => write!(f, "{value}e{exponent}"),
            _ => {
                let units = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
                write!(f, "{value}{}", units[usize::try_from(exponent / 3 + 3).unwrap_or_default()])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(text: &str) -> String {
        Quantity::parse(text).unwrap().to_string()
    }

    #[test]
    fn canonical_forms() {
        let cases = [
            ("0", "0"),
            ("0Gi", "0"),
            ("1000m", "1"),
            ("0.5", "500m"),
            ("100.035k", "100035"),
            ("1.5Gi", "1536Mi"),
            ("1024Mi", "1Gi"),
            ("1000Ki", "1000Ki"),
            ("1023", "1023"),
            ("0.5Ki", "512"),
            ("1.0001Ki", "1025"),
            ("0.1Ki", "102400m"),
            ("1e3", "1e3"),
            ("1E3", "1e3"),
            ("12e1", "120"),
            ("1E", "1E"),
            ("+1.50", "1500m"),
            ("-1.5", "-1500m"),
            ("1n", "1n"),
            ("0.1n", "1n"),
            ("1.0000000001", "1000000001n"),
            ("9223372036854775808", "9223372036854775807"),
            ("1e100", "9223372036854775807"),
            ("1e-100", "1e-9"),
            ("8Ei", "9223372036854775807"),
            ("100000000000000000000000000000000000000000000000", "9223372036854775807"),
            (".5", "500m"),
            ("5.", "5"),
        ];
        for (text, form) in cases {
            assert_eq!(canonical(text), form, "{text}");
        }
    }

    #[test]
    fn what_is_refused() {
        for text in ["", " 1", "1 ", "a", "1.1.1", "1e1.5", "1x"] {
            assert_eq!(Quantity::parse(text), Err(ParseError::Format), "{text}");
        }
        for text in ["1ki", "1m5", "1i", "1e", "1Ee", "1K", "1EE3"] {
            assert_eq!(Quantity::parse(text), Err(ParseError::Suffix), "{text}");
        }
        for text in [".", "-", "m"] {
            assert_eq!(Quantity::parse(text), Err(ParseError::Numeric), "{text}");
        }
    }

    #[test]
    fn rounding_is_up() {
        assert_eq!(Quantity::parse("1500m").unwrap().value(), 2);
        assert_eq!(Quantity::parse("-1500m").unwrap().value(), -2);
        assert_eq!(Quantity::parse("1u").unwrap().milli(), 1);
        assert_eq!(Quantity::parse("2").unwrap().milli(), 2000);
        let sum = Quantity::ZERO + Quantity::parse("1Gi").unwrap();
        assert_eq!((sum + Quantity::parse("1Gi").unwrap()).to_string(), "2Gi");
    }

    proptest! {
        #[test]
        fn never_panics(text in "[-+]?[0-9.]{0,45}[eEinumkKMGTP]{0,2}[-+]?[0-9]{0,21}") {
            if let Ok(quantity) = Quantity::parse(&text) {
                // The canonical form is a fixed point.
                let form = quantity.to_string();
                let again = Quantity::parse(&form).unwrap();
                prop_assert_eq!(again.to_string(), form);
                let _ = (quantity.value(), quantity.milli(), quantity + quantity, quantity - again);
            }
        }

        #[test]
        fn milli_round_trips(milli in any::<i64>()) {
            let quantity = Quantity::from_milli(milli, Format::DecimalSi);
            prop_assert_eq!(Quantity::parse(&quantity.to_string()).unwrap().milli(), milli);
        }
    }
}
