//! Results as tables for people or JSON for programs.

use std::io::Write;

use serde::Serialize;
use serde_json::Value;

use super::CommandError;
use crate::cli::Output;

/// Prints results in the way that was asked for.
pub(super) struct Printer<'a> {
    output: Output,
    out: &'a mut dyn Write,
}

/// A list that is printed page by page, so that its length costs no memory.
pub(super) struct List<'p, 'a> {
    printer: &'p mut Printer<'a>,
    columns: &'static [&'static str],
    printed: usize,
}

/// What can be shown as one line of a table, as a block of lines and as JSON.
pub(super) trait Shown: Serialize {
    /// The names of the columns of a table.
    const COLUMNS: &'static [&'static str];

    /// The columns' texts.
    fn row(&self) -> Vec<String>;

    /// Name and text of each line of a block.
    fn lines(&self) -> Vec<(&'static str, String)>;
}

impl<'a> Printer<'a> {
    /// Prints to `out`.
    pub(super) fn new(output: Output, out: &'a mut dyn Write) -> Self {
        Self { output, out }
    }

    /// One sentence, or its machine-readable twin.
    pub(super) fn message(&mut self, text: &str, json: &Value) -> Result<(), CommandError> {
        match self.output {
            Output::Text => writeln!(self.out, "{text}")?,
            Output::Json => self.json(json)?,
        }
        Ok(())
    }

    /// One record.
    pub(super) fn record(&mut self, record: &impl Shown) -> Result<(), CommandError> {
        match self.output {
            Output::Json => self.json(record),
            Output::Text => {
                let lines = record.lines();
                let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 1;
                for (name, text) in lines {
                    writeln!(self.out, "{:width$} {text}", format!("{name}:"))?;
                }
                Ok(())
            }
        }
    }

    /// A sentence for people, a record for programs.
    pub(super) fn done(&mut self, text: &str, record: &impl Serialize) -> Result<(), CommandError> {
        match self.output {
            Output::Text => Ok(writeln!(self.out, "{text}")?),
            Output::Json => self.json(record),
        }
    }

    /// Something that people should know besides.
    pub(super) fn note(&mut self, text: &str) -> Result<(), CommandError> {
        match self.output {
            Output::Text => Ok(writeln!(self.out, "{text}")?),
            Output::Json => Ok(()),
        }
    }

    /// Begins a list.
    pub(super) fn list<T: Shown>(&mut self) -> List<'_, 'a> {
        List { printer: self, columns: T::COLUMNS, printed: 0 }
    }

    /// A whole document for programs, or text for people, made by `text`.
    pub(super) fn document(&mut self, json: &Value, text: impl FnOnce() -> String) -> Result<(), CommandError> {
        match self.output {
            Output::Json => self.json(json),
            Output::Text => Ok(write!(self.out, "{}", text())?),
        }
    }

    fn json(&mut self, value: &impl Serialize) -> Result<(), CommandError> {
        let text = serde_json::to_string_pretty(value).map_err(std::io::Error::from)?;
        Ok(writeln!(self.out, "{text}")?)
    }
}

impl List<'_, '_> {
    /// Prints one page.
    pub(super) fn page<T: Shown>(&mut self, records: &[T]) -> Result<(), CommandError> {
        match self.printer.output {
            Output::Text => self.table(records),
            Output::Json => {
                for record in records {
                    let text = serde_json::to_string(record).map_err(std::io::Error::from)?;
                    let before = if self.printed == 0 { "[\n" } else { ",\n" };
                    write!(self.printer.out, "{before}  {text}")?;
                    self.printed += 1;
                }
                Ok(())
            }
        }
    }

    /// Ends the list; `empty` is what people read if there was nothing in it.
    pub(super) fn finish(self, empty: &str) -> Result<(), CommandError> {
        match (self.printer.output, self.printed) {
            (Output::Text, 0) => writeln!(self.printer.out, "{empty}")?,
            (Output::Text, _) => {}
            (Output::Json, 0) => writeln!(self.printer.out, "[]")?,
            (Output::Json, _) => writeln!(self.printer.out, "\n]")?,
        }
        Ok(())
    }

    fn table<T: Shown>(&mut self, records: &[T]) -> Result<(), CommandError> {
        if records.is_empty() {
            return Ok(());
        }
        let mut rows: Vec<Vec<String>> = records.iter().map(Shown::row).collect();
        if self.printed == 0 {
            rows.insert(0, self.columns.iter().map(|name| name.to_uppercase()).collect());
        }
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|text| text.chars().count()).max())
            .map(Option::unwrap_or_default)
            .collect();
        for row in rows {
            let cells: Vec<_> = row.iter().zip(&widths).map(|(text, &width)| format!("{text:width$}")).collect();
            writeln!(self.printer.out, "{}", cells.join("  ").trim_end())?;
        }
        self.printed += records.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Fruit(&'static str, &'static str);

    impl Shown for Fruit {
        const COLUMNS: &'static [&'static str] = &["name", "colour"];

        fn row(&self) -> Vec<String> {
            vec![self.0.to_owned(), self.1.to_owned()]
        }

        fn lines(&self) -> Vec<(&'static str, String)> {
            vec![("name", self.0.to_owned()), ("colour", self.1.to_owned())]
        }
    }

    fn printed(output: Output, body: impl FnOnce(&mut Printer<'_>)) -> String {
        let mut out = Vec::new();
        body(&mut Printer::new(output, &mut out));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn tables_line_up_and_have_one_header_over_all_pages() {
        let text = printed(Output::Text, |printer| {
            let mut list = printer.list::<Fruit>();
            list.page(&[Fruit("fig", "blue"), Fruit("banana", "yellow")]).unwrap();
            list.page::<Fruit>(&[]).unwrap();
            list.page(&[Fruit("kiwi", "green")]).unwrap();
            list.finish("none").unwrap();
        });
        assert_eq!(text, "NAME    COLOUR\nfig     blue\nbanana  yellow\nkiwi  green\n");
    }

    #[test]
    fn json_lists_are_one_array_at_any_length() {
        for count in 0..3 {
            let text = printed(Output::Json, |printer| {
                let mut list = printer.list::<Fruit>();
                for _ in 0..count {
                    list.page(&[Fruit("fig", "blue")]).unwrap();
                }
                list.finish("none").unwrap();
            });
            assert_eq!(serde_json::from_str::<Vec<Value>>(&text).unwrap().len(), count, "{text}");
        }
    }

    #[test]
    fn an_empty_list_says_so_to_people() {
        assert_eq!(printed(Output::Text, |printer| printer.list::<Fruit>().finish("none").unwrap()), "none\n");
    }

    #[test]
    fn records_are_blocks_of_lines() {
        let text = printed(Output::Text, |printer| printer.record(&Fruit("fig", "blue")).unwrap());
        assert_eq!(text, "name:   fig\ncolour: blue\n");
    }
}
