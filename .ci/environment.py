"""Print environment.yml: the same dependencies as pyproject.toml, for conda users."""

import tomllib
from pathlib import Path

EXTRAS = ("book", "test")

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
packages = [
    *project["dependencies"],
    *(p for extra in EXTRAS for p in project["optional-dependencies"][extra]),
]
print("# Derived from pyproject.toml by 'make environment.yml'; do not edit.")
print("name: meddef\nchannels: [conda-forge]\ndependencies:")
print(f"  - python{project['requires-python']}\n  - pip\n  - pip:")
for package in packages:
    print(f'      - "{package}"')
print('      - "-e ."')
