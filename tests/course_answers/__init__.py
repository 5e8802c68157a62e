"""Typical wrong answers to the course's exercises: exercise -> [(answer, words that the message must hold)]."""
