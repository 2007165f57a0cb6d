//! The bounds of options, and the error for a value out of its bounds.

use std::{ops::RangeInclusive, time::Duration};

/// An option is out of its bounds.
///
/// This is an error of the caller; nothing was started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("option `{option}` is {value}: set it to at least {least} and at most {greatest}")]
pub struct ConfigError {
    /// The name of the option, which is that of its setter. The type is in front unless it is
    /// [`Config`](crate::Config).
    pub option: &'static str,
    /// The value that was given, as text with its unit.
    pub value: String,
    /// The minimum of the option, as text.
    pub least: String,
    /// The maximum of the option, as text.
    pub greatest: String,
}

const DAY: u64 = 24 * 3_600; // s

/// The bounds of a time: long enough for any use, and short enough for every clock and timer.
pub(crate) const TIME: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(365 * DAY);
/// The bounds of a count whose items may each cost memory.
pub(crate) const COUNT: RangeInclusive<usize> = 1..=1 << 20;
/// The same for a count that may be zero.
pub(crate) const COUNT_OR_NONE: RangeInclusive<usize> = 0..=1 << 20;
/// The bounds of a count whose permits are allocated at the start.
pub(crate) const PLACES: RangeInclusive<usize> = 1..=1 << 16;
/// The same for a count that may be zero.
pub(crate) const PLACES_OR_NONE: RangeInclusive<usize> = 0..=1 << 16;
/// The bounds of a length in bytes of data in one allocation, on every target.
pub(crate) const LENGTH: RangeInclusive<u32> = 1..=1 << 30;
/// The bounds of a total number of bytes in memory: 1 TiB, where an address has that many bits.
pub(crate) const BYTES: RangeInclusive<usize> =
    1..=if usize::BITS > 32 { 1 << 40 } else { 1 << 30 };
/// The bounds of a rate per second.
pub(crate) const PACE: RangeInclusive<u32> = 1..=1_000_000_000;
/// The bounds of a number that may be anything but zero.
pub(crate) const ANY: RangeInclusive<u32> = 1..=u32::MAX;
/// The bounds of a number that is sent to the other side.
pub(crate) const NUMBER: RangeInclusive<u32> = 1..=1 << 20;

/// The type of an option: a count, a length in bytes or a time.
pub(crate) trait Value: Copy + PartialOrd {
    fn show(self, unit: &str) -> String;
    fn setting<'a>(
        option: &'static str,
        unit: &'static str,
        value: &'a mut Self,
        bounds: RangeInclusive<Self>,
    ) -> Setting<'a>;
}

macro_rules! number {
    ($($number:ty => $kind:ident),*) => {$(
        impl Value for $number {
            fn show(self, unit: &str) -> String {
                const MIB: $number = (1 << 10) << 10;
                match (unit, self) {
                    ("bytes", n) if n >= MIB && n % MIB == 0 => format!("{} MiB", n / MIB),
                    ("bytes/s", n) if n >= MIB && n % MIB == 0 => format!("{} MiB/s", n / MIB),
                    ("bytes", n) if n >= 1 << 10 && n % (1 << 10) == 0 => format!("{} KiB", n >> 10),
                    _ => format!("{self} {unit}"),
                }
            }

            fn setting<'a>(
                option: &'static str,
                unit: &'static str,
                value: &'a mut Self,
                bounds: RangeInclusive<Self>,
            ) -> Setting<'a> {
                Setting { option, unit, kind: SettingValue::$kind(value, bounds) }
            }
        }
    )*};
}
number!(usize => Count, u32 => Number);

impl Value for Duration {
    fn show(self, _: &str) -> String {
        match self {
            time if time.subsec_nanos() % 1_000_000 > 0 => format!("{time:?}"),
            time if time.subsec_millis() > 0 => format!("{} ms", time.as_millis()),
            time => format!("{} s", time.as_secs()),
        }
    }

    fn setting<'a>(
        option: &'static str,
        unit: &'static str,
        value: &'a mut Self,
        bounds: RangeInclusive<Self>,
    ) -> Setting<'a> {
        Setting { option, unit, kind: SettingValue::Time(value, bounds) }
    }
}

