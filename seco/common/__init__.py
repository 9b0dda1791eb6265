"""Shared by seco and sgg; imports nothing else from either."""
