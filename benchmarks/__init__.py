"""Measures what the pages show, for maintainers. Run as: python -m benchmarks"""
