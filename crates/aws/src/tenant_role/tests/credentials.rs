//! When STS is asked, and what becomes of sessions when it does not answer. The clock stands still
//! unless a test moves it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use aws_smithy_types::date_time::{DateTime, Format};
use prometheus::Registry;
use tidegate_store::{Metrics, ObjectKey, ObjectStore, ObjectStores, StoreErrorKind, StoreResult};
use tokio::task::JoinSet;

use super::{ROLE, tenant};
use crate::wire::{Answer, Sent, Service, answer};

const HOUR: Duration = Duration::from_secs(3600);

fn is_sts(sent: &Sent) -> bool {
    sent.body.starts_with(b"Action=AssumeRole")
}

/// The `n`th credentials, which hold for `life`.
fn credentials(n: u64, life: Duration) -> Answer {
    let end = DateTime::from(SystemTime::now() + life).fmt(Format::DateTime).unwrap();
    let xml = format!(
        "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials>\
         <AccessKeyId>ASIA{n}</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>token-{n}\
         </SessionToken><Expiration>{end}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
    );
    answer(200, &[], &xml)
}

fn sts_error(status: u16, code: &str) -> Answer {
    answer(
        status,
        &[],
        &format!("<ErrorResponse><Error><Code>{code}</Code><Message>said so</Message></Error></ErrorResponse>"),
    )
}

/// An S3 that takes everything, and an STS that can be switched off.
#[derive(Clone)]
struct World {
    service: Service,
    down: Arc<AtomicBool>,
    given: Arc<AtomicU64>,
}

impl World {
    fn new() -> Self {
        let (down, given) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (is_down, count) = (down.clone(), given.clone());
        let service = Service::new(move |n, sent| {
            if !is_sts(&sent[n]) {
                return answer(
                    200,
                    &[("etag", "\"e\""), ("content-length", "1"), ("last-modified", "Sun, 22 Nov 2026 11:00:00 GMT")],
                    "",
                );
            }
            if is_down.load(Ordering::SeqCst) {
                return sts_error(400, "Throttling");
            }
            credentials(count.fetch_add(1, Ordering::SeqCst) + 1, HOUR)
        });
        Self { service, down, given }
    }

    async fn open(&self) -> Arc<dyn ObjectStore> {
        open(&self.service).await.unwrap()
    }

    /// How often STS was asked, attempts that the SDK repeats included.
    fn asked(&self) -> usize {
        self.service.sent().iter().filter(|sent| is_sts(sent)).count()
    }

    /// The token that the newest request to S3 carried.
    fn token(&self) -> String {
        let sent = self.service.sent();
        sent.iter().rev().find(|sent| !is_sts(sent)).unwrap().header("x-amz-security-token").unwrap().to_owned()
    }

