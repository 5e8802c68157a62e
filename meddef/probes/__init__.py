"""Probes: measurements beyond whole-image attacks, one per file, each with one number per image."""
