//! Keys in headers and in listings, and tags in headers.

use std::fmt::Write as _;

use tidegate_store::{ObjectKey, Tags};

/// The value of `x-amz-copy-source`: bucket and key, percent-encoded.
/// Source: Amazon S3 API Reference, CopyObject.
pub(super) fn copy_source(bucket: &str, key: &ObjectKey) -> String {
    format!("{bucket}/{}", encoded(key.as_str(), b"-._~/"))
}

/// The value of `x-amz-tagging`: as the query of a URL; `None` for no tags.
/// Source: Amazon S3 API Reference, PutObject.
pub(super) fn tagging(tags: &Tags) -> Option<String> {
    let pair = |(name, value): (&String, &String)| format!("{}={}", encoded(name, b"-._~"), encoded(value, b"-._~"));
    (!tags.is_empty()).then(|| tags.iter().map(pair).collect::<Vec<_>>().join("&"))
}

/// Percent-encoded, but for letters, digits and `kept`.
fn encoded(text: &str, kept: &[u8]) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || kept.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String can't fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Undoes `encoding-type=url`, by which listings carry keys that XML 1.0 has no way to write
/// (control characters). S3 writes it as an HTML form does, with `+` for a space, other stores
/// with `%20`; a `+` of the key itself is `%2B` in both. `None` if the text is damaged.
pub(super) fn decode_url(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_outside_the_unreserved_is_encoded_in_a_copy_source() {
        let key = |text: &str| ObjectKey::new(text).unwrap();
        assert_eq!(copy_source("b", &key("dir/plain-1._~")), "b/dir/plain-1._~");
        assert_eq!(copy_source("b", &key("a b+c%41?&\n\u{1}")), "b/a%20b%2Bc%2541%3F%26%0A%01");
        assert_eq!(copy_source("b", &key("ü/名")), "b/%C3%BC/%E5%90%8D");
    }

    #[test]
    fn tags_are_a_query() {
        let tags = [("a b", "x/y=&"), ("\u{fc}", "")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(tagging(&tags.into()).as_deref(), Some("a%20b=x%2Fy%3D%26&%C3%BC="));
        assert_eq!(tagging(&Tags::new()), None);
    }

    #[test]
    fn keys_come_back_from_url_encoding() {
        for (encoded, key) in [
            ("plain/key", "plain/key"),
            ("a+b%2Bc%20d", "a b+c d"),
            ("%0A%01%25", "\n\u{1}%"),
            ("%c3%bc%E5%90%8D", "ü名"),
        ] {
            assert_eq!(decode_url(encoded).as_deref(), Some(key));
        }
        for damaged in ["%", "%4", "%zz", "%ff"] {
            assert_eq!(decode_url(damaged), None, "{damaged}");
        }
    }
}