    /// Waits until this many credentials were given, and their receiver has had its turn.
    async fn until_given(&self, count: u64) {
        for _ in 0..10_000 {
            if self.given.load(Ordering::SeqCst) >= count {
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("STS was asked {} times", self.asked());
    }
}

async fn stores(service: &Service, metrics: Metrics) -> Arc<dyn ObjectStores> {
    let aws = service
        .connect(|config| {
            config.tenant_role.arn = Some(ROLE.to_owned());
            config.tenant_role.external_id = Some("prod:blue".to_owned());
        })
        .await;
    aws.tenant_object_stores(metrics).unwrap()
}

async fn open(service: &Service) -> StoreResult<Arc<dyn ObjectStore>> {
    let metrics = Metrics::register(&Registry::new()).unwrap();
    stores(service, metrics).await.open(&tenant("acme", "tenants/acme/")).await
}

async fn head(store: &Arc<dyn ObjectStore>) -> StoreResult<()> {
    store.head(&ObjectKey::new("tenants/acme/f").unwrap()).await.map(drop)
}

#[tokio::test(start_paused = true)]
async fn the_role_is_taken_in_the_tenants_name_with_its_policy() {
    let world = World::new();
    let store = world.open().await;
    head(&store).await.unwrap();
    let sent = world.service.sent();
    let body = String::from_utf8(sent[0].body.clone()).unwrap();
    for part in [
        "RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Ftidegate-tenant",
        "RoleSessionName=acme",
        "ExternalId=prod%3Ablue",
        "DurationSeconds=3600",
        "Policy=%7B",
        "tenants%2Facme%2F%2A",
    ] {
        assert!(body.contains(part), "{part} is missing: {body}");
    }
    assert!(sent[0].header("authorization").unwrap().contains("Credential=testing/"));
    assert!(sent[1].header("authorization").unwrap().contains("Credential=ASIA1/"));
    assert_eq!(sent[1].header("x-amz-security-token"), Some("token-1"));
}

#[tokio::test(start_paused = true)]
async fn credentials_serve_until_shortly_before_their_end_and_are_renewed_behind() {
    let world = World::new();
    let store = world.open().await;
    tokio::time::advance(Duration::from_secs(49 * 60)).await;
    head(&store).await.unwrap();
    assert_eq!(world.asked(), 1, "not before ten minutes are left");
    tokio::time::advance(Duration::from_secs(7 * 60)).await;
    head(&store).await.unwrap();
    assert_eq!(world.token(), "token-1", "no request waits for a renewal");
    world.until_given(2).await;
    head(&store).await.unwrap();
    assert_eq!((world.token().as_str(), world.asked()), ("token-2", 2));
    tokio::time::advance(Duration::from_secs(49 * 60)).await;
    head(&store).await.unwrap();
    assert_eq!(world.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn sessions_go_on_while_sts_is_away_and_their_credentials_hold() {
    let world = World::new();
    let store = world.open().await;
    world.down.store(true, Ordering::SeqCst);
    tokio::time::advance(Duration::from_secs(56 * 60)).await;
    let mut asked = Vec::new();
    // Three minutes of requests, one a second.
    for _ in 0..180 {
        head(&store).await.unwrap();
        assert_eq!(world.token(), "token-1");
        tokio::time::sleep(Duration::from_secs(1)).await;
        asked.push(world.asked());
    }
    // Every 15 s, with the three attempts of the SDK each.
    assert!((18..=45).contains(&(asked[179] - 1)), "{asked:?}");

    world.down.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(20)).await;
    head(&store).await.unwrap();
    world.until_given(2).await;
    head(&store).await.unwrap();
    assert_eq!(world.token(), "token-2");
}

#[tokio::test(start_paused = true)]
async fn once_they_have_ended_requests_fail_with_the_cause_and_do_not_flood_sts() {
    let world = World::new();
    let store = world.open().await;
    world.down.store(true, Ordering::SeqCst);
    tokio::time::advance(HOUR).await;
    let error = head(&store).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Throttled);
    let report = error.report();
    assert!(report.contains("assume role failed: throttled") && report.contains("for the tenant acme"), "{report}");
    let asked = world.asked();
    for _ in 0..50 {
        assert_eq!(head(&store).await.unwrap_err().kind(), StoreErrorKind::Throttled);
    }
    assert_eq!(world.asked(), asked, "the refusal is believed for a second");

    world.down.store(false, Ordering::SeqCst);
    tokio::time::advance(Duration::from_secs(2)).await;
    head(&store).await.unwrap();
    assert_eq!(world.token(), "token-2");
}

#[tokio::test(start_paused = true)]
async fn a_crowd_of_requests_asks_once() {
    let world = World::new();
    let store = world.open().await;
    tokio::time::advance(HOUR).await;
    let mut crowd = JoinSet::new();
    for _ in 0..50 {
        let store = store.clone();
        crowd.spawn(async move { head(&store).await });
    }
    assert!(crowd.join_all().await.iter().all(Result::is_ok));
    assert_eq!(world.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_shows_when_the_store_is_opened() {
    for (status, code, kind) in [
        (403, "AccessDenied", StoreErrorKind::AccessDenied),
        (400, "PackedPolicyTooLarge", StoreErrorKind::InvalidRequest),
        (400, "MalformedPolicyDocument", StoreErrorKind::InvalidRequest),
        (400, "ValidationError", StoreErrorKind::InvalidRequest),
        (400, "Throttling", StoreErrorKind::Throttled),
        (503, "ServiceUnavailable", StoreErrorKind::Throttled),
        (500, "InternalFailure", StoreErrorKind::Unavailable),
    ] {
        let error = open(&Service::new(move |_, _| sts_error(status, code))).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{code}: {}", error.report());
        assert!(error.report().contains(code), "{}", error.report());
    }
    let cut = open(&Service::new(|_, _| None)).await.unwrap_err();
    assert_eq!(cut.kind(), StoreErrorKind::Unavailable);
    let ended = open(&Service::new(|_, _| credentials(1, Duration::ZERO))).await.unwrap_err();
    assert!(ended.report().contains("clock"), "{}", ended.report());
}

#[tokio::test(start_paused = true)]
async fn a_tenant_without_a_policy_is_refused_without_asking() {
    let world = World::new();
    let stores = stores(&world.service, Metrics::register(&Registry::new()).unwrap()).await;
    let error = stores.open(&tenant("acme", &format!("{}/", "*".repeat(500)))).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::InvalidRequest);
    assert!(error.report().contains("the tenant's prefix must be shorter"), "{}", error.report());
    assert_eq!(world.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_sts_is_asked_is_counted_renewals_too() {
    let (world, registry) = (World::new(), Registry::new());
    let stores = stores(&world.service, Metrics::register(&registry).unwrap()).await;
    let store = stores.open(&tenant("acme", "tenants/acme/")).await.unwrap();
    tokio::time::advance(Duration::from_secs(56 * 60)).await;
    head(&store).await.unwrap();
    world.until_given(2).await;
    let families = registry.gather();
    let requests = families.iter().find(|family| family.name() == "tidegate_store_requests_total").unwrap();
    let counted: Vec<_> = requests
        .get_metric()
        .iter()
        .map(|metric| {
            let labels: Vec<_> = metric.get_label().iter().map(|label| label.value().to_owned()).collect();
            (labels, metric.get_counter().get_value())
        })
        .collect();
    assert_eq!(counted, [(vec!["assume_role".to_owned(), "ok".to_owned(), "sts".to_owned()], 2.0)]);
}

#[tokio::test]
async fn credentials_are_not_shown() {
    let store = World::new().open().await;
    let shown = format!("{store:?}");
    assert!(!shown.contains("token-1") && !shown.contains("secret"), "{shown}");
}
