mod catching_up;
mod changes;
mod faults;
mod forty_days;
mod repository;
mod restoring;
mod together;
