"""Builds the book: notebooks run on records, the pages around them, the finished report."""
