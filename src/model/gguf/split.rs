//! Names of the parts of a split file, as llama.cpp spells them: `NAME-00001-of-00003.gguf`.

/// The parsed name of a part.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PartName {
    /// Everything before the numbers, folders included.
    prefix: String,
    /// The number of this part, from 0.
    pub index: u64,
    /// The number of parts.
    pub count: u64,
}

impl PartName {
    /// Reads the name of a part; `None` for other names.
    pub fn parse(name: &str) -> Option<Self> {
        let (rest, count) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
        let (prefix, number) = rest.rsplit_once('-')?;
        let digits = |text: &str| {
            let is_number = text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| text.parse::<u64>().ok()).flatten()
        };
        let (number, count) = (digits(number)?, digits(count)?);
        (1..=count).contains(&number).then(|| Self {
            prefix: prefix.to_owned(),
            index: number - 1,
            count,
        })
    }

    /// The name of another part of the same file.
    pub fn sibling(&self, index: u64) -> String {
        format!("{}-{:05}-of-{:05}.gguf", self.prefix, index + 1, self.count)
    }

    /// Whether both are parts of the same file.
    pub fn is_of_same_file(&self, other: &Self) -> bool {
        (&self.prefix, self.count) == (&other.prefix, other.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_parts_are_read_and_come_out_the_same() {
        let name = "q4/big-of-a-model-00002-of-00010.gguf";
        let part = PartName::parse(name).unwrap();
        assert_eq!((part.index, part.count), (1, 10));
        assert_eq!(part.sibling(1), name);
        assert_eq!(part.sibling(9), "q4/big-of-a-model-00010-of-00010.gguf");
        for other in [
            "model.gguf",
            "m-1-of-2.gguf",
            "m-00001-of-00002.bin",
            "m-00000-of-00002.gguf",
            "m-00003-of-00002.gguf",
            "m-+0001-of-00002.gguf",
            "00001-of-00002.gguf",
        ] {
            assert_eq!(PartName::parse(other), None, "{other}");
        }
    }
}
