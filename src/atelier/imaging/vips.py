"""libvips, set up for untrusted files: one thread, no cache, no loader that its authors distrust.

Imported at the first decode that needs it and no earlier: libvips hangs in a child forked after
its first use.
"""

from __future__ import annotations

import os

os.environ.setdefault("VIPS_CONCURRENCY", "1")
os.environ.setdefault("VIPS_WARNING", "0")
# A picture that its loader decodes whole would go into a file beyond 100 MiB of pixels; the
# sandbox has no files, and limits memory itself.
os.environ["VIPS_DISC_THRESHOLD"] = "1024g"

import pyvips  # reads its environment on import

pyvips.concurrency_set(1)
pyvips.cache_set_max(0)
pyvips.block_untrusted_set(True)

VipsError = pyvips.Error
Image = pyvips.Image
# To set the profile of an image by `set_type`.
PROFILE = "icc-profile-data"
BLOB: int = pyvips.GValue.blob_type
