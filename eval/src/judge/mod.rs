//! A judge: a model behind an OpenAI-compatible endpoint, asked over HTTP.
//!
//! `exchange` is one request and what its failure means; here several are under way at once, those
//! that may succeed later are tried again, and what was answered is handed over at once, so that a
//! failure loses nothing. The key is the caller's: nothing here reads the environment.

mod exchange;

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::runtime::Runtime;

use self::exchange::{Failure, Retry};
use crate::language_model::Answers;
use crate::{Error, Result};

/// Requests that are under way at once.
const N_PARALLEL: usize = 4;
/// Times that a request is tried again.
const MAX_RETRIES: usize = 6;
/// Longest pause before a request is tried again, whatever the endpoint asks for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Where a judge is and how one asks it.
#[derive(Clone)]
pub struct Endpoint {
    /// Address up to `/chat/completions`.
    pub url: String,
    /// Name of the model that judges.
    pub model: String,
    /// What proves who asks.
    pub key: String,
    /// Longest time that one request may take.
    pub request_time: Duration,
    /// Pause before a request is tried again; the next ones are twice as long each.
    pub first_pause: Duration,
}

impl fmt::Debug for Endpoint {
    /// The key is told to be there and no more.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("url", &self.url)
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

/// What a judge is told about its office, and what it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The system message; none when empty.
    pub system: String,
    /// The question.
    pub user: String,
}

/// What a judge says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The text.
    pub text: String,
    /// The model that the endpoint says it is from.
    pub model: String,
}

/// A judge that can be asked.
#[derive(Debug)]
pub struct Judge {
    endpoint: Endpoint,
    client: reqwest::Client,
    runtime: Runtime,
}

impl Judge {
    /// Prepares for asking; nothing is sent yet.
    ///
    /// # Errors
    /// An address that is none, or a key that no request can carry.
    pub fn new(endpoint: Endpoint) -> Result<Self> {
        exchange::check(&endpoint)?;
        let client = exchange::client(&endpoint)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(neo_data::Error::io(std::path::Path::new("a runtime for requests")))?;
        Ok(Self { endpoint, client, runtime })
    }

    /// Where and who it is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Asks every question without an answer, and tells `progress` how many of how many are answered.
    /// After a failure no further one is asked, and those under way are waited for.
    ///
    /// # Errors
    /// The first failure, or an answer that cannot be kept.
    pub fn ask(
        &self,
        questions: &[Question],
        answers: &mut Answers<'_, Reply>,
        progress: &dyn Fn(usize, usize),
    ) -> Result<()> {
        let open: Vec<usize> = (0..questions.len()).filter(|&i| !answers.know_all([i])).collect();
        let is_over = Cell::new(false);
        let asked = open.iter().take_while(|_| !is_over.get()).map(|&i| {
            let is_over = &is_over;
            async move { (i, self.reply(&questions[i], is_over).await) }
        });
        let mut outcome = Ok(());
        let mut n_done = questions.len() - open.len();
        self.runtime.block_on(async {
            let mut replies = stream::iter(asked).buffer_unordered(N_PARALLEL);
            while let Some((i, reply)) = replies.next().await {
                let kept = reply.and_then(|reply| answers.set(i, reply));
                n_done += usize::from(kept.is_ok());
                progress(n_done, questions.len());
                is_over.set(is_over.get() || kept.is_err());
                outcome = std::mem::replace(&mut outcome, Ok(())).and(kept);
            }
        });
        outcome
    }

