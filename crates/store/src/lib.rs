//! Persistence: entities and every SQL statement there is
