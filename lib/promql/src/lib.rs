//! PromQL, pure: parser, type check, functions and a streaming evaluator.
//!
//! The reference is Prometheus 3.9: grammar, types, semantics and the texts of errors.

pub mod ast;
mod check;
mod float;
pub mod function;
#[doc(hidden)]
pub mod fuzz;
pub mod go_text;
mod lexer;
pub mod parser;
pub mod position;
mod printer;
mod token;

pub use parser::{ParseError, ParseOptions, parse, parse_selector};
