//! `livestore-sync inspect`, run as people run it, on databases as each server leaves them.

mod events;
mod fixture;
mod places;
mod refused;
mod stores;
mod tail;
mod verify;
mod writers;
