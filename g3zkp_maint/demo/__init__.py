"""The main job shown on real data, with proof."""
