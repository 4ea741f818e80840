"""Configurations, as plain dicts."""

from gonto._gonto import read_config, validate_config

__all__ = ["read_config", "validate_config"]
