//! Chinese market-day stories: two people, a town, errands and purchases.
//!
//! Measure words agree with their nouns, sums of money are right, places and names return, and the
//! last sentence follows from the first. Like the English stories, the text tells every choice.

use super::choice::Chooser;

/// Words of one theme; a story stays within one.
struct Topic {
    roles: [&'static str; 4],
    places: [&'static str; 6],
    /// Measure word and noun.
    goods: [(&'static str, &'static str); 6],
}

struct Person {
    name: String,
    pronoun: &'static str,
    role: &'static str,
    place: Option<&'static str>,
}

/// What was bought last.
#[derive(Clone, Copy)]
struct Purchase {
    buyer: usize,
    measure: &'static str,
    noun: &'static str,
    /// The other person has said something about it.
    is_praised: bool,
}

#[derive(Clone, Copy)]
enum Event {
    Go,
    Buy,
    Seek,
    Price,
    Praise,
}

struct Story {
    topic: &'static Topic,
    town: &'static str,
    weather: &'static str,
    people: [Person; 2],
    /// Who the last sentence was about; a pronoun stands for this person.
    subject: usize,
    bought: Option<Purchase>,
    n_events: usize,
    text: String,
}

impl Purchase {
    fn spelled(self) -> String {
        format!("那{}{}", self.measure, self.noun)
    }
}

/// One story of about 90 to 320 characters.
pub(super) fn document(chooser: &mut Chooser) -> String {
    let mut story = Story::open(chooser);
    while story.goes_on(chooser) {
        story.tell_event(chooser);
    }
    story.close()
}

impl Story {
    fn open(chooser: &mut Chooser) -> Self {
        let topic = &TOPICS[chooser.below(TOPICS.len())];
        let role = chooser.pick(&topic.roles);
        let surname = chooser.pick(&SURNAMES);
        let mut story = Self {
            topic,
            town: chooser.pick(&TOWNS),
            weather: chooser.pick(&WEATHER),
            people: [
                person(surname, role, chooser),
                person(
                    chooser.pick_other(&SURNAMES, surname),
                    chooser.pick_other(&topic.roles, role),
                    chooser,
                ),
            ],
            subject: 1,
            bought: None,
            n_events: 0,
            text: String::new(),
        };
        story.introduce(chooser);
        story
    }

    fn introduce(&mut self, chooser: &mut Chooser) {
        let Self { town, weather, .. } = *self;
        let [hero, friend] = &self.people;
        let (name, role) = (&hero.name, hero.role);
        let first = match chooser.below(3) {
            0 => format!("{name}是{town}的{role}。"),
            1 => format!("{town}有一位{role}，名叫{name}。"),
            _ => format!("说起{town}的{role}，大家都知道{name}。"),
        };
        self.text = format!(
            "{first}{}的朋友{}是一位{}。今天{town}{weather}。\n",
            hero.pronoun, friend.name, friend.role
        );
    }

    fn goes_on(&self, chooser: &mut Chooser) -> bool {
        self.n_events == 0 || (self.n_events < 10 && chooser.chance(0.7))
    }

    fn tell_event(&mut self, chooser: &mut Chooser) {
        let keeps_subject = self.n_events > 0 && chooser.chance(0.5);
        if !keeps_subject {
            self.subject = 1 - self.subject;
        }
        let person = &self.people[self.subject];
        let subject = if keeps_subject { person.pronoun.to_owned() } else { person.name.clone() };
        let event = chooser.weighted(&self.possible_events());
        let sentence = self.tell(event, &subject, chooser);
        self.text.push_str(&sentence);
        self.n_events += 1;
    }

    fn possible_events(&self) -> Vec<(Event, f64)> {
        let mut events = vec![(Event::Go, 3.0), (Event::Price, 1.5)];
        match self.bought {
            None => events.push((Event::Buy, 3.0)),
            Some(bought) if bought.buyer == self.subject => events.push((Event::Buy, 1.0)),
            Some(bought) if !bought.is_praised => events.push((Event::Praise, 3.0)),
            Some(_) => {}
        }
        let [place, other] = [self.subject, 1 - self.subject].map(|who| self.people[who].place);
        if other.is_some() && other != place {
            events.push((Event::Seek, 2.0));
        }
        events
    }

    fn tell(&mut self, event: Event, subject: &str, chooser: &mut Chooser) -> String {
        match event {
            Event::Go => {
                let place = match self.people[self.subject].place {
                    Some(here) => chooser.pick_other(&self.topic.places, here),
                    None => chooser.pick(&self.topic.places),
                };
                self.people[self.subject].place = Some(place);
                format!("{subject}去了{}的{place}。", self.town)
            }
            Event::Buy => {
                let (measure, noun) = chooser.pick(&self.topic.goods);
                let buyer = self.subject;
                self.bought = Some(Purchase { buyer, measure, noun, is_praised: false });
                format!("{subject}买到了一{measure}{noun}。")
            }
            Event::Praise => {
                let other = &self.people[1 - self.subject];
                let object = self.bought.map(Purchase::spelled).unwrap_or_default();
                if let Some(bought) = &mut self.bought {
                    bought.is_praised = true;
                }
                format!("{subject}很喜欢{}的{object}。", other.name)
            }
            Event::Seek => {
                let other = &self.people[1 - self.subject];
                let place = other.place;
                let sentence = format!(
                    "{subject}到处找{}，原来{}在{}。",
                    other.name,
                    other.pronoun,
                    place.unwrap_or_default()
                );
                self.people[self.subject].place = place;
                sentence
            }
            Event::Price => {
                let (measure, noun) = chooser.pick(&self.topic.goods);
                let (n, price) = (2 + chooser.below(3), 1 + chooser.below(6));
                format!(
                    "{subject}问了价钱，一{measure}{noun}{}元，{}{measure}就是{}元。",
                    numeral(price),
                    COUNTS[n],
                    numeral(n * price)
                )
            }
        }
    }

    fn close(mut self) -> String {
        let [hero, friend] = &self.people;
        let end = match self.bought {
            Some(bought) => {
                let buyer = &self.people[bought.buyer].name;
                format!("晚上{buyer}带着{}回家。", bought.spelled())
            }
            None => "晚上大家空着手回家。".to_owned(),
        };
        self.text += &format!(
            "\n{end}{}的{}{}和{}的朋友、{}{}，就这样过了一天。",
            self.town, hero.role, hero.name, hero.pronoun, friend.role, friend.name
        );
        self.text
    }
}

fn person(surname: &str, role: &'static str, chooser: &mut Chooser) -> Person {
    let (given, pronoun) = chooser.pick(&GIVEN_NAMES);
    Person { name: format!("{surname}{given}"), pronoun, role, place: None }
}

/// Chinese numeral of `n`, from 1 to 99.
fn numeral(n: usize) -> String {
    let digit = |n: usize| DIGITS[n];
    match (n / 10, n % 10) {
        (0, ones) => digit(ones).to_owned(),
        (1, 0) => "十".to_owned(),
        (1, ones) => format!("十{}", digit(ones)),
        (tens, 0) => format!("{}十", digit(tens)),
        (tens, ones) => format!("{}十{}", digit(tens), digit(ones)),
    }
}

const DIGITS: [&str; 10] = ["零", "一", "二", "三", "四", "五", "六", "七", "八", "九"];

/// Numerals before a measure word, where two is 两.
const COUNTS: [&str; 5] = ["零", "一", "两", "三", "四"];

const WEATHER: [&str; 6] = ["天气晴朗", "下着小雨", "刮着大风", "下了大雪", "有些闷热", "起了浓雾"];

const SURNAMES: [&str; 12] =
    ["赵", "钱", "孙", "李", "周", "吴", "郑", "王", "冯", "陈", "许", "张"];

/// Given names and the pronoun that stands for them.
#[rustfmt::skip]
const GIVEN_NAMES: [(&str, &str); 16] = [
    ("小梅", "她"), ("玉兰", "她"), ("春燕", "她"), ("秀英", "她"),
    ("丽华", "她"), ("雪莲", "她"), ("桂香", "她"), ("静怡", "她"),
    ("大山", "他"), ("建国", "他"), ("志强", "他"), ("海涛", "他"),
    ("永福", "他"), ("家明", "他"), ("国栋", "他"), ("天佑", "他"),
];

const TOWNS: [&str; 12] = [
    "青石镇",
    "柳河村",
    "白云县",
    "临江城",
    "梅岭镇",
    "东湖村",
    "古井镇",
    "金沙城",
    "桃源村",
    "长桥镇",
    "龙泉镇",
    "西塘村",
];

#[rustfmt::skip]
const TOPICS: [Topic; 4] = [
    Topic {
        roles: ["渔夫", "船长", "厨师", "鱼贩"],
        places: ["码头", "鱼市", "灯塔", "沙滩", "渡口", "船坞"],
        goods: [("条", "鲤鱼"), ("只", "螃蟹"), ("张", "渔网"), ("根", "缆绳"), ("艘", "木船"), ("筐", "贝壳")],
    },
    Topic {
        roles: ["农民", "果农", "磨坊主", "牧羊人"],
        places: ["果园", "磨坊", "稻田", "谷仓", "菜地", "羊圈"],
        goods: [("头", "黄牛"), ("袋", "大米"), ("把", "锄头"), ("棵", "桃树"), ("匹", "白马"), ("桶", "蜂蜜")],
    },
    Topic {
        roles: ["老师", "学生", "书商", "画家"],
        places: ["学校", "书店", "图书馆", "画室", "操场", "礼堂"],
        goods: [("本", "字典"), ("支", "毛笔"), ("幅", "山水画"), ("盒", "颜料"), ("块", "黑板"), ("份", "报纸")],
    },
    Topic {
        roles: ["木匠", "铁匠", "钟表匠", "泥瓦匠"],
        places: ["工坊", "铁铺", "窑厂", "木材场", "钟楼", "祠堂"],
        goods: [("座", "挂钟"), ("扇", "木门"), ("口", "铁锅"), ("盏", "油灯"), ("辆", "马车"), ("堵", "砖墙")],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numerals_up_to_forty() {
        let check = |n, expected: &str| assert_eq!(numeral(n), expected);
        check(7, "七");
        check(10, "十");
        check(12, "十二");
        check(20, "二十");
        check(24, "二十四");
    }

    #[test]
    fn the_last_sentence_repeats_town_and_names() {
        for idx in 0..200 {
            let text = document(&mut Chooser::new(7, "zh", idx));
            let lines: Vec<&str> = text.lines().collect();
            assert_eq!(lines.len(), 3, "{text}");
            let found =
                |words: &[&'static str]| words.iter().find(|w| lines[0].contains(**w)).copied();
            let given: Vec<&str> = GIVEN_NAMES.iter().map(|(name, _)| *name).collect();
            assert!(lines[2].contains(found(&TOWNS).unwrap()), "{text}");
            assert!(lines[2].contains(found(&given).unwrap()), "{text}");
        }
    }

    #[test]
    fn word_lists_are_unambiguous() {
        let mut words: Vec<&str> = GIVEN_NAMES.iter().map(|(name, _)| *name).collect();
        words.extend(SURNAMES);
        words.extend(TOWNS);
        words.extend(WEATHER);
        let mut measures = Vec::new();
        for topic in &TOPICS {
            words.extend(topic.roles);
            words.extend(topic.places);
            words.extend(topic.goods.map(|(_, noun)| noun));
            measures.extend(topic.goods.map(|(measure, _)| measure));
        }
        for list in [&mut words, &mut measures] {
            let n_words = list.len();
            list.sort_unstable();
            list.dedup();
            assert_eq!(list.len(), n_words);
        }
    }
}
