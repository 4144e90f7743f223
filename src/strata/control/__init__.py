"""The platform: who may do what, which streams should run, and what happens to them."""
