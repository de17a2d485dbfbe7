//! The questions, as plans of built-in functions alone.
//!
//! Each sorts, and looks at neighbours while the rows go by: nothing is gathered in memory that could not be spilled.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use datafusion::{
    dataframe::DataFrame,
    datasource::file_format::options::ArrowReadOptions,
    error::Result,
    functions_window::expr_fn::lag,
    logical_expr::{ExprFunctionExt, JoinType, SortExpr},
    prelude::{Expr, col, lit},
};

use super::{
    Shuffle,
    table::{COPIES, Columns, DOCUMENT_KEYS, IDS, PART_KEYS, REPEATS},
};

/// Leading bits of a key that tell its range.
const RANGE_BITS: u32 = 10;

impl Shuffle {
    /// The documents of tables of [`IDS`] in the order of their ids; of equal ids the one read first comes first.
    pub(crate) async fn in_order_of_ids(&self, ids: Vec<PathBuf>) -> Result<DataFrame> {
        let table = self.table(&ids, IDS).await?;
        table.sort(ascending(&["id", "document"]))?.select(vec![col("document")])
    }

    /// Which documents share a key, from tables of [`DOCUMENT_KEYS`]: each with the one before it that has the same.
    /// Documents connected by keys are connected by these pairs, which come in any order.
    pub(crate) async fn links(&self, keys: Vec<PathBuf>) -> Result<DataFrame> {
        let table = self.table(&keys, DOCUMENT_KEYS).await?;
        let again = occurs_again(table, "document", &["document"])?;
        again
            .filter(col("document").not_eq(col("document_before")))?
            .select(vec![col("document"), col("document_before")])
    }

    /// The parts whose keys occurred before, from tables of [`PART_KEYS`], in any order.
    pub(crate) async fn repeats(&self, keys: Vec<PathBuf>) -> Result<DataFrame> {
        let table = self.table(&keys, PART_KEYS).await?;
        occurs_again(table, "place", &[])?.select(vec![col("document"), col("place")])
    }

    /// The parts in a table of [`REPEATS`] by document and place.
    ///
    /// A plan of its own: two sorts in one would share the memory, and the first, while it merges, has none to give.
    pub(crate) async fn in_order_of_place(&self, repeats: PathBuf) -> Result<DataFrame> {
        self.table(&[repeats], REPEATS).await?.sort(ascending(&["document", "place"]))
    }

    /// Copies with the ids of the documents that stay for them, by document.
    pub(crate) async fn name_firsts(
        &self,
        copies: PathBuf,
        ids: Vec<PathBuf>,
    ) -> Result<DataFrame> {
        let copies = self.table(&[copies], COPIES).await?;
        let copies = copies.select(vec![col("document").alias("copy"), col("first")])?;
        let ids = self.table(&ids, IDS).await?;
        copies
            .join(ids, JoinType::Inner, &["first"], &["document"], None)?
            .select(vec![col("copy").alias("document"), col("id")])?
            .sort(ascending(&["document"]))
    }

    async fn table<const N: usize>(
        &self,
        files: &[PathBuf],
        columns: Columns<N>,
    ) -> Result<DataFrame> {
        let schema = columns.schema();
        let options = ArrowReadOptions { schema: Some(&schema), ..ArrowReadOptions::default() };
        let urls = files.iter().map(|path| url(path)).collect::<std::io::Result<Vec<_>>>()?;
        self.session.read_arrow(urls, options).await
    }
}

/// The rows of a table of keys that are not the first with their key in the order of a column; of each, `wanted`
/// columns of the row before it come under the name `COLUMN_before`.
///
/// Rows are sorted by key and compared with their neighbours, within many ranges of keys, so that ranges can be worked
/// on at the same time. To make every key a range of its own would be simpler, and was four times slower: most keys
/// occur once, and a range costs more than a row.
fn occurs_again(table: DataFrame, order: &str, wanted: &[&str]) -> Result<DataFrame> {
    let range = col("key_hi") >> lit(u64::from(u64::BITS - RANGE_BITS));
    let before = |column: &str| {
        lag(col(column), Some(1), None)
            .partition_by(vec![col("range")])
            .order_by(ascending(&["key_hi", "key_lo", order]))
            .build()
            .map(|before| before.alias(format!("{column}_before")))
    };
    let columns = ["key_hi", "key_lo"].iter().chain(wanted);
    let before = columns.map(|column| before(column)).collect::<Result<Vec<Expr>>>()?;
    let same = |column: &str| col(column).eq(col(format!("{column}_before")));
    table.with_column("range", range)?.window(before)?.filter(same("key_hi").and(same("key_lo")))
}

fn ascending(columns: &[&str]) -> Vec<SortExpr> {
    columns.iter().map(|column| col(*column).sort(true, false)).collect()
}

/// A file's address. A plain path would be taken for a pattern where it holds brackets or stars.
fn url(path: &Path) -> std::io::Result<String> {
    let path = std::path::absolute(path)?;
    let mut url = "file://".to_owned();
    for byte in path.to_string_lossy().bytes() {
        // Writing into a String cannot fail.
        let _ = match byte {
            b'/' | b'-' | b'_' | b'.' | b'~' => write!(url, "{}", char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => write!(url, "{}", char::from(byte)),
            _ => write!(url, "%{byte:02X}"),
        };
    }
    Ok(url)
}
