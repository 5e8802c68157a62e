"""Arithmetic on the numbers that the paper prints: could they have come from the stated images?"""
