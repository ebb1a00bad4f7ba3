//! One flat JSON object per line. The fields of the spans around an event stand at the top level
//! of its line, so that every line of a session can be found by its session id without knowing
//! how the spans nest; `tracing-subscriber`'s own JSON keeps them in nested objects.

use std::fmt::{self, Write as _};
use std::io::Write as _;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::bounded::{LINE_MAX, for_json};

/// What the end of a line takes at the most, with the count of fields that were left out.
const END_MAX: usize = 64;

/// The names that every line has; a field of the same name is written as `field.NAME`.
const RESERVED: [&str; 3] = ["timestamp", "level", "target"];

/// Writes each event as one line to what `W` opens.
pub(super) struct FlatJson<W> {
    writer: W,
}

/// The fields of a span, kept with the span.
struct SpanFields(Map<String, Value>);

impl<W> FlatJson<W> {
    /// Lines go to what `writer` opens, each in one write.
    pub(super) fn new(writer: W) -> Self {
        Self { writer }
    }
}

impl<S, W> Layer<S> for FlatJson<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Map::new();
            attributes.record(&mut Fields(&mut fields));
            span.extensions_mut().replace(SpanFields(fields));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(SpanFields(fields)) = span.extensions_mut().get_mut()
        {
            values.record(&mut Fields(fields));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Map::new();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(SpanFields(of_span)) = span.extensions().get() {
                fields.extend(of_span.iter().map(|(name, value)| (name.clone(), value.clone())));
            }
        }
        event.record(&mut Fields(&mut fields));
        let line = line(event.metadata(), fields);
        // A log that can't be written has nowhere to be reported.
        let _ = self.writer.make_writer_for(event.metadata()).write_all(line.as_bytes());
    }
}

/// Builds the line: time, level, target and message first, then the fields by name. A field with
/// which the line would be longer than [`LINE_MAX`] is left out and counted in `fields-left-out`,
/// so that short ones, such as the session's id, are there whatever a client does.
fn line(metadata: &Metadata<'_>, mut fields: Map<String, Value>) -> String {
    let logged_by = fields.remove("log.target");
    for name in ["log.module_path", "log.file", "log.line"] {
        fields.remove(name);
    }
    let target = match &logged_by {
        // Records of the `log` crate all carry the target "log", and their own in a field.
        Some(Value::String(target)) => target.as_str(),
        _ => metadata.target(),
    };
    let mut line = format!("{{\"timestamp\":\"{}\",\"level\":\"{}\",\"target\":", timestamp(), metadata.level());
    push_text(&mut line, target);
    if let Some(message) = fields.remove("message") {
        push_field(&mut line, "message", &message);
    }
    let mut left_out = 0_usize;
    for (name, value) in &fields {
        let before = line.len();
        if RESERVED.contains(&name.as_str()) {
            push_field(&mut line, &format!("field.{name}"), value);
        } else {
            push_field(&mut line, name, value);
        }
        if line.len() > LINE_MAX - END_MAX {
            line.truncate(before);
            left_out += 1;
        }
    }
    if left_out > 0 {
        push_field(&mut line, "fields-left-out", &Value::from(left_out));
    }
    line.push_str("}\n");
    line
}

/// Now, by RFC 3339 in UTC with microseconds.
fn timestamp() -> String {
    let mut text = String::with_capacity(27);
    // Writing to a String can't fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

fn push_field(line: &mut String, name: &str, value: &Value) {
    line.push(',');
    push_text(line, name);
    let _ = write!(line, ":{value}");
}

fn push_text(line: &mut String, text: &str) {
    let _ = write!(line, "{}", Value::from(text));
}

/// Takes recorded values into a map; a later value of the same name wins.
struct Fields<'a>(&'a mut Map<String, Value>);

impl Fields<'_> {
    fn insert(&mut self, field: &Field, value: Value) {
        let name = field.name();
        self.0.insert(name.strip_prefix("r#").unwrap_or(name).to_owned(), value);
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, Value::from(value));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.insert(field, Value::from(value.to_string()));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.insert(field, Value::from(value.to_string()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, Value::from(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, Value::from(for_json(format_args!("{value}"))));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.insert(field, Value::from(for_json(format_args!("{value}"))));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.insert(field, Value::from(for_json(format_args!("{value:?}"))));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tracing::{info, info_span, warn};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::telemetry::bounded::{MARK, VALUE_MAX};
    use crate::telemetry::recorded::Recorded;

    fn logged(body: impl FnOnce()) -> Vec<Value> {
        let lines = Recorded::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::registry().with(FlatJson::new(move || writer.clone()));
        tracing::subscriber::with_default(subscriber, body);
        lines.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn span_fields_stand_at_the_top_level_of_the_line() {
        let lines = logged(|| {
            let session = info_span!("session", "session-id" = "abc", user = tracing::field::Empty).entered();
            session.record("user", "demo");
            let _request = info_span!("request", path = %"/a").entered();
            info!("activity-type" = "OPEN", "bytes-in" = 7_u64, ok = true, "opened");
        });
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        assert_eq!(line["session-id"], "abc");
        assert_eq!(line["user"], "demo");
        assert_eq!(line["path"], "/a");
        assert_eq!(line["activity-type"], "OPEN");
        assert_eq!(line["bytes-in"], 7);
        assert_eq!(line["ok"], true);
        assert_eq!(line["message"], "opened");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["target"], "tidegate_node::telemetry::flat_json::tests");
    }

    #[test]
    fn an_event_overrides_its_spans_and_an_inner_span_the_outer_one() {
        let lines = logged(|| {
            let _outer = info_span!("outer", path = "outer", user = "outer").entered();
            let _inner = info_span!("inner", path = "inner", user = "inner").entered();
            info!(path = "event");
        });
        assert_eq!(lines[0]["path"], "event");
        assert_eq!(lines[0]["user"], "inner");
    }

    #[test]
    fn a_line_stays_one_line_and_reserved_names_stay_whole() {
        let lines = logged(|| warn!(level = "mine", "two\nlines \"quoted\""));
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["message"], "two\nlines \"quoted\"");
        assert_eq!(lines[0]["level"], "WARN");
        assert_eq!(lines[0]["field.level"], "mine");
    }

    #[test]
    fn values_and_lines_have_a_greatest_length() {
        let long = "\u{1}".repeat(1 << 18);
        let lines = logged(|| {
            let _session = info_span!("session", "session-id" = "abc", path = %long, user = "demo").entered();
            warn!(error = long, debug = ?long, "unknown channel request {long}");
        });
        let [line] = lines.as_slice() else { panic!("{}", lines.len()) };
        assert!(line.to_string().len() < LINE_MAX, "{}", line.to_string().len());
        let message = line["message"].as_str().unwrap();
        assert!(message.starts_with("unknown") && message.ends_with(MARK) && message.len() < VALUE_MAX, "{message}");
        assert_eq!((&line["session-id"], &line["user"]), (&Value::from("abc"), &Value::from("demo")));
        assert_eq!(line["fields-left-out"], 3);
    }

    #[test]
    fn a_value_alone_is_cut_and_its_line_is_whole() {
        let lines = logged(|| info!(path = %"x".repeat(1 << 18), "opened"));
        assert_eq!(lines[0]["path"], format!("{}{MARK}", "x".repeat(VALUE_MAX)));
        assert_eq!(lines[0].get("fields-left-out"), None);
    }

    #[test]
    fn timestamps_are_rfc_3339_in_utc() {
        let text = timestamp();
        assert!(text.ends_with('Z'), "{text}");
        assert!(humantime_serde::re::humantime::parse_rfc3339(&text).is_ok(), "{text}");
    }
}
