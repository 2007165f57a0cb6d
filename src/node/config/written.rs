//! Options in text: times carry their unit, so that a file or an environment variable can say `10s`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::overlay::{ForwardPolicy, JoinPolicy, QuitPolicy};

/// An option as serde formats write it.
pub(super) trait Written: Sized {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

macro_rules! as_it_is {
    ($($kind:ty),*) => {$(
        impl Written for $kind {
            fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.serialize(serializer)
            }

            fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::deserialize(deserializer)
            }
        }
    )*};
}
as_it_is!(u32, usize, bool, JoinPolicy, QuitPolicy, ForwardPolicy);

impl Written for Duration {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{self:?}"))
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        time(&text).ok_or_else(|| {
            D::Error::custom(format_args!(
                "`{text}` is not a time: write a number and a unit (ns, µs, us, ms, s, min, h, d), as in `10s`"
            ))
        })
    }
}

fn time(text: &str) -> Option<Duration> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let seconds = match unit.trim_start() {
        "ns" => 1e-9,
        "µs" | "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "min" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
}

pub(super) fn serialize<S: Serializer>(
    option: &impl Written,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    option.write(serializer)
}

pub(super) fn deserialize<'de, T: Written, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    T::read(deserializer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    #[test]
    fn a_configuration_is_read_as_it_is_written() {
        let config = Config::internet().max_peers(7).handler_timeout(Duration::from_micros(1_500));
        let text = serde_json::to_string(&config).unwrap();
        assert!(text.contains(r#""handler_timeout":"1.5ms""#), "{text}");
        assert_eq!(serde_json::from_str::<Config>(&text).unwrap(), config);
    }

    /// A configuration in which no option has its default.
    fn other() -> serde_json::Value {
        let mut config = serde_json::to_value(Config::default()).unwrap();
        for (name, value) in config.as_object_mut().unwrap() {
            *value = match (name.as_str(), &value) {
                ("join_policy" | "quit_policy", _) => "open".into(),
                ("forward", _) => "nobody".into(),
                (_, serde_json::Value::Bool(switch)) => (!switch).into(),
                (_, serde_json::Value::Number(number)) => (number.as_u64().unwrap() - 1).into(),
                _ => "1.5ms".into(),
            };
        }
        config
    }

    #[test]
    fn every_option_is_read_as_it_is_written_under_its_flat_name() {
        let (standard, other) = (serde_json::to_value(Config::default()).unwrap(), other());
        let config: Config = serde_json::from_value(other.clone()).unwrap();
        assert_eq!(serde_json::to_value(&config).unwrap(), other);
        config.validate().unwrap();
        for (name, value) in other.as_object().unwrap() {
            assert_ne!(standard[name], *value, "{name}");
            let alone: Config = serde_json::from_value(serde_json::json!({ name: value })).unwrap();
            assert_ne!(alone, Config::default(), "{name}");
        }
        for entry in config.entries() {
            assert!(other.get(entry.option).is_some(), "{}", entry.option);
        }
    }

    #[test]
    fn options_that_are_not_given_keep_their_defaults_and_unknown_ones_are_refused() {
        let read = |text: &str| serde_json::from_str::<Config>(text);
        let config = read(r#"{"keep_alive": "2 min", "join_policy": "closed"}"#).unwrap();
        let expected = Config::default().keep_alive(Duration::from_secs(120));
        assert_eq!(config, expected.join_policy(JoinPolicy::Closed));
        let error = read(r#"{"keep_alife": "2s"}"#).unwrap_err().to_string();
        assert!(error.contains("unknown field `keep_alife`"), "{error}");
        let error = read(r#"{"links": {"max_links": 7}}"#).unwrap_err().to_string();
        assert!(error.contains("expected a boolean"), "{error}");
        for wrong in ["2", "s", "-1s", "1.2.3s", "5 fortnights", ""] {
            let error = read(&format!(r#"{{"keep_alive": "{wrong}"}}"#)).unwrap_err().to_string();
            assert!(error.contains(&format!("`{wrong}` is not a time")), "{error}");
        }
    }
}
