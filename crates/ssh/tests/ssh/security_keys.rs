//! FIDO keys. There is no device in a test, so the signatures are put together as OpenSSH's
//! PROTOCOL.u2f says.

use russh::AgentAuthError;
use russh::keys::agent::AgentIdentity;
use russh::keys::signature::Signer as _;
use russh::keys::ssh_encoding::Encode;
use russh::keys::ssh_key::public::{EcdsaPublicKey, KeyData, SkEcdsaSha2NistP256, SkEd25519};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PrivateKey, PublicKey};

use crate::client::{Client, assert_refused};
use crate::node::{Node, config, ed25519};

const APPLICATION: &str = "ssh:";
const USER_PRESENT: u8 = 0x01;

/// A device with one key.
struct Device {
    inner: PrivateKey,
    /// Signed for this application; the one of the key unless a test lies.
    application: &'static str,
}

impl Device {
    fn ed25519() -> Self {
        Self { inner: ed25519(), application: APPLICATION }
    }

    fn ecdsa() -> Self {
        let curve = EcdsaCurve::NistP256;
        let inner = PrivateKey::random(&mut rand::rng(), Algorithm::Ecdsa { curve }).unwrap();
        Self { inner, application: APPLICATION }
    }

    fn public_key(&self) -> PublicKey {
        let data = match self.inner.public_key().key_data() {
            KeyData::Ed25519(key) => KeyData::SkEd25519(SkEd25519::new(*key, APPLICATION)),
            KeyData::Ecdsa(EcdsaPublicKey::NistP256(point)) => {
                KeyData::SkEcdsaSha2NistP256(SkEcdsaSha2NistP256::new(*point, APPLICATION))
            }
            other => panic!("{other:?}"),
        };
        PublicKey::new(data, "")
    }
}

impl russh::Signer for Device {
    type Error = AgentAuthError;

    async fn auth_sign(
        &mut self,
        _: &AgentIdentity,
        _: Option<HashAlg>,
        mut to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, AgentAuthError> {
        let trailer = [USER_PRESENT, 0, 0, 0, 7];
        let mut message = HashAlg::Sha256.digest(self.application.as_bytes());
        message.extend_from_slice(&trailer);
        message.extend_from_slice(&HashAlg::Sha256.digest(&to_sign));
        let signature = self.inner.try_sign(&message).unwrap();
        let mut blob = Vec::new();
        self.public_key().algorithm().as_str().encode(&mut blob).unwrap();
        signature.as_bytes().encode(&mut blob).unwrap();
        blob.extend_from_slice(&trailer);
        blob.encode(&mut to_sign).unwrap();
        Ok(to_sign)
    }
}

#[tokio::test]
async fn security_keys_open_accounts() {
    let node = Node::start(config()).await;
    for (user, mut device) in [("alice", Device::ed25519()), ("bobby", Device::ecdsa())] {
        let key = device.public_key();
        node.add_user(user, &[&key]).await;
        let mut client = Client::connect(node.address).await;
        let result = client.handle.authenticate_publickey_with(user, key, None, &mut device).await.unwrap();
        assert!(result.success(), "{user}");
    }
}

#[tokio::test]
async fn a_signature_for_another_application_opens_nothing() {
    let node = Node::start(config()).await;
    for (user, mut device) in [("alice", Device::ed25519()), ("bobby", Device::ecdsa())] {
        device.application = "webauthn:";
        let key = device.public_key();
        node.add_user(user, &[&key]).await;
        let mut client = Client::connect(node.address).await;
        let result = client.handle.authenticate_publickey_with(user, key, None, &mut device).await.unwrap();
        assert_refused(&result, user);
    }
}
