//! What a request to an S3 server asks for.

use hyper::header::HeaderMap;
use hyper::{Method, Uri};
use serde::{Deserialize, Serialize};

/// The kinds of requests that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// PutObject
    Put,
    /// UploadPart
    UploadPart,
    /// CreateMultipartUpload
    CreateMultipart,
    /// CompleteMultipartUpload
    CompleteMultipart,
    /// AbortMultipartUpload
    AbortMultipart,
    /// GetObject
    Get,
    /// HeadObject, HeadBucket
    Head,
    /// ListObjects, ListObjectsV2, ListMultipartUploads, ListParts
    List,
    /// DeleteObject, DeleteObjects
    Delete,
    /// CopyObject, UploadPartCopy
    Copy,
    /// Anything else: buckets, tags, access lists
    Other,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 11] = [
        Self::Put,
        Self::UploadPart,
        Self::CreateMultipart,
        Self::CompleteMultipart,
        Self::AbortMultipart,
        Self::Get,
        Self::Head,
        Self::List,
        Self::Delete,
        Self::Copy,
        Self::Other,
    ];

    /// Classifies a request in path style: `/bucket/key?query`.
    pub(crate) fn of(method: &Method, uri: &Uri, headers: &HeaderMap) -> Self {
        let has_key = uri.path().trim_start_matches('/').split_once('/').is_some_and(|(_, key)| !key.is_empty());
        let query = uri.query().unwrap_or_default();
        let asks = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
        let (upload, copies) = (asks("uploadId"), headers.contains_key("x-amz-copy-source"));
        let about_it = ["acl", "attributes", "legal-hold", "retention", "tagging", "torrent"].into_iter().any(asks);
        match method.as_str() {
            _ if has_key && about_it => Self::Other,
            "PUT" if has_key && copies => Self::Copy,
            "PUT" if has_key && upload => Self::UploadPart,
            "PUT" if has_key => Self::Put,
            "POST" if asks("uploads") => Self::CreateMultipart,
            "POST" if upload => Self::CompleteMultipart,
            "POST" if asks("delete") => Self::Delete,
            "DELETE" if upload => Self::AbortMultipart,
            "DELETE" if has_key => Self::Delete,
            "HEAD" => Self::Head,
            "GET" if has_key && upload => Self::List,
            "GET" if has_key => Self::Get,
            "GET" if asks("uploads") || asks("versions") || asks("list-type") || lists_by_version_1(query) => {
                Self::List
            }
            _ => Self::Other,
        }
    }
}

/// ListObjects has no parameter of its own: only ones like these, or none.
fn lists_by_version_1(query: &str) -> bool {
    const PARAMETERS: [&str; 5] = ["delimiter", "encoding-type", "marker", "max-keys", "prefix"];
    query.split('&').filter(|pair| !pair.is_empty()).all(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        PARAMETERS.contains(&name) || name == "x-id"
    })
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn requests_are_told_apart() {
        for (line, kind) in [
            ("PUT /b/k", Kind::Put),
            ("PUT /b/k?x-id=PutObject", Kind::Put),
            ("PUT /b/d/", Kind::Put),
            ("PUT /b/k?partNumber=1&uploadId=u", Kind::UploadPart),
            ("PUT /b", Kind::Other),
            ("PUT /b/", Kind::Other),
            ("PUT /b/k?tagging", Kind::Other),
            ("POST /b/k?uploads", Kind::CreateMultipart),
            ("POST /b/k?uploads=", Kind::CreateMultipart),
            ("POST /b/k?uploadId=u", Kind::CompleteMultipart),
            ("POST /b?delete", Kind::Delete),
            ("DELETE /b/k?uploadId=u", Kind::AbortMultipart),
            ("DELETE /b/k", Kind::Delete),
            ("DELETE /b", Kind::Other),
            ("HEAD /b/k", Kind::Head),
            ("HEAD /b", Kind::Head),
            ("GET /b/k", Kind::Get),
            ("GET /b/k?uploadId=u", Kind::List),
            ("GET /b?list-type=2&prefix=uploads", Kind::List),
            ("GET /b/?delimiter=/&prefix=a/", Kind::List),
            ("GET /b", Kind::List),
            ("GET /b?uploads", Kind::List),
            ("GET /b?location", Kind::Other),
            ("GET /b/k?acl", Kind::Other),
        ] {
            let (method, uri) = line.split_once(' ').unwrap();
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(Kind::of(&method, &uri.parse().unwrap(), &HeaderMap::new()), kind, "{line}");
        }
    }

    #[test]
    fn a_copy_is_no_upload() {
        let headers = HeaderMap::from_iter([(
            hyper::header::HeaderName::from_static("x-amz-copy-source"),
            HeaderValue::from_static("/b/other"),
        )]);
        for uri in ["/b/k", "/b/k?partNumber=1&uploadId=u"] {
            assert_eq!(Kind::of(&Method::PUT, &uri.parse().unwrap(), &headers), Kind::Copy);
        }
    }
}
