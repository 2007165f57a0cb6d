//! The worked examples of `src/protocol.md`: blocks of bytes with their meaning beside them.

const PAGE: &str = include_str!("../../src/protocol.md");

/// The blanks that separate bytes from their meaning.
const GAP: &str = "  ";

/// One example.
pub(crate) struct Block {
    pub(crate) name: String,
    /// Bytes, and the text beside them.
    pub(crate) fields: Vec<(Vec<u8>, String)>,
}

impl Block {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.fields.iter().flat_map(|(bytes, _)| bytes.clone()).collect()
    }

    fn read(text: &str) -> Self {
        let mut lines = text.lines();
        let (name, sentence) = lines
            .next()
            .unwrap()
            .split_once(": ")
            .expect("a block begins with its name and a sentence");
        assert!(!sentence.is_empty());
        let mut fields: Vec<(Vec<u8>, String)> = Vec::new();
        for line in lines {
            let (hex, meaning) = line.split_once(GAP).unwrap_or((line, ""));
            let byte =
                |digits| u8::from_str_radix(digits, 16).expect("a byte has two hexadecimal digits");
            let bytes = hex.split_whitespace().map(byte);
            match meaning.trim() {
                "" => fields.last_mut().expect("the first line has a meaning").0.extend(bytes),
                meaning => fields.push((bytes.collect(), meaning.to_owned())),
            }
        }
        Self { name: name.to_owned(), fields }
    }
}

/// All examples, in the order of the page.
pub(crate) fn blocks() -> Vec<Block> {
    let blocks = PAGE.split("\n```hex\n").skip(1);
    blocks.map(|rest| Block::read(rest.split("\n```").next().unwrap())).collect()
}

/// The example with this name.
pub(crate) fn block(name: &str) -> Block {
    let found = blocks().into_iter().find(|block| block.name == name);
    found.unwrap_or_else(|| panic!("src/protocol.md has no example {name}"))
}
