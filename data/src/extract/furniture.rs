//! By what pages give their furniture away: names of classes and roles, hidden styles, stock phrases.
//!
//! The lists are short on purpose and hold what is common across sites; whole names count, not parts of words.

/// Class and id names, or their first or last part (`site-footer`, `footer_links`), of what surrounds a text.
const NAMES: [&str; 62] = [
    "nav",
    "navbar",
    "navigation",
    "menu",
    "submenu",
    "sidebar",
    "footer",
    "foot",
    "breadcrumb",
    "breadcrumbs",
    "crumb",
    "crumbs",
    "cookie",
    "cookies",
    "consent",
    "gdpr",
    "share",
    "sharing",
    "social",
    "related",
    "recommend",
    "recommended",
    "recommendations",
    "comments",
    "commentlist",
    "respond",
    "disqus",
    "newsletter",
    "subscribe",
    "subscription",
    "popup",
    "modal",
    "overlay",
    "advert",
    "advertisement",
    "ads",
    "ad",
    "sponsor",
    "sponsored",
    "promo",
    "pagination",
    "pager",
    "toolbar",
    "masthead",
    "login",
    "signup",
    "copyright",
    "widget",
    "tooltip",
    "noprint",
    "hidden",
    "gutter",
    "lineno",
    "linenos",
    "linenumbers",
    "toc",
    "catlinks",
    "editsection",
    "daohang",
    "fenxiang",
    "guanggao",
    "beian",
];

/// Names that hide an element from sight, kept for screen readers.
const UNSEEN: [&str; 5] =
    ["sr-only", "visually-hidden", "screen-reader-text", "visuallyhidden", "skip-link"];

/// First parts that turn a name into its opposite or into a state of the whole page.
const STATES: [&str; 8] = ["has", "no", "with", "without", "is", "not", "show", "hide"];

/// Roles of elements that are not the text.
const ROLES: [&str; 12] = [
    "navigation",
    "banner",
    "contentinfo",
    "search",
    "dialog",
    "alertdialog",
    "complementary",
    "menu",
    "menubar",
    "toolbar",
    "tablist",
    "tooltip",
];

/// Phrases of notices, in short blocks; lower case.
const NOTICES: [&str; 18] = [
    "we use cookies",
    "uses cookies",
    "use of cookies",
    "accept all cookies",
    "cookie policy",
    "cookie settings",
    "all rights reserved",
    "your browser does not support",
    "enable javascript",
    "subscribe to our newsletter",
    "sign up for our newsletter",
    "版权所有",
    "icp备",
    "公网安备",
    "使用cookie",
    "使用 cookie",
    "未经授权",
    "浏览器版本过低",
];

/// Whole lines of buttons and marks; lower case.
const BUTTONS: [&str; 34] = [
    "skip to content",
    "skip to main content",
    "share",
    "share this",
    "tweet",
    "print",
    "read more",
    "learn more",
    "show more",
    "load more",
    "see more",
    "more",
    "subscribe",
    "sign in",
    "sign up",
    "log in",
    "login",
    "register",
    "menu",
    "search",
    "home",
    "back to top",
    "advertisement",
    "edit",
    "reply",
    "close",
    "copy",
    "分享",
    "分享到",
    "收藏",
    "打印",
    "返回顶部",
    "阅读更多",
    "上一篇",
];

/// Characters of a block that may be a notice.
const NOTICE_CHARS: usize = 300;
/// Longest class or id value looked at; what is longer is no name.
const NAME_BYTES: usize = 512;

/// Whether a `class` or `id` names furniture.
pub(super) fn is_named_so(value: &str) -> bool {
    value.len() <= NAME_BYTES
        && value.split_ascii_whitespace().any(|name| names_furniture(&name.to_ascii_lowercase()))
}

fn names_furniture(name: &str) -> bool {
    if UNSEEN.contains(&name) {
        return true;
    }
    let mut parts = name.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty());
    let Some(first) = parts.next() else { return false };
    let last = parts.next_back().unwrap_or(first);
    !STATES.contains(&first) && (NAMES.contains(&first) || NAMES.contains(&last))
}

/// Whether a `role` is furniture's.
pub(super) fn is_role(value: &str) -> bool {
    ROLES.iter().any(|role| value.trim().eq_ignore_ascii_case(role))
}

/// Whether a `style` hides its element.
pub(super) fn is_hiding(style: &str) -> bool {
    let style: String = style.chars().take(NAME_BYTES).filter(|c| !c.is_whitespace()).collect();
    let style = style.to_ascii_lowercase();
    style.contains("display:none") || style.contains("visibility:hidden")
}

/// Whether a block of text is a notice or the label of a button.
pub(super) fn is_notice(text: &str, n_chars: usize) -> bool {
    if n_chars > NOTICE_CHARS {
        return false;
    }
    let text = text.to_lowercase();
    let line = text.trim_matches(|c: char| !c.is_alphanumeric());
    BUTTONS.contains(&line)
        || NOTICES.iter().any(|notice| text.contains(notice))
        || (text.starts_with('©') || text.starts_with("copyright ©") || text.contains("(c) 20"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_names_count() {
        let check = |value, expected| assert_eq!(is_named_so(value), expected, "{value}");
        check("site-footer dark", true);
        check("Cookie_Banner", true);
        check("sr-only", true);
        check("content has-sidebar", false);
        check("navy download", false);
        check("", false);
    }

    #[test]
    fn notices_are_short() {
        let check = |text: &str, expected| {
            assert_eq!(is_notice(text, text.chars().count()), expected, "{text}");
        };
        check("We use cookies to improve your experience.", true);
        check("Read more »", true);
        check("京ICP备05019125号", true);
        check("She said that they may read more tomorrow.", false);
        check(&format!("We use cookies. {}", "A long essay on the web. ".repeat(20)), false);
    }
}
