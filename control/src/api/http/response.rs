//! What stands before an answer, and around its parts.

use super::page;
use std::fmt::Write;

/// Words for people.
pub const TEXT: &str = "text/plain; charset=utf-8";
/// What programs read.
pub const JSON: &str = "application/json";
/// A page.
pub const HTML: &str = "text/html; charset=utf-8";

/// What a browser may do with what is no page.
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";

/// How a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// As asked.
    Ok,
    /// It is no request that is known here.
    BadRequest,
    /// There is nothing under this path.
    NotFound,
    /// Nothing is changed here.
    MethodNotAllowed,
    /// It took too long to come.
    Timeout,
    /// It is too long.
    TooLarge,
    /// Not now.
    Unavailable,
}

/// How long an answer is, where that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// In bytes.
    Of(usize),
    /// It comes in chunks.
    Chunked,
    /// Up to the end of the connection.
    Unknown,
}

impl Status {
    const fn line(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::BadRequest => "400 Bad Request",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::Timeout => "408 Request Timeout",
            Self::TooLarge => "431 Request Header Fields Too Large",
            Self::Unavailable => "503 Service Unavailable",
        }
    }
}

/// The head of an answer. Numbers are of the moment, so nobody keeps them; a browser takes the content for what it is
/// said to be.
pub(super) fn head(status: Status, content_type: &str, length: Length) -> String {
    let mut head = format!(
        "HTTP/1.1 {}\r\nContent-Type: {content_type}\r\nConnection: close\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\nContent-Security-Policy: {}\r\n",
        status.line(),
        if content_type == HTML { page::POLICY } else { NOTHING }
    );
    // Writing to a `String` does not fail.
    let _ = match length {
        Length::Of(bytes) => write!(head, "Content-Length: {bytes}\r\n"),
        Length::Chunked => write!(head, "Transfer-Encoding: chunked\r\n"),
        Length::Unknown => Ok(()),
    };
    if status == Status::MethodNotAllowed {
        head.push_str("Allow: GET, HEAD\r\n");
    }
    head.push_str("\r\n");
    head
}

/// Appends a part of an answer that comes in chunks. An empty one would be its end.
pub(super) fn chunk(bytes: &[u8], out: &mut Vec<u8>) {
    if !bytes.is_empty() {
        out.extend_from_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
        out.extend_from_slice(bytes);
        out.extend_from_slice(b"\r\n");
    }
}

/// The end of such an answer.
pub(super) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
