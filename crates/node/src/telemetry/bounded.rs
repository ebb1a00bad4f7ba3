//! How much of a value and of a line is written: clients choose names and texts, and the lines
//! that wait for a slow reader of the log lie in memory.

use std::fmt::{self, Write as _};
use std::io::{self, Write};

use tracing_subscriber::fmt::MakeWriter;

/// The greatest length of one value in a line, in bytes as they are written; [`MARK`] comes on top.
pub(super) const VALUE_MAX: usize = 4 << 10;
/// The greatest length of a line, in bytes, its end included.
pub(super) const LINE_MAX: usize = 8 << 10;
/// Stands where something was cut off.
pub(super) const MARK: &str = "…[cut]";

/// The value as it goes into a JSON line: what its escapes will take is counted, but they are not
/// made here.
pub(super) fn for_json(value: fmt::Arguments<'_>) -> String {
    Bounded::of(value, Form::Json)
}

/// The value as it goes into a line for people: what would end the line, or steer the terminal that
/// shows it, is written as an escape. A backslash is left as it is, for values that were formatted
/// by `Debug` are escaped already.
pub(super) fn for_people(value: fmt::Arguments<'_>) -> String {
    Bounded::of(value, Form::Text)
}

#[derive(Clone, Copy)]
enum Form {
    Json,
    Text,
}

/// Takes text until it is full, and then stops whoever formats: a value of megabytes never comes
/// to lie in memory a second time.
struct Bounded {
    text: String,
    /// In bytes; `None` once something was cut off.
    room: Option<usize>,
    form: Form,
}

impl Bounded {
    fn of(value: fmt::Arguments<'_>, form: Form) -> String {
        let mut bounded = Self { text: String::new(), room: Some(VALUE_MAX), form };
        // Fails when it is full, which the mark tells.
        let _ = bounded.write_fmt(value);
        bounded.text
    }
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            let Some(room) = self.room.and_then(|room| room.checked_sub(written_len(character, self.form))) else {
                // Once only: a `Display` may ignore the refusal and go on.
                if self.room.take().is_some() {
                    self.text.push_str(MARK);
                }
                return Err(fmt::Error);
            };
            self.room = Some(room);
            match self.form {
                Form::Text if steers(character) => self.text.extend(character.escape_default()),
                Form::Json | Form::Text => self.text.push(character),
            }
        }
        Ok(())
    }
}

/// How many bytes a character takes in a line.
fn written_len(character: char, form: Form) -> usize {
    match (form, character) {
        (Form::Json, '"' | '\\' | '\u{8}' | '\t' | '\n' | '\u{c}' | '\r') => 2,
        (Form::Json, '\0'..='\u{1f}') => 6,
        (Form::Text, _) if steers(character) => character.escape_default().len(),
        _ => character.len_utf8(),
    }
}

/// Whether a terminal, or a reader by lines, does something else with it than to show it: control
/// characters, line separators, and marks that turn the direction of what follows.
fn steers(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Cuts lines that are too long; each line comes in one write.
pub(super) struct BoundedLines<W> {
    to: W,
    /// What ends the colours that a line began.
    end: &'static str,
}

impl<W> BoundedLines<W> {
    /// Lines go to `to`, or to what it opens.
    pub(super) fn new(to: W, is_coloured: bool) -> Self {
        Self { to, end: if is_coloured { "\u{1b}[0m" } else { "" } }
    }
}

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for BoundedLines<W> {
    type Writer = BoundedLines<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        BoundedLines { to: self.to.make_writer(), end: self.end }
    }
}

impl<W: Write> Write for BoundedLines<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if line.len() <= LINE_MAX {
            self.to.write_all(line)?;
        } else {
            let text = String::from_utf8_lossy(line);
            let end = format!("{}{MARK}\n", self.end);
            let kept = text.floor_char_boundary(LINE_MAX - end.len());
            let kept = text.get(..kept).unwrap_or_default();
            self.to.write_all(format!("{kept}{end}").as_bytes())?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_cut_between_characters_and_marked() {
        let fits = "ü".repeat(VALUE_MAX / 2);
        assert_eq!(for_json(format_args!("{fits}")), fits);
        assert_eq!(for_people(format_args!("{fits}")), fits);
        let cut = for_json(format_args!("x{fits}"));
        assert_eq!(cut, format!("x{}{MARK}", "ü".repeat(VALUE_MAX / 2 - 1)));
    }

    #[test]
    fn what_escapes_take_counts() {
        let controls = "\u{1}".repeat(VALUE_MAX);
        let json = serde_json::to_string(&for_json(format_args!("{controls}"))).unwrap();
        assert!(json.len() <= VALUE_MAX + MARK.len() + 2, "{}", json.len());
        let text = for_people(format_args!("{controls}"));
        assert!(text.len() <= VALUE_MAX + MARK.len(), "{}", text.len());
        assert!(text.starts_with(r"\u{1}\u{1}"), "{text}");
    }

    #[test]
    fn nothing_comes_behind_the_mark() {
        struct Stubborn;
        impl fmt::Display for Stubborn {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                for _ in 0..3 {
                    let _ = f.write_str(&"x".repeat(VALUE_MAX));
                }
                Ok(())
            }
        }
        assert_eq!(for_json(format_args!("{Stubborn}")), format!("{}{MARK}", "x".repeat(VALUE_MAX)));
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_still_ends() {
        let mut out = Vec::new();
        let mut lines = BoundedLines::new(&mut out, false);
        lines.write_all(b"short\n").unwrap();
        lines.write_all(format!("{}\n", "ü".repeat(LINE_MAX)).as_bytes()).unwrap();
        let text = String::from_utf8(out).unwrap();
        let [short, long] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
        assert_eq!(short, "short");
        assert!(long.ends_with(MARK) && long.len() < LINE_MAX && long.len() > LINE_MAX - 8, "{}", long.len());
    }
}
