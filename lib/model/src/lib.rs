//! Labels, matchers, durations, ULIDs: the words everything else is written in.
