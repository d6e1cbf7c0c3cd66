"""Plugins that come with plait."""
