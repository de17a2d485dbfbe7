//! Questions to all documents at once, put to a query engine that sorts on disk what memory does not hold.
//!
//! What is compared never is text: a map has turned each shard of documents into a table of keys of a few numbers a
//! row (`table`), and what comes back are numbers of documents and positions in them. Every question is one
//! DataFusion plan of built-in functions over such tables (`plan`), so that the same plan can run on a cluster;
//! here it runs embedded, with a bounded pool of memory and a folder to spill into.

pub(crate) mod plan;
pub(crate) mod table;

use std::{path::Path, sync::Arc, time::Duration};

use arrow_array::RecordBatch;
use datafusion::{
    dataframe::DataFrame,
    error::DataFusionError,
    execution::{
        SendableRecordBatchStream,
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        memory_pool::FairSpillPool,
        runtime_env::RuntimeEnvBuilder,
    },
    physical_plan::{ExecutionPlan, execute_stream},
    prelude::{SessionConfig, SessionContext},
};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use crate::{Error, Result, engine::Observer};

/// How long a plan may work before it is asked again whether to stop.
const PATIENCE: Duration = Duration::from_millis(200);
/// Memory that a part of a plan should have. The pool is shared fairly among the sorts of all parts and what stands
/// between them; with 32 MiB for two parts a share was less than a batch.
const PART_BYTES: usize = 64 << 20;
/// Memory that every sort keeps back for merging, at most.
const MERGE_BYTES: usize = 10 << 20;
/// Rows of a batch between operators.
const BATCH_ROWS: usize = 2048;

/// A query engine with its memory and its folder.
pub(crate) struct Shuffle {
    session: SessionContext,
    runtime: Runtime,
}

/// What a plan took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effort {
    /// Rows of keys that went in.
    pub rows: u64,
    /// Bytes written to disk because memory did not hold them.
    pub spilled_bytes: u64,
}

impl std::ops::AddAssign for Effort {
    fn add_assign(&mut self, other: Self) {
        self.rows += other.rows;
        self.spilled_bytes += other.spilled_bytes;
    }
}

impl Shuffle {
    /// Prepares an engine that uses about this much memory and spills into a folder.
    ///
    /// # Errors
    /// Threads or the folder cannot be had.
    pub(crate) fn new(memory_bytes: usize, spill: &Path) -> Result<Self> {
        let n_parts = rayon::current_num_threads().min(memory_bytes / PART_BYTES).max(1);
        let folders = DiskManagerMode::Directories(vec![spill.to_owned()]);
        let runtime_env = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(memory_bytes)))
            .with_disk_manager_builder(
                DiskManagerBuilder::default()
                    .with_mode(folders)
                    .with_max_temp_directory_size(u64::MAX),
            )
            .build_arc()
            .map_err(failed)?;
        let mut config = SessionConfig::new()
            .with_target_partitions(n_parts)
            .with_batch_size(BATCH_ROWS)
            .with_repartition_file_scans(false)
            .with_sort_spill_reservation_bytes(MERGE_BYTES.min(memory_bytes / (8 * n_parts)));
        // Hash joins hold one side in memory; sorting both spills.
        config.options_mut().optimizer.prefer_hash_join = false;
        let session = SessionContext::new_with_config_rt(config, runtime_env);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(n_parts)
            .enable_time()
            .build()
            .map_err(Error::io(spill))?;
        Ok(Self { session, runtime })
    }

    /// Runs a plan; every batch of its result is handed over in order.
    ///
    /// # Errors
    /// The plan fails, as on a full disk, or the observer wants to stop, or a batch is refused.
    pub(crate) fn run(
        &self,
        plan: impl Future<Output = std::result::Result<DataFrame, DataFusionError>>,
        observer: &Observer<'_>,
        mut take: impl FnMut(&RecordBatch) -> Result<()>,
    ) -> Result<Effort> {
        self.runtime.block_on(async {
            let plan = plan.await.map_err(failed)?;
            let plan = plan.create_physical_plan().await.map_err(failed)?;
            let mut stream =
                execute_stream(Arc::clone(&plan), self.session.task_ctx()).map_err(failed)?;
            while let Some(batch) = next_batch(&mut stream, observer).await? {
                take(&batch)?;
            }
            Ok(effort(plan.as_ref()))
        })
    }
}

/// The next batch of a result, waited for in pieces.
async fn next_batch(
    stream: &mut SendableRecordBatchStream,
    observer: &Observer<'_>,
) -> Result<Option<RecordBatch>> {
    loop {
        observer.check()?;
        if let Ok(batch) = tokio::time::timeout(PATIENCE, stream.next()).await {
            return batch.transpose().map_err(failed);
        }
    }
}

/// Sums what the operators of a finished plan counted.
fn effort(plan: &dyn ExecutionPlan) -> Effort {
    let metrics = plan.metrics();
    let count = |value: Option<usize>| value.unwrap_or_default() as u64;
    let mut effort = Effort {
        rows: 0,
        spilled_bytes: count(metrics.as_ref().and_then(|metrics| metrics.spilled_bytes())),
    };
    let children = plan.children();
    if children.is_empty() {
        effort.rows = count(metrics.and_then(|metrics| metrics.output_rows()));
    }
    children.into_iter().for_each(|child| effort += self::effort(child.as_ref()));
    effort
}

/// For `map_err`: what the query engine said.
fn failed(error: DataFusionError) -> Error {
    Error::Query { problem: error.strip_backtrace() }
}
