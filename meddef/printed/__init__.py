"""Arithmetic on the printed numbers: can they come from the stated images?"""
