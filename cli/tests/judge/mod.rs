//! A judge for tests: an HTTP server in threads of the test's own process.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

/// What the judge says to its n-th request: a status, one more header or none, and a body.
type Answer = dyn Fn(usize, &Value) -> (u16, &'static str, String) + Send + Sync;

/// A server that answers until the test ends.
pub(crate) struct JudgeServer {
    url: String,
    requests: Arc<Mutex<Vec<Value>>>,
}

impl JudgeServer {
    /// Listens on a free port; each connection has a thread of its own.
    pub(crate) fn start(
        answer: impl Fn(usize, &Value) -> (u16, &'static str, String) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/v1", listener.local_addr().expect("an address"));
        let requests = Arc::<Mutex<Vec<Value>>>::default();
        let kept = Arc::clone(&requests);
        let answer: Arc<Answer> = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (kept, answer) = (Arc::clone(&kept), Arc::clone(&answer));
                std::thread::spawn(move || serve(stream.expect("a connection"), &kept, &*answer));
            }
        });
        Self { url, requests }
    }

    /// Its address, up to `/chat/completions`.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Every request so far.
    pub(crate) fn requests(&self) -> Vec<Value> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Answers one request and closes the connection.
fn serve(mut stream: TcpStream, requests: &Mutex<Vec<Value>>, answer: &Answer) {
    let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a line");
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_lowercase());
    }
    assert_eq!(head[0], "post /v1/chat/completions http/1.1");
    assert!(head.iter().any(|line| line == "authorization: bearer secret"), "{head:?}");
    let length = head.iter().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.expect("a length").parse().expect("a number")];
    reader.read_exact(&mut body).expect("a body");
    let request: Value = serde_json::from_slice(&body).expect("JSON");
    let n = {
        let mut requests = requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.push(request.clone());
        requests.len() - 1
    };
    let (status, header, body) = answer(n, &request);
    let header = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
    let length = body.len();
    // A test that was killed or has ended reads no more.
    let _ = write!(
        stream,
        "HTTP/1.1 {status} Told\r\nconnection: close\r\ncontent-length: {length}\r\n{header}\r\n{body}"
    );
}
