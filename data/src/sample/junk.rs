//! What a crawl brings along and cleaning must take out again: copies, boilerplate, soup.

use super::choice::Chooser;

#[derive(Clone, Copy)]
enum Junk {
    Copy,
    Boilerplate,
    Soup,
    Repetition,
    Stub,
}

/// One junk text; `earlier` gives the clean text with the index it is asked for, below `n_earlier`.
pub(super) fn text(
    chooser: &mut Chooser,
    n_earlier: usize,
    earlier: impl Fn(usize) -> String,
) -> String {
    let kind = chooser.weighted(&[
        (Junk::Copy, 4.0),
        (Junk::Boilerplate, 2.0),
        (Junk::Soup, 1.5),
        (Junk::Repetition, 1.5),
        (Junk::Stub, 1.0),
    ]);
    match kind {
        Junk::Copy => respaced(&earlier(chooser.below(n_earlier)), chooser),
        Junk::Boilerplate => boilerplate(chooser),
        Junk::Soup => soup(chooser),
        Junk::Repetition => repetition(chooser),
        Junk::Stub => chooser.pick(&STUBS).to_owned(),
    }
}

/// The same words with other white space: what exact deduplication must see through.
fn respaced(text: &str, chooser: &mut Chooser) -> String {
    let margin = chooser.pick(&["", " ", "\n", "\n\n"]);
    let line_break = chooser.pick(&["\n", "\n\n", " \n", "\r\n"]);
    let lines: Vec<&str> = text.lines().collect();
    format!("{margin}{}\n{margin}", lines.join(line_break))
}

fn boilerplate(chooser: &mut Chooser) -> String {
    let mut lines = vec![chooser.pick(&NAVIGATION).to_owned()];
    for _ in 0..3 + chooser.below(4) {
        lines.push(chooser.pick(&NOTICES).to_owned());
    }
    lines.push(format!("© {} | {}", 1999 + chooser.below(25), chooser.pick(&NAVIGATION)));
    lines.join("\n")
}

fn soup(chooser: &mut Chooser) -> String {
    const SYMBOLS: [char; 20] = [
        '#', '|', '~', '*', '=', '_', '/', '\\', '<', '>', '^', '%', '$', '&', '@', '¤', '■', '►',
        '…', '0',
    ];
    let mut text = String::new();
    for _ in 0..60 + chooser.below(200) {
        text.push(chooser.pick(&SYMBOLS));
        if chooser.chance(0.2) {
            text.push(' ');
        }
    }
    text
}

fn repetition(chooser: &mut Chooser) -> String {
    let line = chooser.pick(&SLOGANS);
    vec![line; 8 + chooser.below(20)].join("\n")
}

const NAVIGATION: [&str; 6] = [
    "Home | Products | About us | Contact | Log in",
    "首页 | 新闻 | 产品 | 关于我们 | 登录",
    "Index > Archive > Page 2 > Next > Last",
    "Share: Mail | Print | Bookmark | RSS",
    "上一页 | 下一页 | 返回顶部 | 打印本页",
    "Menu | Search | Cart | Sign up",
];

const NOTICES: [&str; 8] = [
    "Accept all cookies",
    "Read more ...",
    "Click here to subscribe",
    "All rights reserved",
    "点击这里查看更多 ...",
    "版权所有 未经许可不得转载",
    "Terms of use | Privacy policy",
    "Please enable javascript",
];

const SLOGANS: [&str; 5] = [
    "Buy now, best price, free shipping!",
    "全场特价，欢迎订购！",
    "Click here to win a prize.",
    "加入会员，享受优惠。",
    "This page is under construction.",
];

const STUBS: [&str; 6] = ["ok", "404", "Page not found", "测试", "test test", "暂无内容"];
