//! PromQL, pure: parser, type check, functions and a streaming evaluator.
