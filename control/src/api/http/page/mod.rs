//! The page for people: one file of HTML with its style and its script, which asks `/api/v1/` for all that it shows.
//!
//! It is put together when this is compiled, so that a browser needs nothing else: no other file, no other host.
//!
//! ```text
//! head.html   what is said before it
//! page.html   what stands on it
//! style.css   how that looks: light and dark, wide and narrow
//! format.js   numbers for people
//! dom.js      making and changing elements, always as text, never as HTML
//! charts.js   pictures of the last minutes
//! services.js the services: searched, in pages
//! tables.js   everything else
//! main.js     asking, again and again
//! ```

/// How it looks.
macro_rules! style {
    () => {
        include_str!("style.css")
    };
}

/// What moves it; all parts are one script, which shares no names with anything else.
macro_rules! script {
    () => {
        concat!(
            "\"use strict\";\n(() => {\n",
            include_str!("format.js"),
            include_str!("dom.js"),
            include_str!("charts.js"),
            include_str!("services.js"),
            include_str!("tables.js"),
            include_str!("main.js"),
            "})();\n"
        )
    };
}

/// The file that is served.
pub const TEXT: &str = concat!(
    include_str!("head.html"),
    "<style>",
    style!(),
    "</style>\n",
    include_str!("page.html"),
    "<script>",
    script!(),
    "</script>\n</body>\n</html>\n"
);

/// What a browser may do with it: run its own script and style, known by their hashes, show its own icon, and ask the
/// host that it came from. Nothing else, whatever an operator's names for ports may contain.
pub const POLICY: &str = concat!(
    "default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; ",
    "frame-ancestors 'none'; ",
    "script-src 'sha256-tvRY9k6lQwf2vP6vkTJ5eSsyU3LHZBmQBavgbGmRf9k='; ",
    "style-src 'sha256-z6RrjgB9O4cpN5rCL9QLjxogZwmFr7kruWHe66jSXqM='"
);

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use sha2::{Digest, Sha256};

    fn hash(text: &str) -> String {
        format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)))
    }

    /// What stands between the only two of these.
    fn between<'a>(begin: &str, end: &str) -> &'a str {
        let (before, rest) = TEXT.split_once(begin).unwrap();
        let (inside, after) = rest.split_once(end).unwrap();
        assert!(!before.contains(begin) && !after.contains(begin), "one {begin} alone");
        inside
    }

    #[test]
    fn a_browser_runs_this_script_and_style_and_no_other() {
        let script = format!("script-src {}", hash(between("<script>", "</script>")));
        assert!(POLICY.contains(&script), "{script}");
        let style = format!("style-src {}", hash(between("<style>", "</style>")));
        assert!(POLICY.contains(&style), "{style}");
        assert!(!POLICY.contains("unsafe"));
    }

    #[test]
    fn it_may_stand_below_a_path_of_a_proxy() {
        for absolute in ["fetch(`/", "fetch(\"/", "href=\"/"] {
            assert!(!TEXT.contains(absolute), "{absolute}");
        }
    }

    #[test]
    fn it_needs_no_other_host_and_makes_no_html_of_text() {
        let others = ["http:", "https:", "//cdn", "src=", "@import", "url("];
        for other in others {
            // An SVG's namespace is a name, not an address.
            let text = TEXT.replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains(other), "{other}");
        }
        for html in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "Function(",
            " style=\"",
        ] {
            assert!(!TEXT.contains(html), "{html}");
        }
    }
}
