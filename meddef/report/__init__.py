"""What the chapters say: from records to tables, tests and sentences, each a pure function."""
