//! What a request to an S3 server asks for.

use hyper::header::HeaderMap;
use hyper::{Method, Uri};

/// The kinds of requests that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// AbortMultipartUpload
    Abort,
    /// CompleteMultipartUpload
    Complete,
    /// CopyObject, UploadPartCopy
    Copy,
    /// CreateMultipartUpload
    Create,
    /// DeleteObject, DeleteObjects
    Delete,
    /// GetObject
    Get,
    /// HeadObject
    Head,
    /// ListObjectsV2, ListMultipartUploads, ListParts
    List,
    /// Anything else: buckets, tags
    Other,
    /// PutObject
    Put,
    /// UploadPart
    UploadPart,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Abort,
        Self::Complete,
        Self::Copy,
        Self::Create,
        Self::Delete,
        Self::Get,
        Self::Head,
        Self::List,
        Self::Other,
        Self::Put,
        Self::UploadPart,
    ];

    /// Classifies a request of the AWS SDK in path style: `/bucket/key?query`.
    pub(super) fn of(method: &Method, uri: &Uri, headers: &HeaderMap) -> Self {
        let has_key = uri.path().trim_start_matches('/').split_once('/').is_some_and(|(_, key)| !key.is_empty());
        let query = uri.query().unwrap_or_default();
        let asks = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
        let of_an_upload = asks("uploadId");
        match method.as_str() {
            "PUT" if has_key && headers.contains_key("x-amz-copy-source") => Self::Copy,
            "PUT" if of_an_upload => Self::UploadPart,
            "PUT" if has_key => Self::Put,
            "POST" if asks("uploads") => Self::Create,
            "POST" if of_an_upload => Self::Complete,
            "POST" if asks("delete") => Self::Delete,
            "DELETE" if of_an_upload => Self::Abort,
            "DELETE" if has_key => Self::Delete,
            "HEAD" if has_key => Self::Head,
            "GET" if of_an_upload || asks("list-type") || asks("uploads") => Self::List,
            "GET" if has_key && !asks("tagging") => Self::Get,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart() {
        for (line, kind) in [
            ("PUT /b/k?x-id=PutObject", Kind::Put),
            ("PUT /b/d/", Kind::Put),
            ("PUT /b/k?x-id=UploadPart&partNumber=1&uploadId=u", Kind::UploadPart),
            ("PUT /b", Kind::Other),
            ("POST /b/k?uploads", Kind::Create),
            ("POST /b/k?uploadId=u", Kind::Complete),
            ("POST /b?delete", Kind::Delete),
            ("DELETE /b/k?x-id=AbortMultipartUpload&uploadId=u", Kind::Abort),
            ("DELETE /b/k?x-id=DeleteObject", Kind::Delete),
            ("HEAD /b/k", Kind::Head),
            ("HEAD /b", Kind::Other),
            ("GET /b/k?x-id=GetObject", Kind::Get),
            ("GET /b/k?tagging", Kind::Other),
            ("GET /b/k?x-id=ListParts&uploadId=u", Kind::List),
            ("GET /b?list-type=2&prefix=uploads", Kind::List),
            ("GET /b?uploads", Kind::List),
            ("GET /b?location", Kind::Other),
        ] {
            let (method, uri) = line.split_once(' ').unwrap();
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(Kind::of(&method, &uri.parse().unwrap(), &HeaderMap::new()), kind, "{line}");
        }
        let copy = HeaderMap::from_iter([("x-amz-copy-source".parse().unwrap(), "/b/k".parse().unwrap())]);
        for uri in ["/b/k", "/b/k?partNumber=1&uploadId=u"] {
            assert_eq!(Kind::of(&Method::PUT, &uri.parse().unwrap(), &copy), Kind::Copy, "{uri}");
        }
    }
}
