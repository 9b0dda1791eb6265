"""Semantic Connectivity Correction (SCC): find the regions whose class is wrong, repair them."""
