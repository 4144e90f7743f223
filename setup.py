"""The one thing that pyproject.toml cannot say: which cffi module to compile."""

from setuptools import setup

setup(cffi_modules=["src/strata/rist/_build.py:ffi"])
