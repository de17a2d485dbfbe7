//! English day stories: two people, their town, their trade and one object that changes hands.
//!
//! What is said late follows from what was said early: names, trade and town return in the last
//! sentence, pronouns agree with names, the object is with whoever was given it, sums are right.
//! Every sentence tells which choice was made, so the derivation can be read off the text.

use super::choice::Chooser;

/// Words of one theme; a story stays within one.
struct Topic {
    roles: [&'static str; 4],
    places: [&'static str; 6],
    /// Singular and plural.
    things: [(&'static str, &'static str); 6],
    sayings: [&'static str; 3],
}

struct Person {
    name: &'static str,
    surname: &'static str,
    is_woman: bool,
    role: &'static str,
    place: Option<&'static str>,
}

struct Held {
    colour: &'static str,
    thing: &'static str,
    holder: usize,
    /// Somebody asked since it last changed hands.
    is_known: bool,
}

#[derive(Clone, Copy)]
enum Event {
    Walk,
    Find,
    Give,
    Ask,
    Seek,
    Count,
    Bell,
    Remember,
}

struct Story {
    topic: &'static Topic,
    town: &'static str,
    people: [Person; 2],
    /// Who the last sentence was about; a pronoun stands for this person.
    subject: usize,
    held: Option<Held>,
    /// Last hour the bell struck; hours only go forward.
    hour: usize,
    has_remembered: bool,
    n_events: usize,
    text: String,
}

/// One story of about 230 to 800 characters.
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
        let (name, is_woman) = chooser.pick(&NAMES);
        let (friend, friend_is_woman) = chooser.pick_other(&NAMES, (name, is_woman));
        let surname = chooser.pick(&SURNAMES);
        let friend_surname = chooser.pick_other(&SURNAMES, surname);
        let role = chooser.pick(&topic.roles);
        let mut story = Self {
            topic,
            town: chooser.pick(&TOWNS),
            people: [
                Person { name, surname, is_woman, role, place: None },
                Person {
                    name: friend,
                    surname: friend_surname,
                    is_woman: friend_is_woman,
                    role: chooser.pick_other(&topic.roles, role),
                    place: None,
                },
            ],
            subject: 1,
            held: None,
            hour: 6,
            has_remembered: false,
            n_events: 0,
            text: String::new(),
        };
        story.introduce(chooser);
        story
    }

    fn introduce(&mut self, chooser: &mut Chooser) {
        let Self { town, people: [hero, friend], .. } = &*self;
        let (name, role) = (hero.full_name(), with_article(hero.role));
        let first = match chooser.below(3) {
            0 => format!("{name} is {role} in {town}."),
            1 => format!("In {town} there lives {role} called {name}."),
            _ => format!("Everyone in {town} has heard of {name}, {role}."),
        };
        let her = if hero.is_woman { "Her" } else { "His" };
        let friend =
            format!("{her} friend {} is {}.", friend.full_name(), with_article(friend.role));
        self.text = format!("{first} {friend}\n");
    }

    fn goes_on(&self, chooser: &mut Chooser) -> bool {
        self.n_events == 0 || (self.n_events < 10 && chooser.chance(0.7))
    }

    fn tell_event(&mut self, chooser: &mut Chooser) {
        // The first event is about the person introduced first; later ones may keep their subject.
        let keeps_subject = self.n_events > 0 && chooser.chance(0.5);
        if !keeps_subject {
            self.subject = 1 - self.subject;
        }
        let person = &self.people[self.subject];
        let subject = match (keeps_subject, person.is_woman) {
            (false, _) => person.full_name(),
            (true, true) => "She".to_owned(),
            (true, false) => "He".to_owned(),
        };
        let event = chooser.weighted(&self.possible_events());
        let sentence = self.tell(event, &subject, chooser);
        if self.n_events > 0 {
            self.text.push(' ');
        }
        self.text.push_str(&sentence);
        self.n_events += 1;
    }

    fn possible_events(&self) -> Vec<(Event, f64)> {
        let mut events = vec![(Event::Walk, 3.0), (Event::Count, 1.5)];
        match &self.held {
            None => events.push((Event::Find, 4.0)),
            Some(held) if held.holder == self.subject => events.push((Event::Give, 2.0)),
            Some(held) if !held.is_known => events.push((Event::Ask, 3.0)),
            Some(_) => {}
        }
        let [place, other] = [self.subject, 1 - self.subject].map(|who| self.people[who].place);
        if other.is_some() && other != place {
            events.push((Event::Seek, 2.0));
        }
        if self.hour < 10 {
            events.push((Event::Bell, 1.5));
        }
        if !self.has_remembered {
            events.push((Event::Remember, 1.0));
        }
        events
    }

    fn tell(&mut self, event: Event, subject: &str, chooser: &mut Chooser) -> String {
        match event {
            Event::Walk => {
                let place = match self.people[self.subject].place {
                    Some(here) => chooser.pick_other(&self.topic.places, here),
                    None => chooser.pick(&self.topic.places),
                };
                self.people[self.subject].place = Some(place);
                format!("{subject} walked to the {place} of {}.", self.town)
            }
            Event::Find => {
                let colour = chooser.pick(&COLOURS);
                let thing = chooser.pick(&self.topic.things).0;
                let holder = self.subject;
                self.held = Some(Held { colour, thing, holder, is_known: false });
                format!("{subject} found {} {thing}.", with_article(colour))
            }
            Event::Give => {
                let other = 1 - self.subject;
                let object = self.object();
                if let Some(held) = &mut self.held {
                    held.holder = other;
                    held.is_known = false;
                }
                format!("{subject} gave {object} to {}.", self.people[other].name)
            }
            Event::Ask => {
                let (object, other) = (self.object(), self.people[1 - self.subject].name);
                if let Some(held) = &mut self.held {
                    held.is_known = true;
                }
                format!("{subject} asked about {object}, and {other} had it.")
            }
            Event::Seek => {
                let other = &self.people[1 - self.subject];
                let whom = if other.is_woman { "her" } else { "him" };
                let place = other.place;
                let sentence = format!(
                    "{subject} looked for {} and met {whom} at the {}.",
                    other.name,
                    place.unwrap_or_default()
                );
                self.people[self.subject].place = place;
                sentence
            }
            Event::Count => self.count(subject, chooser),
            Event::Bell => {
                self.hour += 1 + chooser.below(3);
                format!("{subject} heard the bell of {} strike {}.", self.town, NUMBERS[self.hour])
            }
            Event::Remember => {
                self.has_remembered = true;
                let (role, town) = (self.people[self.subject].role, self.town);
                let saying = chooser.pick(&self.topic.sayings);
                format!("{subject} knew what every {role} in {town} knows: {saying}.")
            }
        }
    }

    fn object(&self) -> String {
        self.held
            .as_ref()
            .map(|held| format!("the {} {}", held.colour, held.thing))
            .unwrap_or_default()
    }

    fn count(&self, subject: &str, chooser: &mut Chooser) -> String {
        let thing = chooser.pick(&self.topic.things);
        let other = chooser.pick_other(&self.topic.things, thing);
        let (n, m) = (1 + chooser.below(6), 1 + chooser.below(6));
        let counted = |n: usize, (singular, plural): (&str, &str)| {
            format!("{} {}", NUMBERS[n], if n == 1 { singular } else { plural })
        };
        format!(
            "{subject} counted {} and {}, {} in all.",
            counted(n, thing),
            counted(m, other),
            NUMBERS[n + m]
        )
    }

    fn close(mut self) -> String {
        let [hero, friend] = &self.people;
        let her = if hero.is_woman { "her" } else { "his" };
        let end = match &self.held {
            Some(held) => {
                let holder = self.people[held.holder].full_name();
                format!("In the evening {holder} had the {} {}.", held.colour, held.thing)
            }
            None => "In the evening nothing had been found.".to_owned(),
        };
        self.text += &format!(
            "\n{end} So ended the day of {}, the {} of {}, and of {her} friend {}, the {}.",
            hero.full_name(),
            hero.role,
            self.town,
            friend.full_name(),
            friend.role
        );
        self.text
    }
}

impl Person {
    fn full_name(&self) -> String {
        format!("{} {}", self.name, self.surname)
    }
}

fn with_article(word: &str) -> String {
    let article = if word.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {word}")
}

const NUMBERS: [&str; 13] = [
    "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve",
];

const COLOURS: [&str; 10] =
    ["red", "green", "blue", "white", "black", "yellow", "grey", "orange", "ivory", "purple"];

/// First names, and whether `she` stands for them.
#[rustfmt::skip]
const NAMES: [(&str, bool); 20] = [
    ("Alma", true), ("Berta", true), ("Clara", true), ("Edith", true), ("Greta", true),
    ("Hanna", true), ("Julia", true), ("Marta", true), ("Nora", true), ("Olga", true),
    ("Adam", false), ("Boris", false), ("Carl", false), ("Emil", false), ("Felix", false),
    ("Hugo", false), ("Ivan", false), ("Jonas", false), ("Martin", false), ("Paul", false),
];

const SURNAMES: [&str; 14] = [
    "Ash", "Barlow", "Croft", "Dale", "Fairley", "Holt", "Irving", "Kendal", "Marsh", "North",
    "Oakes", "Reeve", "Stone", "Webb",
];

const TOWNS: [&str; 14] = [
    "Amberley",
    "Birchwood",
    "Coldwater",
    "Dunmore",
    "Elmford",
    "Foxhill",
    "Glenbrook",
    "Hartfield",
    "Kingsport",
    "Millbank",
    "Newhaven",
    "Ravensea",
    "Stillwater",
    "Westlake",
];

#[rustfmt::skip]
const TOPICS: [Topic; 6] = [
    Topic {
        roles: ["sailor", "pilot", "diver", "fisher"],
        places: ["harbour", "lighthouse", "pier", "beach", "boathouse", "fish market"],
        things: [("rope", "ropes"), ("anchor", "anchors"), ("net", "nets"), ("oar", "oars"), ("shell", "shells"), ("compass", "compasses")],
        sayings: ["the tide waits for nobody", "a calm sea hides the rocks", "wind from the west brings rain"],
    },
    Topic {
        roles: ["baker", "cook", "waiter", "brewer"],
        places: ["kitchen", "oven", "cellar", "dining room", "pantry", "herb garden"],
        things: [("spoon", "spoons"), ("loaf", "loaves"), ("kettle", "kettles"), ("plate", "plates"), ("knife", "knives"), ("jug", "jugs")],
        sayings: ["good bread needs a slow fire", "salt is easier to add than to take away", "a sharp blade is a safe blade"],
    },
    Topic {
        roles: ["teacher", "librarian", "student", "printer"],
        places: ["library", "schoolyard", "reading room", "classroom", "archive", "bookshop"],
        things: [("book", "books"), ("pencil", "pencils"), ("map", "maps"), ("letter", "letters"), ("globe", "globes"), ("ruler", "rulers")],
        sayings: ["a question is half the answer", "a book unread is a door unopened", "ink remembers what people forget"],
    },
    Topic {
        roles: ["astronomer", "physicist", "optician", "clockmaker"],
        places: ["observatory", "tower", "laboratory", "workbench", "dome", "lecture hall"],
        things: [("lens", "lenses"), ("clock", "clocks"), ("mirror", "mirrors"), ("chart", "charts"), ("telescope", "telescopes"), ("magnet", "magnets")],
        sayings: ["light arrives late but never lies", "every clock is a little wrong", "dust is the enemy of glass"],
    },
    Topic {
        roles: ["gardener", "farmer", "shepherd", "miller"],
        places: ["orchard", "barn", "meadow", "windmill", "greenhouse", "stable"],
        things: [("apple", "apples"), ("rake", "rakes"), ("bucket", "buckets"), ("sack", "sacks"), ("seed", "seeds"), ("spade", "spades")],
        sayings: ["rain in May fills the barn", "the best manure is the farmer's foot", "an early frost spares no flower"],
    },
    Topic {
        roles: ["painter", "actor", "dancer", "musician"],
        places: ["theatre", "gallery", "studio", "stage", "wardrobe", "rehearsal room"],
        things: [("brush", "brushes"), ("mask", "masks"), ("violin", "violins"), ("costume", "costumes"), ("drum", "drums"), ("ribbon", "ribbons")],
        sayings: ["the pause is part of the music", "paint what you see and not what you know", "a quiet hall is the best applause"],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn words_of(text: &str) -> Vec<&str> {
        text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()).collect()
    }

    #[test]
    fn the_last_sentence_repeats_the_first() {
        for idx in 0..200 {
            let text = document(&mut Chooser::new(7, "en", idx));
            let lines: Vec<&str> = text.lines().collect();
            assert_eq!(lines.len(), 3, "{text}");
            let last = words_of(lines[2]);
            let surname = SURNAMES.iter().find(|name| words_of(lines[0]).contains(name));
            let town = TOWNS.iter().find(|name| words_of(lines[0]).contains(name));
            assert!(last.contains(surname.unwrap()), "{text}");
            assert!(last.contains(town.unwrap()), "{text}");
        }
    }

    #[test]
    fn sums_are_right() {
        let value = |word: &str| NUMBERS.iter().position(|number| *number == word);
        let mut n_sums = 0;
        for idx in 0..100 {
            let text = document(&mut Chooser::new(8, "en", idx));
            for sentence in text.split('.').filter(|sentence| sentence.contains(" counted ")) {
                let numbers: Vec<usize> =
                    words_of(sentence).iter().filter_map(|word| value(word)).collect();
                assert_eq!(numbers[0] + numbers[1], numbers[2], "{sentence}");
                n_sums += 1;
            }
        }
        assert!(n_sums > 20);
    }

    #[test]
    fn word_lists_are_unambiguous() {
        let mut words: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
        words.extend(SURNAMES);
        words.extend(TOWNS);
        words.extend(COLOURS);
        for topic in &TOPICS {
            words.extend(topic.roles);
            words.extend(topic.places);
            words.extend(topic.sayings);
            words.extend(topic.things.iter().flat_map(|(one, many)| [*one, *many]));
        }
        let n_words = words.len();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), n_words);
    }
}
