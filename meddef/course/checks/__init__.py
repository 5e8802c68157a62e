"""The checks, one module a lab; ``meddef.course.answers`` imports the one it needs."""
