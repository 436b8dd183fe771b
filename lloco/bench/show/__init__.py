"""Results as tables, as JSON and as a report."""
