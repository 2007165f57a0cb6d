//! How the value of an option is checked and shown.

use std::time::Duration;

/// What an option can be: a count, a length in bytes or a time.
pub(super) trait Setting: Copy {
    fn is_zero(self) -> bool;
    fn show(self, unit: &str) -> String;
}

macro_rules! number_setting {
    ($($number:ty),*) => {$(
        impl Setting for $number {
            fn is_zero(self) -> bool {
                self == 0
            }
            fn show(self, unit: &str) -> String {
                const MIB: $number = (1 << 10) << 10;
                match (unit, self) {
                    ("bytes", n) if n >= MIB && n % MIB == 0 => format!("{} MiB", n / MIB),
                    ("bytes/s", n) if n >= MIB && n % MIB == 0 => format!("{} MiB/s", n / MIB),
                    ("bytes", n) if n >= 1 << 10 && n % (1 << 10) == 0 => format!("{} KiB", n >> 10),
                    ("%", n) => format!("{n} %"),
                    _ => format!("{self} {unit}"),
                }
            }
        }
    )*};
}
number_setting!(usize, u32);

impl Setting for Duration {
    fn is_zero(self) -> bool {
        self == Self::ZERO
    }
    fn show(self, _: &str) -> String {
        if self.subsec_millis() == 0 {
            format!("{} s", self.as_secs())
        } else {
            format!("{} ms", self.as_millis())
        }
    }
}
