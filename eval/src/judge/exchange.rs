//! One request to a judge, and what its failure means to a user.

use std::error::Error as StdError;
use std::io::ErrorKind;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};
use serde_json::{Value, json};

use super::{Endpoint, Question, Reply};
use crate::{Error, Result};

/// Most tokens of a reply, as FastChat asks for.
const MAX_TOKENS: usize = 2048;
/// Longest time until there is a connection.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// Most bytes of an answer that are read.
const MAX_BYTES: usize = 4 << 20;
/// Characters of an answer that a message shows.
const SHOWN: usize = 300;

/// Whether a request may succeed another time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// It will fail again.
    Never,
    /// It may, after this pause if the endpoint asks for one.
    Later(Option<Duration>),
}

/// A request without a reply.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) problem: String,
    pub(super) hint: String,
    /// Whether the user's input is at fault.
    pub(super) is_input: bool,
    pub(super) retry: Retry,
}

impl Failure {
    fn of_input(problem: impl Into<String>, hint: impl Into<String>) -> Self {
        let (problem, hint) = (problem.into(), hint.into());
        Self { problem, hint, is_input: true, retry: Retry::Never }
    }

    fn passing(problem: impl Into<String>, hint: &str, wait: Option<Duration>) -> Self {
        let (problem, hint) = (problem.into(), hint.to_owned());
        Self { problem, hint, is_input: false, retry: Retry::Later(wait) }
    }
}

/// Refuses an address that is none.
pub(super) fn check(endpoint: &Endpoint) -> Result<()> {
    let problem = match Url::parse(&endpoint.url) {
        Err(problem) => format!("this is no address: {problem}"),
        Ok(url) if ["http", "https"].contains(&url.scheme()) => return Ok(()),
        Ok(url) => {
            format!("the address begins with `{}`, expected `http` or `https`", url.scheme())
        }
    };
    let hint =
        Some("give the address up to `/chat/completions`, `http://localhost:8000/v1`".into());
    Err(Error::Judge { address: endpoint.url.clone(), problem, hint, is_input: true })
}

/// A client that carries the key, which is not sent along to wherever an answer points.
pub(super) fn client(endpoint: &Endpoint) -> Result<Client> {
    let error = |problem: String, hint: Option<String>| Error::Judge {
        address: endpoint.url.clone(),
        problem,
        hint,
        is_input: true,
    };
    let mut key = HeaderValue::from_str(&format!("Bearer {}", endpoint.key)).map_err(|_| {
        let hint = "is there a line break or another control character in OPENAI_API_KEY?";
        error("no request can carry the key".into(), Some(hint.into()))
    })?;
    key.set_sensitive(true);
    let json = HeaderValue::from_static("application/json");
    let headers: HeaderMap = [(AUTHORIZATION, key), (CONTENT_TYPE, json)].into_iter().collect();
    Client::builder()
        .default_headers(headers)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIME)
        .timeout(endpoint.request_time)
        .build()
        .map_err(|problem| error(problem.to_string(), None))
}

/// Asks once.
pub(super) async fn ask_once(
    client: &Client,
    endpoint: &Endpoint,
    question: &Question,
) -> Result<Reply, Failure> {
    let url = format!("{}/chat/completions", endpoint.url.trim_end_matches('/'));
    let request = client.post(url).body(body(endpoint, question));
    let response = request.send().await.map_err(|error| broken(&error))?;
    let status = response.status();
    let wait = pause_asked_for(&response);
    let bytes = read(response).await.map_err(|error| broken(&error))?;
    match status {
        StatusCode::OK => reply(&bytes, &endpoint.model),
        status => Err(refused(status, wait, &bytes)),
    }
}

fn body(endpoint: &Endpoint, question: &Question) -> String {
    let system = json!({"role": "system", "content": question.system});
    let user = json!({"role": "user", "content": question.user});
    let messages = if question.system.is_empty() { vec![user] } else { vec![system, user] };
    json!({
        "model": endpoint.model,
        "messages": messages,
        "n": 1,
        "temperature": 0,
        "max_tokens": MAX_TOKENS,
    })
    .to_string()
}

/// The pause in seconds that the endpoint asks for.
fn pause_asked_for(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

/// The answer's bytes, up to the most that are read.
async fn read(mut response: Response) -> reqwest::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > MAX_BYTES {
            break;
        }
    }
    Ok(bytes)
}

/// The reply of an answer; one without content, as filters of the endpoint leave it, is empty.
fn reply(bytes: &[u8], asked: &str) -> Result<Reply, Failure> {
    let hint = "does this address speak OpenAI's chat completions?";
    let answer: Value = serde_json::from_slice(bytes).map_err(|_| {
        Failure::of_input(format!("the answer is no JSON: `{}`", shown(bytes)), hint)
    })?;
    let text = match &answer["choices"][0]["message"].get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) => String::new(),
        _ => {
            let found = shown(answer.to_string().as_bytes());
            return Err(Failure::of_input(
                format!("expected a text at `choices[0].message.content`, found `{found}`"),
                hint,
            ));
        }
    };
    let model = answer["model"].as_str().unwrap_or(asked).to_owned();
    Ok(Reply { text, model })
}

/// What a status other than 200 means.
fn refused(status: StatusCode, wait: Option<Duration>, bytes: &[u8]) -> Failure {
    let said = || match shown(bytes) {
        text if text.is_empty() => String::new(),
        text => format!(": `{text}`"),
    };
    let code = status.as_u16();
    match code {
        401 | 403 => Failure::of_input(
            format!("it refuses the key ({code}){}", said()),
            "set OPENAI_API_KEY to a key that may use this endpoint and model",
        ),
        404 => Failure::of_input(
            format!("there is nothing at `/chat/completions`, or no such model (404){}", said()),
            "give the address up to `/chat/completions`, and the model by its name there",
        ),
        429 => Failure::passing(
            format!("it is asked too much (429){}", said()),
            "what was judged is kept; run the command again later",
            wait,
        ),
        500.. => Failure::passing(
            format!("it failed ({code}){}", said()),
            "what was judged is kept; run the command again later",
            wait,
        ),
        _ => Failure::of_input(
            format!("it answers with the status {code}, expected 200{}", said()),
            "its own words say what it wants; is the address complete?",
        ),
    }
}

/// What went wrong before there was an answer.
fn broken(error: &reqwest::Error) -> Failure {
    let refused = |cause: &(dyn StdError + 'static)| {
        let io = cause.downcast_ref::<std::io::Error>();
        io.is_some_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    };
    let says = |words: &str| chain(error).any(|cause| cause.to_string().contains(words));
    if chain(error).any(refused) {
        let hint = "is the service running, and is this the port it listens on?";
        return Failure::of_input("the connection is refused", hint);
    }
    if says("dns error") || says("failed to lookup address") {
        return Failure::of_input("the host's name is not known (DNS)", "check the address");
    }
    if error.is_timeout() {
        let hint = "what was judged is kept; check the address and the network, or run it again";
        return Failure::passing("no answer in time", hint, None);
    }
    let last = chain(error).last().map(ToString::to_string).unwrap_or_default();
    let hint = "what was judged is kept; check the address and the network, or run it again";
    Failure::passing(format!("the connection broke: {last}"), hint, None)
}

/// The causes of an error, itself first.
fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// The beginning of an answer, on one line.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(SHOWN).collect()
}
