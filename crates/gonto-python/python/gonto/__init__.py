"""The dependency manager for toolchains too big to install.

gonto.config reads configurations, gonto.target does what a target of one asks for: download disk images, mount them, run scripts.
"""

from gonto._gonto import __version__

__all__ = ["__version__"]
