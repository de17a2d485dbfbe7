//! HTML pages to text: what a reader came for, a block a line, without the furniture around it.
//!
//! Between a crawl's records and the filters. Three steps, one file each: `outline` turns tags into blocks of text
//! with what is known of their surroundings, `content` decides which blocks a reader wants, and the lines are
//! joined here. All of it is linear in the page and uses no recursion, so no page can take the stack or the hour.
//! Bytes become text in [`charset`].
//!
//! ```text
//! headings, paragraphs, quotes   a line each
//! list items                     "- item", "1. item", two spaces deeper per level
//! table rows                     "cell | cell"
//! preformatted text              its own lines, untouched
//! ```

pub mod charset;
mod content;
mod furniture;
mod outline;
mod tag;

/// What a page says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The content of `<title>`.
    pub title: Option<String>,
    /// Its lines; empty when there is nothing to read.
    pub text: String,
}

/// Takes the text out of a page.
pub fn page(html: &str) -> Page {
    let outline = outline::Outline::of(html);
    let lines = content::wanted(&outline.blocks).into_iter().map(outline::Block::line);
    let text = lines.collect::<Vec<_>>().join("\n");
    Page { title: outline.title, text }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pages and the texts a reader wants of them.
    const PAGES: [(&str, &str, &str); 3] = [
        (
            "news",
            include_str!("extract/fixtures/news.html"),
            include_str!("extract/fixtures/news.txt"),
        ),
        (
            "manual",
            include_str!("extract/fixtures/manual.html"),
            include_str!("extract/fixtures/manual.txt"),
        ),
        (
            "chinese",
            include_str!("extract/fixtures/chinese.html"),
            include_str!("extract/fixtures/chinese.txt"),
        ),
    ];

    #[test]
    fn pages_give_the_texts_that_readers_want() {
        for (name, html, expected) in PAGES {
            assert_eq!(page(html).text, expected.trim_end(), "{name}");
        }
    }

    fn check(html: &str, expected: &str) {
        assert_eq!(page(html).text, expected, "{html}");
    }

    #[test]
    fn blocks_become_lines() {
        check("<p>one<p>two <b>bo</b>ld\n line<br>three", "one\ntwo bold line\nthree");
        check("<h1>Head</h1><blockquote>said</blockquote>", "Head\nsaid");
        check("a&nbsp;b&amp;c &lt;d&gt; &#20013;&#x6587; &copy", "a b&c <d> 中文 ©");
    }

    #[test]
    fn lists_keep_their_marks_and_depth() {
        check(
            "<ul><li>a<ul><li>b</li></ul><li>c</ul><ol start=3><li>x<li><p>y</p><p>z</p></ol>",
            "- a\n  - b\n- c\n3. x\n4. y\nz",
        );
    }

    #[test]
    fn an_item_without_text_leaves_no_mark() {
        check("<ul><li><button>x</button></li></ul><p>text", "text");
    }

    #[test]
    fn tables_are_read_by_rows() {
        check(
            "<table><tr><th>Name<th>Born<tr><td><p>Ada</p><td>1815<tr><td>Bob<td></table>",
            "Name | Born\nAda | 1815\nBob",
        );
        check("<table><tr><td><p>one</p><p>two</p></td></tr></table>", "one\ntwo");
    }

    #[test]
    fn code_keeps_its_spaces() {
        check(
            "<p>Run:</p><pre><code>\nif x {\n    y &lt; 1;\n}\n</code></pre>",
            "Run:\nif x {\n    y < 1;\n}",
        );
    }

    #[test]
    fn what_is_not_shown_is_not_read() {
        check("<script>if (a<b) x</script><style>p{}</style><p>seen<!-- not -->", "seen");
        check(
            "<p hidden>no</p><p style='display: none'>no</p><p aria-hidden=true>no</p>yes",
            "yes",
        );
        check("<noscript><img></noscript>text<template>no</template>", "text");
    }

    #[test]
    fn lines_broken_within_chinese_are_joined() {
        check("<p>第一行\n第二行 third\nline</p>", "第一行第二行 third line");
    }

    #[test]
    fn a_header_that_holds_the_page_is_no_furniture() {
        let long = "A paragraph that goes on for long enough to be seen as the text of the page.";
        check(&format!("<header><p>Menu of the site</header><p>{long}"), long);
        check(
            &format!("<header><h1>Head</h1><p>{long}<p>\u{200d}</p></header>"),
            &format!("Head\n{long}"),
        );
    }

    #[test]
    fn the_title_is_told_apart() {
        let page = page("<head><title> A &amp; B\n</title></head><p>text");
        assert_eq!((page.title.as_deref(), page.text.as_str()), (Some("A & B"), "text"));
    }

    #[test]
    fn deep_and_wide_pages_take_linear_time() {
        for open in ["<div>", "<b>", "<p>", "<a href=x>", "<table><tr><td>", "<ul><li>", "<nav>"] {
            for close in ["", "</i>", "</b>", "</div>", "</p>", "</td>"] {
                let html = format!("{}text{}", open.repeat(100_000), close.repeat(100_000));
                page(&html);
            }
        }
        page(&"<i></b>".repeat(200_000));
        page(&format!("<p class='{}'>", "a-".repeat(500_000)));
    }

    proptest! {
        #[test]
        fn no_markup_makes_it_panic(
            parts in proptest::collection::vec(
                prop_oneof![
                    "</?(p|div|td|tr|table|ul|ol|li|a|b|pre|br|h1|nav|title|script|main|head)>",
                    "<(p|div|a|ol) (class|id|start|style)=[a-z0-9-]{0,9}>",
                    any::<String>(),
                ],
                0..60,
            ),
        ) {
            page(&parts.concat());
        }
    }
}
