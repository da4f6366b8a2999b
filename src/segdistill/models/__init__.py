"""Networks: backbones, heads, the segmenter made of them, and their files."""
