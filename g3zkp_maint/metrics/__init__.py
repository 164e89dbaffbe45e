"""What the product tells Prometheus of itself: computed from the journal and from what is there, and so right after any
restart of whatever process. Aggregates are pure; sources read; the collector and the server speak Prometheus' format."""
