//! Cases that the simulation found.
