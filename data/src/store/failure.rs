//! What a store's refusal means to a user: what happened, what to look at, and whose fault it is.

use std::{error::Error as StdError, io::ErrorKind};

use object_store::client::{HttpError, HttpErrorKind};

use crate::Error;

/// Turns a store's error into one of ours about an address.
pub(super) fn explain(address: &str, error: &object_store::Error) -> Error {
    let (problem, hint, is_input) = match status(error) {
        Some(404) => (
            match says(error, "NoSuchBucket") {
                true => "there is no such bucket (404)".to_owned(),
                false => "there is no such object or bucket (404)".to_owned(),
            },
            "check the address and the endpoint; keys are case-sensitive",
            true,
        ),
        Some(code @ (401 | 403)) => (
            format!("access is denied ({code})"),
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to keys that may list and read the bucket",
            true,
        ),
        Some(412) => (
            "the object was replaced while it was read".to_owned(),
            "run the command again once nothing writes to the bucket",
            false,
        ),
        _ => connection(error),
    };
    Error::Store { address: address.to_owned(), problem, hint, is_input }
}

/// The refusing status of the answer, which some errors tell by their kind and some in words only.
fn status(error: &object_store::Error) -> Option<u16> {
    let in_words = || {
        chain(error).find_map(|cause| {
            let text = cause.to_string();
            let (_, rest) = text.split_once("status code: ")?;
            rest.get(..3)?.parse().ok()
        })
    };
    in_words().or(match error {
        object_store::Error::NotFound { .. } => Some(404),
        object_store::Error::PermissionDenied { .. } => Some(403),
        object_store::Error::Unauthenticated { .. } => Some(401),
        object_store::Error::Precondition { .. } => Some(412),
        _ => None,
    })
}

/// Whether an error or a cause of it has these words.
fn says(error: &object_store::Error, words: &str) -> bool {
    chain(error).any(|cause| cause.to_string().contains(words))
}

/// What went wrong before there was an answer, or with the server itself.
fn connection(error: &object_store::Error) -> (String, &'static str, bool) {
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
    if says(error, "dns error") || says(error, "failed to lookup address") {
        let hint = "check the bucket's region, AWS_ENDPOINT_URL and the network";
        return ("the host's name is not known (DNS)".to_owned(), hint, true);
    }
    if chain(error).any(timed_out) {
        return ("no answer in time".to_owned(), "check the endpoint and the network", false);
    }
    if says(error, "LOCATION") || says(error, "PermanentRedirect") {
        let hint = "set AWS_REGION to the bucket's region";
        return ("the bucket is in another region".to_owned(), hint, true);
    }
    let last = chain(error).last().map(ToString::to_string).unwrap_or_default();
    let last = last.trim().chars().take(300).collect();
    (last, "the store answers, but not as expected; try again later", false)
}

/// The causes of an error, itself first.
fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}
