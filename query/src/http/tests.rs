mod bad_requests;
mod fakes;
mod golden;
mod handlers;
mod peers;
