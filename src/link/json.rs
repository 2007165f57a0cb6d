//! The subset of JSON (RFC 8259) for a hello: one object with numbers, texts and lists of texts.
//! Other values are skipped. A library would add three crates to the default dependency tree.

use std::{borrow::Cow, iter::Peekable, str::Chars};

/// The maximum depth of objects and lists in a hello.
const MAX_DEPTH: usize = 16;

/// A value of a member.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Number(u64),
    Text(String),
    Texts(Vec<String>),
    /// Of another kind.
    Other,
}

/// Writes `text` as a JSON string.
pub(super) fn quote(text: &str) -> String {
    let escape = |c: char| match c {
        '"' | '\\' => Cow::Owned(format!("\\{c}")),
        c if u32::from(c) < 0x20 => Cow::Owned(format!("\\u{:04x}", u32::from(c))),
        c => Cow::Owned(c.to_string()),
    };
    format!("\"{}\"", text.chars().map(escape).collect::<String>())
}

/// The members of the object `text`. `None` if it is not a JSON object. Members with the same name
/// are all listed.
pub(super) fn members(text: &str) -> Option<Vec<(String, Value)>> {
    let mut reader = Reader { rest: text.chars().peekable() };
    let mut members = Vec::new();
    reader.object(0, &mut |name, value| members.push((name, value)))?;
    reader.space();
    reader.rest.next().is_none().then_some(members)
}

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
}

