"""The checks, one module per lab; ``meddef.course.answers`` imports the one it needs."""
