//! Values that look like secrets, which no archive has. natlb's own configuration has none; arguments of a device or of
//! the kernel may.

/// What a name with a secret has in it.
const WORDS: [&str; 10] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "credential",
    "api_key",
    "apikey",
    "private_key",
    "psk",
];

/// What stands in place of a value.
const LEFT_OUT: &str = "(left out)";

/// A text without the values that look like secrets, and how many there were.
pub(super) fn without(text: &str) -> (String, usize) {
    let (mut clean, mut count, mut in_key) = (String::with_capacity(text.len()), 0, false);
    for line in text.split_inclusive('\n') {
        if line.contains("-----BEGIN ") && line.contains("PRIVATE KEY-----") {
            (in_key, count) = (true, count + 1);
            clean.push_str(LEFT_OUT);
            clean.push('\n');
        }
        if !in_key {
            count += line_without(line, &mut clean);
        }
        in_key &= !line.contains("-----END ");
    }
    (clean, count)
}

/// Appends a line; returns how many values are left out of it.
fn line_without(line: &str, clean: &mut String) -> usize {
    let mut values = values(line);
    values.extend(users(line));
    values.sort_unstable();
    let (mut end, mut count) = (0, 0);
    for (from, to) in values {
        if from >= end {
            clean.push_str(&line[end..from]);
            clean.push_str(LEFT_OUT);
            (end, count) = (to, count + 1);
        }
    }
    clean.push_str(&line[end..]);
    count
}

/// Where the values of names with such a word are: `password = "…"`, `psk=…`, `"token":"…"`.
fn values(line: &str) -> Vec<(usize, usize)> {
    let lower = line.to_ascii_lowercase();
    let bytes = lower.as_bytes();
    let skip = |from: usize, fits: &dyn Fn(u8) -> bool| {
        from + bytes[from..].iter().take_while(|byte| fits(**byte)).count()
    };
    let blank = |byte| byte == b' ' || byte == b'\t';
    let mut values = Vec::new();
    for word in WORDS {
        for (place, _) in lower.match_indices(word) {
            let name = skip(place, &|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
            // In JSON, what stands in a text has backslashes before its quotes.
            let quotes = |byte| matches!(byte, b'"' | b'\'' | b'\\');
            let sign = skip(skip(name, &quotes), &blank);
            if !matches!(bytes.get(sign), Some(b'=' | b':')) {
                continue;
            }
            let begin = skip(sign + 1, &blank);
            let open = skip(begin, &|byte| byte == b'\\');
            let (from, to) = match bytes.get(open) {
                Some(quote @ (b'"' | b'\'')) => (open + 1, quoted_to(bytes, open + 1, *quote, open - begin)),
                _ => (begin, plain_to(bytes, begin)),
            };
            if to > from {
                values.push((from, to));
            }
        }
    }
    values
}

/// Where a value in quotes ends that begins here. `depth`: the backslashes before its first quote; its last one has as
/// many, and one within it more.
fn quoted_to(bytes: &[u8], from: usize, quote: u8, depth: usize) -> usize {
    let mut backslashes = 0;
    for (at, byte) in bytes.iter().enumerate().skip(from) {
        let ends = backslashes < depth || (backslashes - depth).is_multiple_of(2 * (depth + 1));
        match *byte {
            b'\n' => return at,
            byte if byte == quote && ends => return at - backslashes.min(depth),
            b'\\' => backslashes += 1,
            _ => backslashes = 0,
        }
    }
    bytes.len()
}

/// Where a value without quotes ends that begins here.
fn plain_to(bytes: &[u8], from: usize) -> usize {
    let is_quote = |byte: Option<&u8>| matches!(byte, Some(b'"' | b'\''));
    let ends = |at: usize| match bytes[at] {
        b'\\' => is_quote(bytes.get(at + 1)),
        byte => byte.is_ascii_whitespace() || b",;}]&\"'".contains(&byte),
    };
    (from..bytes.len()).find(|at| ends(*at)).unwrap_or(bytes.len())
}

/// Where `user:password` of a URL is.
fn users(line: &str) -> Vec<(usize, usize)> {
    let of = |(place, sign): (usize, &str)| {
        let from = place + sign.len();
        let rest = &line[from..];
        let end = rest
            .find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'' | '?'))
            .unwrap_or(rest.len());
        let at = rest[..end].rfind('@')?;
        rest[..at].contains(':').then_some((from, from + at))
    };
    line.match_indices("://").filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_such_names_are_left_out() {
        for (text, clean) in [
            ("password = \"a b\" # why", "password = \"(left out)\" # why"),
            ("quiet DB_PASSWORD=hunter2 ro", "quiet DB_PASSWORD=(left out) ro"),
            ("crypto,psk=00ff,queues=2", "crypto,psk=(left out),queues=2"),
            (r#"{"auth_token":"abc","n":1}"#, r#"{"auth_token":"(left out)","n":1}"#),
            ("api_key: 12, Secret-Id='x'", "api_key: (left out), Secret-Id='(left out)'"),
            (
                "http://me:word@10.0.0.1/x http://10.0.0.1:80/a@b",
                "http://(left out)@10.0.0.1/x http://10.0.0.1:80/a@b",
            ),
            ("args = [\"x,password=1\"]", "args = [\"x,password=(left out)\"]"),
            ("secret_token=1", "secret_token=(left out)"),
            ("password=é€ b", "password=(left out) b"),
            (r#"{"password":"a\"b\\","n":1}"#, r#"{"password":"(left out)","n":1}"#),
            (r#"{"message":"psk=\"a b\" c"}"#, r#"{"message":"psk=\"(left out)\" c"}"#),
            (
                r#"{"message":"{\"token\":\"a\\\"b\\\\\",\"n\":1}"}"#,
                r#"{"message":"{\"token\":\"(left out)\",\"n\":1}"}"#,
            ),
            (r#"{"message":"say \"psk=a\""}"#, r#"{"message":"say \"psk=(left out)\""}"#),
            (r#"{"message":"psk=\"cut off"}"#, r#"{"message":"psk=\"(left out)"}"#),
        ] {
            assert_eq!(without(text).0, clean);
        }
        let key = "a\n-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----\nb\n";
        assert_eq!(without(key), ("a\n(left out)\nb\n".to_owned(), 1));
    }

    #[test]
    fn everything_else_stays() {
        for text in [
            "",
            "listen = \"tcp://192.168.10.100:80\"\n",
            "tokens and passwords are no names with a value\n",
            "password =\n",
            "a secret\r\nb",
            "mac = \"02:00:00:00:00:07\"",
            "user@host: x",
        ] {
            assert_eq!(without(text), (text.to_owned(), 0));
        }
    }
}