impl Reader<'_> {
    fn space(&mut self) {
        while self.rest.next_if(|c| matches!(c, ' ' | '\t' | '\n' | '\r')).is_some() {}
    }

    /// The next character after white space must be `c`.
    fn expect(&mut self, c: char) -> Option<()> {
        self.space();
        self.rest.next_if_eq(&c).map(drop)
    }

    /// `true` between two elements, `false` at the end.
    fn comma_or(&mut self, end: char) -> Option<bool> {
        self.space();
        match self.rest.next()? {
            ',' => Some(true),
            c if c == end => Some(false),
            _ => None,
        }
    }

    fn object(&mut self, depth: usize, take: &mut dyn FnMut(String, Value)) -> Option<()> {
        self.expect('{')?;
        self.space();
        if self.rest.next_if_eq(&'}').is_some() {
            return Some(());
        }
        loop {
            self.space();
            let name = self.string()?;
            self.expect(':')?;
            let value = self.value(depth + 1)?;
            take(name, value);
            if !self.comma_or('}')? {
                return Some(());
            }
        }
    }

    fn list(&mut self, depth: usize) -> Option<Value> {
        self.expect('[')?;
        self.space();
        if self.rest.next_if_eq(&']').is_some() {
            return Some(Value::Texts(Vec::new()));
        }
        let mut texts = Some(Vec::new());
        loop {
            match (self.value(depth + 1)?, &mut texts) {
                (Value::Text(text), Some(texts)) => texts.push(text),
                _ => texts = None,
            }
            if !self.comma_or(']')? {
                return Some(texts.map_or(Value::Other, Value::Texts));
            }
        }
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.space();
        match self.rest.peek()? {
            '"' => self.string().map(Value::Text),
            '{' => self.object(depth, &mut |_, _| {}).map(|()| Value::Other),
            '[' => self.list(depth),
            '-' | '0'..='9' => self.number(),
            't' => self.word("true"),
            'f' => self.word("false"),
            'n' => self.word("null"),
            _ => None,
        }
    }

    fn word(&mut self, word: &str) -> Option<Value> {
        word.chars().all(|c| self.rest.next_if_eq(&c).is_some()).then_some(Value::Other)
    }

    fn digits(&mut self, into: &mut String) -> Option<()> {
        let before = into.len();
        while let Some(digit) = self.rest.next_if(char::is_ascii_digit) {
            into.push(digit);
        }
        (into.len() > before).then_some(())
    }

    /// Reads a whole number that fits. Other valid numbers are skipped.
    fn number(&mut self) -> Option<Value> {
        let (mut text, mut whole) = (String::new(), true);
        if self.rest.next_if_eq(&'-').is_some() {
            whole = false;
        }
        self.digits(&mut text)?;
        if text.len() > 1 && text.starts_with('0') {
            return None;
        }
        if self.rest.next_if_eq(&'.').is_some() {
            whole = false;
            self.digits(&mut String::new())?;
        }
        if self.rest.next_if(|c| matches!(c, 'e' | 'E')).is_some() {
            whole = false;
            self.rest.next_if(|c| matches!(c, '+' | '-'));
            self.digits(&mut String::new())?;
        }
        Some(match text.parse() {
            Ok(number) if whole => Value::Number(number),
            _ => Value::Other,
        })
    }

    fn string(&mut self) -> Option<String> {
        self.rest.next_if_eq(&'"')?;
        let mut text = String::new();
        loop {
            match self.rest.next()? {
                '"' => return Some(text),
                '\\' => text.push(self.escape()?),
                c if u32::from(c) < 0x20 => return None,
                c => text.push(c),
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        Some(match self.rest.next()? {
            c @ ('"' | '\\' | '/') => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => match self.unit()? {
                // A pair of surrogates is one character.
                high @ 0xd800..0xdc00 => {
                    self.rest.next_if_eq(&'\\')?;
                    self.rest.next_if_eq(&'u')?;
                    let low = self.unit().filter(|low| (0xdc00..0xe000).contains(low))?;
                    char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00))?
                }
                unit => char::from_u32(unit)?,
            },
            _ => return None,
        })
    }

    fn unit(&mut self) -> Option<u32> {
        (0..4).try_fold(0, |unit, _| Some(unit << 4 | self.rest.next()?.to_digit(16)?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_texts_and_lists_of_texts_are_read_and_the_rest_is_skipped() {
        let text = r#" { "a" : 7, "b":"x\"\u00e9\ud83d\ude00", "c":["p","q"], "d":{"e":[1,{}]},
            "f":-1, "g":1.5e3, "h":[1], "i":null, "j":[] } "#;
        let texts = |texts: &[&str]| Value::Texts(texts.iter().map(ToString::to_string).collect());
        let expected = [
            ("a", Value::Number(7)),
            ("b", Value::Text("x\"é😀".into())),
            ("c", texts(&["p", "q"])),
            ("d", Value::Other),
            ("f", Value::Other),
            ("g", Value::Other),
            ("h", Value::Other),
            ("i", Value::Other),
            ("j", texts(&[])),
        ];
        let expected: Vec<_> = expected.map(|(name, value)| (name.to_owned(), value)).into();
        assert_eq!(members(text), Some(expected));
    }

    #[test]
    fn a_deep_hello_is_refused_and_not_followed() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(members(&deep), None);
    }

    proptest! {
        #[test]
        fn an_object_is_recognised_exactly_if_serde_json_recognises_it(text in r#"\{("a{0,2}":(-?[0-9]{1,3}(\.[0-9]?)?|"\\?[nu"]?[0-9a-f]{0,4}"|\[(1|"x")?(,"y")?\]|true|nul|\{\}),?){0,3}\}"#) {
            let theirs = serde_json::from_str::<serde_json::Value>(&text);
            prop_assert_eq!(members(&text).is_some(), theirs.is_ok(), "{}", text);
        }

        #[test]
        fn a_quoted_text_is_read_unchanged(text in "\\PC*|[\\x00-\\x7f]*") {
            let object = format!("{{\"t\":{}}}", quote(&text));
            prop_assert_eq!(members(&object), Some(vec![("t".to_owned(), Value::Text(text.clone()))]));
            let theirs: serde_json::Value = serde_json::from_str(&object).unwrap();
            prop_assert_eq!(theirs["t"].as_str(), Some(text.as_str()));
        }

        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in "\\PC{0,60}|[\\[\\]{}\",:0-9eE.+\\\\u-]{0,60}") {
            members(&text);
        }
    }
}
