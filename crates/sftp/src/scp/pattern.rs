//! `*` and `?` in the last part of a path: clients leave them to the shell of the server.

use crate::commands::Word;

/// A pattern of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(Vec<Token>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Any,
    Character(char),
    One,
}

/// A source of a copy, as the client named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// The path, relative to the user's home unless it begins with `/`.
    pub(crate) path: Vec<u8>,
    /// What the last part of the path means if it is not found by that name.
    pub(crate) pattern: Option<Pattern>,
}

impl Source {
    /// Reads a word; `None` if it has a pattern anywhere but in its last part, or is no UTF-8 there.
    pub(crate) fn of(word: Word) -> Option<Self> {
        let (word, cut) = without_tilde(word);
        let at = word.bytes.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let is_pattern =
            |place: usize| matches!(word.bytes.get(place), Some(b'*' | b'?')) && word.is_special(place + cut);
        if (0..at).any(is_pattern) {
            return None;
        }
        if !(at..word.bytes.len()).any(is_pattern) {
            return Some(Self { path: word.bytes, pattern: None });
        }
        let name = std::str::from_utf8(word.bytes.get(at..)?).ok()?;
        let token = |(place, character)| match character {
            '*' if is_pattern(at + place) => Token::Any,
            '?' if is_pattern(at + place) => Token::One,
            other => Token::Character(other),
        };
        let pattern = Pattern(name.char_indices().map(token).collect());
        Some(Self { pattern: Some(pattern), path: word.bytes })
    }
}

/// A path from a user's home: `~` is where relative paths begin in any case. Tells how many bytes went.
fn without_tilde(mut word: Word) -> (Word, usize) {
    if word.bytes.first() != Some(&b'~') || !word.is_special(0) || !matches!(word.bytes.get(1), None | Some(b'/')) {
        return (word, 0);
    }
    let cut = word.bytes.iter().skip(1).take_while(|byte| **byte == b'/').count() + 1;
    word.bytes.drain(..cut);
    (word, cut)
}

/// The path of a word that is no pattern.
pub(crate) fn plain_path(word: Word) -> Vec<u8> {
    without_tilde(word).0.bytes
}

impl Pattern {
    /// Whether a name is meant. As in a shell, those that begin with a dot are only if the pattern does.
    pub(crate) fn matches(&self, name: &str) -> bool {
        if name.starts_with('.') && self.0.first() != Some(&Token::Character('.')) {
            return false;
        }
        let name: Vec<char> = name.chars().collect();
        let (mut token, mut at) = (0, 0);
        // The latest `*`, and how far into the name it reaches so far.
        let mut star: Option<(usize, usize)> = None;
        while at < name.len() {
            match self.0.get(token) {
                Some(Token::Any) => {
                    star = Some((token, at));
                    token += 1;
                }
                Some(Token::One) => (token, at) = (token + 1, at + 1),
                Some(Token::Character(wanted)) if name.get(at) == Some(wanted) => (token, at) = (token + 1, at + 1),
                _ => match star {
                    Some((place, reach)) => {
                        star = Some((place, reach + 1));
                        (token, at) = (place + 1, reach + 1);
                    }
                    None => return false,
                },
            }
        }
        self.0.iter().skip(token).all(|token| *token == Token::Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::split;

    fn source(word: &str) -> Option<Source> {
        Source::of(split(word.as_bytes()).unwrap().remove(0))
    }

    #[test]
    fn names_match_as_in_a_shell() {
        for (pattern, name, expected) in [
            ("*.txt", "a.txt", true),
            ("*.txt", ".txt", false),
            (".*", ".txt", true),
            ("a?c", "aüc", true),
            ("a?c", "ac", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "xxaxxbxx", false),
            ("~/d/*\\**", "x*y", true),
            ("*\\**", "xy", false),
        ] {
            assert_eq!(source(pattern).unwrap().pattern.unwrap().matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn only_the_last_part_may_be_a_pattern() {
        assert_eq!(source("*/x"), None);
        assert_eq!(source("'*'/x"), Some(Source { path: b"*/x".to_vec(), pattern: None }));
        assert_eq!(source("~//x"), Some(Source { path: b"x".to_vec(), pattern: None }));
        assert_eq!(source("\\~/x"), Some(Source { path: b"~/x".to_vec(), pattern: None }));
        assert_eq!(source("~"), Some(Source { path: Vec::new(), pattern: None }));
    }
}
