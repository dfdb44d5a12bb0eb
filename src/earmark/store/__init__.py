"""Tables of features by date: offline and online store, schema, registry, journal."""
