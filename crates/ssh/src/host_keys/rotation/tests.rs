use proptest::prelude::*;
use russh::keys::PrivateKey;
use ssh_key::{Algorithm, EcdsaCurve};

use super::super::key::Times;
use super::*;

const HOUR: u64 = 60 * 60;

/// A key without the second that RSA takes: the second Ed25519-like algorithm is ECDSA on P-384.
fn key(algorithm: &Algorithm, state: KeyState) -> HostKey {
    let private = PrivateKey::random(&mut rand::rng(), algorithm.clone()).unwrap();
    HostKey::new(private, state, Times::default()).unwrap()
}

fn ed25519(state: KeyState) -> HostKey {
    key(&Algorithm::Ed25519, state)
}

fn p256(state: KeyState) -> HostKey {
    key(&Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 }, state)
}

fn set(keys: Vec<HostKey>) -> HostKeySet {
    HostKeySet::new(keys, 1, 1).unwrap()
}

fn rules(now: u64) -> Rules {
    Rules { now, force: false, ecdsa_offered: true }
}

fn forced(now: u64) -> Rules {
    Rules { force: true, ..rules(now) }
}

fn states(set: &HostKeySet) -> Vec<(String, KeyState)> {
    set.keys().iter().map(|key| (key.fingerprint(), key.state())).collect()
}

#[test]
fn a_key_goes_from_announced_to_active_to_retired_to_nothing() {
    let old = ed25519(KeyState::Active);
    let new = ed25519(KeyState::Active);
    let (old_print, new_print) = (old.fingerprint(), new.fingerprint());
    let mut set = set(vec![old]);
    assert_eq!(set.add(new.clone(), Duration::from_secs(HOUR), &rules(100)), Ok(Change::Made { retired: None }));
    assert_eq!(set.add(new, Duration::ZERO, &rules(200)), Ok(Change::None), "an announcement is not shortened");
    assert_eq!(states(&set), [(old_print.clone(), KeyState::Active), (new_print.clone(), KeyState::Announced)]);
    assert_eq!(set.offered(true).len(), 1);

    let early = RotationError::TooEarly { key: new_print.clone(), ready: 100 + HOUR };
    assert_eq!(set.activate(&new_print, &rules(99 + HOUR)), Err(early));
    let made = Change::Made { retired: Some(old_print.clone()) };
    assert_eq!(set.activate(&new_print, &rules(100 + HOUR)), Ok(made));
    assert_eq!(set.activate(&new_print, &rules(100 + HOUR)), Ok(Change::None));
    assert_eq!(states(&set), [(old_print.clone(), KeyState::Retired), (new_print.clone(), KeyState::Active)]);
    assert_eq!(set.key(&old_print).unwrap().since(), 100 + HOUR);

    let soon = RotationError::TooSoon { key: old_print.clone(), until: 100 + 2 * HOUR };
    assert_eq!(set.remove(&old_print, &rules(99 + 2 * HOUR)), Err(soon));
    assert_eq!(set.remove(&old_print, &rules(100 + 2 * HOUR)), Ok(Change::Made { retired: None }));
    assert_eq!(states(&set), [(new_print, KeyState::Active)]);
}

#[test]
fn steps_that_break_clients_are_refused_unless_forced() {
    let (one, two) = (ed25519(KeyState::Active), p256(KeyState::Active));
    let (one_print, two_print) = (one.fingerprint(), two.fingerprint());
    let mut set = set(vec![one, two]);
    let refused = RotationError::LastOfAlgorithm(one_print.clone());
    assert_eq!(set.retire(&one_print, &rules(1)), Err(refused.clone()));
    assert!(refused.to_string().contains("--force"), "{refused}");
    assert_eq!(set.retire(&one_print, &forced(1)), Ok(Change::Made { retired: None }));
    assert_eq!(set.retire(&one_print, &rules(1)), Ok(Change::None));
    // Back again: clients that came meanwhile do not know it.
    assert_eq!(set.activate(&one_print, &rules(1)), Err(RotationError::Retired(one_print.clone())));
    assert_eq!(set.activate(&one_print, &forced(1)), Ok(Change::Made { retired: None }));

    let early = ed25519(KeyState::Announced);
    let early_print = early.fingerprint();
    set.add(early, Duration::from_secs(HOUR), &rules(1)).unwrap();
    let refused = set.activate(&early_print, &rules(1)).unwrap_err();
    assert!(refused.to_string().contains("1970-01-01T01:00:01Z") && refused.to_string().contains("--force"));
    assert_eq!(set.activate(&early_print, &forced(1)), Ok(Change::Made { retired: Some(one_print) }));
    assert_eq!(set.count(KeyState::Active), 2, "{two_print} stays");
}

