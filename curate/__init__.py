"""curate: mined face images in, a trusted training set and promoted models out."""

import os

__version__ = "0.1.0"

# Libraries we import lazily read these at import time; none of them may phone home (promise 6).
os.environ.setdefault("FIFTYONE_DO_NOT_TRACK", "true")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
