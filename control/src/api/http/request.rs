//! From bytes to what is asked, or why that is refused.

use super::LONGEST_REQUEST;
use super::response::Status;
use httparse::{EMPTY_HEADER, Header};

/// Lines of a request's head.
const MOST_HEADERS: usize = 64;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The path, without a query.
    pub path: String,
    /// The query's names and values, in its order.
    pub parameters: Vec<(String, String)>,
    /// What forms of an answer it takes.
    pub accept: String,
    /// It wants to know only what would stand before the answer.
    pub is_head: bool,
    /// An answer can come in chunks, which say where it ends.
    pub(super) takes_chunks: bool,
}

impl Request {
    /// The request that `input` begins with; `None`: it is not whole yet. What follows it is not looked at: the answer
    /// says that the connection ends.
    ///
    /// # Errors
    /// How it is refused, and why.
    pub(super) fn read(input: &[u8]) -> Result<Option<Self>, (Status, String)> {
        let mut headers = [EMPTY_HEADER; MOST_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(input) {
            Ok(httparse::Status::Complete(length)) if length <= LONGEST_REQUEST => {}
            Ok(httparse::Status::Partial) if input.len() <= LONGEST_REQUEST => return Ok(None),
            Ok(_) => return Err(too_long(format!("a request is longer than {LONGEST_REQUEST} bytes"))),
            Err(httparse::Error::TooManyHeaders) => {
                return Err(too_long(format!("a request has more than {MOST_HEADERS} header lines")));
            }
            Err(error) => return Err(bad(format!("this is no request of HTTP/1.1: {error}"))),
        }
        let is_head = match request.method {
            Some("GET") => false,
            Some("HEAD") => true,
            other => {
                let why = format!("{} is not known here: only GET and HEAD are", other.unwrap_or_default());
                return Err((Status::MethodNotAllowed, why));
            }
        };
        let takes_chunks = request.version == Some(1);
        let hosts = values(request.headers, "Host").count();
        if hosts > 1 || takes_chunks && hosts == 0 {
            return Err(bad(format!("expected one Host, found {hosts}")));
        }
        let is_empty = |length: &[u8]| length.iter().all(|byte| *byte == b'0');
        let has_body = !values(request.headers, "Content-Length").all(is_empty)
            || values(request.headers, "Transfer-Encoding").next().is_some();
        if has_body {
            return Err(bad("a request has no body here".to_owned()));
        }
        let (path, query) = target(request.path.unwrap_or_default());
        let accept: Vec<_> =
            values(request.headers, "Accept").map(|value| String::from_utf8_lossy(value)).collect();
        Ok(Some(Self {
            path: path.to_owned(),
            parameters: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            accept: accept.join(","),
            is_head,
            takes_chunks,
        }))
    }
}

/// The path and the query of a target, which may be a whole URL.
fn target(target: &str) -> (&str, &str) {
    let target = match target.split_once("://") {
        // What follows a slash, or a question mark, is the path's or the query's.
        Some((scheme, rest)) if !scheme.contains(['/', '?']) => {
            rest.find(['/', '?']).map_or("/", |at| &rest[at..])
        }
        _ => target,
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    (if path.is_empty() { "/" } else { path }, query)
}

fn values<'a>(headers: &'a [Header<'a>], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

fn bad(why: String) -> (Status, String) {
    (Status::BadRequest, why)
}

fn too_long(why: String) -> (Status, String) {
    (Status::TooLarge, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &str) -> Result<Option<Request>, Status> {
        Request::read(head.as_bytes()).map_err(|(status, _)| status)
    }

    fn path_of(head: &str) -> String {
        read(head).unwrap().unwrap().path
    }

    #[test]
    fn requests_are_read() {
        let text = "GET /metrics HTTP/1.1\r\nHost: a\r\naccept: text/plain\r\nAccept: a/b\r\n\r\nGET /";
        let expected = Request {
            path: "/metrics".into(),
            parameters: Vec::new(),
            accept: "text/plain,a/b".into(),
            is_head: false,
            takes_chunks: true,
        };
        assert_eq!(read(text), Ok(Some(expected)));
        assert_eq!(read(&text[..40]), Ok(None));
        let old = read("HEAD /healthz? HTTP/1.0\r\n\r\n").unwrap().unwrap();
        assert!(old.is_head && !old.takes_chunks);
        assert_eq!(old.path, "/healthz");
        assert_eq!(path_of("GET http://[::1]:9117/a/b HTTP/1.1\nHost: x\n\n"), "/a/b");
        assert_eq!(path_of("GET http://h HTTP/1.1\r\nHost: x\r\n\r\n"), "/");
        assert_eq!(path_of("GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"), "/a");
        let asked = |target: &str| {
            let request = read(&format!("GET {target} HTTP/1.0\r\n\r\n")).unwrap().unwrap();
            let parameters = request.parameters.iter().map(|(name, value)| format!("{name}={value}"));
            (request.path, parameters.collect::<Vec<_>>().join(" "))
        };
        for (target, path, parameters) in [
            ("/metrics?service=tcp%3A%2F%2F192.0.2.1%3A80&a", "/metrics", "service=tcp://192.0.2.1:80 a="),
            ("/metrics?service=tcp://192.0.2.1:80", "/metrics", "service=tcp://192.0.2.1:80"),
            ("http://h/metrics?a=b+c%zz", "/metrics", "a=b c%zz"),
            ("http://h?a=b", "/", "a=b"),
            ("/?", "/", ""),
            ("?a=1&a=2", "/", "a=1 a=2"),
        ] {
            assert_eq!(asked(target), (path.to_owned(), parameters.to_owned()), "{target}");
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        let many = "A: b\r\n".repeat(MOST_HEADERS + 1);
        let long = "a".repeat(LONGEST_REQUEST);
        for (text, status) in [
            ("\u{16}\u{3}\u{1}", Status::BadRequest),
            ("GET /metrics HTTP/2.0\r\n\r\n", Status::BadRequest),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Status::BadRequest),
            ("GET /metrics\r\n\r\n", Status::BadRequest),
            ("GET /metrics HTTP/1.1\r\n\r\n", Status::BadRequest),
            ("GET /metrics HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Status::BadRequest),
            ("GET /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde", Status::BadRequest),
            ("GET /metrics HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", Status::BadRequest),
            ("GET /metrics HTTP/1.1\r\nHo st: a\r\n\r\n", Status::BadRequest),
            ("POST /metrics HTTP/1.1\r\nHost: a\r\n\r\n", Status::MethodNotAllowed),
            ("get /metrics HTTP/1.1\r\nHost: a\r\n\r\n", Status::MethodNotAllowed),
            (&format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), Status::TooLarge),
            (&format!("GET /{long} HTTP/1.1\r\nHost: a\r\n"), Status::TooLarge),
            (&format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), Status::TooLarge),
        ] {
            assert_eq!(read(text), Err(status), "{}", &text[..text.len().min(80)]);
        }
    }
}
