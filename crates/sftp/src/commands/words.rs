//! Splits a command line into words as `sh` would, and runs nothing.

use thiserror::Error;

/// The longest command line, in bytes.
const LINE_MAX: usize = 16 << 10;

/// The most words of a command line.
const WORDS_MAX: usize = 256;

/// One word, without its quotes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Where `*`, `?` and `~` stand without quotes, in bytes from the front, ascending: `sh` would give
    /// them a meaning.
    pub special: Vec<usize>,
}

impl Word {
    /// Whether the byte at this place is one to which `sh` gives a meaning.
    pub fn is_special(&self, at: usize) -> bool {
        self.special.binary_search(&at).is_ok()
    }
}

/// Why a line is no plain command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unsplittable {
    /// It ends in a quote or behind a backslash.
    #[error("a quote in the command is not closed")]
    Open,
    /// It asks for what only a shell can do: pipes, variables, several commands…
    #[error("there is no shell here: quote the characters of a path that mean something to one")]
    Shell,
    /// It has more than 16 KiB or 256 words.
    #[error("the command is too long")]
    TooLong,
}

/// Splits a line at unquoted blanks. Quotes and backslashes count as POSIX says (Shell Command
/// Language, section 2.2); nothing is expanded.
///
/// # Errors
/// [`Unsplittable`].
pub fn split(line: &[u8]) -> Result<Vec<Word>, Unsplittable> {
    if line.len() > LINE_MAX {
        return Err(Unsplittable::TooLong);
    }
    let mut words = Vec::new();
    let mut word: Option<Word> = None;
    let mut bytes = line.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let is_first = word.is_none();
        match byte {
            b' ' | b'\t' => {
                words.extend(word.take());
                if words.len() > WORDS_MAX {
                    return Err(Unsplittable::TooLong);
                }
                continue;
            }
            b'\n' | b'\0' | b';' | b'&' | b'|' | b'<' | b'>' | b'(' | b')' | b'$' | b'`' => {
                return Err(Unsplittable::Shell);
            }
            b'#' if is_first => return Err(Unsplittable::Shell),
            _ => {}
        }
        let word = word.get_or_insert_with(Word::default);
        match byte {
            b'\'' => loop {
                match bytes.next().ok_or(Unsplittable::Open)? {
                    b'\'' => break,
                    b'\0' => return Err(Unsplittable::Shell),
                    quoted => word.bytes.push(quoted),
                }
            },
            b'"' => loop {
                match bytes.next().ok_or(Unsplittable::Open)? {
                    b'"' => break,
                    b'\0' | b'$' | b'`' => return Err(Unsplittable::Shell),
                    b'\\' => match bytes.next().ok_or(Unsplittable::Open)? {
                        b'\n' => {}
                        escaped @ (b'$' | b'`' | b'"' | b'\\') => word.bytes.push(escaped),
                        other => word.bytes.extend([b'\\', other]),
                    },
                    quoted => word.bytes.push(quoted),
                }
            },
            b'\\' => match bytes.next().ok_or(Unsplittable::Open)? {
                b'\n' => {}
                b'\0' => return Err(Unsplittable::Shell),
                escaped => word.bytes.push(escaped),
            },
            b'*' | b'?' | b'~' => {
                word.special.push(word.bytes.len());
                word.bytes.push(byte);
            }
            plain => word.bytes.push(plain),
        }
    }
    words.extend(word);
    if words.len() > WORDS_MAX { Err(Unsplittable::TooLong) } else { Ok(words) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(line: &str) -> Result<Vec<String>, Unsplittable> {
        Ok(split(line.as_bytes())?.into_iter().map(|word| String::from_utf8(word.bytes).unwrap()).collect())
    }

    #[test]
    fn quotes_and_backslashes_are_those_of_sh() {
        for (line, expected) in [
            ("", vec![]),
            ("  scp   -t x\t", vec!["scp", "-t", "x"]),
            ("a 'b c' \"d e\"f\\ g ''", vec!["a", "b c", "d ef g", ""]),
            (r#"'it'\''s' "a\"b\\c\d""#, vec!["it's", r#"a"b\c\d"#]),
            ("a'\n'b a\\\nb", vec!["a\nb", "ab"]),
            ("a#b '#' \\#", vec!["a#b", "#", "#"]),
            ("md5sum /\\ü\\*.txt", vec!["md5sum", "/ü*.txt"]),
        ] {
            assert_eq!(words(line), Ok(expected.into_iter().map(str::to_owned).collect()), "{line:?}");
        }
    }

    #[test]
    fn what_takes_a_shell_is_refused() {
        for line in
            ["a;b", "a&b", "a|b", "a<b", "a>b", "a\nb", "$a", "\"$a\"", "`a`", "\"`a`\"", "(a)", "#a", "a #b", "a\0b"]
        {
            assert_eq!(words(line), Err(Unsplittable::Shell), "{line:?}");
        }
        for line in ["'a", "\"a", "a\\", "\"a\\"] {
            assert_eq!(words(line), Err(Unsplittable::Open), "{line:?}");
        }
        assert_eq!(words(&"a ".repeat(300)), Err(Unsplittable::TooLong));
        assert_eq!(words(&"a".repeat(20_000)), Err(Unsplittable::TooLong));
    }

    #[test]
    fn only_characters_without_quotes_are_special() {
        let word = &split(b"~/a\\*'?'*").unwrap()[0];
        assert_eq!((word.bytes.as_slice(), word.special.as_slice()), (&b"~/a*?*"[..], &[0, 5][..]));
    }

    proptest! {
        #[test]
        fn whatever_was_quoted_comes_back(given in prop::collection::vec("[^\0]{0,20}", 1..5)) {
            let line = given.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect::<Vec<_>>();
            prop_assert_eq!(words(&line.join(" ")), Ok(given));
        }
    }
}
