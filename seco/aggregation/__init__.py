"""Pixel Semantic Aggregation (PSA): regions by alignment, things by prompts, both in one label."""
