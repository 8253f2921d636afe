//! Blocks in a bucket: which there are, which count, how they come and go.
//!
//! | question | here |
//! |---|---|
//! | which blocks are there | [`fetcher`] |
//! | which of them count | [`filter`] |
//! | what is ordered about them | [`mark`] |
//! | how do they come, how do they go | [`upload`], [`delete`] |
//! | where in its index is what a query needs | [`index_header`] |
//! | can local files be kept | [`data_dir`] |
//! | does another process work there | [`dir_lock`] |
//!
//! A directory is a block once it has a `meta.json`, which is written last and deleted first; so whatever stops a
//! program between two requests, no reader ever takes a part for the whole. Everything read is taken for untrusted:
//! what is broken becomes an error that names block, file, section and offset, and stops no other block.

mod blocking;
pub mod data_dir;
pub mod delete;
pub mod dir_lock;
mod error;
pub mod fetcher;
pub mod filter;
#[doc(hidden)]
pub mod fuzz;
pub mod index_header;
pub mod layout;
mod local_dirs;
pub mod local_writer;
pub mod mark;
pub mod upload;

pub use delete::delete_block;
pub use error::{BlockError, Cause, ErrorClass, Result};
pub use fetcher::{MetaFetcher, View};
pub use index_header::{HeaderLoader, IndexHeader, PageCache};
pub use upload::upload_block;
