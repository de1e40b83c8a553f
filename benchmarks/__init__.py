"""Programs that measure, each with a page of its figures; run from the repository's root."""