#[test]
fn no_force_takes_the_last_key_or_an_active_one() {
    let (one, two) = (ed25519(KeyState::Active), p256(KeyState::Active));
    let (one_print, two_print) = (one.fingerprint(), two.fingerprint());
    let mut set = set(vec![one, two]);
    for print in [&one_print, &two_print] {
        assert_eq!(set.remove(print, &forced(1)), Err(RotationError::StillActive(print.clone())));
    }
    // Where nodes don't offer ECDSA, that key is no reason to let the other go, and no loss itself.
    let without_ecdsa = |force| Rules { now: 1, force, ecdsa_offered: false };
    assert_eq!(set.retire(&one_print, &without_ecdsa(true)), Err(RotationError::LastKey(one_print.clone())));
    assert_eq!(set.retire(&two_print, &without_ecdsa(false)), Ok(Change::Made { retired: None }));
    assert_eq!(set.retire(&one_print, &forced(1)), Err(RotationError::LastKey(one_print)));
}

#[test]
fn what_is_not_there_or_not_active_is_said_to_be_so() {
    let mut set = set(vec![ed25519(KeyState::Active)]);
    let unknown = RotationError::NoSuchKey("SHA256:x".to_owned());
    assert_eq!(set.activate("SHA256:x", &forced(1)), Err(unknown.clone()));
    assert_eq!(set.retire("SHA256:x", &forced(1)), Err(unknown.clone()));
    assert_eq!(set.remove("SHA256:x", &forced(1)), Err(unknown));
    let announced = ed25519(KeyState::Announced);
    let print = announced.fingerprint();
    set.add(announced, Duration::ZERO, &rules(1)).unwrap();
    assert_eq!(set.retire(&print, &forced(1)), Err(RotationError::NotActive(print.clone())));
    assert_eq!(set.remove(&print, &rules(1)), Ok(Change::Made { retired: None }), "nobody was shown it");
    while set.keys().len() < HostKeySet::MAX_KEYS {
        set.add(ed25519(KeyState::Announced), Duration::ZERO, &rules(1)).unwrap();
    }
    assert_eq!(set.add(ed25519(KeyState::Announced), Duration::ZERO, &forced(1)), Err(RotationError::TooMany));
}

#[derive(Clone, Debug)]
enum Step {
    Add { p256: bool, announce_for: u64 },
    Activate(prop::sample::Index),
    Retire(prop::sample::Index),
    Remove(prop::sample::Index),
}

fn steps() -> impl Strategy<Value = Vec<(Step, bool, u64)>> {
    let step = prop_oneof![
        (any::<bool>(), 0..3 * HOUR).prop_map(|(p256, announce_for)| Step::Add { p256, announce_for }),
        any::<prop::sample::Index>().prop_map(Step::Activate),
        any::<prop::sample::Index>().prop_map(Step::Retire),
        any::<prop::sample::Index>().prop_map(Step::Remove),
    ];
    prop::collection::vec((step, any::<bool>(), 0..2 * HOUR), 0..40)
}

proptest! {
    /// Whatever administrators do: somebody can connect, key exchange has one key of an algorithm, a
    /// refused step changes nothing, no key disappears but the one that is removed by its name, and
    /// without force no key is shown before its time or stops being shown without one in its place.
    #[test]
    fn any_sequence_of_steps_keeps_clients_connected(steps in steps(), ecdsa_offered in any::<bool>()) {
        let mut set = set(vec![ed25519(KeyState::Active), p256(KeyState::Active)]);
        let mut now = 1_000_000;
        for (step, force, passed) in steps {
            now += passed;
            let rules = Rules { now, force, ecdsa_offered };
            let before = set.clone();
            let named = |index: &prop::sample::Index| index.get(before.keys()).fingerprint();
            let (result, removed) = match &step {
                Step::Add { p256: curve, announce_for } => {
                    let new = if *curve { p256(KeyState::Active) } else { ed25519(KeyState::Active) };
                    (set.add(new, Duration::from_secs(*announce_for), &rules), None)
                }
                Step::Activate(index) => (set.activate(&named(index), &rules), None),
                Step::Retire(index) => (set.retire(&named(index), &rules), None),
                Step::Remove(index) => (set.remove(&named(index), &rules), Some(named(index))),
            };
            prop_assert!(!set.offered(ecdsa_offered).is_empty(), "nobody can connect after {step:?}");
            prop_assert!(HostKeySet::new(set.keys().to_vec(), 1, 1).is_ok(), "{step:?}: {set:?}");
            if result.is_err() || result == Ok(Change::None) {
                prop_assert!(set.same_as(&before), "{step:?} changed something: {result:?}");
            }
            for key in before.keys() {
                let after = set.key(&key.fingerprint());
                let gone = after.is_none();
                prop_assert!(!gone || removed.as_ref() == Some(&key.fingerprint()), "{step:?} removed {key:?}");
                prop_assert!(!(gone && key.state() == KeyState::Active), "{step:?} removed the active {key:?}");
                if force {
                    continue;
                }
                let is = after.map(HostKey::state);
                if key.is_offered(ecdsa_offered) && is != Some(KeyState::Active) {
                    let follows = set.keys().iter().any(|other| other.is_active() && other.replaces(key));
                    prop_assert!(follows, "{step:?}: nothing follows {key:?}");
                }
                if key.state() != KeyState::Active && is == Some(KeyState::Active) {
                    prop_assert!(key.ready().is_some_and(|ready| ready <= now), "{step:?} is early for {key:?}");
                }
            }
        }
    }
}
