//! Keys in headers and in listings.

use std::fmt::Write as _;

use tidegate_store::ObjectKey;

/// The value of `x-amz-copy-source`: bucket and key, percent-encoded.
/// Source: Amazon S3 API Reference, CopyObject.
pub(super) fn copy_source(bucket: &str, key: &ObjectKey) -> String {
    let mut text = format!("{bucket}/");
    for byte in key.as_str().bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a String can't fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
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
