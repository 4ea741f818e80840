"""What can be done with a target of a configuration.

>>> from gonto.config import read_config
>>> from gonto.target import SCRIPT_TYPE, Target
>>> target = Target("build", read_config())       # doctest: +SKIP
>>> target.download_missing_images()              # doctest: +SKIP
>>> with target.mounted():                        # doctest: +SKIP
...     target.run_script(SCRIPT_TYPE.SCRIPT)
"""

from enum import StrEnum

from gonto._gonto import (
    MissingImage,
    Target,
    TargetDoesNotExist,
    VolumeNotMounted,
    VolumeNotReady,
    requirement_to_image_path,
)

__all__ = [
    "SCRIPT_TYPE",
    "MissingImage",
    "Target",
    "TargetDoesNotExist",
    "VolumeNotMounted",
    "VolumeNotReady",
    "requirement_to_image_path",
]


class SCRIPT_TYPE(StrEnum):
    """Types of scripts for a Gonto target."""

    AFTER_SCRIPT = "after_script"
    BEFORE_SCRIPT = "before_script"
    SCRIPT = "script"
