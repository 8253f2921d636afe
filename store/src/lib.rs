//! The store gateway: StoreAPI answered from blocks in a bucket.
