"""Stands in the place of the product for one test program: only its server, which behaves as a test wishes."""
