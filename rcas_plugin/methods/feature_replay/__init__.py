"""Feature replay: D judges a classifier's hidden features, and the previous generator keeps the old classes (after Genifer)."""

from rcas_plugin.methods.feature_replay.method import FeatureReplay

__all__ = ["FeatureReplay"]
