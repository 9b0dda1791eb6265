"""What is bundled for demos and tests: street scenes, a small segmenter, a tiny SAM."""
