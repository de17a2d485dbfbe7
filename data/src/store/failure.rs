//! What a store's refusal means to a user: what happened, what to look at, and whose fault it is.

use std::{error::Error as StdError, io::ErrorKind};

use object_store::client::{HttpError, HttpErrorKind};

use crate::Error;

/// Turns a store's error into one of ours about an address.
pub(super) fn explain(address: &str, error: &object_store::Error) -> Error {
    use object_store::Error as E;
    let (problem, hint, is_input) = match error {
        E::NotFound { source, .. } => (
            match source.to_string().contains("NoSuchBucket") {
                true => "there is no such bucket (404)".to_owned(),
                false => "there is no such object or bucket (404)".to_owned(),
            },
            "check the address and the endpoint; keys are case-sensitive",
            true,
        ),
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => (
            format!("access is denied ({})", status(error).unwrap_or("403")),
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to keys that may list and read the bucket",
            true,
        ),
        E::Precondition { .. } => (
            "the object was replaced while it was read".to_owned(),
            "run the command again once nothing writes to the bucket",
            false,
        ),
        error => connection(error),
    };
    Error::Store { address: address.to_owned(), problem, hint, is_input }
}

/// What went wrong before there was an answer, or with the server itself.
fn connection(error: &object_store::Error) -> (String, &'static str, bool) {
    let messages: Vec<String> = chain(error).map(ToString::to_string).collect();
    let says = |words: &str| messages.iter().any(|message| message.contains(words));
    let refused = |cause: &(dyn StdError + 'static)| {
        let io = cause.downcast_ref::<std::io::Error>();
        io.is_some_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    };
    let timed_out = |cause: &(dyn StdError + 'static)| {
        let http = cause.downcast_ref::<HttpError>();
        http.is_some_and(|error| error.kind() == HttpErrorKind::Timeout)
    };
    if chain(error).any(refused) {
        let hint =
            "is the service running, and AWS_ENDPOINT_URL the address and port it listens on?";
        return ("the connection is refused".to_owned(), hint, false);
    }
    if says("dns error") || says("failed to lookup address") {
        let hint = "check the bucket's region, AWS_ENDPOINT_URL and the network";
        return ("the host's name is not known (DNS)".to_owned(), hint, true);
    }
    if chain(error).any(timed_out) {
        return ("no answer in time".to_owned(), "check the endpoint and the network", false);
    }
    if says("LOCATION") || says("PermanentRedirect") {
        let hint = "set AWS_REGION to the bucket's region";
        return ("the bucket is in another region".to_owned(), hint, true);
    }
    let last = messages.last().map(|message| message.trim().to_owned()).unwrap_or_default();
    let last = last.chars().take(300).collect();
    (last, "the store answers, but not as expected; try again later", false)
}

/// The causes of an error, itself first.
fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// The refusing status that the answer had.
fn status(error: &object_store::Error) -> Option<&'static str> {
    let text = error.to_string();
    ["401", "403"].into_iter().find(|code| text.contains(code))
}
