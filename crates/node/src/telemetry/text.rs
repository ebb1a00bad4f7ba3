//! The fields of a line for people. Unlike the formatter that `tracing-subscriber` brings, this one
//! writes no control character of a value: the name of a file may hold line breaks and terminal
//! sequences, and a line must not be forged by them.

use std::error::Error;
use std::fmt;

use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

use super::bounded::for_people;

/// Writes the message, and `name=value` for every other field.
pub(super) struct SafeFields;

impl<'w> FormatFields<'w> for SafeFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut fields_so_far = Fields { writer, is_first: true, result: Ok(()) };
        fields.record(&mut fields_so_far);
        fields_so_far.result
    }
}

struct Fields<'w> {
    writer: Writer<'w>,
    is_first: bool,
    result: fmt::Result,
}

impl Fields<'_> {
    fn put(&mut self, name: &str, value: fmt::Arguments<'_>) {
        // Where a record of the `log` crate comes from: the line's target tells it.
        if self.result.is_ok() && !name.starts_with("log.") {
            self.result = self.try_put(name.strip_prefix("r#").unwrap_or(name), &for_people(value));
        }
    }

    fn try_put(&mut self, name: &str, value: &str) -> fmt::Result {
        if !self.is_first {
            self.writer.write_char(' ')?;
        }
        self.is_first = false;
        match name {
            "message" => {}
            _ if self.writer.has_ansi_escapes() => write!(self.writer, "\u{1b}[3m{name}\u{1b}[0m\u{1b}[2m=\u{1b}[0m")?,
            _ => write!(self.writer, "{name}=")?,
        }
        self.writer.write_str(value)
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.put("message", format_args!("{value}")),
            name => self.put(name, format_args!("{value:?}")),
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.put(field.name(), format_args!("{value}"));
        let mut cause = value.source();
        while let Some(error) = cause {
            self.put("caused-by", format_args!("{error}"));
            cause = error.source();
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), format_args!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use tracing::{info, info_span, warn};

    use super::*;
    use crate::telemetry::bounded::{LINE_MAX, MARK, VALUE_MAX};
    use crate::telemetry::recorded::Recorded;
    use crate::telemetry::text_layer;
    use tracing_subscriber::layer::SubscriberExt;

    fn logged(is_coloured: bool, body: impl FnOnce()) -> String {
        let lines = Recorded::default();
        let writer = lines.clone();
        let layer = text_layer(move || writer.clone(), is_coloured);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), body);
        lines.text()
    }

    #[test]
    fn names_with_control_characters_forge_no_line_and_steer_no_terminal() {
        let path = "/a\n2026-01-01T00:00:00Z  INFO login user=root\u{1b}[2J\u{9b}1m\r\u{202e}";
        let text = logged(false, || {
            let _span = info_span!("session", user = %path, home = path).entered();
            info!(%path, raw = path, debug = ?path, "opened {path}");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.ends_with('\n') && !text.trim_end().contains(char::is_control), "{text:?}");
        assert!(!text.contains('\u{202e}'), "{text:?}");
        let escaped = r"/a\n2026-01-01T00:00:00Z  INFO login user=root\u{1b}[2J\u{9b}1m\r\u{202e}";
        for part in [format!("path={escaped}"), format!("user={escaped}"), format!("opened {escaped}")] {
            assert!(text.contains(&part), "{part} is missing in {text}");
        }
    }

    #[test]
    fn a_line_has_its_message_and_fields_in_order() {
        let text = logged(false, || {
            let span = info_span!("session", "session-id" = "abc", user = tracing::field::Empty).entered();
            span.record("user", "demo");
            info!("bytes-in" = 7_u64, r#type = "x", "log.file" = "/src/x.rs", "closed");
        });
        assert!(text.contains(r#"session{session-id="abc" user="demo"}: "#), "{text}");
        assert!(text.ends_with("closed bytes-in=7 type=\"x\"\n"), "{text}");
    }

    #[test]
    fn colours_are_of_names_alone() {
        let text = logged(true, || info!(path = %"\u{1b}[31m", "red"));
        assert!(text.contains("\u{1b}[3mpath\u{1b}[0m\u{1b}[2m=\u{1b}[0m\\u{1b}[31m"), "{text:?}");
    }

    #[test]
    fn an_error_tells_its_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] io::Error);
        let error = Outer(io::Error::other("inner\nforged"));
        let text = logged(false, || warn!(error = &error as &(dyn Error + 'static), "failed"));
        assert!(text.ends_with("failed error=outer caused-by=inner\\nforged\n"), "{text}");
    }

    #[test]
    fn values_and_lines_have_a_greatest_length() {
        let long = "x".repeat(1 << 18);
        let text = logged(false, || {
            warn!("{long}");
            info!(a = %long, b = %long, c = %long, "three");
        });
        let [message, three] = text.lines().collect::<Vec<_>>()[..] else { panic!("{}", text.len()) };
        assert!(message.ends_with(MARK) && message.len() < VALUE_MAX + 256, "{}", message.len());
        assert!(three.ends_with(MARK) && three.len() < LINE_MAX, "{}", three.len());
    }
}
