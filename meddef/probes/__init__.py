"""Probes: what the attacks on whole models leave open, one measurement a file, each a number an image."""
