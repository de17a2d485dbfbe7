//! Files in object stores: `s3://bucket/key` of Amazon or whatever speaks its language, and single `https://` files.
//!
//! Between a source's addresses and its readers: `Store::find` lists what an address names, [`Object`] is read
//! forward in ranges, one ahead of the reader, or at any place. Requests that fail are tried again a few times within
//! seconds. Keys and endpoint are the caller's: nothing here reads the environment, nor asks a cloud's machines for
//! keys. Without keys requests are not signed, which public buckets take.

mod failure;
mod listing;
mod object;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, RetryConfig, aws::AmazonS3Builder, http::HttpBuilder,
};
use tokio::runtime::Runtime;

pub use self::object::Object;
use crate::{Error, Result};

const MAX_RETRIES: usize = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
const RETRY_TIME: Duration = Duration::from_secs(20);
const CONNECT_TIME: Duration = Duration::from_secs(5);
const REQUEST_TIME: Duration = Duration::from_secs(60);
/// Amazon's oldest region, taken when none is given; other makers' stores ignore it.
const DEFAULT_REGION: &str = "us-east-1";

/// Where a store is and how one may enter.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Address of the service, for stores other than Amazon's.
    pub endpoint: Option<String>,
    /// Region of the buckets.
    pub region: Option<String>,
    /// The keys; without them requests are not signed.
    pub keys: Option<Keys>,
}

/// Proof of who asks.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// The public half.
    pub id: String,
    /// The secret half.
    pub secret: String,
    /// Third part of keys that are given for some hours.
    pub session: Option<String>,
}

impl fmt::Debug for Settings {
    /// Keys are told to be there and no more.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("has_keys", &self.keys.is_some())
            .finish()
    }
}

/// The way to object stores, shared by copies; connections are made when needed.
#[derive(Clone, Default)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    settings: Settings,
    runtime: OnceLock<Arc<Runtime>>,
    buckets: Mutex<HashMap<String, Arc<dyn ObjectStore>>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.settings.fmt(f)
    }
}

impl PartialEq for Store {
    fn eq(&self, other: &Self) -> bool {
        self.shared.settings == other.shared.settings
    }
}

/// Whether an input is an address and no path.
pub fn is_address(input: &str) -> bool {
    ["s3://", "http://", "https://"].iter().any(|scheme| input.starts_with(scheme))
}

impl Store {
    /// A way to the store of these settings.
    pub fn new(settings: Settings) -> Self {
        Self { shared: Arc::new(Shared { settings, ..Shared::default() }) }
    }

    /// Runs requests to their end, from any thread that is not the runtime's own.
    fn runtime(&self) -> Result<Arc<Runtime>> {
        if let Some(runtime) = self.shared.runtime.get() {
            return Ok(Arc::clone(runtime));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("store")
            .enable_all()
            .build()
            .map_err(Error::io(std::path::Path::new("a thread for requests")))?;
        Ok(Arc::clone(self.shared.runtime.get_or_init(|| Arc::new(runtime))))
    }

    /// The bucket or server of an address, connected once.
    fn bucket(&self, address: &Address<'_>) -> Result<Arc<dyn ObjectStore>> {
        let name = address.bucket_address();
        let mut buckets = self.shared.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.get(&name) {
            return Ok(Arc::clone(bucket));
        }
        let built = match address.scheme {
            "s3" => self.s3(address.bucket),
            _ => web(&name),
        };
        let bucket = built.map_err(|error| failure::explain(address.whole, &error))?;
        buckets.insert(name, Arc::clone(&bucket));
        Ok(bucket)
    }

    fn s3(&self, bucket: &str) -> object_store::Result<Arc<dyn ObjectStore>> {
        let settings = &self.shared.settings;
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(settings.region.as_deref().unwrap_or(DEFAULT_REGION))
            .with_client_options(client())
            .with_retry(retry());
        if let Some(endpoint) = &settings.endpoint {
            builder =
                builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
        }
        builder = match &settings.keys {
            None => builder.with_skip_signature(true),
            Some(keys) => {
                let builder =
                    builder.with_access_key_id(&keys.id).with_secret_access_key(&keys.secret);
                match &keys.session {
                    Some(session) => builder.with_token(session),
                    None => builder,
                }
            }
        };
        Ok(Arc::new(builder.build()?))
    }
}

fn web(server: &str) -> object_store::Result<Arc<dyn ObjectStore>> {
    let options = client().with_allow_http(server.starts_with("http://"));
    let builder = HttpBuilder::new().with_url(server).with_client_options(options);
    Ok(Arc::new(builder.with_retry(retry()).build()?))
}

fn client() -> ClientOptions {
    ClientOptions::new().with_connect_timeout(CONNECT_TIME).with_timeout(REQUEST_TIME)
}

fn retry() -> RetryConfig {
    let backoff = BackoffConfig { init_backoff: FIRST_PAUSE, max_backoff: LONGEST_PAUSE, base: 2. };
    RetryConfig { backoff, max_retries: MAX_RETRIES, retry_timeout: RETRY_TIME }
}

/// The parts of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Address<'a> {
    whole: &'a str,
    scheme: &'a str,
    /// The bucket, or the server.
    bucket: &'a str,
    /// What stands behind it, without the first `/`.
    key: &'a str,
}

impl<'a> Address<'a> {
    fn parse(whole: &'a str) -> Result<Self> {
        let (scheme, rest) = whole.split_once("://").unwrap_or(("", whole));
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() || bucket.contains(['*', '@', '?', '#']) {
            let what = if scheme == "s3" { "a bucket" } else { "a server" };
            return Err(Error::Setting(format!("`{whole}` names no {}", &what[2..])));
        }
        Ok(Self { whole, scheme, bucket, key })
    }

    fn bucket_address(&self) -> String {
        format!("{}://{}", self.scheme, self.bucket)
    }
}