/// One option: its value, which can be changed, and its bounds.
#[derive(Debug)]
pub(crate) struct Setting<'a> {
    pub(crate) option: &'static str,
    unit: &'static str,
    kind: SettingValue<'a>,
}

#[derive(Debug)]
enum SettingValue<'a> {
    Count(&'a mut usize, RangeInclusive<usize>),
    Number(&'a mut u32, RangeInclusive<u32>),
    Time(&'a mut Duration, RangeInclusive<Duration>),
}

impl Setting<'_> {
    /// The value and its bounds, as text.
    pub(crate) fn show(&self) -> (String, String, String) {
        fn all<V: Value>(
            unit: &str,
            value: V,
            bounds: &RangeInclusive<V>,
        ) -> (String, String, String) {
            (value.show(unit), bounds.start().show(unit), bounds.end().show(unit))
        }
        match &self.kind {
            SettingValue::Count(value, bounds) => all(self.unit, **value, bounds),
            SettingValue::Number(value, bounds) => all(self.unit, **value, bounds),
            SettingValue::Time(value, bounds) => all(self.unit, **value, bounds),
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        let is_within = match &self.kind {
            SettingValue::Count(value, bounds) => bounds.contains(&**value),
            SettingValue::Number(value, bounds) => bounds.contains(&**value),
            SettingValue::Time(value, bounds) => bounds.contains(&**value),
        };
        if is_within {
            return Ok(());
        }
        let (value, least, greatest) = self.show();
        Err(ConfigError { option: self.option, value, least, greatest })
    }
}

/// The options of a part of the node.
pub(crate) trait Options: Clone {
    /// All options. An implementation names every field, so that a new one cannot be forgotten.
    fn settings(&mut self) -> Vec<Setting<'_>>;

    /// Checks that each option is within its bounds. Returns the first one that is not.
    fn validate_all(&self) -> Result<(), ConfigError> {
        self.clone().settings().iter().try_for_each(Setting::check)
    }
}

/// Makes settings from `{ "name", "unit", value, BOUNDS; .. }`.
macro_rules! settings {
    ($( $option:expr, $unit:expr, $value:expr, $bounds:expr; )*) => {
        vec![$( $crate::overlay::options::Value::setting($option, $unit, $value, $bounds) ),*]
    };
}
pub(crate) use settings;

/// The value that a test sets an option to.
#[cfg(all(
    test,
    feature = "kademlia",
    feature = "mdns",
    feature = "swim",
    feature = "test-utils",
    feature = "tls"
))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Least,
    Greatest,
    /// One step below the least value; there is none below zero.
    Below,
    /// One step above the greatest value; there is none above the greatest value of the type.
    Above,
    /// The greatest value of the type.
    Largest,
}

#[cfg(all(
    test,
    feature = "kademlia",
    feature = "mdns",
    feature = "swim",
    feature = "test-utils",
    feature = "tls"
))]
impl Setting<'_> {
    /// Sets the option to one of its ends. Returns false if there is no such value.
    pub(crate) fn set(self, end: End) -> bool {
        const NANO: Duration = Duration::from_nanos(1);
        macro_rules! set {
            ($value:expr, $bounds:expr, $step:expr, $largest:expr) => {{
                let new = match end {
                    End::Least => Some(*$bounds.start()),
                    End::Greatest => Some(*$bounds.end()),
                    End::Below => $bounds.start().checked_sub($step),
                    End::Above => $bounds.end().checked_add($step),
                    End::Largest => Some($largest),
                };
                new.map(|new| *$value = new).is_some()
            }};
        }
        match self.kind {
            SettingValue::Count(value, bounds) => set!(value, bounds, 1, usize::MAX),
            SettingValue::Number(value, bounds) => set!(value, bounds, 1, u32::MAX),
            SettingValue::Time(value, bounds) => set!(value, bounds, NANO, Duration::MAX),
        }
    }
}
