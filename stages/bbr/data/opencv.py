"""OpenCV's contributed modules, which some of its packages lack."""

from __future__ import annotations

from types import ModuleType

import cv2

from ..errors import InputError


def ximgproc() -> ModuleType:
    """The module with selective search, EdgeBoxes and the guided filter.

    Raises:
        InputError: the OpenCV that is installed has none.
    """
    if not hasattr(cv2, "ximgproc"):
        raise InputError(
            "this OpenCV has no ximgproc: uninstall opencv-python or opencv-python-headless, and"
            " install opencv-contrib-python-headless"
        )
    return cv2.ximgproc
