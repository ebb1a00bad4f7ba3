use serde_json::Value;
use tidegate_store::ObjectKey;
use tidegate_store::memory::{MemoryDataKeys, MemoryObjectStore};

use super::*;
use crate::cli::{KeyType, Output};
use crate::commands::Failure;

struct Administrator {
    config: Config,
    store: HostKeyStore,
    data_keys: Arc<dyn DataKeys>,
}

impl Administrator {
    /// With a cluster that has host keys.
    async fn new() -> Self {
        let store = HostKeyStore::new(Arc::new(MemoryObjectStore::new()), ObjectKey::new("host-keys").unwrap());
        let administrator = Self { config: Config::default(), store, data_keys: Arc::new(MemoryDataKeys::new()) };
        administrator.text(HostkeyAction::Init).await.unwrap();
        administrator
    }

    async fn run(&self, action: HostkeyAction, output: Output) -> Result<String, String> {
        let mut out = Vec::new();
        let host_keys =
            HostKeys { store: self.store.clone(), data_keys: Arc::clone(&self.data_keys), config: &self.config };
        let result = host_keys.run(&action, None, &mut Printer::new(output, &mut out)).await;
        result.map(|()| String::from_utf8(out).unwrap()).map_err(|error| Failure(&error).to_string())
    }

    async fn text(&self, action: HostkeyAction) -> Result<String, String> {
        self.run(action, Output::Text).await
    }

    async fn json(&self, action: HostkeyAction) -> Value {
        serde_json::from_str(&self.run(action, Output::Json).await.unwrap()).unwrap()
    }

    async fn states(&self) -> Vec<String> {
        let list = self.json(HostkeyAction::List).await;
        let text = |key: &Value, name: &str| key[name].as_str().unwrap().to_owned();
        list.as_array().unwrap().iter().map(|key| [text(key, "algorithm"), text(key, "state")].join(" ")).collect()
    }
}

fn add(announce_for: u64) -> HostkeyAction {
    HostkeyAction::Add { algorithm: KeyType::Ed25519, announce_for: Duration::from_secs(announce_for) }
}

fn step(fingerprint: &Value, force: bool) -> KeyStep {
    KeyStep { fingerprint: fingerprint.as_str().unwrap().to_owned(), force }
}

#[tokio::test]
async fn a_rotation_is_told_step_by_step() {
    let administrator = Administrator::new().await;
    let added = administrator.json(add(0)).await;
    let new = &added["fingerprint"];
    assert_eq!((&added["state"], &added["algorithm"]), (&Value::from("announced"), &Value::from("ssh-ed25519")));
    assert!(added["public_key"].as_str().unwrap().starts_with("ssh-ed25519 AAAA"));
    assert!(added["may_be_activated"].as_str().unwrap().ends_with('Z'));
    let shown = administrator.json(HostkeyAction::Show).await;
    assert_eq!(shown.as_array().unwrap().len(), 4, "known_hosts needs the announced one too");

    let activated = administrator.json(HostkeyAction::Activate(step(new, false))).await;
    let old = &activated["retired"];
    assert_eq!((&activated["changed"], &activated["revision"]), (&Value::from(true), &Value::from(3)));
    assert_eq!(old, &shown[0]["fingerprint"]);
    let states = ["ssh-ed25519 retired", "ecdsa-sha2-nistp256 active", "ssh-rsa active", "ssh-ed25519 active"];
    assert_eq!(administrator.states().await, states);
    let again = administrator.text(HostkeyAction::Activate(step(new, false))).await.unwrap();
    assert!(again.contains("is active already"), "{again}");

    let soon = administrator.text(HostkeyAction::Remove(step(old, false))).await.unwrap_err();
    assert!(soon.contains("can be removed from 20") && soon.contains("--force"), "{soon}");
    let removed = administrator.text(HostkeyAction::Remove(step(old, true))).await.unwrap();
    assert!(removed.contains("is removed. Nodes follow within 1m"), "{removed}");
    assert_eq!(administrator.states().await, states[1..]);
    let list = administrator.text(HostkeyAction::List).await.unwrap();
    assert!(list.starts_with("FINGERPRINT"), "{list}");
}

#[tokio::test]
async fn what_breaks_clients_is_refused_with_the_way_out() {
    let administrator = Administrator::new().await;
    let new = administrator.json(add(3_600)).await["fingerprint"].clone();
    let early = administrator.text(HostkeyAction::Activate(step(&new, false))).await.unwrap_err();
    assert!(early.contains("is announced until 20") && early.contains("--force"), "{early}");
    let first = administrator.json(HostkeyAction::Show).await[0]["fingerprint"].clone();
    let last = administrator.text(HostkeyAction::Retire(step(&first, false))).await.unwrap_err();
    assert!(last.contains("only active one of its algorithm"), "{last}");
    administrator.text(HostkeyAction::Retire(step(&first, true))).await.unwrap();
    let unknown = administrator.text(HostkeyAction::Remove(step(&"SHA256:x".into(), true))).await.unwrap_err();
    assert_eq!(unknown, "there is no host key SHA256:x; see: tidegate hostkey list");

    let before = administrator.states().await;
    let all = administrator.text(HostkeyAction::Rotate { force: false }).await.unwrap_err();
    assert!(all.contains("tidegate hostkey add"), "{all}");
    assert_eq!(administrator.states().await, before);
    let all = administrator.text(HostkeyAction::Rotate { force: true }).await.unwrap();
    assert!(all.contains("refuse to connect") && !all.contains(first.as_str().unwrap()), "{all}");
    assert_eq!(administrator.states().await, ["ssh-ed25519 active", "ecdsa-sha2-nistp256 active", "ssh-rsa active"]);
}
