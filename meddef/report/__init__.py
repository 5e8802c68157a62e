"""Content of the chapters: pure functions from records to tables, tests and sentences."""