    async fn reply(&self, question: &Question, is_over: &Cell<bool>) -> Result<Reply> {
        let mut pause = self.endpoint.first_pause;
        let mut n_tries = 0;
        loop {
            let failure = match exchange::ask_once(&self.client, &self.endpoint, question).await {
                Ok(reply) => return Ok(reply),
                Err(failure) => failure,
            };
            n_tries += 1;
            let wait = match failure.retry {
                Retry::Later(wait) if n_tries <= MAX_RETRIES && !is_over.get() => {
                    wait.unwrap_or(pause).min(LONGEST_PAUSE)
                }
                _ => return Err(self.error(failure, n_tries)),
            };
            tracing::info!(problem = failure.problem, ?wait, "the judge is asked again");
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn error(&self, failure: Failure, n_tries: usize) -> Error {
        let tries = if n_tries > 1 { format!(", {n_tries} times") } else { String::new() };
        Error::Judge {
            address: self.endpoint.url.clone(),
            problem: format!("{}{tries}", failure.problem),
            hint: Some(failure.hint),
            is_input: failure.is_input,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// Asks `n` questions of a server that gives these answers one after another and then no more;
    /// an empty one means that the server waits.
    fn ask(n: usize, answers: &[&'static str]) -> (Result<()>, Vec<Option<Reply>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1/", listener.local_addr().unwrap());
        let answers = answers.to_vec();
        std::thread::spawn(move || {
            let mut held = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let request = read_request(&mut stream);
                assert!(request.starts_with("POST /v1/chat/completions HTTP/1.1"), "{request}");
                assert!(request.contains("authorization: Bearer secret\r\n"), "{request}");
                stream.write_all(answer.as_bytes()).unwrap();
                if answer.is_empty() {
                    held.push(stream);
                }
            }
            // Whoever connects now waits for an answer that does not come.
            std::mem::forget((listener, held));
        });
        let endpoint = Endpoint {
            url,
            model: "j".into(),
            key: "secret".into(),
            request_time: Duration::from_millis(500),
            first_pause: Duration::from_millis(1),
        };
        let judge = Judge::new(endpoint).unwrap();
        assert!(!format!("{judge:?}").contains("secret"));
        let question = Question { system: "be fair".into(), user: "well?".into() };
        let mut found = vec![None; n];
        let mut keep = |i: usize, reply: &Reply| {
            found[i] = Some(reply.clone());
            Ok(())
        };
        let outcome =
            judge.ask(&vec![question; n], &mut Answers::new(vec![None; n], &mut keep), &|_, _| ());
        (outcome, found)
    }

    /// A request up to the end of its body, whose last key is the limit of tokens.
    fn read_request(stream: &mut impl Read) -> String {
        let mut request = String::new();
        let mut buffer = [0; 4096];
        while !request.ends_with("\"max_tokens\":2048}") {
            let n = stream.read(&mut buffer).unwrap();
            assert!(n > 0, "the request ends early: {request}");
            request.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
        }
        request
    }

    macro_rules! answer {
        ($status:literal, $body:expr) => {
            concat!("HTTP/1.1 ", $status, "\r\nconnection: close\r\n\r\n", $body)
        };
        ($status:literal, $header:literal, $body:expr) => {
            concat!("HTTP/1.1 ", $status, "\r\nconnection: close\r\n", $header, "\r\n\r\n", $body)
        };
    }

    const GOOD: &str =
        answer!("200 OK", r#"{"model": "j-1", "choices": [{"message": {"content": "fine"}}]}"#);

    fn check(answers: &[&'static str], parts: &[&str], is_input: bool) {
        let (outcome, found) = ask(1, answers);
        let error = outcome.unwrap_err();
        for part in parts {
            let said = format!("{error} {}", error.hint().unwrap_or_default());
            assert!(said.contains(part), "expected `{part}` in `{said}`");
        }
        assert_eq!(error.is_input(), is_input, "{error}");
        assert_eq!(found, [None]);
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        let busy = answer!("429 Too Many Requests", "retry-after: 0", "slow down");
        let (outcome, found) = ask(1, &[busy, answer!("503 Unavailable", ""), "", GOOD]);
        outcome.unwrap();
        assert_eq!(found, [Some(Reply { text: "fine".into(), model: "j-1".into() })]);
    }

    #[test]
    fn what_cannot_pass_is_told() {
        check(
            &[answer!("401 Unauthorized", r#"{"error": {"message": "bad key"}}"#)],
            &["refuses the key (401)", "bad key", "OPENAI_API_KEY"],
            true,
        );
        check(&[answer!("404 Not Found", "nothing")], &["404", "/chat/completions"], true);
        check(&[answer!("400 Bad Request", "no such parameter")], &["no such parameter"], true);
        check(&[answer!("200 OK", "<html>")], &["no JSON", "`<html>`"], true);
        check(
            &[answer!("200 OK", r#"{"choices": []}"#)],
            &["choices[0].message.content", r#"{"choices":[]}"#],
            true,
        );
        check(&[answer!("301 Moved", "location: /", "")], &["301"], true);
        let down = answer!("500 Oops", "retry-after: 0", "down");
        check(&[down; 7], &["500", "7 times"], false);
    }

    #[test]
    fn a_failure_loses_no_answer_that_is_under_way() {
        let (outcome, found) = ask(3, &[GOOD, answer!("401 Unauthorized", ""), GOOD]);
        assert!(outcome.is_err());
        assert_eq!(found.iter().flatten().count(), 2);
    }

    #[test]
    fn nobody_there_is_told() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let endpoint = |url: String, key: &str| Endpoint {
            url,
            model: "j".into(),
            key: key.into(),
            request_time: Duration::from_secs(5),
            first_pause: Duration::from_millis(1),
        };
        let judge = Judge::new(endpoint(format!("http://{free}"), "k")).unwrap();
        let question = Question { system: String::new(), user: "?".into() };
        let mut keep = |_: usize, _: &Reply| Ok(());
        let error = judge
            .ask(&[question], &mut Answers::new(vec![None], &mut keep), &|_, _| ())
            .unwrap_err();
        assert!(error.to_string().contains("the connection is refused"), "{error}");
        assert!(error.is_input());
        for (url, key, part) in [
            ("nowhere", "k", "no address"),
            ("ftp://a", "k", "expected `http` or `https`"),
            ("http://a", "k\n", "OPENAI_API_KEY"),
        ] {
            let error = Judge::new(endpoint(url.into(), key)).unwrap_err();
            let said = format!("{error} {}", error.hint().unwrap_or_default());
            assert!(said.contains(part) && error.is_input(), "{said}");
        }
    }
}
