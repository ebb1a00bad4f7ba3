//! The store's own clock, learned from the `Date` of its answers (RFC 9110 section 6.6.1).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::date_time::{DateTime, Format};

/// What the newest answer told, and how long ago. Our own clock of the day has no part in it, so it
/// may be wrong, and may be set while we run. Clones are the same clock.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoreClock(Arc<Mutex<Option<(SystemTime, Instant)>>>);

impl StoreClock {
    /// The store's time, behind by as long as the newest answer was under way and at most 1 s more.
    pub(crate) fn now(&self) -> Option<SystemTime> {
        let (date, since) = (*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        date.checked_add(since.elapsed())
    }

    fn learn(&self, date: &str) {
        let parsed = DateTime::from_str(date, Format::HttpDate).ok();
        if let Some(date) = parsed.and_then(|date| SystemTime::try_from(date).ok()) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((date, Instant::now()));
        }
    }
}

#[dyn_dispatch_hint]
impl Intercept for StoreClock {
    fn name(&self) -> &'static str {
        "StoreClock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(date) = context.response().headers().get("date") {
            self.learn(date);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_answer_sets_it_and_one_without_a_readable_date_does_not() {
        let clock = StoreClock::default();
        assert_eq!(clock.now(), None);
        clock.learn("yesterday");
        assert_eq!(clock.now(), None);
        clock.learn("Sun, 06 Nov 1994 08:49:37 GMT");
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert!(clock.now().is_some_and(|now| now >= date && now < date + Duration::from_secs(3600)));
        clock.learn("");
        assert!(clock.now().is_some());
    }
}
