//! PromQL, pure: parser, type check, functions and a streaming evaluator.
//!
//! The reference is Prometheus 3.9: grammar, types, semantics and the texts of errors.

pub mod annotation;
pub mod ast;
pub mod budget;
mod check;
pub mod error;
mod eval;
mod float;
pub mod function;
#[doc(hidden)]
pub mod fuzz;
pub mod go_text;
pub mod histogram;
mod lexer;
pub mod parser;
pub mod position;
mod pretty;
mod printer;
pub mod source;
mod token;
pub mod value;

pub use error::QueryError;
pub use eval::{EvalOptions, query_instant, query_range};
pub use parser::{ParseError, ParseOptions, parse, parse_selector};
pub use pretty::pretty;
