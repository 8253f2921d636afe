//! The wire: StoreAPI and its peers, remote read, and how labels and matchers cross it.
